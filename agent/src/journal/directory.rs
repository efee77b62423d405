//! Which journal files there are: those of the directories that are configured, and of machines' directories below them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where journald writes: what stays over a reboot, and what does not.
const DEFAULT_DIRECTORIES: [&str; 2] = ["/var/log/journal", "/run/log/journal"];

/// A file as it is named now. A name that another file takes is another one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Listed {
    pub(super) path: PathBuf,
    device: u64,
    inode: u64,
}

pub(super) fn directories(configured: Option<&Path>) -> Vec<PathBuf> {
    configured.map_or_else(|| DEFAULT_DIRECTORIES.map(PathBuf::from).to_vec(), |path| vec![path.to_owned()])
}

/// All journal files in `directories`, in the order of their names.
pub(super) fn list(directories: &[PathBuf]) -> Vec<Listed> {
    let mut files = Vec::new();
    for directory in directories {
        list_directory(directory, true, &mut files);
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    files
}

fn list_directory(directory: &Path, goes_down: bool, files: &mut Vec<Listed>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() && goes_down && is_machine(&name) {
            list_directory(&entry.path(), false, files);
        } else if metadata.is_file() && (name.ends_with(".journal") || name.ends_with(".journal~")) {
            files.push(Listed { path: entry.path(), device: metadata.dev(), inode: metadata.ino() });
        }
    }
}

/// Whether a directory has a machine's id as its name.
fn is_machine(name: &str) -> bool {
    name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_machines_are_found_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let machine = root.path().join("0123456789abcdef0123456789abcdef");
        let other = root.path().join("remote");
        fs::create_dir_all(&machine).unwrap();
        fs::create_dir_all(&other).unwrap();
        for path in [machine.join("system.journal"), machine.join("user-1000.journal~"), machine.join("notes.txt"), other.join("a.journal")]
        {
            fs::write(path, b"").unwrap();
        }
        fs::write(root.path().join("b.journal"), b"").unwrap();
        let names: Vec<String> =
            list(&[root.path().to_owned()]).iter().map(|file| file.path.file_name().unwrap().to_string_lossy().into_owned()).collect();
        assert_eq!(names, ["system.journal", "user-1000.journal~", "b.journal"]);
        assert!(list(&[root.path().join("nowhere")]).is_empty());
    }
}
