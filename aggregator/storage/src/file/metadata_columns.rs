//! Structured metadata as columns: `namespace_uid` and the map of the rest, by dictionary while that stays small.
//!
//! Each page is written as it comes; the dictionaries grow with them and are put before the pages at the end. Values that are too many
//! for a dictionary (trace ids) are written plainly from the page on where it overflows.

use std::collections::HashMap;
use std::ops::Range;

use parquet::basic::Encoding;
use parquet::errors::Result;

use crate::file::chunk::{ChunkWriter, Dictionary, EncodedChunk, PageCompressor};
use crate::file::hybrid;
use crate::file::schema::{FileKind, Leaf, NAMESPACE_UID};
use crate::pairs::Pairs;

/// Bytes of distinct values beyond which a column goes on without a dictionary.
const LARGEST_DICTIONARY: usize = 1 << 20;

/// Distinct values in the order in which they were met.
#[derive(Default)]
pub(crate) struct DictionaryBuilder {
    index: HashMap<Box<str>, u32>,
    plain: Vec<u8>,
}

impl DictionaryBuilder {
    pub(crate) fn number(&mut self, value: &str) -> u32 {
        if let Some(&number) = self.index.get(value) {
            return number;
        }
        let number = self.index.len() as u32;
        put_plain(value, &mut self.plain);
        self.index.insert(value.into(), number);
        number
    }

    /// Appends indices into this dictionary, which holds all of them, to a page's body; a column without any value has no dictionary.
    pub(crate) fn put_indices(&self, runs: impl Iterator<Item = (u32, usize)>, out: &mut Vec<u8>) -> Encoding {
        if self.index.is_empty() {
            return Encoding::PLAIN;
        }
        put_indices(runs, hybrid::width_of(self.index.len() as u32 - 1), out);
        Encoding::RLE_DICTIONARY
    }

    pub(crate) fn finish(&self) -> Option<Dictionary<'_>> {
        (!self.index.is_empty()).then(|| Dictionary { plain: &self.plain, values: self.index.len() })
    }
}

fn put_plain(value: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&(value.len() as u32).to_le_bytes());
    out.extend_from_slice(value.as_bytes());
}

/// The body of a page of dictionary indices, without levels: the width, then the indices.
pub(crate) fn put_indices(runs: impl Iterator<Item = (u32, usize)>, width: u8, out: &mut Vec<u8>) {
    out.push(width);
    hybrid::encode(runs, width, out);
}

/// Levels of a page, with the length that stands before them in pages of version 1.
pub(crate) fn put_levels(runs: impl Iterator<Item = (u32, usize)>, out: &mut Vec<u8>) {
    let length_at = out.len();
    out.extend_from_slice(&[0; 4]);
    hybrid::encode(runs, 1, out);
    let length = (out.len() - length_at - 4) as u32;
    out[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
}

/// Repetition and definition levels of a map column whose rows hold so many pairs each, as (pairs, rows) runs.
pub(crate) fn put_map_levels(sizes: &[(usize, usize)], out: &mut Vec<u8>) {
    put_levels(sizes.iter().flat_map(|&(pairs, rows)| repetition(pairs, rows)), out);
    put_levels(sizes.iter().map(|&(pairs, rows)| if pairs == 0 { (0, rows) } else { (1, rows * pairs) }), out);
}

fn repetition(pairs: usize, rows: usize) -> impl Iterator<Item = (u32, usize)> {
    let (once, more) = if pairs <= 1 { (rows, 0) } else { (1, pairs - 1) };
    let times = if pairs <= 1 { 1 } else { rows };
    std::iter::repeat_n([(0, once), (1, more)], times).flatten().filter(|(_, count)| *count > 0)
}

/// Levels of a map column: values of a row group with no pairs count one level each.
pub(crate) fn level_count(sizes: &[(usize, usize)]) -> usize {
    sizes.iter().map(|&(pairs, rows)| pairs.max(1) * rows).sum()
}

/// One column of strings that may lose its dictionary on the way.
struct StringColumn {
    chunk: ChunkWriter,
    dictionary: DictionaryBuilder,
}

impl StringColumn {
    fn new(kind: FileKind, leaf: Leaf) -> Self {
        Self { chunk: ChunkWriter::new(kind, leaf), dictionary: DictionaryBuilder::default() }
    }

    /// Writes a page whose body so far holds the levels; `runs` are (index into `values`, count).
    fn page(
        &mut self,
        compressor: &mut PageCompressor,
        counts: (usize, usize),
        body: &mut Vec<u8>,
        values: &[&str],
        runs: impl Iterator<Item = (usize, usize)>,
    ) -> Result<()> {
        let encoding = if self.dictionary.plain.len() > LARGEST_DICTIONARY {
            for (value, count) in runs {
                (0..count).for_each(|_| put_plain(values[value], body));
            }
            Encoding::PLAIN
        } else {
            let numbers: Vec<u32> = values.iter().map(|value| self.dictionary.number(value)).collect();
            self.dictionary.put_indices(runs.map(|(value, count)| (numbers[value], count)), body)
        };
        self.chunk.page(compressor, counts, encoding, &*body, None)
    }

    fn close(self, compressor: &mut PageCompressor) -> Result<EncodedChunk> {
        self.chunk.close(compressor, self.dictionary.finish(), None)
    }
}

/// The metadata of a page's rows, every set taken apart once.
#[derive(Default)]
struct PageSets<'a> {
    uids: Vec<&'a str>,
    /// Where the other pairs of each set are.
    pairs_of: Vec<Range<usize>>,
    names: Vec<&'a str>,
    values: Vec<&'a str>,
    /// Which set, and for how many rows.
    runs: Vec<(usize, usize)>,
}

