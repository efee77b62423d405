//! The header of an index: parameters, granule table and lengths of blocks, as structs and as bytes.
//!
//! All integers little-endian. The prefix alone says how long the header is; parsing needs only the header.

use std::ops::Range;

use crate::block::{self, CHECKSUM_BYTES};
use crate::error::{BlockError, HeaderError};
use crate::fill::{FillLimit, FillLimits};
use crate::gram::Plane;
use crate::layout::{BlockId, Class, Layout};
use crate::parameters::IndexParameters;

const MAGIC: [u8; 4] = *b"TWTI";
const VERSION: u32 = 3;

/// The bytes with which every index begins: enough for [`IndexHeader::length`].
pub const PREFIX_LENGTH: usize = 16;
const PARAMETERS_LENGTH: usize = 24;
const GRANULE_LENGTH: usize = 18;
const BLOCK_LENGTH: usize = 4;

/// Planes are not folded below one word.
const LEAST_BITS_LOG2: u8 = 6;
/// Stands where a size would, for a plane that is not stored.
const ALWAYS_MAYBE: u8 = u8::MAX;

/// The rows of a file that a granule stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GranuleLocation {
    pub row_group: u32,
    /// Of the line column, within the row group.
    pub page: u32,
    /// Within the row group.
    pub first_row: u32,
    pub rows: u32,
}

/// A granule's line in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GranuleRecord {
    pub(crate) location: GranuleLocation,
    /// Binary logarithms of the planes' bits, text and id; `None`: always maybe.
    pub(crate) sizes: [Option<u8>; 2],
}

/// A parsed header. Immutable; some 80 bytes a granule.
#[derive(Debug, Clone)]
pub struct IndexHeader {
    pub(crate) parameters: IndexParameters,
    pub(crate) layout: Layout,
    granules: Vec<GranuleLocation>,
    /// Where each block begins, from the start of the index, and where the last one ends: at first the length of the header.
    block_starts: Vec<u64>,
    checksum: u32,
}

impl IndexHeader {
    /// The length of the header, from the first [`PREFIX_LENGTH`] bytes of an index.
    pub fn length(prefix: &[u8]) -> Result<usize, HeaderError> {
        let Some(prefix) = prefix.first_chunk::<PREFIX_LENGTH>() else {
            return Err(HeaderError::Short { needed: PREFIX_LENGTH, actual: prefix.len() });
        };
        let mut input = Input(prefix);
        let magic = input.take::<4>()?;
        if magic != MAGIC {
            return Err(HeaderError::Magic { found: magic });
        }
        let (version, length) = (input.u32()?, input.u32()?);
        check(input.u32()?, &prefix[..PREFIX_LENGTH - CHECKSUM_BYTES])?;
        if version != VERSION {
            return Err(HeaderError::UnknownVersion { version });
        }
        let length = length as usize;
        let is_possible = length >= PREFIX_LENGTH + PARAMETERS_LENGTH + CHECKSUM_BYTES;
        if is_possible { Ok(length) } else { Err(HeaderError::Inconsistent { what: "length of the header" }) }
    }

    /// Parses a header; `bytes` may go on behind it.
    pub fn parse(bytes: &[u8]) -> Result<IndexHeader, HeaderError> {
        let length = IndexHeader::length(bytes)?;
        let Some(header) = bytes.get(..length) else {
            return Err(HeaderError::Short { needed: length, actual: bytes.len() });
        };
        let (body, checksum) = header.split_at(length - CHECKSUM_BYTES);
        let checksum = Input(checksum).u32()?;
        check(checksum, body)?;
        let mut input = Input(&body[PREFIX_LENGTH..]);
        let (parameters, granules, index_length) = read_parameters(&mut input)?;
        let records = (0..granules).map(|_| read_record(&mut input)).collect::<Result<Vec<_>, _>>()?;
        let layout = layout(&records);
        if input.0.len() != layout.blocks().count() * BLOCK_LENGTH {
            return Err(HeaderError::Inconsistent { what: "number of blocks" });
        }
        let lengths = layout.blocks().map(|_| input.u32()).collect::<Result<Vec<_>, _>>()?;
        let header = IndexHeader::new(parameters, &records, layout, &lengths, checksum);
        if header.index_length() != index_length {
            return Err(HeaderError::Inconsistent { what: "length of the index" });
        }
        Ok(header)
    }

    fn new(parameters: IndexParameters, records: &[GranuleRecord], layout: Layout, lengths: &[u32], checksum: u32) -> IndexHeader {
        let mut end = header_length(records.len(), lengths.len()) as u64;
        let mut block_starts = Vec::with_capacity(lengths.len() + 1);
        block_starts.push(end);
        for length in lengths {
            end += u64::from(*length);
            block_starts.push(end);
        }
        IndexHeader { parameters, layout, granules: records.iter().map(|record| record.location).collect(), block_starts, checksum }
    }

