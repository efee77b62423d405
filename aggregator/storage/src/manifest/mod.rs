//! The manifest: which compacted files, watermarks and tombstones a tenant has, as numbered versions of which the highest counts.
//!
//! ```text
//! v1/<tenant>/manifest/00000000000000000063.pb   delta, base 1
//!                      00000000000000000064.pb   snapshot (every 64th, and the first)
//!                      00000000000000000065.pb   delta, base 64: everything that differs from 64, not from 65's predecessor
//! commit:  read n → change(n), checked against n → PUT n+1, create-only → is n still there, and nothing above n+1 that is not from it?
//! ```
//! Invariants:
//! 1. Version n+1 is version n with one [`Change`], checked against n itself; each version names its predecessor's commit id.
//! 2. A commit that is reported as done is in the history, at exactly one number. One that is reported as failed may be there too
//!    where the report says so ([`CommitError::Unknown`], [`CommitError::Fenced`]), so nobody deletes outputs after a failure: orphans are swept.
//! 3. A file is added once, and only while its object is there. What leaves the list is retired, then deleted, then forgotten, in this order;
//!    orphans are retired too before they are deleted, so that no writer that stalled can add them any more.
//! 4. Watermarks only rise; versions are deleted strictly ascending and never the newest, so that a deleted number that is made again is known as such.
//! 5. Any damage to an object is an error that names it ([`ManifestError`]), never another list.
//!
//! Clocks decide when something is deleted, never what is visible.

mod change;
mod clean;
mod commit;
mod due;
mod envelope;
mod inspect;
mod log;
mod message;
mod orphans;
mod rebuild;
mod request_object;
mod state;

pub use change::{Change, Conflict, FileReplacement, SegmentFold, WriterFold};
pub use clean::{CleanError, CleanProgress, Cleaned, clean_retired, clean_segments, clean_versions, drop_idle_writers};
pub use commit::CommitError;
pub(crate) use due::is_past;
pub use due::{ListedVersion, RetireDelays, first_kept, retired_due, tombstones_due, versions_due, writers_due};
pub use envelope::{Header, ManifestError};
pub use log::{Clock, LoadError, ManifestLog, tenants};
pub use orphans::{orphans_due, sweep_orphans};
pub use rebuild::RebuiltContents;
pub use request_object::{RequestDamaged, decode_request, encode_request};
pub use state::{
    BaseVersion, CommitId, DataFile, FileId, FilePart, ManifestState, RetireReason, Retired, Tombstone, TombstoneId, Watermark,
};

#[cfg(test)]
mod tests;
