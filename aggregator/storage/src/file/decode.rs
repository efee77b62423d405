//! From the stored bytes of a page to columns. Every page is checked against its sum before anything else looks at it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;

use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use bytes::Bytes;
use parquet::basic::Encoding;

use crate::error::FileError;
use crate::file::columns::{LinePage, MetadataColumn};
use crate::file::delta;
use crate::file::halves::HalvedLines;
use crate::file::hybrid;
use crate::file::page_header::{self, PageHeader};
use crate::file::partial_lines::PartialLines;
use crate::file::schema::{Leaf, NAMESPACE_UID};
use crate::pairs::Pairs;

/// A stored page of a leaf, with its sum.
#[derive(Debug, Clone)]
pub(crate) struct PageBytes {
    pub(crate) leaf: Leaf,
    pub(crate) bytes: Bytes,
    pub(crate) crc: u32,
}

/// A page of lines as it is stored, with the lengths of its lines.
#[derive(Debug)]
pub(crate) struct StoredLines {
    pub(crate) page: PageBytes,
    /// Bytes of header and lines, decompressed.
    pub(crate) uncompressed: usize,
    /// rows + 1 offsets into the text.
    pub(crate) offsets: OffsetBuffer<i32>,
}

impl StoredLines {
    pub(crate) fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    pub(crate) fn text(&self) -> Result<Buffer, FileError> {
        Ok(self.page.lines(self.rows())?.text)
    }
}

pub(super) fn damaged(leaf: Leaf, reason: impl ToString) -> FileError {
    FileError::Damaged { part: "column", reason: format!("`{}`: {}", leaf.name(), reason.to_string()) }
}

/// A page whose sum was right: its header and, still compressed, what follows it.
struct Checked<'a> {
    leaf: Leaf,
    header: PageHeader,
    body: &'a [u8],
}

impl PageBytes {
    /// Compares the bytes with their sum, and nothing more.
    pub(crate) fn check_sum(&self) -> Result<(), FileError> {
        let computed = crc32c::crc32c(&self.bytes);
        if computed == self.crc {
            return Ok(());
        }
        Err(FileError::Checksum { part: format!("a page of column `{}`", self.leaf.name()), stored: self.crc, computed })
    }

    fn check(&self, rows: Option<usize>) -> Result<Checked<'_>, FileError> {
        self.check_sum()?;
        let (header, length) = page_header::parse(&self.bytes).ok_or_else(|| damaged(self.leaf, "a page header is malformed"))?;
        let body = &self.bytes[length..];
        if body.len() != header.compressed || header.is_dictionary != rows.is_none() {
            return Err(damaged(self.leaf, "a page is not what its header says"));
        }
        if rows.is_some_and(|rows| header.values < rows) {
            return Err(damaged(self.leaf, "a page does not hold every row"));
        }
        Ok(Checked { leaf: self.leaf, header, body })
    }

    /// Nanoseconds since the epoch.
    pub(crate) fn timestamps(&self, rows: usize) -> Result<Vec<i64>, FileError> {
        let page = self.check(Some(rows))?;
        page.expect(Encoding::DELTA_BINARY_PACKED)?;
        Ok(delta::decode(&page.decompress()?, rows).map_err(|error| damaged(self.leaf, error))?.0)
    }

    pub(crate) fn hashes(&self, rows: usize) -> Result<ScalarBuffer<u64>, FileError> {
        let page = self.check(Some(rows))?;
        page.expect(Encoding::PLAIN)?;
        if page.body.len() != rows * 8 {
            return Err(damaged(self.leaf, "a page has the wrong length"));
        }
        let words = page.body.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().expect("chunks of 8 bytes")));
        Ok(words.collect::<Vec<u64>>().into())
    }

    pub(crate) fn lines(&self, rows: usize) -> Result<LinePage, FileError> {
        let page = self.check(Some(rows))?;
        page.expect(Encoding::DELTA_LENGTH_BYTE_ARRAY)?;
        let plain = page.decompress()?;
        let (offsets, text) = delta::decode_byte_arrays(&plain, rows).map_err(|error| damaged(self.leaf, error))?;
        let text_at = plain.len() - text.len();
        Ok(LinePage { offsets: OffsetBuffer::new(offsets.into()), text: Buffer::from_vec(plain).slice(text_at) })
    }

    /// The lines with the second half of their text still compressed; `None` if it has no halves.
    pub(crate) fn halved_lines(&self, rows: usize) -> Result<Option<HalvedLines>, FileError> {
        let page = self.check(Some(rows))?;
        page.expect(Encoding::DELTA_LENGTH_BYTE_ARRAY)?;
        let body = self.bytes.slice_ref(page.body);
        HalvedLines::of(&body, page.header.uncompressed, rows).map_err(|error| damaged(self.leaf, error))
    }

    /// The page as it is stored; sum, header and lengths are checked.
    pub(crate) fn stored_lines(&self, rows: usize) -> Result<StoredLines, FileError> {
        let page = self.check(Some(rows))?;
        let uncompressed = self.bytes.len() - page.body.len() + page.header.uncompressed;
        let offsets = OffsetBuffer::new(page.partial(rows)?.offsets.into());
        Ok(StoredLines { page: self.clone(), uncompressed, offsets })
    }

    /// Lengths of the lines alone; decompresses no more of the page than holds them.
    pub(crate) fn line_offsets(&self, rows: usize) -> Result<Vec<i32>, FileError> {
        Ok(self.check(Some(rows))?.partial(rows)?.offsets)
    }

    /// The lines of some rows, ascending; decompresses little more of the page than holds them.
    pub(crate) fn lines_of(&self, rows: usize, chosen: &[usize]) -> Result<Vec<Vec<u8>>, FileError> {
        let mut page = self.check(Some(rows))?.partial(rows)?;
        chosen.iter().map(|row| page.line(*row).map_err(|error| damaged(self.leaf, error))).collect()
    }
}

