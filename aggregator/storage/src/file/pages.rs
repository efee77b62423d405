//! Some pages of a row group, fetched, decoded one by one as they are needed.
//!
//! Fetching and decoding are apart: a scan searches the text of a page first and decodes stamps and metadata only where it found something.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use bytes::Bytes;

use crate::error::FileError;
use crate::file::columns::{LinePage, MetadataColumn, Wanted};
use crate::file::decode::{MetadataPages, PageBytes, StoredLines, StringDictionary};
use crate::file::halves::HalvedLines;
use crate::file::read::{FileFooter, leaves};
use crate::file::rows::RowGroupRows;
use crate::file::schema::Leaf;
use crate::pairs::Pairs;

/// Fetched pages of one row group.
#[derive(Debug)]
pub enum Pages {
    Stored(StoredPages),
    /// All pages, from memory.
    Recent(Arc<RowGroupRows>),
}

/// Pages as they came from the store.
#[derive(Debug)]
pub struct StoredPages {
    footer: Arc<FileFooter>,
    row_group: usize,
    pages: HashMap<(Leaf, usize), PageBytes>,
    dictionaries: HashMap<Leaf, PageBytes>,
    decoded_dictionaries: OnceLock<[StringDictionary; 3]>,
}

/// What to fetch for some pages: byte ranges, and which page each holds.
#[derive(Debug)]
pub struct FetchPlan {
    footer: Arc<FileFooter>,
    row_group: usize,
    /// `None`: the leaf's dictionary.
    places: Vec<(Leaf, Option<usize>)>,
    pub ranges: Vec<Range<u64>>,
    sums: Vec<u32>,
}

const METADATA_LEAVES: [Leaf; 3] = [Leaf::NamespaceUid, Leaf::MetadataNames, Leaf::MetadataValues];

impl FetchPlan {
    /// Plans to fetch the wanted columns of `pages`.
    pub fn new(footer: &Arc<FileFooter>, row_group: usize, pages: impl IntoIterator<Item = usize> + Clone, wanted: Wanted) -> Self {
        let mut plan = Self { footer: footer.clone(), row_group, places: Vec::new(), ranges: Vec::new(), sums: Vec::new() };
        for leaf in leaves(wanted) {
            let stored = footer.row_groups[row_group].leaf(leaf);
            let dictionary = stored.dictionary.iter().map(|page| (None, page));
            let pages = pages.clone().into_iter().filter_map(|page| Some((Some(page), stored.pages.get(page)?)));
            for (place, page) in dictionary.chain(pages) {
                plan.places.push((leaf, place));
                plan.ranges.push(page.range());
                plan.sums.push(page.crc);
            }
        }
        plan
    }

    /// Bytes that are fetched.
    pub fn bytes(&self) -> u64 {
        self.ranges.iter().map(|range| range.end - range.start).sum()
    }

    /// Takes what was fetched, in the order of `ranges`.
    pub fn fetched(&self, bytes: &[Bytes]) -> Result<StoredPages, FileError> {
        let mut stored = StoredPages {
            footer: self.footer.clone(),
            row_group: self.row_group,
            pages: HashMap::with_capacity(bytes.len()),
            dictionaries: HashMap::new(),
            decoded_dictionaries: OnceLock::new(),
        };
        if bytes.len() != self.ranges.len() {
            return Err(FileError::Damaged { part: "answer", reason: "the store returned another number of ranges".into() });
        }
        for (((leaf, place), range), (crc, bytes)) in self.places.iter().zip(&self.ranges).zip(self.sums.iter().zip(bytes)) {
            if bytes.len() as u64 != range.end - range.start {
                return Err(FileError::Damaged { part: "answer", reason: "the store returned another number of bytes".into() });
            }
            let page = PageBytes { leaf: *leaf, bytes: bytes.clone(), crc: *crc };
            match place {
                Some(number) => drop(stored.pages.insert((*leaf, *number), page)),
                None => drop(stored.dictionaries.insert(*leaf, page)),
            }
        }
        Ok(stored)
    }
}

impl StoredPages {
    /// Compares all bytes with their sums, for who can get them anew. Who decodes a page compares again.
    pub(crate) fn check_sums(&self) -> Result<(), FileError> {
        self.pages.values().chain(self.dictionaries.values()).try_for_each(PageBytes::check_sum)
    }

    fn rows(&self, page: usize) -> usize {
        self.footer.row_groups[self.row_group].pages.rows(page).len()
    }

    fn page(&self, leaf: Leaf, page: usize) -> &PageBytes {
        self.pages.get(&(leaf, page)).expect("only pages that were fetched are decoded")
    }

