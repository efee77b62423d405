//! Names of the pod-log tree: `<namespace>_<pod>_<uid>/<container>/<n>.log[.<stamp>[.gz]]`.
//!
//! Names are hints for order; the inode decides what a file is. A file with another name that begins like these (`<n>.log.tmp`) is ours only if its inode is
//! known; anything else in the tree is not.

/// A pod's directory, taken apart at its first and last underscore.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PodDirectory {
    pub(crate) namespace: String,
    pub(crate) pod: String,
    /// The pod's UID, or the kubelet's config hash of a static pod.
    pub(crate) uid: String,
}

impl PodDirectory {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (namespace, rest) = name.split_once('_')?;
        let (pod, uid) = rest.rsplit_once('_')?;
        let is_named = !namespace.is_empty() && !pod.is_empty() && !uid.is_empty();
        is_named.then(|| Self { namespace: namespace.to_owned(), pod: pod.to_owned(), uid: uid.to_owned() })
    }
}

/// A container's path below the root, `<pod directory>/<container>`, taken apart.
pub(crate) fn parse_container(path: &str) -> Option<(PodDirectory, &str)> {
    let (pod, container) = path.split_once('/')?;
    Some((PodDirectory::parse(pod)?, container))
}

/// In the place of a stamp: behind all of them.
const UNSTAMPED: &str = "~";

/// Where a file of an instance stands, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum FileRole {
    /// `<n>.log.YYYYMMDD-HHMMSS`, with that stamp; [`UNSTAMPED`] if the name has none.
    Rotated(String),
    /// `<n>.log`.
    Live,
}

/// A file name of a container directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LogFileName {
    /// The container's restart count.
    pub(crate) instance: u32,
    pub(crate) role: FileRole,
    pub(crate) is_compressed: bool,
}

/// The name of an instance's live file.
pub(crate) fn live_name(instance: impl std::fmt::Display) -> String {
    format!("{instance}.log")
}

impl LogFileName {
    /// Of the live file of an instance.
    pub(crate) fn live(instance: u32) -> Self {
        Self { instance, role: FileRole::Live, is_compressed: false }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (number, rest) = name.split_once('.')?;
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let instance = number.parse().ok().filter(|_| is_number)?;
        let rest = rest.strip_prefix("log")?;
        if rest.is_empty() {
            return Some(Self::live(instance));
        }
        let stamp = rest.strip_prefix('.')?;
        let (stamp, is_compressed) = stamp.strip_suffix(".gz").map_or((stamp, false), |stamp| (stamp, true));
        is_rotation_stamp(stamp).then(|| Self { instance, role: FileRole::Rotated(stamp.to_owned()), is_compressed })
    }

    /// A name on the way to another one: `<n>.log.tmp`, `<n>.log.<stamp>.tmp` and whatever else begins so.
    pub(crate) fn parse_interim(name: &str) -> Option<Self> {
        let (number, rest) = name.split_once(".log.")?;
        let live = Self::parse(&live_name(number))?;
        let stamp = rest.split('.').next().filter(|stamp| is_rotation_stamp(stamp)).unwrap_or(UNSTAMPED);
        Self::parse(name).is_none().then(|| Self { role: FileRole::Rotated(stamp.to_owned()), ..live })
    }
}

impl FileRole {
    /// Whether a file of this role may have any other one later.
    pub(crate) fn is_open(&self) -> bool {
        *self == Self::Live || *self == Self::Rotated(UNSTAMPED.to_owned())
    }
}

/// `YYYYMMDD-HHMMSS`.
fn is_rotation_stamp(stamp: &str) -> bool {
    stamp.len() == 15 && stamp.bytes().enumerate().all(|(index, byte)| if index == 8 { byte == b'-' } else { byte.is_ascii_digit() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pod_directories_split_at_first_and_last_underscore() {
        let parsed = PodDirectory::parse("kube-system_coredns-5d4_0a1b-2c").expect("three parts");
        assert_eq!((&*parsed.namespace, &*parsed.pod, &*parsed.uid), ("kube-system", "coredns-5d4", "0a1b-2c"));
        for name in ["", "a", "a_b", "_b_c", "a__c", "a_b_"] {
            assert_eq!(PodDirectory::parse(name), None, "{name}");
        }
    }

    #[test]
    fn file_names_and_their_order() {
        let parse = |name| LogFileName::parse(name);
        let names = ["0.log.20261121-090000", "0.log.20261121-090001", "0.log", "1.log.20261120-000000", "1.log"];
        let parsed: Vec<_> = names.iter().map(|name| parse(name).expect("a log file")).collect();
        assert!(parsed.is_sorted());
        assert!(parse("0.log.20261121-090000.gz").expect("compressed").is_compressed);
        for name in ["0.log.tmp", "0.log.20261121-090000.tmp", "a.log", "+1.log", ".log", "0.log.1", "0.logs", "99999999999.log", "0"] {
            assert_eq!(parse(name), None, "{name}");
        }
    }

    #[test]
    fn names_on_the_way_to_others_lie_between_those() {
        let names = ["0.log.20261121-090000", "0.log.20261121-090001.tmp", "0.log.tmp", "0.log"];
        let parsed: Vec<_> =
            names.iter().map(|name| LogFileName::parse(name).or_else(|| LogFileName::parse_interim(name)).unwrap()).collect();
        assert!(parsed.is_sorted() && parsed[2].role.is_open() && !parsed[1].role.is_open());
        for name in ["a.log.tmp", "0.log", "0.log.20261121-090000", "0.log.20261121-090000.gz", "0.logs.tmp", "x.0.log.tmp"] {
            assert_eq!(LogFileName::parse_interim(name), None, "{name}");
        }
    }
}
