//! What can go wrong while writing a tree: options that make no sense, and the file system.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub enum Error {
    /// An option outside its range; `expected` says what is in it.
    Option { name: &'static str, value: String, expected: &'static str },
    /// A tree of known content must start from an empty folder.
    NotEmpty { directory: PathBuf },
    /// The file system refused; `action` completes "cannot ...".
    Io { action: &'static str, path: PathBuf, source: io::Error },
}

impl Error {
    /// Attaches what was tried to an error of the file system.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option { name, value, expected } => write!(formatter, "`{name}` is {value}, give {expected}"),
            Self::NotEmpty { directory } => {
                write!(formatter, "`{}` is not empty: remove what is there or name another folder", directory.display())
            }
            Self::Io { action, path, source } => write!(formatter, "cannot {action} `{}`: {source}", path.display()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
