//! Writes a pod-log tree as a container runtime and the kubelet do: `<namespace>_<pod>_<uid>/<container>/0.log` in CRI
//! format, lines cut into `P` pieces, both streams, rotation by rename.
//!
//! Two ways to use it:
//! - [`generate`] writes a tree of a given size, the same bytes for the same [`BatchOptions`], and returns a
//!   [`Manifest`] of what it holds: lines and bytes of every stream, and planted needles with exact counts;
//! - [`Writer`] goes on writing at a given rate with stamps of the clock, picks up where an earlier one
//!   stopped, and deletes its oldest rotated files.
//!
//! ```text
//! pods (who writes) -> content (a line's text) -> needles -> record (CRI pieces) -> log_file (rotation)
//!                               tree joins them; batch and live drive the tree
//! ```
//!
//! Invariants: what the manifest counts is counted when a line is composed, before it is cut into records;
//! every composed line is written to its end before `generate` or one [`Writer::step`] returns; stamps of one
//! container never go back.

mod batch;
mod content;
mod error;
mod live;
mod log_file;
mod manifest;
mod needle;
mod options;
mod pods;
mod random;
mod record;
mod timestamp;
mod tree;

pub use batch::generate;
pub use error::Error;
pub use live::Writer;
pub use manifest::{Manifest, NeedleCount, StreamCount};
pub use needle::NeedleClass;
pub use options::{BatchOptions, LiveOptions, TreeOptions};
pub use pods::Stream;
pub use timestamp::UnixNanoseconds;
