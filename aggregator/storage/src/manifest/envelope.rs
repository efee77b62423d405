//! The bytes of a manifest object: a fixed header that can be read alone, and a compressed message, each under a checksum.
//!
//! ```text
//!  0  magic `TWMANIFS`         8
//!  8  format                   4   little endian, like all numbers here
//! 12  version                  8
//! 20  commit id               16
//! 36  parent's commit id      16   zeros: none
//! 52  base's version           8   0: a full snapshot
//! 60  base's commit id        16
//! 76  message's length         4
//! 80  compressed length        4
//! 84  CRC-32C of bytes 0..84   4
//! 88  message, zstd            …
//!  …  CRC-32C of it            4
//! ```

use crate::manifest::state::{BaseVersion, CommitId};

const MAGIC: [u8; 8] = *b"TWMANIFS";
const FORMAT: u32 = 1;
const CRC_AT: usize = 84;
pub(super) const HEADER_LENGTH: usize = 88;
const CRC_LENGTH: usize = 4;

/// A message is never larger: a million files take about 100 MiB.
const LONGEST_MESSAGE: usize = 1 << 30;

const ZSTD_LEVEL: i32 = 1;

/// Why bytes are no intact manifest version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    #[error("it does not begin as a manifest does")]
    NoManifest,
    #[error("format version {found} is newer than {FORMAT}, the newest this program reads: upgrade it")]
    FromTheFuture { found: u32 },
    #[error("checksum of {part} does not match: stored {stored:08x}, computed {computed:08x}")]
    Checksum { part: &'static str, stored: u32, computed: u32 },
    #[error("it has {found} bytes instead of {expected}")]
    Length { expected: usize, found: usize },
    #[error("its message is damaged: {reason}")]
    Damaged { reason: String },
    #[error("it says that it is version {found} of tenant `{tenant}`")]
    Misplaced { found: u64, tenant: String },
    #[error("its base, version {version} with commit id {commit}, is not there: rebuild the manifest with `tailwater-aggregator fsck`")]
    BaseMissing { version: u64, commit: CommitId },
}

/// What a version's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub version: u64,
    pub commit: CommitId,
    pub parent: CommitId,
    /// `None` for a full snapshot.
    pub base: Option<BaseVersion>,
}

/// Header and message as an object's bytes.
pub(super) fn seal(header: &Header, message: &[u8]) -> Result<Vec<u8>, ManifestError> {
    let damaged = |reason: String| ManifestError::Damaged { reason };
    let length = u32::try_from(message.len()).ok().filter(|_| message.len() <= LONGEST_MESSAGE);
    let length = length.ok_or_else(|| damaged(format!("{} bytes are more than a manifest may have", message.len())))?;
    let stored = zstd::bulk::compress(message, ZSTD_LEVEL).map_err(|error| damaged(error.to_string()))?;
    let stored_length = u32::try_from(stored.len()).map_err(|error| damaged(error.to_string()))?;
    let base = header.base.unwrap_or(BaseVersion { version: 0, commit: CommitId::default() });

    let mut bytes = Vec::with_capacity(HEADER_LENGTH + stored.len() + CRC_LENGTH);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&FORMAT.to_le_bytes());
    bytes.extend_from_slice(&header.version.to_le_bytes());
    bytes.extend_from_slice(&header.commit.0);
    bytes.extend_from_slice(&header.parent.0);
    bytes.extend_from_slice(&base.version.to_le_bytes());
    bytes.extend_from_slice(&base.commit.0);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&stored_length.to_le_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    bytes.extend_from_slice(&stored);
    bytes.extend_from_slice(&crc32c::crc32c(&stored).to_le_bytes());
    Ok(bytes)
}

/// The header alone, from an object's first bytes.
pub(super) fn open_header(bytes: &[u8]) -> Result<Header, ManifestError> {
    Ok(parse_header(bytes)?.header)
}

