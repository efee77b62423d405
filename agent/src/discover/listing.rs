//! Listings of the log tree: directories as they are, without opening a file.
//!
//! Only directories are descended into and only regular files are listed; a FIFO, a device, a symlink or a directory with a log file's name is
//! counted by reason. A directory that vanishes while it is listed is an empty one.

use std::fs::{self, DirEntry, FileType, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::docker;
use super::paths::{self, FileRole, LogFileName, PodDirectory};
use super::target::FileTarget;
use crate::positions::table::ContainerPath;

/// A regular file with a log file's name.
#[derive(Debug, Clone)]
pub(crate) struct SeenFile {
    /// Its name as it stands in the directory.
    pub(crate) text: String,
    pub(crate) name: LogFileName,
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) size: u64,
    pub(crate) modified: SystemTime,
    /// It has a name that rotation gives: read only if it was read before under another name, or came after one that was.
    pub(crate) is_former: bool,
    /// It has a name that no rotation ends with: read only if its inode is known.
    pub(crate) is_interim: bool,
}

impl SeenFile {
    /// With a name as rotations give them.
    pub(crate) fn new(text: String, name: LogFileName, metadata: &Metadata) -> Self {
        Self {
            text,
            name,
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            // Every Unix tells it.
            modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            is_former: false,
            is_interim: false,
        }
    }
}

/// A container's directory, before a look at what it holds.
#[derive(Debug, Clone)]
pub(crate) struct SeenContainer {
    pub(crate) path: ContainerPath,
    pub(crate) directory: Arc<Path>,
    pub(crate) source: Source,
}

impl SeenContainer {
    /// A container of the tree of pod logs; `None` if that is no path of one.
    pub(crate) fn of_path(path: ContainerPath, directory: Arc<Path>) -> Option<Self> {
        let (pod, container) = paths::parse_container(&path)?;
        let source = Source::Container { pod: Arc::new(pod), container: container.into() };
        Some(Self { path, directory, source })
    }
}

/// What a container's directory holds.
#[derive(Debug, Clone)]
pub(crate) struct ContainerListing {
    pub(crate) path: ContainerPath,
    pub(crate) directory: Arc<Path>,
    pub(crate) source: Source,
    pub(crate) files: Vec<SeenFile>,
    /// The directory itself is not there any more.
    pub(crate) is_gone: bool,
}

/// What a group of files is, and where its labels come from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// A container of the tree of pod logs.
    Container { pod: Arc<PodDirectory>, container: Arc<str> },
    /// A file that a job of a `promtail.yaml` names.
    Target(Arc<FileTarget>),
}

/// Names of files with their devices and inodes, sorted.
pub(crate) type Identities = Vec<(String, u64, u64)>;

impl ContainerListing {
    pub(crate) fn container(&self) -> SeenContainer {
        SeenContainer { path: ContainerPath::clone(&self.path), directory: Arc::clone(&self.directory), source: self.source.clone() }
    }

    pub(crate) fn identities(&self) -> Identities {
        let mut identities: Identities = self.files.iter().map(|file| (file.text.clone(), file.device, file.inode)).collect();
        identities.sort();
        identities
    }
}

/// Names that are not read, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Ignored {
    pub(crate) symlinks: i64,
    pub(crate) not_regular: i64,
    pub(crate) bad_pod_names: i64,
    pub(crate) unreadable: i64,
}

impl Ignored {
    pub(crate) fn add(&mut self, other: Self) {
        self.symlinks += other.symlinks;
        self.not_regular += other.not_regular;
        self.bad_pod_names += other.bad_pod_names;
        self.unreadable += other.unreadable;
    }
}

/// A pod's directory that splits into its three parts.
#[derive(Debug, Clone)]
pub(crate) struct SeenPod {
    pub(crate) directory: Arc<Path>,
    pub(crate) name: String,
    pub(crate) pod: Arc<PodDirectory>,
}

impl SeenPod {
    /// The directory of this name below `root`, if it is a pod's.
    pub(crate) fn below(root: &Path, name: &str) -> Option<Self> {
        let pod = Arc::new(PodDirectory::parse(name)?);
        Some(Self { directory: root.join(name).into(), name: name.to_owned(), pod })
    }

    /// The container that has `path` and lies in `directory`: what others keep of it is one text.
    pub(crate) fn container_at(&self, path: &ContainerPath, directory: &Arc<Path>) -> SeenContainer {
        let container = path.rsplit('/').next().unwrap_or_default().into();
        SeenContainer {
            path: ContainerPath::clone(path),
            directory: Arc::clone(directory),
            source: Source::Container { pod: Arc::clone(&self.pod), container },
        }
    }

    /// Its container of this name.
    pub(crate) fn container(&self, name: &str) -> SeenContainer {
        self.container_at(&format!("{}/{name}", self.name).into(), &self.directory.join(name).into())
    }
}

/// The names of the pod directories below `root`.
pub(crate) fn pods(root: &Path, ignored: &mut Ignored) -> io::Result<Vec<String>> {
    let mut pods = Vec::new();
    for entry in entries(root)? {
        let Some((entry, kind)) = kind_of(entry)? else { continue };
        let name = entry.file_name().to_string_lossy().into_owned();
        if kind.is_symlink() {
            ignored.symlinks += 1;
        } else if kind.is_dir() {
            match PodDirectory::parse(&name) {
                Some(_) => pods.push(name),
                None => ignored.bad_pod_names += 1,
            }
        }
    }
    Ok(pods)
}

