//! Sizes that readers were told, so that a scan wakes none of them for nothing.
//!
//! Of a container with one file that has the size it had there is nothing to tell: its reader holds the file and asks for its size itself. Of several files
//! sizes and compressed copies may matter, so these are told every time.

use std::collections::HashMap;

use super::listing::ContainerListing;
use crate::positions::table::ContainerPath;

#[derive(Debug, Default)]
pub(super) struct ToldSizes(HashMap<ContainerPath, u64>);

impl ToldSizes {
    /// Whether a listing that names what the one before named tells anything. It is then told.
    pub(super) fn have_changed(&mut self, listing: &ContainerListing) -> bool {
        let [only] = listing.files.as_slice() else {
            self.forget(&listing.path);
            return true;
        };
        match self.0.get_mut(&listing.path) {
            Some(size) => std::mem::replace(size, only.size) != only.size,
            None => {
                self.0.insert(listing.path.clone(), only.size);
                true
            }
        }
    }

    /// Whether a container was told with one file of this size.
    pub(super) fn is_told(&self, path: &str, size: u64) -> bool {
        self.0.get(path) == Some(&size)
    }

    /// The container is gone, or no longer has one file only.
    pub(super) fn forget(&mut self, path: &str) {
        self.0.remove(path);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::time::SystemTime;

    use super::*;
    use crate::discover::listing::{SeenFile, Source};
    use crate::discover::paths::{LogFileName, PodDirectory};

    fn listing(sizes: &[u64]) -> ContainerListing {
        let file = |(number, size): (usize, &u64)| SeenFile {
            text: format!("{number}.log"),
            name: LogFileName::parse(&format!("{number}.log")).unwrap(),
            device: 1,
            inode: number as u64,
            size: *size,
            modified: SystemTime::UNIX_EPOCH,
            is_former: false,
            is_interim: false,
        };
        ContainerListing {
            path: "n_p_u/c".into(),
            directory: Path::new("/pods/n_p_u/c").into(),
            source: Source::Container { pod: Arc::new(PodDirectory::parse("n_p_u").unwrap()), container: "c".into() },
            files: sizes.iter().enumerate().map(file).collect(),
            is_gone: false,
        }
    }

    #[test]
    fn one_file_is_news_when_its_size_changes_and_several_are_every_time() {
        let mut told = ToldSizes::default();
        let looks: [(&[u64], bool); 9] = [
            (&[5], true),
            (&[5], false),
            (&[7], true),
            (&[7], false),
            (&[7, 0], true),
            (&[7, 0], true),
            (&[7], true),
            (&[7], false),
            (&[], true),
        ];
        for (number, (sizes, expected)) in looks.into_iter().enumerate() {
            assert_eq!(told.have_changed(&listing(sizes)), expected, "look {number}: {sizes:?}");
            assert_eq!(told.is_told("n_p_u/c", 7), sizes == [7], "look {number}");
        }
    }
}