    fn dictionaries(&self) -> Result<&[StringDictionary; 3], FileError> {
        if let Some(decoded) = self.decoded_dictionaries.get() {
            return Ok(decoded);
        }
        let decode = |leaf: Leaf| self.dictionaries.get(&leaf).map(StringDictionary::decode).transpose().map(Option::unwrap_or_default);
        let decoded = [decode(METADATA_LEAVES[0])?, decode(METADATA_LEAVES[1])?, decode(METADATA_LEAVES[2])?];
        Ok(self.decoded_dictionaries.get_or_init(|| decoded))
    }

    fn metadata(&self, page: usize) -> Result<MetadataPages<'_>, FileError> {
        let [uids, names, values] = self.dictionaries()?;
        let pages = METADATA_LEAVES.map(|leaf| self.page(leaf, page));
        Ok(MetadataPages { pages, dictionaries: [uids, names, values] })
    }
}

impl Pages {
    /// Stamps of a page's rows, nanoseconds since the epoch.
    pub fn timestamps(&self, page: usize) -> Result<ScalarBuffer<i64>, FileError> {
        match self {
            Self::Stored(stored) => Ok(stored.page(Leaf::Timestamp, page).timestamps(stored.rows(page))?.into()),
            Self::Recent(rows) => {
                let range = rows.pages.rows(page);
                Ok(rows.timestamps.slice(range.start, range.len()))
            }
        }
    }

    pub fn lines(&self, page: usize) -> Result<LinePage, FileError> {
        match self {
            Self::Stored(stored) => stored.page(Leaf::Line, page).lines(stored.rows(page)),
            Self::Recent(rows) => Ok(recent_lines(rows, page)),
        }
    }

    /// The lines of a page with half of their text; `None` if it is not stored in halves.
    pub(crate) fn halved_lines(&self, page: usize) -> Result<Option<HalvedLines>, FileError> {
        match self {
            Self::Stored(stored) => stored.page(Leaf::Line, page).halved_lines(stored.rows(page)),
            Self::Recent(_) => Ok(None),
        }
    }

    /// A page of lines as it is stored; `None` if it is in memory alone.
    pub(crate) fn stored_lines(&self, page: usize) -> Result<Option<StoredLines>, FileError> {
        match self {
            Self::Stored(stored) => stored.page(Leaf::Line, page).stored_lines(stored.rows(page)).map(Some),
            Self::Recent(_) => Ok(None),
        }
    }

    /// Lines of chosen rows, which ascend; cheaper than of the whole page if they are few.
    pub fn lines_of(&self, page: usize, chosen: &[usize]) -> Result<Vec<Vec<u8>>, FileError> {
        match self {
            Self::Stored(stored) => stored.page(Leaf::Line, page).lines_of(stored.rows(page), chosen),
            Self::Recent(rows) => {
                let lines = recent_lines(rows, page);
                Ok(chosen.iter().map(|row| lines.line(*row).to_vec()).collect())
            }
        }
    }

    /// Offsets (rows + 1) of a page's lines, without their text.
    pub fn line_offsets(&self, page: usize) -> Result<Vec<i32>, FileError> {
        match self {
            Self::Stored(stored) => stored.page(Leaf::Line, page).line_offsets(stored.rows(page)),
            Self::Recent(rows) => Ok(recent_lines(rows, page).offsets.to_vec()),
        }
    }

    pub fn metadata(&self, page: usize) -> Result<MetadataColumn, FileError> {
        match self {
            Self::Stored(stored) => stored.metadata(page)?.decode(stored.rows(page)),
            Self::Recent(rows) => {
                let range = rows.pages.rows(page);
                Ok(MetadataColumn { of: rows.metadata.of.slice(range.start, range.len()), sets: rows.metadata.sets.clone() })
            }
        }
    }

    /// Metadata of chosen rows, in their order; cheaper than of the whole page if they are few.
    pub fn metadata_of(&self, page: usize, chosen: &[usize]) -> Result<Vec<Pairs>, FileError> {
        match self {
            Self::Stored(stored) => stored.metadata(page)?.decode_rows(stored.rows(page), chosen),
            Self::Recent(rows) => {
                let first = rows.pages.rows(page).start;
                Ok(chosen.iter().map(|row| rows.metadata.row(first + row).clone()).collect())
            }
        }
    }

    /// Hashes of line and metadata; segments alone hold them.
    pub fn line_hashes(&self, page: usize) -> Result<ScalarBuffer<u64>, FileError> {
        match self {
            Self::Stored(stored) => stored.page(Leaf::LineHash, page).hashes(stored.rows(page)),
            Self::Recent(rows) => {
                let range = rows.pages.rows(page);
                Ok(rows.line_hashes.slice(range.start, range.len()))
            }
        }
    }
}

fn recent_lines(rows: &RowGroupRows, page: usize) -> LinePage {
    let range = rows.pages.rows(page);
    let offsets = OffsetBuffer::new(rows.lines.offsets.inner().slice(range.start, range.len() + 1));
    LinePage { offsets, text: rows.lines.text.clone() }
}
