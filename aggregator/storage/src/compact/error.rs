//! Why a compaction did not happen. Nothing is lost by any of it: inputs stay, outputs are swept.

use crate::error::ReadError;
use crate::manifest::CommitError;
use crate::store::CreateError;

#[derive(Debug, thiserror::Error)]
pub enum CompactError {
    #[error("cannot read an input: {0}")]
    Read(#[from] ReadError),
    #[error("cannot write an output: {0}")]
    Write(#[from] CreateError),
    #[error("cannot encode an output: {0}")]
    Encode(#[from] parquet::errors::ParquetError),
    #[error("cannot commit: {0}")]
    Commit(#[from] CommitError),
    /// The one who takes the rows knows why.
    #[error("the rows could not be taken")]
    Stopped,
}