impl<'a> PageSets<'a> {
    /// `of`: for each row its set among `sets`. `places`: a buffer with [`NO_PLACE`] for every set, and so it is left.
    fn new(of: &[u32], sets: &'a [Pairs], places: &mut Vec<u32>) -> Self {
        places.resize(sets.len(), NO_PLACE);
        let mut page = Self::default();
        for run in of.chunk_by(|left, right| left == right) {
            let place = &mut places[run[0] as usize];
            if *place == NO_PLACE {
                *place = page.uids.len() as u32;
                page.add(&sets[run[0] as usize]);
            }
            page.runs.push((*place as usize, run.len()));
        }
        of.iter().for_each(|set| places[*set as usize] = NO_PLACE);
        page
    }

    fn add(&mut self, set: &'a Pairs) {
        let first = self.names.len();
        let mut uid = "";
        for (name, value) in set.iter() {
            if name == NAMESPACE_UID {
                uid = value;
            } else {
                self.names.push(name);
                self.values.push(value);
            }
        }
        self.uids.push(uid);
        self.pairs_of.push(first..self.names.len());
    }

    /// Pairs a row, and for how many rows.
    fn sizes(&self) -> Vec<(usize, usize)> {
        self.runs.iter().map(|&(set, rows)| (self.pairs_of[set].len(), rows)).collect()
    }

    /// Which pair, and how many times in a row.
    fn pair_runs(&self) -> impl Iterator<Item = (usize, usize)> {
        self.runs.iter().flat_map(|&(set, rows)| {
            let pairs = &self.pairs_of[set];
            // A single pair makes a run; of several the rows alternate.
            let (times, count) = if pairs.len() == 1 { (1, rows) } else { (rows, 1) };
            std::iter::repeat_n(pairs, times).flat_map(move |pairs| pairs.clone().map(move |pair| (pair, count)))
        })
    }
}

const NO_PLACE: u32 = u32::MAX;

/// The three leaves of structured metadata.
pub(crate) struct MetadataColumns {
    uids: StringColumn,
    names: StringColumn,
    values: StringColumn,
    body: Vec<u8>,
    places: Vec<u32>,
}

impl MetadataColumns {
    pub(crate) fn new(kind: FileKind) -> Self {
        let [uids, names, values] =
            [Leaf::NamespaceUid, Leaf::MetadataNames, Leaf::MetadataValues].map(|leaf| StringColumn::new(kind, leaf));
        Self { uids, names, values, body: Vec::new(), places: Vec::new() }
    }

    /// Writes a page: for each row its set among `sets`.
    pub(crate) fn page(&mut self, compressor: &mut PageCompressor, of: &[u32], sets: &[Pairs]) -> Result<()> {
        let page = PageSets::new(of, sets, &mut self.places);
        self.body.clear();
        self.uids.page(compressor, (of.len(), of.len()), &mut self.body, &page.uids, page.runs.iter().copied())?;

        let sizes = page.sizes();
        let counts = (of.len(), level_count(&sizes));
        self.body.clear();
        put_map_levels(&sizes, &mut self.body);
        let levels = self.body.len();
        self.names.page(compressor, counts, &mut self.body, &page.names, page.pair_runs())?;
        self.body.truncate(levels);
        self.values.page(compressor, counts, &mut self.body, &page.values, page.pair_runs())
    }

    /// The chunks of [`Leaf::NamespaceUid`], [`Leaf::MetadataNames`] and [`Leaf::MetadataValues`].
    pub(crate) fn close(self, compressor: &mut PageCompressor) -> Result<[EncodedChunk; 3]> {
        Ok([self.uids.close(compressor)?, self.names.close(compressor)?, self.values.close(compressor)?])
    }
}
