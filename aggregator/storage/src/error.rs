//! What can go wrong below the query, and with which object.

use std::sync::Arc;

/// The bytes are no intact segment. Says what is wrong; the reader adds which object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SegmentError {
    #[error("checksum of {part} does not match: stored {stored:08x}, computed {computed:08x}")]
    Checksum { part: String, stored: u32, computed: u32 },
    #[error("{part} is damaged: {reason}")]
    Damaged { part: &'static str, reason: String },
    #[error("format version {found} is newer than {supported}, the newest this program reads: upgrade it")]
    FromTheFuture { found: u32, supported: u32 },
}

/// A read that failed, with the object's key.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    #[error("object `{key}`: {source}")]
    Store { key: String, source: Arc<object_store::Error> },
    #[error("object `{key}`: {source}")]
    Segment { key: String, source: SegmentError },
}

impl ReadError {
    pub(crate) fn store(key: &str, source: object_store::Error) -> Self {
        Self::Store { key: key.to_owned(), source: Arc::new(source) }
    }

    pub(crate) fn segment(key: &str, source: SegmentError) -> Self {
        Self::Segment { key: key.to_owned(), source }
    }
}
