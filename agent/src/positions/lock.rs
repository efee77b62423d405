//! One agent per data directory: an exclusive lock on `lock` in it, held as long as the process lives. A second agent waits for it, as one that replaces
//! another does during a roll-out.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

const NAME: &str = "lock";

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    #[error("another agent uses it")]
    Held,
    #[error("cannot write to `{path}`")]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Released when dropped, or by the kernel when the process dies.
#[derive(Debug)]
pub(crate) struct DataDirLock(#[expect(dead_code, reason = "held, not read")] Flock<File>);

impl DataDirLock {
    /// Whether an agent ever had it.
    pub(crate) fn was_taken(data_dir: &Path) -> bool {
        data_dir.join(NAME).exists()
    }

    pub(crate) fn take(data_dir: &Path) -> Result<Self, LockError> {
        let path = data_dir.join(NAME);
        let opened = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = opened.map_err(|source| LockError::Io { path: path.clone(), source })?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Self(lock)),
            Err((_, Errno::EAGAIN)) => Err(LockError::Held),
            Err((_, errno)) => Err(LockError::Io { path, source: errno.into() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_agent_is_refused_until_the_first_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let first = DataDirLock::take(directory.path()).unwrap();
        assert!(matches!(DataDirLock::take(directory.path()), Err(LockError::Held)));
        drop(first);
        DataDirLock::take(directory.path()).unwrap();
    }
}
