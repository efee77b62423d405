//! An object store that fails as told, for tests.
//!
//! [`FaultStore`] stands before another store. What goes wrong is said by [`Rule`]s (this call, on these keys, so many times) and
//! by [`Random`] faults from a seed; a rule goes before chance. Puts can be done and answered as if they were not, or land only
//! when [`FaultStore::release_held`] lets them; listings can lag. [`FaultStore::heal`] ends all faults. Calls and bytes are counted by kind of operation.
//!
//! The same seed and the same order of calls give the same faults.

mod counts;
mod fault;
mod plan;
mod store;
mod upload;

pub use counts::{Count, Counts};
pub use fault::{Answer, Fault, Operation};
pub use plan::{Random, Rule};
pub use store::FaultStore;
