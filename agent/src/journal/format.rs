//! The parts of a journal file as bytes: header, entries, arrays of entries, data. Pure; nothing here trusts a length.
//!
//! ```text
//! header, then objects, 8-byte aligned, each: type u8, flags u8, 6 unused, size u64, body
//! entry array: next array u64, offsets of entries        entry: number, realtime, monotonic, boot id, xor hash, offsets of data
//! data: hashes and links, then NAME=value, maybe compressed
//! ```
//! All numbers are little-endian. A file is compact when offsets inside arrays and entries take four bytes instead of eight.

use xz4rust::{DICT_SIZE_MIN, XzDecoder};

/// Bytes of the header that are looked at; every version of the format has them.
pub(super) const HEADER_BYTES: usize = 208;
/// Bytes in front of every object's body.
pub(super) const OBJECT_HEADER_BYTES: u64 = 16;
/// Where the offsets of an entry array begin.
pub(super) const ARRAY_ITEMS_AT: u64 = 24;
/// Where the items of an entry begin.
pub(super) const ENTRY_ITEMS_AT: u64 = 64;
/// Items of an entry that are looked at.
const MAX_ITEMS: u64 = 4096;
/// A field is read and decompressed up to this many bytes.
pub(super) const MAX_FIELD_BYTES: usize = 1 << 20;
/// journald compresses with a window of 1 MiB; other writers may take the format's usual one.
const MAX_XZ_WINDOW_BYTES: usize = 8 << 20;
/// Decompressed at once.
const XZ_PART_BYTES: usize = 16 << 10;

const SIGNATURE: &[u8] = b"LPKSHHRH";
const COMPRESSED_XZ: u32 = 1;
const COMPRESSED_LZ4: u32 = 2;
const KEYED_HASH: u32 = 4;
const COMPRESSED_ZSTD: u32 = 8;
const COMPACT: u32 = 16;
const STATE_ARCHIVED: u8 = 2;

const OBJECT_DATA: u8 = 1;
const OBJECT_ENTRY: u8 = 3;
const OBJECT_ENTRY_ARRAY: u8 = 6;
const FLAG_XZ: u8 = 1;
const FLAG_LZ4: u8 = 2;
const FLAG_ZSTD: u8 = 4;

/// Why bytes are no journal, or not this part of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FormatError {
    #[error("it is no journal file")]
    Signature,
    #[error("it needs features `{flags:#x}`, which this program does not know")]
    Features { flags: u32 },
    #[error("the object at `{offset}` is damaged")]
    Object { offset: u64 },
    #[error("the field at `{offset}` cannot be decompressed")]
    Compression { offset: u64 },
}

/// What the header says now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) file_id: u128,
    /// Numbers of entries count on across files with the same one.
    pub(super) seqnum_id: u128,
    pub(super) is_compact: bool,
    /// Nothing is added any more.
    pub(super) is_archived: bool,
    pub(super) entries: u64,
    /// Number of the first entry.
    pub(super) head_seqnum: u64,
    /// Number of the last entry.
    pub(super) tail_seqnum: u64,
    pub(super) entry_array: u64,
    /// Of the last entry, microseconds since the epoch.
    pub(super) tail_realtime: u64,
}

/// An entry without its fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RawEntry {
    pub(crate) seqnum: u64,
    /// Microseconds since the epoch.
    pub(crate) realtime: u64,
    /// Microseconds since the boot.
    pub(crate) monotonic: u64,
    pub(crate) boot_id: u128,
    /// Where its fields are.
    pub(super) data: Vec<u64>,
}

/// What stands in front of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ObjectHeader {
    kind: u8,
    flags: u8,
    /// The whole object, in bytes.
    pub(super) size: u64,
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    number(bytes, at).map(u64::from_le_bytes)
}

/// An id as it is written in hexadecimal digits.
fn id_at(bytes: &[u8], at: usize) -> Option<u128> {
    number(bytes, at).map(u128::from_be_bytes)
}

pub(super) fn header(bytes: &[u8]) -> Result<Header, FormatError> {
    if !bytes.starts_with(SIGNATURE) {
        return Err(FormatError::Signature);
    }
    let flags = number(bytes, 12).map(u32::from_le_bytes).ok_or(FormatError::Signature)?;
    if flags & !(COMPRESSED_XZ | COMPRESSED_LZ4 | KEYED_HASH | COMPRESSED_ZSTD | COMPACT) != 0 {
        return Err(FormatError::Features { flags });
    }
    let read = || {
        Some(Header {
            file_id: id_at(bytes, 24)?,
            seqnum_id: id_at(bytes, 72)?,
            is_compact: flags & COMPACT != 0,
            is_archived: *bytes.get(16)? == STATE_ARCHIVED,
            entries: u64_at(bytes, 152)?,
            tail_seqnum: u64_at(bytes, 160)?,
            head_seqnum: u64_at(bytes, 168)?,
            entry_array: u64_at(bytes, 176)?,
            tail_realtime: u64_at(bytes, 192)?,
        })
    };
    read().ok_or(FormatError::Signature)
}

