//! Reading again what a receiver lost: a request in the data directory, obeyed at the next start.
//!
//! Files whose last stamp is that young are read again from their beginnings, with the labels that are recorded, and so is the file before the first of
//! them, since a line may have been cut between the two. Stamps go on from the file before where that is known. What the node has no more is counted
//! like any file that is gone. A request is removed once the positions it led to are on disk, so that a crash obeys it again, to the same end.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::durable;
use super::table::{FileEntry, Positions, Progress, SlimArc};
use crate::clock;
use crate::parse::cri::OutputStream;
use crate::passes::SCRAPE_CONFIGS;

const NAME: &str = "rewind.json";

/// Why a request was not made.
#[derive(Debug, thiserror::Error)]
pub enum RewindError {
    #[error("no data directory `{path}`; give the agent's `data_dir`")]
    NoDirectory { path: PathBuf },
    #[error("cannot write `{path}`; run it as the agent's user: {source}")]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct Request {
    /// Nanoseconds since the epoch.
    since: i64,
}

/// Asks the agent with this data directory to read lines of the last `duration` again, at its next start. Returns the directories asked.
pub fn request(data_dir: &Path, duration: Duration) -> Result<Vec<PathBuf>, RewindError> {
    if !data_dir.is_dir() {
        return Err(RewindError::NoDirectory { path: data_dir.to_owned() });
    }
    let request = Request { since: SystemTime::now().checked_sub(duration).map_or(0, clock::nanoseconds) };
    let mut directories = vec![data_dir.to_owned()];
    // Each receiver has positions of its own, and what is read besides pods has.
    for entry in fs::read_dir(data_dir).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("client-") && entry.path().is_dir() {
            directories.push(entry.path());
        }
    }
    let besides: Vec<PathBuf> = directories.iter().map(|directory| directory.join(SCRAPE_CONFIGS)).filter(|path| path.is_dir()).collect();
    directories.extend(besides);
    for directory in &directories {
        write(directory, &request).map_err(|source| RewindError::Write { path: directory.join(NAME), source })?;
    }
    Ok(directories)
}

fn write(directory: &Path, request: &Request) -> io::Result<()> {
    durable::write(directory, NAME, &serde_json::to_vec(request)?)
}

/// Does to `positions` what a request asks for. Returns whether there was one.
pub(crate) fn obey(data_dir: &Path, positions: &mut Positions) -> bool {
    let path = data_dir.join(NAME);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return false,
        Err(error) => {
            tracing::warn!(path = %path.display(), error = %error, "cannot read a request to rewind");
            return false;
        }
    };
    match serde_json::from_slice::<Request>(&bytes) {
        Ok(request) => {
            let files = rewind(positions, request.since);
            tracing::info!(files, "files are read again, as was asked for");
        }
        Err(error) => tracing::warn!(path = %path.display(), error = %error, "a request to rewind is damaged and not obeyed"),
    }
    true
}

/// The request was obeyed.
pub(crate) fn settle(data_dir: &Path) {
    if let Err(error) = fs::remove_file(data_dir.join(NAME)) {
        tracing::warn!(error = %error, "cannot remove a request to rewind; it is obeyed again at the next start");
    }
}

/// Puts files with lines stamped `since` or later at their beginnings. Returns their number.
fn rewind(positions: &mut Positions, since: i64) -> usize {
    let is_young = |entry: &FileEntry| entry.progress.last_stamp.is_some_and(|stamp| stamp >= since);
    let before_of = |index: usize| {
        let instance = &positions.files[index].instance;
        (0..index).rev().find(|other| positions.files[*other].instance == *instance)
    };
    let mut rewound: Vec<(usize, Option<usize>)> = Vec::new();
    for (index, entry) in positions.files.iter().enumerate() {
        let has_young_after =
            || positions.files[index + 1..].iter().find(|other| other.instance == entry.instance).is_some_and(|other| is_young(other));
        if is_young(entry) || has_young_after() {
            rewound.push((index, before_of(index)));
        }
    }
    let starts: Vec<(usize, Progress)> = rewound
        .into_iter()
        .map(|(index, before)| {
            let before = before.map(|before| &positions.files[before].progress);
            let start = Progress {
                offset: 0,
                last_stamp: before.and_then(|progress| progress.last_stamp),
                last_stream: OutputStream::Stdout,
                is_finished: false,
                stages: before.and_then(|progress| progress.stages.clone()),
            };
            (index, start)
        })
        .collect();
    let count = starts.len();
    for (index, start) in starts {
        let entry = SlimArc::make_mut(&mut positions.files[index]);
        entry.progress = start;
        entry.cuts.clear();
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::positions::table::tests::file_entry;

    fn finished(container: &str, last_stamp: i64) -> SlimArc<FileEntry> {
        let mut entry = file_entry(container, 100);
        entry.progress.last_stamp = Some(last_stamp);
        entry.progress.is_finished = true;
        SlimArc::new(entry)
    }

    #[test]
    fn young_files_and_the_one_before_are_put_at_their_beginnings_with_the_stamp_before() {
        let files = vec![finished("a", 10), finished("b", 15), finished("a", 20), finished("a", 30), finished("b", 18)];
        let mut positions = Positions { files, ..Positions::default() };
        assert_eq!(rewind(&mut positions, 25), 2);
        let seen: Vec<_> =
            positions.files.iter().map(|file| (file.progress.offset, file.progress.last_stamp, file.progress.is_finished)).collect();
        assert_eq!(seen, [(100, Some(10), true), (100, Some(15), true), (0, Some(10), false), (0, Some(20), false), (100, Some(18), true)]);
    }

    #[test]
    fn a_request_is_obeyed_until_it_is_settled() {
        let directory = tempfile::tempdir().unwrap();
        let mut positions = Positions { files: vec![finished("a", i64::MAX)], ..Positions::default() };
        assert!(!obey(directory.path(), &mut positions));
        fs::create_dir(directory.path().join("client-other")).unwrap();
        assert_eq!(request(directory.path(), Duration::from_secs(60)).unwrap().len(), 2);
        for _ in 0..2 {
            assert!(obey(directory.path(), &mut positions));
            assert_eq!(positions.files[0].progress.offset, 0);
        }
        settle(directory.path());
        assert!(!obey(directory.path(), &mut positions));
        assert!(matches!(request(&directory.path().join("none"), Duration::ZERO), Err(RewindError::NoDirectory { .. })));
    }
}
