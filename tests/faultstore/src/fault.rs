//! What can go wrong, and where.

use std::time::Duration;

use object_store::{Error, Result};

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    Put,
    /// One part of an upload in parts.
    Part,
    /// The end of an upload in parts, which makes the object.
    Complete,
    Get,
    Head,
    List,
    Delete,
}

/// What the caller is told instead of the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Timeout,
    Reset,
    /// 500.
    ServerError,
    /// 503.
    SlowDown,
    /// 403.
    Denied,
    /// 404.
    NotFound,
    /// 409, which the library does not tell from 412.
    Conflict,
    /// 412.
    Exists,
    /// None at all: the request hangs until the caller gives up.
    Never,
}

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Done, but answered so.
    Done(Answer),
    /// Not done, and answered so.
    Refused(Answer),
    /// A put that is answered so and lands when the test lets it. Of other operations: as `Refused`.
    Held(Answer),
    /// Done, after a pause.
    Slow(Duration),
    /// The body of a get lacks its last bytes. Of other operations: nothing.
    Short(u64),
    /// One bit of the body of a get is flipped; the number is taken modulo its bits. Of other operations: nothing.
    Flip(u64),
}

impl Answer {
    /// As an error of the library, the way its S3 client words it.
    pub(crate) async fn give<T>(self, path: &str) -> Result<T> {
        let path = path.to_owned();
        Err(match self {
            Self::Timeout => generic("planted: timed out"),
            Self::Reset => generic("planted: connection reset"),
            Self::ServerError => generic("planted: 500 internal server error"),
            Self::SlowDown => generic("planted: 503 slow down"),
            Self::Denied => Error::PermissionDenied { path, source: "planted: 403 forbidden".into() },
            Self::NotFound => Error::NotFound { path, source: "planted: 404 not found".into() },
            Self::Conflict => Error::AlreadyExists { path, source: "planted: 409 conflict".into() },
            Self::Exists => Error::AlreadyExists { path, source: "planted: 412 precondition failed".into() },
            Self::Never => std::future::pending().await,
        })
    }
}

fn generic(text: &'static str) -> Error {
    Error::Generic { store: "faults", source: text.into() }
}
