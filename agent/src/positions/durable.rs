//! Small files that are there whole or not at all, whatever ends the agent or the node: written beside, synced, renamed over, the directory synced.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Gives the file `name` in `directory` the content `bytes`. On an error it is as before, or whole.
pub(crate) fn write(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = directory.join(format!("{name}.tmp"));
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(temporary, directory.join(name))?;
    sync_directory(directory)
}

/// Makes renames within `directory` last.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_else_is_left() {
        let directory = tempfile::tempdir().unwrap();
        for content in ["longer than the next", "short"] {
            write(directory.path(), "decision.json", content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(directory.path().join("decision.json")).unwrap(), content);
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        assert!(write(&directory.path().join("none"), "decision.json", b"").is_err());
    }
}
