//! What was last told of a container's files: readers look at the sizes of what they know themselves, and nothing is told twice.
//!
//! Most containers have one file, and there may be ten thousand of them.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use super::listing::{ContainerListing, Identities, SeenFile};
use super::paths::{FileRole, live_name};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    /// The live file of an instance alone.
    One {
        instance: u32,
        device: u64,
        inode: u64,
        size: u64,
    },
    Several(Identities),
}

impl Default for Told {
    /// Nothing.
    fn default() -> Self {
        Self::Several(Identities::default())
    }
}

impl Told {
    pub(super) fn of(listing: &ContainerListing) -> Self {
        match listing.files.as_slice() {
            [SeenFile { text, name, device, inode, size, .. }] if name.role == FileRole::Live && *text == live_name(name.instance) => {
                Self::One { instance: name.instance, device: *device, inode: *inode, size: *size }
            }
            _ => Self::Several(listing.identities()),
        }
    }

    /// Whether the same files have the same names.
    pub(super) fn names_the_same(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::One { instance, device, inode, .. },
                Self::One { instance: other_instance, device: other_device, inode: other_inode, .. },
            ) => (instance, device, inode) == (other_instance, other_device, other_inode),
            (one, other) => one == other,
        }
    }

    /// Whether telling it after `before` tells anything: what several files are now may matter even if their names are the same.
    pub(super) fn is_news_after(&self, before: &Self) -> bool {
        matches!(self, Self::Several(_)) || self != before
    }

    /// The name of the one file that a container has; whether `metadata`, which that name has now, is what was told.
    pub(super) fn only_file(&self) -> Option<(String, impl Fn(&Metadata) -> bool + use<>)> {
        let Self::One { instance, device, inode, size } = *self else { return None };
        Some((live_name(instance), move |metadata: &Metadata| (metadata.dev(), metadata.ino(), metadata.len()) == (device, inode, size)))
    }

    /// The names of several files.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let identities = match self {
            Self::One { .. } => &[],
            Self::Several(identities) => identities.as_slice(),
        };
        identities.iter().map(|(name, ..)| name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::time::SystemTime;

    use super::*;
    use crate::discover::listing::Source;
    use crate::discover::paths::{LogFileName, PodDirectory};

    /// Name, inode and size.
    type File = (&'static str, u64, u64);

    fn told(files: &[File]) -> Told {
        let file = |(text, inode, size): &File| SeenFile {
            text: (*text).to_owned(),
            name: LogFileName::parse(Path::new(text).file_name().unwrap().to_str().unwrap()).unwrap(),
            device: 1,
            inode: *inode,
            size: *size,
            modified: SystemTime::UNIX_EPOCH,
            is_former: false,
            is_interim: false,
        };
        Told::of(&ContainerListing {
            path: "n_p_u/c".into(),
            directory: Path::new("/pods/n_p_u/c").into(),
            source: Source::Container { pod: Arc::new(PodDirectory::parse("n_p_u").unwrap()), container: "c".into() },
            files: files.iter().map(file).collect(),
            is_gone: false,
        })
    }

    #[test]
    fn one_file_is_news_when_it_is_another_or_its_size_changes_and_several_are_every_time() {
        let looks: [(&[File], bool, bool); 11] = [
            (&[("0.log", 1, 5)], false, true),
            (&[("0.log", 1, 5)], true, false),
            (&[("0.log", 1, 7)], true, true),
            (&[("0.log", 2, 7)], false, true),
            (&[("1.log", 2, 7)], false, true),
            (&[("0.log.20261121-090000", 1, 7)], false, true),
            (&[("0.log.20261121-090000", 1, 7)], true, true),
            (&[("/docker/0.log", 1, 7)], false, true),
            (&[("0.log", 1, 0), ("1.log", 2, 7)], false, true),
            (&[("1.log", 2, 7), ("0.log", 1, 0)], true, true),
            (&[], false, true),
        ];
        let mut before = Told::default();
        for (number, (files, names_the_same, is_news)) in looks.into_iter().enumerate() {
            let now = told(files);
            assert_eq!((now.names_the_same(&before), now.is_news_after(&before)), (names_the_same, is_news), "look {number}: {files:?}");
            before = now;
        }
    }

    #[test]
    fn the_only_file_is_known_by_its_name_identity_and_size() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("3.log");
        std::fs::write(&path, "12345").unwrap();
        let metadata = path.metadata().unwrap();
        for (size, inode, expected) in [(5, metadata.ino(), true), (6, metadata.ino(), false), (5, metadata.ino() + 1, false)] {
            let told = Told::One { instance: 3, device: metadata.dev(), inode, size };
            let (name, is_told) = told.only_file().unwrap();
            assert_eq!((name.as_str(), is_told(&metadata)), ("3.log", expected));
        }
        assert!(told(&[("0.log", 1, 0), ("1.log", 2, 7)]).only_file().is_none());
    }
}
