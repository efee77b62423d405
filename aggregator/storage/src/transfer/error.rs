//! Why lines could not be taken out or in.

use crate::compact::CompactError;
use crate::error::FileError;

#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error(transparent)]
    Merge(#[from] CompactError),
    #[error("cannot write the export: {0}")]
    Write(#[from] std::io::Error),
    #[error("cannot encode the export: {0}")]
    Encode(#[from] parquet::errors::ParquetError),
}

/// The input cannot be read on. What came before it may be stored; importing the whole again stores nothing twice.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("cannot read the input: {0}")]
    Read(#[from] std::io::Error),
    #[error("the input is no Parquet file that can be read: {0}")]
    Parquet(#[from] parquet::errors::ParquetError),
    #[error("the input is a damaged file of ours: {0}; nothing of it was imported")]
    Damaged(#[from] FileError),
    #[error("the input has no column `{wanted}`; its columns are {found}")]
    NoColumn { wanted: &'static str, found: String },
}
