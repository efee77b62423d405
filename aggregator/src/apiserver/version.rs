//! The version of a list of pods: when it was made, and which pods it had. Pure.
//!
//! Replicas share nothing, so a version says itself what can be followed from it: the time, milliseconds, above 22 bits of a sum over the hashes of
//! the pods' names. Where the same pods are there as then, or only such are new that began after it, what has changed since is known. Where
//! not (pods went by retention meanwhile) the version is too old, and a client lists anew. Versions grow with time.

use std::fmt::{Display, Formatter};
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::apiserver::pods::PodKey;

/// 2020-01-01, in milliseconds since the epoch.
const BEGIN: i64 = 1_577_836_800_000;
const BITS: u32 = 22;
const MASK: u64 = (1 << BITS) - 1;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ResourceVersion(u64);

/// A sum over names, which can be taken out again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct NameSum(u64);

impl NameSum {
    pub(super) fn of<'k>(keys: impl IntoIterator<Item = &'k PodKey>) -> Self {
        keys.into_iter().fold(Self::default(), Self::with)
    }

    pub(super) fn with(self, key: &PodKey) -> Self {
        Self(self.0.wrapping_add(hash(key)) & MASK)
    }

    pub(super) fn without(self, key: &PodKey) -> Self {
        Self(self.0.wrapping_sub(hash(key)) & MASK)
    }
}

/// The same in every replica.
fn hash(key: &PodKey) -> u64 {
    let digest = Sha256::digest(format!("{}/{}", key.namespace, key.name));
    digest.iter().take(8).fold(0, |hash, byte| (hash << 8) | u64::from(*byte))
}

impl ResourceVersion {
    /// `time`: nanoseconds since the epoch.
    pub(super) fn new<'k>(time: i64, keys: impl IntoIterator<Item = &'k PodKey>) -> Self {
        Self::at(time, NameSum::of(keys))
    }

    pub(super) fn at(time: i64, names: NameSum) -> Self {
        let milliseconds = (time / 1_000_000).saturating_sub(BEGIN).max(0).unsigned_abs();
        Self(((milliseconds << BITS) & (u64::MAX >> 1)) | names.0)
    }

    /// When the list was made, nanoseconds since the epoch, not after it.
    pub(super) fn time(self) -> i64 {
        let milliseconds = i64::try_from(self.0 >> BITS).unwrap_or(i64::MAX);
        milliseconds.saturating_add(BEGIN).saturating_mul(1_000_000)
    }

    pub(super) fn names(self) -> NameSum {
        NameSum(self.0 & MASK)
    }
}

impl Display for ResourceVersion {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}

impl FromStr for ResourceVersion {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> PodKey {
        PodKey { namespace: "a".to_owned(), name: name.to_owned() }
    }

    #[test]
    fn a_version_tells_its_time_and_grows_with_it() {
        const TIME: i64 = 1_795_300_000_123_456_789;
        let version = ResourceVersion::new(TIME, [&key("p")]);
        assert_eq!(version.time(), 1_795_300_000_123_000_000);
        assert_eq!(version.to_string().parse(), Ok(version));
        let later = ResourceVersion::new(TIME + 1_000_000, []);
        assert!(later.0 > version.0 && i64::try_from(later.0).is_ok());
        assert!("-1".parse::<ResourceVersion>().is_err() && "x".parse::<ResourceVersion>().is_err());
    }

    #[test]
    fn names_are_added_and_taken_out_in_any_order() {
        let all = NameSum::of(&[key("p"), key("q"), key("r")]);
        assert_eq!(all, NameSum::of(&[key("r"), key("p"), key("q")]));
        assert_eq!(all.without(&key("q")), NameSum::of(&[key("p"), key("r")]));
        assert_ne!(all, NameSum::of(&[key("p"), key("q")]));
        assert_eq!(ResourceVersion::at(0, all).names(), all);
    }
}
