//! What can go wrong below the query, and with which object.

use std::sync::Arc;

/// The bytes are no intact file of ours. Says what is wrong; the reader adds which object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    #[error("checksum of {part} does not match: stored {stored:08x}, computed {computed:08x}")]
    Checksum { part: String, stored: u32, computed: u32 },
    #[error("{part} is damaged: {reason}")]
    Damaged { part: &'static str, reason: String },
    #[error("format version {found} is not {supported}, the one this program reads: use the program that wrote it, or export and import")]
    OtherFormat { found: u32, supported: u32 },
}

/// A read that failed, with the object's key.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    #[error("object `{key}`: {source}")]
    Store { key: String, source: Arc<object_store::Error> },
    #[error("object `{key}`: {source}")]
    File { key: String, source: FileError },
    #[error("{reason}")]
    Manifest { reason: String },
}

impl ReadError {
    pub(crate) fn store(key: &str, source: object_store::Error) -> Self {
        Self::Store { key: key.to_owned(), source: Arc::new(source) }
    }

    /// The store has no such object.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Store { source, .. } if matches!(**source, object_store::Error::NotFound { .. }))
    }

    /// The object is there and is not what was stored; another program, or another answer of the store, would not read it as something else.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::File { source: FileError::Checksum { .. } | FileError::Damaged { .. }, .. })
    }

    /// The object that was to be read, where it is known.
    pub fn object(&self) -> Option<&str> {
        match self {
            Self::Store { key, .. } | Self::File { key, .. } => Some(key),
            Self::Manifest { .. } => None,
        }
    }

    /// The object that is damaged or not there; `None` where the read failed for another reason.
    pub(crate) fn lost_object(&self) -> Option<&str> {
        self.object().filter(|_| self.is_damage() || self.is_not_found())
    }

    pub(crate) fn file(key: &str, source: FileError) -> Self {
        Self::File { key: key.to_owned(), source }
    }
}