thread_local! {
    /// A context for each thread that decodes: making one costs more than a small page.
    static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

/// At most `capacity` bytes.
pub(super) fn decompressed(body: &[u8], capacity: usize) -> io::Result<Vec<u8>> {
    let mut plain = Vec::with_capacity(capacity);
    DECOMPRESSOR.with_borrow_mut(|slot| {
        let context = match slot {
            Some(context) => context,
            None => slot.insert(zstd::bulk::Decompressor::new()?),
        };
        context.decompress_to_buffer(body, &mut plain)
    })?;
    Ok(plain)
}

impl<'a> Checked<'a> {
    fn partial(&self, rows: usize) -> Result<PartialLines<'a>, FileError> {
        self.expect(Encoding::DELTA_LENGTH_BYTE_ARRAY)?;
        PartialLines::of(self.body, self.header.uncompressed, rows).map_err(|error| damaged(self.leaf, error))
    }

    fn expect(&self, wanted: Encoding) -> Result<(), FileError> {
        let found = self.header.encoding;
        if found == wanted { Ok(()) } else { Err(damaged(self.leaf, format!("encoded as {found}, not {wanted}"))) }
    }

    fn decompress(&self) -> Result<Vec<u8>, FileError> {
        let plain = decompressed(self.body, self.header.uncompressed).map_err(|error| damaged(self.leaf, error))?;
        if plain.len() != self.header.uncompressed {
            return Err(damaged(self.leaf, "a page decompresses to another length than its header says"));
        }
        Ok(plain)
    }
}

/// The distinct values of a column of strings.
#[derive(Debug, Default)]
pub(crate) struct StringDictionary {
    values: Vec<Box<str>>,
}

impl StringDictionary {
    pub(crate) fn decode(page: &PageBytes) -> Result<Self, FileError> {
        let checked = page.check(None)?;
        let plain = checked.decompress()?;
        let mut values = Vec::new();
        let mut rest = plain.as_slice();
        for _ in 0..checked.header.values {
            values.push(take_plain(&mut rest).ok_or_else(|| damaged(page.leaf, "its dictionary is malformed"))?.into());
        }
        Ok(Self { values })
    }
}

fn take_plain<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let (length, bytes) = rest.split_first_chunk::<4>()?;
    let (value, after) = bytes.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *rest = after;
    std::str::from_utf8(value).ok()
}