/// Header and message of a whole object.
pub(super) fn open(bytes: &[u8]) -> Result<(Header, Vec<u8>), ManifestError> {
    let Sealed { header, message_length, stored_length } = parse_header(bytes)?;
    let expected = HEADER_LENGTH + stored_length + CRC_LENGTH;
    if bytes.len() != expected {
        return Err(ManifestError::Length { expected, found: bytes.len() });
    }
    let (stored, sum) = bytes[HEADER_LENGTH..].split_at(stored_length);
    check("the message", stored, u32::from_le_bytes(take(sum, 0)))?;
    let damaged = |reason: String| ManifestError::Damaged { reason };
    if message_length > LONGEST_MESSAGE {
        return Err(damaged(format!("{message_length} bytes are more than a manifest may have")));
    }
    let message = zstd::bulk::decompress(stored, message_length).map_err(|error| damaged(error.to_string()))?;
    if message.len() != message_length {
        return Err(damaged(format!("{} bytes instead of {message_length}", message.len())));
    }
    Ok((header, message))
}

struct Sealed {
    header: Header,
    message_length: usize,
    stored_length: usize,
}

fn parse_header(bytes: &[u8]) -> Result<Sealed, ManifestError> {
    if bytes.len() < HEADER_LENGTH {
        return Err(ManifestError::Length { expected: HEADER_LENGTH, found: bytes.len() });
    }
    if !bytes.starts_with(&MAGIC) {
        return Err(ManifestError::NoManifest);
    }
    let number = |at: usize| u32::from_le_bytes(take(bytes, at));
    // Before the sum: a later format may have a header of another length.
    let format = number(8);
    if format > FORMAT {
        return Err(ManifestError::FromTheFuture { found: format });
    }
    check("the header", &bytes[..CRC_AT], number(CRC_AT))?;
    let base = BaseVersion { version: u64::from_le_bytes(take(bytes, 52)), commit: CommitId(take(bytes, 60)) };
    let header = Header {
        version: u64::from_le_bytes(take(bytes, 12)),
        commit: CommitId(take(bytes, 20)),
        parent: CommitId(take(bytes, 36)),
        base: (base.version != 0).then_some(base),
    };
    Ok(Sealed { header, message_length: number(76) as usize, stored_length: number(80) as usize })
}

/// `N` bytes at a place that the caller knows to be there.
fn take<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("a range of N bytes")
}

fn check(part: &'static str, bytes: &[u8], stored: u32) -> Result<(), ManifestError> {
    let computed = crc32c::crc32c(bytes);
    if computed == stored { Ok(()) } else { Err(ManifestError::Checksum { part, stored, computed }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header() -> Header {
        let base = Some(BaseVersion { version: 64, commit: CommitId([2; 16]) });
        Header { version: 65, commit: CommitId([1; 16]), parent: CommitId([3; 16]), base }
    }

    #[test]
    fn a_newer_format_asks_for_an_upgrade() {
        let mut bytes = seal(&header(), b"message").expect("seals");
        bytes[8] = 2;
        assert_eq!(open(&bytes), Err(ManifestError::FromTheFuture { found: 2 }));
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens(message in proptest::collection::vec(any::<u8>(), 0..2000), with_base in any::<bool>()) {
            let header = Header { base: header().base.filter(|_| with_base), ..header() };
            let bytes = seal(&header, &message).expect("seals");
            prop_assert_eq!(open_header(&bytes[..HEADER_LENGTH]), Ok(header));
            prop_assert_eq!(open(&bytes), Ok((header, message)));
        }

        #[test]
        fn any_bytes_are_an_error_or_a_message(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), begins_well in any::<bool>()) {
            if begins_well && bytes.len() > 12 {
                bytes[..12].copy_from_slice(b"TWMANIFS\x01\0\0\0");
            }
            prop_assert!(open(&bytes).is_err());
        }
    }
}