/// The head of the object at `offset`.
pub(super) fn object_header(bytes: &[u8], offset: u64) -> Result<ObjectHeader, FormatError> {
    let read = || Some(ObjectHeader { kind: *bytes.first()?, flags: *bytes.get(1)?, size: u64_at(bytes, 8)? });
    read().filter(|object| object.size >= OBJECT_HEADER_BYTES).ok_or(FormatError::Object { offset })
}

impl Header {
    /// Bytes of an offset in an entry array.
    pub(super) fn array_item_bytes(&self) -> u64 {
        if self.is_compact { 4 } else { 8 }
    }

    /// Bytes of an item of an entry.
    fn entry_item_bytes(&self) -> u64 {
        if self.is_compact { 4 } else { 16 }
    }

    /// Where the text of a field begins in its object.
    fn payload_at(&self) -> u64 {
        if self.is_compact { 72 } else { 64 }
    }

    /// The bytes of an entry of `object`'s size that are needed.
    pub(super) fn entry_bytes(&self, object: ObjectHeader) -> u64 {
        object.size.min(ENTRY_ITEMS_AT + MAX_ITEMS * self.entry_item_bytes())
    }

    /// Items of an entry array of `object`'s size.
    pub(super) fn array_items(&self, object: ObjectHeader, offset: u64) -> Result<u64, FormatError> {
        if object.kind != OBJECT_ENTRY_ARRAY || object.size < ARRAY_ITEMS_AT {
            return Err(FormatError::Object { offset });
        }
        Ok((object.size - ARRAY_ITEMS_AT) / self.array_item_bytes())
    }

    /// The offset in an array at `index` of its items, which begin with `bytes`.
    pub(super) fn array_item(&self, bytes: &[u8], index: usize) -> Option<u64> {
        if self.is_compact { number(bytes, index * 4).map(|bytes| u64::from(u32::from_le_bytes(bytes))) } else { u64_at(bytes, index * 8) }
    }

    /// The entry whose object, read as far as [`Self::entry_bytes`] says, is `bytes`.
    pub(super) fn entry(&self, object: ObjectHeader, bytes: &[u8], offset: u64) -> Result<RawEntry, FormatError> {
        let items = bytes.get(usize::try_from(ENTRY_ITEMS_AT).unwrap_or(usize::MAX)..);
        let Some(items) = items.filter(|_| object.kind == OBJECT_ENTRY) else { return Err(FormatError::Object { offset }) };
        let width = usize::try_from(self.entry_item_bytes()).unwrap_or(usize::MAX);
        let item =
            |item: &[u8]| if self.is_compact { number(item, 0).map(|bytes| u64::from(u32::from_le_bytes(bytes))) } else { u64_at(item, 0) };
        let read = || {
            Some(RawEntry {
                seqnum: u64_at(bytes, 16)?,
                realtime: u64_at(bytes, 24)?,
                monotonic: u64_at(bytes, 32)?,
                boot_id: id_at(bytes, 40)?,
                data: items.chunks_exact(width).filter_map(item).filter(|offset| *offset > 0).collect(),
            })
        };
        read().ok_or(FormatError::Object { offset })
    }

    /// Bytes of a field's object that are needed, in all.
    pub(super) fn data_bytes(&self, object: ObjectHeader) -> u64 {
        object.size.min(self.payload_at() + MAX_FIELD_BYTES as u64)
    }

    /// `NAME=value` of a field, cut at the limit.
    pub(super) fn data(&self, object: ObjectHeader, bytes: &[u8], offset: u64) -> Result<Vec<u8>, FormatError> {
        let payload = bytes.get(usize::try_from(self.payload_at()).unwrap_or(usize::MAX)..);
        let Some(payload) = payload.filter(|_| object.kind == OBJECT_DATA) else { return Err(FormatError::Object { offset }) };
        let failed = FormatError::Compression { offset };
        match object.flags & (FLAG_XZ | FLAG_LZ4 | FLAG_ZSTD) {
            0 => Ok(payload.to_vec()),
            FLAG_ZSTD => unzstd(payload).ok_or(failed),
            FLAG_LZ4 => unlz4(payload).ok_or(failed),
            FLAG_XZ => unxz(payload).ok_or(failed),
            _ => Err(failed),
        }
    }
}

fn unzstd(payload: &[u8]) -> Option<Vec<u8>> {
    use std::io::Read;
    let mut text = Vec::new();
    let decoder = zstd::stream::read::Decoder::new(payload).ok()?;
    // What the limit cut off the payload cannot be decompressed; what comes before it can.
    match decoder.take(MAX_FIELD_BYTES as u64).read_to_end(&mut text) {
        Err(_) if text.is_empty() => None,
        _ => Some(text),
    }
}