/// The names of the container directories of `pod`.
pub(crate) fn containers(pod: &SeenPod, ignored: &mut Ignored) -> io::Result<Vec<String>> {
    let mut containers = Vec::new();
    for entry in entries(&pod.directory)? {
        let Some((entry, kind)) = kind_of(entry)? else { continue };
        if kind.is_symlink() {
            ignored.symlinks += 1;
        } else if kind.is_dir() {
            containers.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(containers)
}

/// The files of a container's directory; links are followed below `docker_root` alone.
pub(crate) fn container(container: &SeenContainer, docker_root: Option<&Path>, ignored: &mut Ignored) -> io::Result<ContainerListing> {
    let SeenContainer { path, directory, source } = container.clone();
    let mut listing = ContainerListing { path, directory, source, files: Vec::new(), is_gone: false };
    // A symlink in its place is not followed.
    let is_directory = fs::symlink_metadata(&listing.directory).is_ok_and(|metadata| metadata.is_dir());
    if !is_directory {
        listing.is_gone = true;
        return Ok(listing);
    }
    for entry in entries(&listing.directory)? {
        let Some((entry, kind)) = kind_of(entry)? else { continue };
        let text = entry.file_name().to_string_lossy().into_owned();
        let Some(name) = LogFileName::parse(&text) else {
            listing.files.extend(LogFileName::parse_interim(&text).filter(|_| kind.is_file()).and_then(|name| interim(&entry, text, name)));
            continue;
        };
        if kind.is_symlink() {
            let is_live = name.role == FileRole::Live;
            match docker_root.filter(|_| is_live).and_then(|root| docker::files_behind(&entry.path(), root, name.instance)) {
                Some(files) => listing.files.extend(files),
                None => ignored.symlinks += 1,
            }
        } else if kind.is_dir() || kind.is_fifo() || !kind.is_file() {
            ignored.not_regular += 1;
        } else if let Ok(metadata) = entry.metadata() {
            listing.files.push(SeenFile::new(text, name, &metadata));
        }
    }
    Ok(listing)
}

/// A regular file that may be a known one on its way to another name; `None` if it is gone already.
fn interim(entry: &DirEntry, text: String, name: LogFileName) -> Option<SeenFile> {
    let metadata = entry.metadata().ok()?;
    Some(SeenFile { is_interim: true, ..SeenFile::new(text, name, &metadata) })
}

/// Lists the directory of a container once more; a listing made while nothing was renamed is seen twice in a row.
pub(crate) fn again(seen: &SeenContainer, docker_root: Option<&Path>) -> io::Result<ContainerListing> {
    const TRIES: usize = 20;
    if matches!(seen.source, Source::Target(_)) {
        return Err(io::Error::from(io::ErrorKind::Unsupported));
    }
    let list = || container(seen, docker_root, &mut Ignored::default());
    let mut listing = list()?;
    for _ in 0..TRIES {
        let next = list()?;
        let is_settled = next.identities() == listing.identities();
        listing = next;
        if is_settled {
            break;
        }
    }
    Ok(listing)
}

/// The entries of a directory, one by one, as there may be ten thousand; none of one that is not there.
fn entries(directory: &Path) -> io::Result<impl Iterator<Item = io::Result<DirEntry>> + use<>> {
    let listed = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        listed => Some(listed?),
    };
    Ok(listed.into_iter().flatten())
}

/// An entry with its kind; `None` for one that vanished meanwhile.
fn kind_of(entry: io::Result<DirEntry>) -> io::Result<Option<(DirEntry, FileType)>> {
    let entry = entry?;
    Ok(entry.file_type().ok().map(|kind| (entry, kind)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    #[test]
    fn hostile_names_are_counted_and_not_listed() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("ns_pod_uid/app");
        fs::create_dir_all(&directory).unwrap();
        fs::create_dir(root.path().join("no-underscores")).unwrap();
        fs::write(directory.join("0.log"), b"x").unwrap();
        fs::write(directory.join("0.log.tmp"), b"x").unwrap();
        symlink("/etc/passwd", directory.join("1.log")).unwrap();
        symlink("/etc/passwd", directory.join("1.log.tmp")).unwrap();
        mkfifo(&directory.join("2.log"), Mode::S_IRUSR).unwrap();
        fs::create_dir(directory.join("3.log")).unwrap();
        symlink("/etc", root.path().join("ns_link_uid")).unwrap();
        symlink("/etc", root.path().join("ns_pod_uid/link")).unwrap();

        let mut ignored = Ignored::default();
        let pods = pods(root.path(), &mut ignored).unwrap();
        assert_eq!(pods.len(), 1);
        let pod = SeenPod::below(root.path(), &pods[0]).unwrap();
        let mut containers = containers(&pod, &mut ignored).unwrap();
        assert_eq!(containers.len(), 1);
        let listing = container(&pod.container(&containers.remove(0)), None, &mut ignored).unwrap();
        assert_eq!(&*listing.path, "ns_pod_uid/app");
        let mut files: Vec<_> = listing.files.iter().map(|file| (file.text.as_str(), file.is_interim)).collect();
        files.sort_unstable();
        assert_eq!(files, [("0.log", false), ("0.log.tmp", true)]);
        assert_eq!(ignored, Ignored { symlinks: 3, not_regular: 2, bad_pod_names: 1, unreadable: 0 });
    }

    #[test]
    fn a_directory_that_is_gone_is_an_empty_listing() {
        let pod = SeenPod::below(Path::new("/nowhere"), "a_b_c").unwrap();
        let listing = container(&pod.container("x"), None, &mut Ignored::default()).unwrap();
        assert!(listing.is_gone && listing.files.is_empty());
    }
}
