//! What tells a file from another one with its inode number: a hash of its first bytes.
//!
//! CRI files begin with a nanosecond stamp, so up to 256 bytes separate the files of one container. A file shorter than that is covered
//! as far as it goes; the fingerprint is extended while the file grows.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use xxhash_rust::xxh3::xxh3_64;

/// How much of a file's head is covered at most.
pub(crate) const COVERED_MAX: usize = 256;

/// Hash of the first `length` bytes of a file's uncompressed content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Fingerprint {
    pub(crate) length: usize,
    pub(crate) hash: u64,
}

impl Fingerprint {
    /// Of the head of a file's content.
    pub(crate) fn of(head: &[u8]) -> Self {
        let covered = &head[..head.len().min(COVERED_MAX)];
        Self { length: covered.len(), hash: xxh3_64(covered) }
    }

    /// Whether `head`, the first bytes of a file, begins as the covered file did. Nothing covered matches nothing.
    pub(crate) fn matches(self, head: &[u8]) -> bool {
        self.length > 0 && head.get(..self.length).is_some_and(|covered| xxh3_64(covered) == self.hash)
    }
}

/// The first bytes of a file, at most [`COVERED_MAX`].
#[derive(Debug, Clone)]
pub(crate) struct Head {
    bytes: [u8; COVERED_MAX],
    length: usize,
}

impl Head {
    pub(crate) fn read(file: &File) -> io::Result<Self> {
        let mut head = Self { bytes: [0; COVERED_MAX], length: 0 };
        while head.length < COVERED_MAX {
            match file.read_at(&mut head.bytes[head.length..], head.length as u64) {
                Ok(0) => break,
                Ok(count) => head.length += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(head)
    }

    /// Of content that is read from its beginning.
    pub(crate) fn read_from(mut content: impl Read) -> io::Result<Self> {
        let mut head = Self { bytes: [0; COVERED_MAX], length: 0 };
        while head.length < COVERED_MAX {
            match content.read(&mut head.bytes[head.length..]) {
                Ok(0) => break,
                Ok(count) => head.length += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(head)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grown_file_still_matches_and_another_one_does_not() {
        let short = Fingerprint::of(b"2026-11-21T09:08:41.123456789Z stdout F a\n");
        assert!(short.matches(b"2026-11-21T09:08:41.123456789Z stdout F a\nand more"));
        assert!(!short.matches(b"2026-11-21T09:08:41.123456780Z stdout F a\nand more"));
        assert!(!short.matches(b"2026"));
    }

    #[test]
    fn an_empty_file_has_no_identity() {
        assert!(!Fingerprint::of(b"").matches(b""));
        assert!(!Fingerprint::of(b"").matches(b"x"));
    }

    #[test]
    fn at_most_256_bytes_are_covered() {
        let long = Fingerprint::of(&[7; 1000]);
        assert_eq!(long.length, COVERED_MAX);
        assert!(long.matches(&[7; 256]));
    }
}
