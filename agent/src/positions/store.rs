//! The positions file on disk.
//!
//! A new generation is written to a temporary file beside it, synced, and renamed over; the one before stays as `.1`. At every
//! instant at least one of the two is whole. Reading falls back from the file to `.1`, then to nothing: the files are read again from
//! their beginnings and copies disappear by identity.

use std::fs::{self, OpenOptions};
use std::io::{self, BufWriter};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::codec::{self, DecodeError};
use super::durable;
use super::table::Positions;

/// Where positions came from at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoadedFrom {
    Current,
    Previous,
    /// None was there: a first start.
    Nothing,
    /// Both were unreadable: everything is read again.
    Damaged,
}

#[derive(Debug)]
pub(crate) struct PositionsStore {
    current: PathBuf,
    previous: PathBuf,
    temporary: PathBuf,
    generation: u64,
    /// Whether `current` may become `.1`; a damaged file must not replace a good one.
    is_current_good: bool,
    /// For a run that leaves everything as it is.
    writes_nothing: bool,
}

impl PositionsStore {
    /// Opens the store in `data_dir` and reads what is there.
    pub(crate) fn open(data_dir: &Path) -> (Self, Positions, LoadedFrom) {
        let mut store = Self {
            current: data_dir.join("positions.json"),
            previous: data_dir.join("positions.json.1"),
            temporary: data_dir.join("positions.json.tmp"),
            generation: 0,
            is_current_good: false,
            writes_nothing: false,
        };
        let (positions, source) = store.load();
        (store, positions, source)
    }

    /// The same for a run that leaves everything as it is.
    pub(crate) fn without_writing(self) -> Self {
        Self { writes_nothing: true, ..self }
    }

    fn load(&mut self) -> (Positions, LoadedFrom) {
        let mut is_any_there = false;
        for (path, source) in [(&self.current, LoadedFrom::Current), (&self.previous, LoadedFrom::Previous)] {
            match read(path) {
                Ok((positions, generation)) => {
                    self.generation = generation;
                    self.is_current_good = source == LoadedFrom::Current;
                    return (positions, source);
                }
                Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    is_any_there = true;
                    tracing::warn!(path = %path.display(), error = %error, cause = error.cause(), "positions file not usable");
                }
            }
        }
        (Positions::default(), if is_any_there { LoadedFrom::Damaged } else { LoadedFrom::Nothing })
    }

    /// Writes a new generation. On an error the files on disk are as before, or whole.
    pub(crate) fn write(&mut self, positions: &Positions) -> io::Result<()> {
        if self.writes_nothing {
            return Ok(());
        }
        let file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&self.temporary)?;
        codec::encode_to(positions, self.generation + 1, BufWriter::new(&file))?;
        file.sync_all()?;
        if self.is_current_good {
            self.keep_previous()?;
        }
        fs::rename(&self.temporary, &self.current)?;
        self.sync_directory()?;
        self.generation += 1;
        self.is_current_good = true;
        Ok(())
    }

    /// `current` gets `.1` as a second name, so that it is there under its own until the rename.
    fn keep_previous(&self) -> io::Result<()> {
        let link = self.previous.with_extension("1.tmp");
        match fs::remove_file(&link) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        match fs::hard_link(&self.current, &link) {
            Ok(()) => fs::rename(&link, &self.previous),
            // Deleted by hand: there is nothing to keep.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn sync_directory(&self) -> io::Result<()> {
        let directory = self.current.parent().expect("the file lies in the data directory");
        durable::sync_directory(directory)
    }
}

#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("cannot read it")]
    Io(#[source] io::Error),
    #[error("cannot use it")]
    Decode(#[source] DecodeError),
}

impl ReadError {
    fn cause(&self) -> String {
        match self {
            Self::Io(error) => error.to_string(),
            Self::Decode(error) => error.to_string(),
        }
    }
}

fn read(path: &Path) -> Result<(Positions, u64), ReadError> {
    let bytes = fs::read(path).map_err(ReadError::Io)?;
    codec::decode(&bytes).map_err(ReadError::Decode)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::positions::codec::tests::sample;
    use crate::positions::table::tests::file_entry;

    fn other() -> Positions {
        Positions { files: vec![file_entry("other", 1).into()], ..Positions::default() }
    }

    #[test]
    fn the_last_generation_is_read_and_the_one_before_kept() {
        let directory = tempfile::tempdir().unwrap();
        let (mut store, positions, source) = PositionsStore::open(directory.path());
        assert_eq!((positions, source), (Positions::default(), LoadedFrom::Nothing));
        store.write(&sample()).unwrap();
        store.write(&other()).unwrap();
        let (store, positions, source) = PositionsStore::open(directory.path());
        assert_eq!((positions, source, store.generation), (other(), LoadedFrom::Current, 2));
        assert_eq!(read(&store.previous).unwrap(), (sample(), 1));
    }

    #[test]
    fn any_damage_falls_back_to_the_generation_before_and_never_spoils_it() {
        let directory = tempfile::tempdir().unwrap();
        let (mut store, ..) = PositionsStore::open(directory.path());
        store.write(&sample()).unwrap();
        store.write(&other()).unwrap();
        let whole = fs::read(&store.current).unwrap();
        let mut damages: Vec<Vec<u8>> = (0..whole.len()).step_by(7).map(|length| whole[..length].to_vec()).collect();
        damages.push(vec![0; whole.len()]);
        for damage in damages {
            fs::write(&store.current, &damage).unwrap();
            let (mut reopened, positions, source) = PositionsStore::open(directory.path());
            assert_eq!((positions, source), (sample(), LoadedFrom::Previous));
            reopened.write(&other()).unwrap();
            assert_eq!(read(&reopened.previous).unwrap().0, sample());
        }
    }

    #[test]
    fn both_damaged_is_a_full_re_read() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["positions.json", "positions.json.1"] {
            fs::write(directory.path().join(name), b"junk").unwrap();
        }
        let (_, positions, source) = PositionsStore::open(directory.path());
        assert_eq!((positions, source), (Positions::default(), LoadedFrom::Damaged));
    }

    #[test]
    fn a_deleted_file_is_written_again() {
        let directory = tempfile::tempdir().unwrap();
        let (mut store, ..) = PositionsStore::open(directory.path());
        store.write(&sample()).unwrap();
        fs::remove_file(&store.current).unwrap();
        store.write(&other()).unwrap();
        assert_eq!(PositionsStore::open(directory.path()).1, other());
    }
}
