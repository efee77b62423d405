//! What lies in the store's folder.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::Path;

use anyhow::{Context, Result};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stored {
    pub objects: u64,
    /// Objects that no compaction has taken in and removed yet.
    pub segments: u64,
    pub bytes: u64,
}

impl Stored {
    /// Every file counts. One that is deleted meanwhile does not.
    pub(crate) fn measure(folder: &Path) -> Result<Self> {
        let mut stored = Self::default();
        stored.add(folder).with_context(|| format!("cannot measure `{}`", folder.display()))?;
        Ok(stored)
    }

    fn add(&mut self, folder: &Path) -> io::Result<()> {
        let Some(entries) = unless_gone(fs::read_dir(folder))? else { return Ok(()) };
        for entry in entries {
            let entry = entry?;
            let Some(metadata) = unless_gone(entry.metadata())? else { continue };
            if metadata.is_dir() {
                self.add(&entry.path())?;
            } else {
                self.objects += 1;
                self.segments += u64::from(folder.parent().is_some_and(|above| above.ends_with("v1/seg")));
                self.bytes += metadata.len();
            }
        }
        Ok(())
    }
}

/// Reads every file once, so that the system has it in memory if there is room: a machine may have let go of what was written minutes ago.
pub(crate) fn warm(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list `{}`", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            warm(&path)?;
            continue;
        }
        let Some(mut file) = unless_gone(File::open(&path))? else { continue };
        io::copy(&mut file, &mut io::sink()).with_context(|| format!("cannot read `{}`", path.display()))?;
    }
    Ok(())
}

fn unless_gone<T>(outcome: io::Result<T>) -> io::Result<Option<T>> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_all_levels_count() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        fs::write(folder.path().join("a/b/one"), b"12345").unwrap();
        fs::write(folder.path().join("two"), b"1").unwrap();
        fs::create_dir_all(folder.path().join("v1/seg/writer")).unwrap();
        fs::write(folder.path().join("v1/seg/writer/0.parquet"), b"12").unwrap();
        assert_eq!(Stored::measure(folder.path()).unwrap(), Stored { objects: 3, segments: 1, bytes: 8 });
        assert_eq!(Stored::measure(&folder.path().join("none")).unwrap(), Stored::default());
    }
}
