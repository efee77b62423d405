//! How many rotated files the kubelet keeps of a container, and from which size on it rotates: learned from what it does.
//!
//! Its configuration can be asked over HTTP only with rights over the whole node, so its defaults are taken until it shows others. It rotates a file when that
//! is larger than its limit, so no rotated file is smaller than that; and it deletes the oldest only when there are as many as it keeps.

use std::collections::BTreeSet;

use parking_lot::Mutex;

use crate::discover::listing::ContainerListing;
use crate::discover::paths::{FileRole, LogFileName};

/// The kubelet's defaults: `containerLogMaxSize`, and `containerLogMaxFiles` without the one that is written.
const MAX_FILE_BYTES: u64 = 10 << 20;
const ROTATED_FILES: u64 = 4;

/// What is known of this node's kubelet.
#[derive(Debug, Default)]
pub(crate) struct KubeletKeeps(Mutex<Learned>);

#[derive(Debug, Default)]
struct Learned {
    /// Of the smallest rotated file that was seen.
    rotated_at: Option<u64>,
    /// How many of one instance were there when the oldest was deleted.
    kept: Option<u64>,
    /// How many of one instance were there at once.
    most: u64,
}

impl KubeletKeeps {
    /// Takes in what the directory of a container holds; `before`: the names of what it held when it was listed before, if they were several.
    pub(crate) fn see<'a>(&self, before: impl Iterator<Item = &'a str>, listing: &ContainerListing) {
        let names = listing.files.iter().filter(|file| LogFileName::parse(&file.text).is_some());
        let rotated = names.filter(|file| file.name.role != FileRole::Live);
        let smallest = rotated.filter(|file| !file.name.is_compressed).map(|file| file.size).min();
        let now = listing.files.iter().map(|file| file.text.as_str());
        let now = stamps(now);
        let was = stamps(before);
        let mut learned = self.0.lock();
        if let Some(size) = smallest.filter(|size| *size > 0) {
            learned.rotated_at = Some(learned.rotated_at.map_or(size, |other| other.min(size)));
        }
        let instances: BTreeSet<u32> = now.iter().map(|(instance, _)| *instance).collect();
        for instance in instances {
            let of = |stamps: &BTreeSet<(u32, String)>| -> Vec<String> {
                stamps.iter().filter(|(other, _)| *other == instance).map(|(_, stamp)| stamp.clone()).collect()
            };
            let (was, now) = (of(&was), of(&now));
            learned.most = learned.most.max(now.len() as u64);
            // Files of one instance go one by one; with all of them the instance goes.
            if was.first().is_some_and(|oldest| !now.contains(oldest)) {
                // The next one has its name a moment after the oldest is deleted.
                let is_renamed = now.last() > was.last();
                learned.kept = learned.kept.max(Some(now.len() as u64 + u64::from(!is_renamed)));
            }
        }
    }

    /// From which size on a file is rotated, in bytes.
    pub(crate) fn rotated_at(&self) -> u64 {
        self.0.lock().rotated_at.unwrap_or(MAX_FILE_BYTES)
    }

    /// How many rotated files there are of a container at most.
    pub(crate) fn rotated_files(&self) -> u64 {
        let learned = self.0.lock();
        learned.kept.unwrap_or(ROTATED_FILES).max(learned.most)
    }
}

/// Instances and stamps of rotated files, compressed or not.
fn stamps<'a>(names: impl Iterator<Item = &'a str>) -> BTreeSet<(u32, String)> {
    let of_name = |name: LogFileName| match name.role {
        FileRole::Rotated(stamp) => Some((name.instance, stamp)),
        FileRole::Live => None,
    };
    names.filter_map(LogFileName::parse).filter_map(of_name).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::discover::listing::{self, Identities, Ignored, SeenPod};

    /// Files by name and size, as a listing shows them after what was there before.
    fn see(keeps: &KubeletKeeps, before: &mut Identities, files: &[(&str, usize)]) {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("ns_pod_uid/app");
        fs::create_dir_all(&directory).unwrap();
        files.iter().for_each(|(name, size)| fs::write(directory.join(name), vec![b'x'; *size]).unwrap());
        let pod = SeenPod::below(root.path(), "ns_pod_uid").unwrap();
        let listing = listing::container(&pod.container("app"), None, &mut Ignored::default()).unwrap();
        keeps.see(before.iter().map(|(name, ..)| name.as_str()), &listing);
        *before = listing.identities();
    }

    const FIRST: &str = "0.log.20261121-000001";
    const SECOND: &str = "0.log.20261121-000002";
    const THIRD: &str = "0.log.20261121-000003";

    #[test]
    fn a_kubelet_that_keeps_less_than_by_default_is_noticed() {
        let (keeps, mut before) = (KubeletKeeps::default(), Identities::new());
        see(&keeps, &mut before, &[("0.log", 100)]);
        assert_eq!((keeps.rotated_at(), keeps.rotated_files()), (10 << 20, 4), "nothing is known yet");
        see(&keeps, &mut before, &[(FIRST, 5000), ("0.log", 10)]);
        assert_eq!((keeps.rotated_at(), keeps.rotated_files()), (5000, 4));
        see(&keeps, &mut before, &[(&format!("{FIRST}.gz"), 100), (SECOND, 4100), ("0.log", 10)]);
        assert_eq!((keeps.rotated_at(), keeps.rotated_files()), (4100, 4), "a compressed file says nothing of sizes, and none was deleted");
        // Deleted a moment before the next one has its name.
        see(&keeps, &mut before, &[(SECOND, 4100), ("0.log", 5000)]);
        assert_eq!(keeps.rotated_files(), 2);
        see(&keeps, &mut before, &[(&format!("{SECOND}.gz"), 90), (THIRD, 5000), ("0.log", 10)]);
        assert_eq!((keeps.rotated_at(), keeps.rotated_files()), (4100, 2));
    }

    #[test]
    fn both_changes_at_once_and_one_file_alone_are_understood_and_a_collected_instance_says_nothing() {
        let (keeps, mut before) = (KubeletKeeps::default(), Identities::new());
        see(&keeps, &mut before, &[(FIRST, 10), ("0.log", 10)]);
        see(&keeps, &mut before, &[("1.log", 10)]);
        assert_eq!(keeps.rotated_files(), 4, "all files of instance 0 are gone");
        see(&keeps, &mut before, &[(FIRST, 10), ("0.log", 10)]);
        see(&keeps, &mut before, &[(SECOND, 10), ("0.log", 10)]);
        assert_eq!(keeps.rotated_files(), 1);
        let many: Vec<String> = (0..6).map(|number| format!("0.log.20261121-00001{number}")).collect();
        let many: Vec<(&str, usize)> = many.iter().map(|name| (name.as_str(), 10)).collect();
        see(&keeps, &mut before, &many);
        assert_eq!(keeps.rotated_files(), 6, "as many as were there");
    }
}