/// A page of strings: for each value an index into `distinct`.
struct Strings<'a> {
    of: Vec<u32>,
    distinct: Vec<&'a str>,
}

impl<'a> Strings<'a> {
    /// Reads `count` values behind the levels.
    fn decode(leaf: Leaf, encoding: Encoding, body: &'a [u8], count: usize, dictionary: &'a StringDictionary) -> Result<Self, FileError> {
        let malformed = || damaged(leaf, "its values are malformed");
        if encoding == Encoding::PLAIN {
            let mut rest = body;
            let distinct: Option<Vec<&str>> = (0..count).map(|_| take_plain(&mut rest)).collect();
            return Ok(Self { of: (0..count as u32).collect(), distinct: distinct.ok_or_else(malformed)? });
        }
        if encoding != Encoding::RLE_DICTIONARY {
            return Err(damaged(leaf, format!("encoded as {encoding}")));
        }
        let mut of = Vec::with_capacity(count);
        let (&width, indices) = body.split_first().ok_or_else(malformed)?;
        let known = dictionary.values.len() as u32;
        let mut is_known = true;
        hybrid::decode(indices, width, count, |index, times| {
            is_known &= index < known;
            of.extend(std::iter::repeat_n(index, times));
        })
        .map_err(|error| damaged(leaf, error))?;
        if !is_known {
            return Err(damaged(leaf, "a value points beyond its dictionary"));
        }
        Ok(Self { of, distinct: dictionary.values.iter().map(AsRef::as_ref).collect() })
    }
}

/// Pages and dictionaries of the three leaves of structured metadata.
pub(crate) struct MetadataPages<'a> {
    pub(crate) pages: [&'a PageBytes; 3],
    pub(crate) dictionaries: [&'a StringDictionary; 3],
}

impl MetadataPages<'_> {
    /// Joins uid and map into one set for each row, equal sets once.
    pub(crate) fn decode(&self, rows: usize) -> Result<MetadataColumn, FileError> {
        self.joined(rows, |joined, sizes| joined.column(sizes))
    }

    /// The sets of chosen rows alone, in their order.
    pub(crate) fn decode_rows(&self, rows: usize, chosen: &[usize]) -> Result<Vec<Pairs>, FileError> {
        self.joined(rows, |joined, sizes| joined.rows(sizes, chosen))
    }

    fn joined<T>(&self, rows: usize, take: impl FnOnce(&Joined<'_>, &[u32]) -> T) -> Result<T, FileError> {
        let [uids, names, values] = self.pages;
        let checked = [uids.check(Some(rows))?, names.check(Some(rows))?, values.check(Some(rows))?];
        let [uid_body, name_body, value_body] = [checked[0].decompress()?, checked[1].decompress()?, checked[2].decompress()?];
        let uids = Strings::decode(uids.leaf, checked[0].header.encoding, &uid_body, rows, self.dictionaries[0])?;
        let levels = checked[1].header.values;
        if checked[2].header.values != levels {
            return Err(damaged(values.leaf, "names and values of the map differ in number"));
        }
        let (sizes, name_body) = map_sizes(names.leaf, &name_body, levels, rows)?;
        let (value_sizes, value_body) = map_sizes(values.leaf, &value_body, levels, rows)?;
        if sizes != value_sizes {
            return Err(damaged(values.leaf, "names and values of the map differ in number"));
        }
        let pairs = sizes.iter().map(|size| *size as usize).sum();
        let names = Strings::decode(names.leaf, checked[1].header.encoding, name_body, pairs, self.dictionaries[1])?;
        let values = Strings::decode(values.leaf, checked[2].header.encoding, value_body, pairs, self.dictionaries[2])?;
        Ok(take(&Joined { uids, names, values }, &sizes))
    }
}

/// Pairs of each row, and what follows the levels.
fn map_sizes(leaf: Leaf, body: &[u8], levels: usize, rows: usize) -> Result<(Vec<u32>, &[u8]), FileError> {
    let malformed = || damaged(leaf, "its levels are malformed");
    let mut rest = body;
    let mut next = || -> Option<&[u8]> {
        let (length, bytes) = rest.split_first_chunk::<4>()?;
        let (encoded, after) = bytes.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        rest = after;
        Some(encoded)
    };
    let (repetition, definition) = (next().ok_or_else(malformed)?, next().ok_or_else(malformed)?);
    // First where rows begin, then which levels are values.
    let mut sizes: Vec<u32> = Vec::with_capacity(rows);
    hybrid::decode(repetition, 1, levels, |level, count| match (level, sizes.last_mut()) {
        (0, _) => sizes.extend(std::iter::repeat_n(1, count)),
        (_, Some(last)) => *last += count as u32,
        (_, None) => {}
    })
    .map_err(|error| damaged(leaf, error))?;
    let (mut row, mut level) = (0, 0u32);
    let mut is_sound = sizes.len() == rows && sizes.iter().map(|size| *size as usize).sum::<usize>() == levels;
    if is_sound {
        hybrid::decode(definition, 1, levels, |defined, count| {
            if defined > 0 {
                level += count as u32;
                while row < rows && level >= sizes[row] {
                    level -= sizes[row];
                    row += 1;
                }
                return;
            }
            // A row without pairs has one level, which is not a value.
            for _ in 0..count {
                is_sound &= row < rows && level == 0 && sizes[row] == 1;
                if let Some(size) = sizes.get_mut(row) {
                    *size = 0;
                }
                row += 1;
            }
        })
        .map_err(|error| damaged(leaf, error))?;
    }
    if is_sound { Ok((sizes, rest)) } else { Err(malformed()) }
}

struct Joined<'a> {
    uids: Strings<'a>,
    names: Strings<'a>,
    values: Strings<'a>,
}

