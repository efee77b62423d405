//! Before which stamp lines are not read, decided once: at the first start of an agent on its data directory.
//!
//! The decision is an instant on disk, and stands: after a crash, a restart or a loss of the positions every file is begun at the same record as the
//! first time, and lines that were written while no agent ran are read. A directory on which an agent ran before is given none, whatever the
//! configuration says by then. A decision that cannot be read is none: then everything is read.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::durable;
use crate::clock;

const NAME: &str = "first-start.json";

/// Which lines the first start reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InitialLookback {
    /// All that are there.
    #[default]
    All,
    /// Those that are no older.
    For(Duration),
    /// None: those that are written from then on.
    End,
}

impl InitialLookback {
    fn not_before(self, now: SystemTime) -> Option<i64> {
        let back = match self {
            Self::All => return None,
            Self::For(duration) => duration,
            Self::End => Duration::ZERO,
        };
        Some(now.checked_sub(back).map_or(0, clock::nanoseconds))
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Decision {
    /// Nanoseconds since the epoch.
    not_before: i64,
}

/// The stamp before which lines are not read, nanoseconds since the epoch; `None`: all are.
/// `first`: when an agent starts there for the first time, if this is it.
pub(crate) fn not_before(data_dir: &Path, lookback: InitialLookback, first: Option<SystemTime>, may_write: bool) -> Option<i64> {
    let path = data_dir.join(NAME);
    match fs::read(&path) {
        Ok(bytes) => match serde_json::from_slice::<Decision>(&bytes) {
            Ok(decision) => return Some(decision.not_before),
            Err(error) => {
                tracing::warn!(path = %path.display(), error = %error, "the instant of the first start is damaged; all files are read");
                return None;
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            tracing::warn!(path = %path.display(), error = %error, "cannot read the instant of the first start; all files are read");
            return None;
        }
    }
    let not_before = lookback.not_before(first?)?;
    if may_write && let Err(error) = write(data_dir, &Decision { not_before }) {
        tracing::warn!(path = %path.display(), error = %error, "cannot write the instant of the first start; a restart reads all files");
    }
    Some(not_before)
}

fn write(data_dir: &Path, decision: &Decision) -> io::Result<()> {
    durable::write(data_dir, NAME, &serde_json::to_vec(decision)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_first_start_decides_stands() {
        let directory = tempfile::tempdir().unwrap();
        let ask = |lookback, is_first: bool| not_before(directory.path(), lookback, is_first.then(SystemTime::now), true);
        assert_eq!(ask(InitialLookback::All, true), None);
        assert_eq!(ask(InitialLookback::End, false), None, "an agent ran here before");
        let first = ask(InitialLookback::For(Duration::from_secs(3600)), true).unwrap();
        for lookback in [InitialLookback::All, InitialLookback::End, InitialLookback::For(Duration::ZERO)] {
            for is_first in [true, false] {
                assert_eq!(ask(lookback, is_first), Some(first), "{lookback:?}");
            }
        }
        fs::write(directory.path().join(NAME), "{").unwrap();
        assert_eq!(ask(InitialLookback::End, true), None, "a damaged decision leaves nothing out");
    }

    #[test]
    fn a_run_that_leaves_everything_as_it_is_writes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        assert!(not_before(directory.path(), InitialLookback::End, Some(SystemTime::now()), false).is_some());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn it_goes_back_by_the_duration() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
        assert_eq!(InitialLookback::For(Duration::from_secs(40)).not_before(now), Some(60_000_000_000));
        assert_eq!(InitialLookback::For(Duration::from_secs(400)).not_before(now), Some(0));
        assert_eq!(InitialLookback::End.not_before(now), Some(100_000_000_000));
    }
}