    /// Granules in the order in which they were pushed; [`crate::GranuleSet`] holds their numbers.
    pub fn granules(&self) -> &[GranuleLocation] {
        &self.granules
    }

    pub fn parameters(&self) -> &IndexParameters {
        &self.parameters
    }

    /// Bytes of the header.
    pub fn header_length(&self) -> usize {
        self.block_starts[0] as usize
    }

    /// Bytes of the whole index.
    pub fn index_length(&self) -> u64 {
        self.block_starts[self.block_starts.len() - 1]
    }

    pub(crate) fn checksum(&self) -> u32 {
        self.checksum
    }

    /// How many granules were too full for a plane of this kind.
    pub fn always_maybe(&self, plane: Plane) -> usize {
        let stored: usize = self.layout.classes.iter().filter(|class| class.class.plane == plane).map(|class| class.granules.len()).sum();
        self.granules.len() - stored
    }

    /// Every block, in the order in which they lie.
    pub fn blocks(&self) -> impl Iterator<Item = BlockId> {
        self.layout.blocks()
    }

    /// Where a block lies, from the start of the index; empty for a block of another index.
    pub fn block_range(&self, block: BlockId) -> Range<u64> {
        match self.block_starts.get(block.0 as usize..) {
            Some([start, end, ..]) => *start..*end,
            _ => 0..0,
        }
    }

    /// The rows of a block, for [`IndexHeader::probe`], from the bytes of its [`IndexHeader::block_range`].
    pub fn open_block(&self, block: BlockId, bytes: &[u8]) -> Result<Vec<u8>, BlockError> {
        let class = self.layout.class_of(block).ok_or(BlockError::Unknown { block })?;
        let Range { start, end } = self.block_range(block);
        let expected = (end - start) as usize;
        if bytes.len() != expected {
            return Err(BlockError::Length { block, expected, actual: bytes.len() });
        }
        block::open(self.checksum, block, bytes, class)
    }
}

fn header_length(granules: usize, blocks: usize) -> usize {
    PREFIX_LENGTH + PARAMETERS_LENGTH + granules * GRANULE_LENGTH + blocks * BLOCK_LENGTH + CHECKSUM_BYTES
}

/// The layout of an index of these granules.
pub(crate) fn layout(records: &[GranuleRecord]) -> Layout {
    Layout::new(classes(records))
}

fn classes(records: &[GranuleRecord]) -> impl Iterator<Item = (Class, u32)> {
    records.iter().zip(0..).flat_map(|(record, granule)| {
        let sized = Plane::ALL.into_iter().zip(record.sizes);
        sized.filter_map(move |(plane, size)| Some((Class { plane, bits_log2: size? }, granule)))
    })
}

/// The bytes of a header, and the header that parsing them would give. `lengths`: of each block of the layout, as stored.
pub(crate) fn encode(parameters: IndexParameters, records: &[GranuleRecord], layout: Layout, lengths: &[u32]) -> (Vec<u8>, IndexHeader) {
    let mut header = IndexHeader::new(parameters, records, layout, lengths, 0);
    let mut out = Vec::with_capacity(header.header_length());
    out.extend_from_slice(&MAGIC);
    put(&mut out, [VERSION, u32::try_from(header.header_length()).expect("a file has far fewer than 200 million pages")]);
    put_checksum(&mut out);
    out.extend_from_slice(&parameters.multiplier.to_le_bytes());
    out.extend_from_slice(&parameters.limits.text.thousandths().to_le_bytes());
    out.extend_from_slice(&parameters.limits.id.thousandths().to_le_bytes());
    put(&mut out, [u32::try_from(records.len()).expect("there are fewer granules than bytes in the header")]);
    out.extend_from_slice(&header.index_length().to_le_bytes());
    for GranuleRecord { location, sizes } in records {
        put(&mut out, [location.row_group, location.page, location.first_row, location.rows]);
        out.extend(sizes.map(|size| size.unwrap_or(ALWAYS_MAYBE)));
    }
    lengths.iter().for_each(|length| put(&mut out, [*length]));
    header.checksum = put_checksum(&mut out);
    (out, header)
}

fn put<const N: usize>(out: &mut Vec<u8>, integers: [u32; N]) {
    out.extend(integers.iter().flat_map(|integer| integer.to_le_bytes()));
}

/// Appends and returns the checksum of what is there.
fn put_checksum(out: &mut Vec<u8>) -> u32 {
    let checksum = crc32c::crc32c(out);
    put(out, [checksum]);
    checksum
}

fn check(expected: u32, bytes: &[u8]) -> Result<(), HeaderError> {
    let actual = crc32c::crc32c(bytes);
    if expected == actual { Ok(()) } else { Err(HeaderError::Checksum { expected, actual }) }
}

