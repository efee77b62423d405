//! Docker's own files behind the links of the pods' tree: `<n>.log` leads to `<docker root>/containers/<id>/<id>-json.log`, which docker rotates
//! itself to `-json.log.1`, `.2` and so on, and may compress.
//!
//! A link that leads anywhere else is not followed: a pod that can write to its log directory must not make the agent read other files. The numbers move
//! with every rotation, so they order the files of one listing and say nothing from one listing to the next.

use std::fs;
use std::path::Path;

use super::listing::SeenFile;
use super::paths::{FileRole, LogFileName};

const LIVE: &str = "-json.log";

/// The files of the container whose link is at `link`, named by their whole paths; `None` if it does not lead below `root`, which is canonical.
pub(super) fn files_behind(link: &Path, root: &Path, instance: u32) -> Option<Vec<SeenFile>> {
    let live = link.canonicalize().ok().filter(|target| target.starts_with(root))?;
    let directory = live.parent()?;
    let stem = live.file_name()?.to_str().filter(|name| name.ends_with(LIVE))?;
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).ok()?.flatten() {
        let text = entry.path().to_string_lossy().into_owned();
        let is_its = entry.file_name().to_str().is_some_and(|name| name.starts_with(stem));
        let Some((role, is_compressed)) = parse(&text).filter(|_| is_its) else { continue };
        // The metadata of an entry is that of a link itself.
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_file() {
            files.push(SeenFile::new(text, LogFileName { instance, role, is_compressed }, &metadata));
        }
    }
    Some(files)
}

/// Whether a name is one of docker's.
pub(crate) fn is_rotated(name: &str) -> bool {
    parse(name).is_some_and(|(role, _)| role != FileRole::Live)
}

/// What a name of docker's says: higher numbers are older.
pub(crate) fn role(name: &str) -> Option<FileRole> {
    parse(name).map(|(role, _)| role)
}

fn parse(name: &str) -> Option<(FileRole, bool)> {
    let (_, rest) = name.rsplit_once(LIVE)?;
    if rest.is_empty() {
        return Some((FileRole::Live, false));
    }
    let number = rest.strip_prefix('.')?;
    let (number, is_compressed) = number.strip_suffix(".gz").map_or((number, false), |number| (number, true));
    let number: u32 = number.parse().ok().filter(|_| number.bytes().all(|byte| byte.is_ascii_digit()))?;
    Some((FileRole::Rotated(format!("{:010}", u32::MAX - number)), is_compressed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn files_behind_a_link_are_found_oldest_first_and_other_links_are_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap().join("containers");
        fs::create_dir_all(root.join("abc")).unwrap();
        for name in [
            "abc-json.log",
            "abc-json.log.1",
            "abc-json.log.10.gz",
            "abc-json.log.2.gz",
            "abc-json.log.1.tmp",
            "other-json.log",
            "config.json",
        ] {
            fs::write(root.join("abc").join(name), b"x").unwrap();
        }
        let link = directory.path().join("3.log");
        symlink(root.join("abc/abc-json.log"), &link).unwrap();
        let mut files = files_behind(&link, &root, 3).unwrap();
        files.sort_by(|one, other| one.name.cmp(&other.name));
        let names: Vec<&str> = files.iter().map(|file| file.text.rsplit('/').next().unwrap()).collect();
        assert_eq!(names, ["abc-json.log.10.gz", "abc-json.log.2.gz", "abc-json.log.1", "abc-json.log"]);
        assert!(files.iter().all(|file| file.name.instance == 3) && files[0].name.is_compressed && is_rotated(&files[0].text));
        for target in ["/etc/shadow", "/nowhere"] {
            let other = directory.path().join("4.log");
            symlink(target, &other).unwrap();
            assert!(files_behind(&other, &root, 4).is_none());
            fs::remove_file(other).unwrap();
        }
        symlink(root.join("abc/config.json"), directory.path().join("5.log")).unwrap();
        assert!(files_behind(&directory.path().join("5.log"), &root, 5).is_none());
    }
}
