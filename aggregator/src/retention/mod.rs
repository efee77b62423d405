//! How long lines are kept, and what was asked to be deleted: one source for queries, which hide it at once, and for compaction, which erases it.
//!
//! ```text
//! limits ──→ policy (per tenant) ──┐
//!                                  ├─→ rules (of one tenant at one time) ─→ what queries hide
//! manifest ─→ requests (compiled) ─┘                                     └→ what compaction erases ─→ work (background thread)
//! ```
//! Invariants: what compaction erases, queries have hidden before; a request is erased only after its cancel period; retention by
//! time erases nothing while the clock is not to be trusted (`clock_guard.rs`).

mod clock_guard;
mod delete_query;
mod metrics;
mod policy;
mod progress;
mod requests;
mod rules;
mod work;

pub use delete_query::{DeleteQuery, DeleteQueryError};
pub use metrics::register;
pub use policy::PolicyError;
pub use progress::RetentionProgress;
pub use rules::{RetentionOptions, RetentionRules};
pub use work::RetentionWork;