fn read_parameters(input: &mut Input<'_>) -> Result<(IndexParameters, u32, u64), HeaderError> {
    let multiplier = u64::from_le_bytes(input.take()?);
    let mut limit = || {
        let thousandths = u16::from_le_bytes(input.take()?);
        FillLimit::from_thousandths(thousandths).ok_or(HeaderError::Inconsistent { what: "fill limits" })
    };
    let limits = FillLimits { text: limit()?, id: limit()? };
    Ok((IndexParameters { multiplier, limits }, input.u32()?, u64::from_le_bytes(input.take()?)))
}

fn read_record(input: &mut Input<'_>) -> Result<GranuleRecord, HeaderError> {
    let location = GranuleLocation { row_group: input.u32()?, page: input.u32()?, first_row: input.u32()?, rows: input.u32()? };
    let [text, id] = input.take()?;
    Ok(GranuleRecord { location, sizes: [size(text, Plane::Text)?, size(id, Plane::Id)?] })
}

fn size(stored: u8, plane: Plane) -> Result<Option<u8>, HeaderError> {
    match stored {
        ALWAYS_MAYBE => Ok(None),
        bits_log2 if (LEAST_BITS_LOG2..=plane.full_bits_log2()).contains(&bits_log2) => Ok(Some(bits_log2)),
        _ => Err(HeaderError::Inconsistent { what: "size of a plane" }),
    }
}

/// Bytes yet to be read.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], HeaderError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(HeaderError::Inconsistent { what: "length of the granule table" })?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u32(&mut self) -> Result<u32, HeaderError> {
        self.take().map(u32::from_le_bytes)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record() -> impl Strategy<Value = GranuleRecord> {
        let sizes = (proptest::option::of(6_u8..=17), proptest::option::of(6_u8..=20));
        ([any::<u32>(), any::<u32>(), any::<u32>(), any::<u32>()], sizes).prop_map(|([row_group, page, first_row, rows], (text, id))| {
            GranuleRecord { location: GranuleLocation { row_group, page, first_row, rows }, sizes: [text, id] }
        })
    }

    /// A header of granules whose blocks have some lengths.
    fn encoded(records: &[GranuleRecord]) -> (Vec<u8>, IndexHeader) {
        let layout = layout(records);
        let lengths: Vec<u32> = layout.blocks().map(|block| 5 + block.0 % 7).collect();
        encode(IndexParameters::default(), records, layout, &lengths)
    }

    proptest! {
        #[test]
        fn headers_are_read_as_written(records in proptest::collection::vec(record(), 0..30)) {
            let (bytes, header) = encoded(&records);
            let parsed = IndexHeader::parse(&bytes).unwrap();
            prop_assert_eq!(IndexHeader::length(&bytes[..PREFIX_LENGTH]).unwrap(), bytes.len());
            prop_assert_eq!(parsed.granules(), records.iter().map(|record| record.location).collect::<Vec<_>>());
            prop_assert_eq!(format!("{parsed:?}"), format!("{header:?}"));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120), is_prefixed: bool) {
            let mut input = if is_prefixed { encoded(&[]).0[..PREFIX_LENGTH].to_vec() } else { Vec::new() };
            input.extend_from_slice(&bytes);
            prop_assert!(IndexHeader::parse(&input).is_err());
        }
    }

    /// A header with one byte changed and its checksums made to agree.
    fn altered(at: usize, value: u8) -> Result<IndexHeader, HeaderError> {
        let record =
            GranuleRecord { location: GranuleLocation { row_group: 0, page: 0, first_row: 0, rows: 1 }, sizes: [Some(6), Some(6)] };
        let mut bytes = encoded(&[record]).0;
        bytes[at] = value;
        let prefix = crc32c::crc32c(&bytes[..12]).to_le_bytes();
        bytes[12..16].copy_from_slice(&prefix);
        let end = bytes.len() - 4;
        let whole = crc32c::crc32c(&bytes[..end]).to_le_bytes();
        bytes[end..].copy_from_slice(&whole);
        IndexHeader::parse(&bytes)
    }

    #[test]
    fn contradictions_are_refused_even_under_a_good_checksum() {
        let inconsistent = |what| HeaderError::Inconsistent { what };
        assert!(altered(0, b'T').is_ok());
        let cases = [
            (25, 0x8b, inconsistent("fill limits")),
            (0, b'X', HeaderError::Magic { found: *b"XWTI" }),
            (4, 2, HeaderError::UnknownVersion { version: 2 }),
            (8, 3, inconsistent("length of the header")),
            (28, 0, inconsistent("number of blocks")),
            (28, 2, inconsistent("length of the granule table")),
            (32, 0, inconsistent("length of the index")),
            (56, 5, inconsistent("size of a plane")),
            (57, 21, inconsistent("size of a plane")),
        ];
        for (at, value, expected) in cases {
            assert_eq!(altered(at, value).unwrap_err(), expected, "byte {at}");
        }
    }
}