/// As far as it is whole.
fn unxz(payload: &[u8]) -> Option<Vec<u8>> {
    let mut decoder = XzDecoder::in_heap_with_alloc_dict_size(DICT_SIZE_MIN, MAX_XZ_WINDOW_BYTES);
    let (mut rest, mut text, mut part) = (payload, Vec::new(), vec![0; XZ_PART_BYTES]);
    while text.len() < MAX_FIELD_BYTES {
        let Ok(done) = decoder.decode(rest, &mut part) else { break };
        text.extend_from_slice(&part[..done.output_produced()]);
        rest = &rest[done.input_consumed()..];
        if done.is_end_of_stream() || !done.made_progress() {
            break;
        }
    }
    text.truncate(MAX_FIELD_BYTES);
    (!text.is_empty()).then_some(text)
}

/// A length, then a block.
fn unlz4(payload: &[u8]) -> Option<Vec<u8>> {
    let length = usize::try_from(u64_at(payload, 0)?).ok().filter(|length| *length <= 16 * MAX_FIELD_BYTES)?;
    let mut text = lz4_flex::block::decompress(payload.get(8..)?, length).ok()?;
    text.truncate(MAX_FIELD_BYTES);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header_of(flags: u32) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[..8].copy_from_slice(SIGNATURE);
        bytes[12..16].copy_from_slice(&flags.to_le_bytes());
        bytes
    }

    fn data(flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        (bytes[0], bytes[1]) = (OBJECT_DATA, flags);
        bytes.extend_from_slice(payload);
        let size = bytes.len() as u64;
        bytes[8..16].copy_from_slice(&size.to_le_bytes());
        bytes
    }

    /// `MESSAGE=` and 3000 `x`, as journald compresses it: a window of 1 MiB, no check.
    const XZ: &str = "fd377a585a000000ff12d9410200210110000000a8708e86e00bbf001e5d00269146acd06f74b8a63f881b4e2907e9662a5108aad2fff1b\
        01306a5ba00000000000132c01700000086f53caea8000afc020000000000595a";

    fn xz() -> Vec<u8> {
        data_encoding::HEXLOWER.decode(XZ.as_bytes()).unwrap()
    }

    #[test]
    fn fields_are_decompressed_whatever_made_them() {
        let header = header(&header_of(COMPRESSED_LZ4 | COMPRESSED_ZSTD | COMPRESSED_XZ)).unwrap();
        let text = b"MESSAGE=".iter().copied().chain(std::iter::repeat_n(b'x', 3000)).collect::<Vec<u8>>();
        let mut lz4 = (text.len() as u64).to_le_bytes().to_vec();
        lz4.extend(lz4_flex::block::compress(&text));
        let zstd = zstd::stream::encode_all(&*text, 1).unwrap();
        for (flags, payload) in [(0, &text), (FLAG_LZ4, &lz4), (FLAG_ZSTD, &zstd), (FLAG_XZ, &xz())] {
            let bytes = data(flags, payload);
            let object = object_header(&bytes, 8).unwrap();
            assert_eq!(header.data(object, &bytes, 8).as_ref(), Ok(&text), "{flags}");
        }
        for flags in [FLAG_XZ, FLAG_LZ4, FLAG_ZSTD, FLAG_XZ | FLAG_LZ4] {
            let bytes = data(flags, &text);
            assert_eq!(header.data(object_header(&bytes, 8).unwrap(), &bytes, 8), Err(FormatError::Compression { offset: 8 }), "{flags}");
        }
    }

    #[test]
    fn of_a_field_that_is_cut_off_the_beginning_is_read() {
        let header = header(&header_of(COMPRESSED_XZ)).unwrap();
        let whole = xz();
        let read = |length: usize| {
            let bytes = data(FLAG_XZ, &whole[..length]);
            header.data(object_header(&bytes, 8).unwrap(), &bytes, 8)
        };
        assert_eq!(read(whole.len() - 20).map(|text| text.starts_with(b"MESSAGE=xxx")), Ok(true));
        assert_eq!(read(20), Err(FormatError::Compression { offset: 8 }));
    }

    #[test]
    fn what_is_no_journal_or_a_newer_one_says_so() {
        assert_eq!(header(b"something else"), Err(FormatError::Signature));
        assert_eq!(header(&header_of(1 << 20)), Err(FormatError::Features { flags: 1 << 20 }));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), flags in 0..32u32) {
            let head = header(&header_of(flags)).unwrap();
            drop(header(&bytes));
            if let Ok(object) = object_header(&bytes, 0) {
                drop((head.array_items(object, 0), head.entry(object, &bytes, 0), head.data(object, &bytes, 0), head.array_item(&bytes, 7)));
            }
        }
    }
}
