//! What is acknowledged, and what was decided: the agent's memory over restarts.
//!
//! [`table`] holds it, [`codec`] writes it as bytes and reads it back, [`store`] keeps the bytes on disk (atomically, with the
//! generation before as `.1`), [`keeper`] says when, [`agreement`] says which clients can be read for
//! together, [`ahead`] has what one of them acknowledged beyond the others, [`meeting`] where they can go on together, [`lock`] lets one agent only use a data directory, [`first_start`] knows which lines
//! came before all that. [`durable`] writes what else is small and must be whole.
//!
//! Invariants: an offset moves only when the receiver acknowledged (or the agent deliberately dropped and counted) everything
//! before it; it never lies inside a pending line; a decision that bytes do not make (labels, timer cuts, a first stamp taken from a file's
//! time) is on disk before the first push that rests on it. If the disk refuses, the agent goes on with what is in memory.

mod agreement;
mod ahead;
pub(crate) mod codec;
pub(crate) mod durable;
pub(crate) mod first_start;
pub(crate) mod keeper;
pub(crate) mod lock;
pub(crate) mod meeting;
pub(crate) mod pairs;
pub(crate) mod rewind;
pub(crate) mod store;
pub(crate) mod table;