impl Joined<'_> {
    fn column(&self, sizes: &[u32]) -> MetadataColumn {
        let mut known: HashMap<Box<[u32]>, u32> = HashMap::new();
        let mut sets: Vec<Pairs> = Vec::new();
        let mut of: Vec<u32> = Vec::with_capacity(sizes.len());
        let (mut key, mut last_key): (Vec<u32>, Vec<u32>) = (Vec::new(), Vec::new());
        let mut start = 0;
        for (row, &size) in sizes.iter().enumerate() {
            let pairs = start..start + size as usize;
            start = pairs.end;
            key.clear();
            key.push(self.uids.of[row]);
            for pair in pairs {
                key.extend([self.names.of[pair], self.values.of[pair]]);
            }
            let set = match of.last() {
                Some(&last) if key == last_key => last,
                _ => match known.get(key.as_slice()) {
                    Some(&set) => set,
                    None => {
                        let set = sets.len() as u32;
                        sets.push(self.set(&key));
                        known.insert(key.as_slice().into(), set);
                        set
                    }
                },
            };
            of.push(set);
            std::mem::swap(&mut key, &mut last_key);
        }
        MetadataColumn { of: of.into(), sets: sets.into() }
    }

    fn rows(&self, sizes: &[u32], chosen: &[usize]) -> Vec<Pairs> {
        let starts: Vec<usize> = sizes.iter().scan(0, |end, &size| Some(std::mem::replace(end, *end + size as usize))).collect();
        let key = |row: usize| {
            let pairs = starts[row]..starts[row] + sizes[row] as usize;
            let of_map = pairs.flat_map(|pair| [self.names.of[pair], self.values.of[pair]]);
            std::iter::once(self.uids.of[row]).chain(of_map).collect::<Vec<u32>>()
        };
        chosen.iter().map(|&row| self.set(&key(row))).collect()
    }

    /// The set behind a key: uid, then name and value of each pair.
    fn set(&self, key: &[u32]) -> Pairs {
        let uid = self.uids.distinct[key[0] as usize];
        let uid = (!uid.is_empty()).then_some((NAMESPACE_UID, uid));
        let pairs = key[1..].chunks_exact(2).map(|pair| (self.names.distinct[pair[0] as usize], self.values.distinct[pair[1] as usize]));
        Pairs::from_pairs(pairs.chain(uid))
    }
}
