//! Asking a file's text index, and taking planes out of it. Damage, an unknown version or a missing block mean "maybe", never an error.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tailwater_textindex::{
    BlockError, BlockId, GranulePlanes, GranuleSet, HeaderError, IndexHeader, IndexParameters, PREFIX_LENGTH, Probe,
};

use crate::catalog::Catalog;
use crate::catalog::cache::{FoundIndex, OpenIndex};
use crate::catalog::part::OpenFile;
use crate::error::ReadError;
use crate::file::read::FileFooter;
use crate::store::{Content, ReadShare, Store};

/// Most bytes of a header that are fetched with its prefix in one go.
const HEADER_GUESS: u64 = 16 << 10;

/// Most bytes of a header that did not check and is read anew.
const LONGEST_HEADER: u64 = 1 << 20;

/// Which pages of a file may hold what was asked for.
#[derive(Debug)]
pub struct MaybePages {
    index: Arc<OpenIndex>,
    granules: GranuleSet,
}

impl MaybePages {
    pub fn contains(&self, row_group: usize, page: usize) -> bool {
        #[cfg(feature = "planted-faults")]
        if (row_group, page) == (0, 0) && tailwater_planted::Fault::IndexTooSure.is_planted() {
            return false;
        }
        let granule = self.index.first_granules.get(row_group).map(|first| first + page as u32);
        granule.is_none_or(|granule| self.granules.contains(granule))
    }

    /// How many pages may hold it.
    pub fn count(&self) -> u32 {
        self.granules.count()
    }
}

impl OpenIndex {
    /// `None`: the granules are not the pages of the file.
    fn new(header: IndexHeader, file: &OpenFile) -> Option<Self> {
        let first_granules = first_granules(&header, &file.footer)?;
        Some(Self { header, first_granules })
    }
}

/// The granule that each row group begins with; `None` if the granules are not the pages of the file.
pub(crate) fn first_granules(header: &IndexHeader, footer: &FileFooter) -> Option<Box<[u32]>> {
    let mut first_granules = Vec::new();
    let mut granules = header.granules().iter();
    let mut next = 0;
    for (row_group, stored) in footer.row_groups.iter().enumerate() {
        first_granules.push(next);
        for page in 0..stored.pages.len() {
            let granule = granules.next()?;
            let rows = stored.pages.rows(page);
            let is_page = (granule.row_group, granule.page) == (row_group as u32, page as u32)
                && (granule.first_row as usize, granule.rows as usize) == (rows.start, rows.len());
            if !is_page {
                return None;
            }
            next += 1;
        }
    }
    granules.next().is_none().then(|| first_granules.into())
}

impl Catalog {
    /// Which pages of a file may hold what `probe` asks for; `None`: nothing is known, all may.
    pub async fn maybe_pages(&self, file: &OpenFile, probe: &Probe) -> Result<Option<MaybePages>, ReadError> {
        self.ask_index(&self.store, file, probe).await
    }

    /// The same for a reader who has his share of reads.
    pub async fn maybe_pages_by(&self, share: &ReadShare, file: &OpenFile, probe: &Probe) -> Result<Option<MaybePages>, ReadError> {
        self.ask_index(&self.store.read_by(share), file, probe).await
    }

    async fn ask_index(&self, store: &Store, file: &OpenFile, probe: &Probe) -> Result<Option<MaybePages>, ReadError> {
        if matches!(probe, Probe::Always) || file.footer.index.is_empty() {
            return Ok(None);
        }
        let key: Arc<str> = file.key.as_str().into();
        let found = match self.caches.index(&key) {
            Some(found) => found,
            None => {
                let found = self.read_index(store, file).await?;
                self.caches.keep_index(&key, found.clone());
                found
            }
        };
        let Some(index) = found else { return Ok(None) };
        let blocks = self.blocks(store, file, (&key, &index), index.header.blocks_for(probe)).await?;
        let outcome = index.header.probe(probe, |block| blocks.get(&block).map(AsRef::as_ref));
        self.index_counters.asked(outcome.asked, outcome.excluded, outcome.missing_blocks);
        Ok(Some(MaybePages { index, granules: outcome.granules }))
    }

    async fn read_index(&self, store: &Store, file: &OpenFile) -> Result<FoundIndex, ReadError> {
        let header = self.read_index_header(store, file).await?;
        if let Some(index) = self.usable(file, header) {
            return Ok(Some(Arc::new(index)));
        }
        // Perhaps that answer of the store alone was damaged, and is kept on disk.
        let place = file.footer.index.start..file.footer.index.end.min(file.footer.index.start + LONGEST_HEADER);
        let Some(bytes) = self.ranges_anew((&file.key, file.size), Content::Index, std::slice::from_ref(&place)).await? else {
            return Ok(None);
        };
        Ok(self.usable(file, IndexHeader::parse(&bytes.concat())).map(Arc::new))
    }

    async fn read_index_header(&self, store: &Store, file: &OpenFile) -> Result<Result<IndexHeader, HeaderError>, ReadError> {
        let place = &file.footer.index;
        let length = HEADER_GUESS.min(place.end - place.start);
        let bytes = self.range(store, file, place.start..place.start + length).await?;
        Ok(match IndexHeader::length(bytes.get(..PREFIX_LENGTH).unwrap_or(&bytes)) {
            Ok(needed) if (needed as u64) > length => {
                // A length beyond the index's end is damage, which the header's own checks then find.
                let end = place.end.min(place.start + needed as u64);
                IndexHeader::parse(&self.range(store, file, place.start..end).await?)
            }
            Ok(_) => IndexHeader::parse(&bytes),
            Err(error) => Err(error),
        })
    }

    fn usable(&self, file: &OpenFile, header: Result<IndexHeader, HeaderError>) -> Option<OpenIndex> {
        match header {
            Ok(header) => {
                let index = OpenIndex::new(header, file);
                if index.is_none() {
                    tracing::warn!(key = %file.key, "a text index is not of the pages of its file; going on without it");
                    self.index_counters.damaged();
                }
                index
            }
            Err(error) => {
                tracing::warn!(key = %file.key, %error, "a text index cannot be used; going on without it");
                self.index_counters.damaged();
                None
            }
        }
    }

    /// The planes of some pages, given by row group and page, as an index of `parameters` has them; without those that must be made anew.
    /// Reads the whole index and keeps none of it.
    pub(crate) async fn planes(
        &self,
        file: &OpenFile,
        pages: Vec<(usize, usize)>,
        parameters: &IndexParameters,
    ) -> Result<HashMap<(usize, usize), GranulePlanes>, ReadError> {
        if pages.is_empty() || file.footer.index.is_empty() {
            return Ok(HashMap::new());
        }
        let bytes = self.store.ranges(&file.key, std::slice::from_ref(&file.footer.index)).await?.pop().unwrap_or_default();
        self.read_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let Some(OpenIndex { header, first_granules }) = self.usable(file, IndexHeader::parse(&bytes)) else { return Ok(HashMap::new()) };
        let granule = |(row_group, page): (usize, usize)| first_granules[row_group] + page as u32;
        let mut wanted = GranuleSet::none(header.granules().len() as u32);
        pages.iter().for_each(|page| wanted.insert(granule(*page)));
        let mut planes = header.planes(&wanted, parameters, |block| {
            let place = header.block_range(block);
            let stored = bytes.get(place.start as usize..place.end as usize)?;
            header.open_block(block, stored).inspect_err(|error| self.block_is_damaged(file, error)).ok()
        });
        Ok(pages.into_iter().filter_map(|page| Some((page, planes.remove(&granule(page))?))).collect())
    }

    fn block_is_damaged(&self, file: &OpenFile, error: &BlockError) {
        tracing::warn!(key = %file.key, %error, "a block of a text index is damaged; going on without it");
        self.index_counters.damaged();
    }

    /// The rows of some blocks, of those that are intact.
    async fn blocks(
        &self,
        store: &Store,
        file: &OpenFile,
        (key, index): (&Arc<str>, &OpenIndex),
        wanted: Vec<BlockId>,
    ) -> Result<HashMap<BlockId, Bytes>, ReadError> {
        let mut blocks = HashMap::with_capacity(wanted.len());
        let mut missing = Vec::new();
        for block in wanted {
            match self.caches.block(key, block) {
                Some(bytes) => drop(blocks.insert(block, bytes)),
                None => missing.push(block),
            }
        }
        if missing.is_empty() {
            return Ok(blocks);
        }
        let start = file.footer.index.start;
        let place = |block: &BlockId| {
            let range = index.header.block_range(*block);
            start + range.start..start + range.end
        };
        let ranges: Vec<_> = missing.iter().map(place).collect();
        for (block, bytes) in missing.into_iter().zip(self.index_ranges(store, file, &ranges).await?) {
            match index.header.open_block(block, &bytes) {
                Ok(rows) => {
                    let rows = Bytes::from(rows);
                    self.caches.keep_block(key, block, rows.clone());
                    blocks.insert(block, rows);
                }
                Err(error) => {
                    self.block_is_damaged(file, &error);
                    if let Some(rows) = self.block_anew(file, index, block).await? {
                        self.caches.keep_block(key, block, rows.clone());
                        blocks.insert(block, rows);
                    }
                }
            }
        }
        Ok(blocks)
    }

    /// A block that did not check, from the store if it came from the cache on disk or went there.
    async fn block_anew(&self, file: &OpenFile, index: &OpenIndex, block: BlockId) -> Result<Option<Bytes>, ReadError> {
        let place = index.header.block_range(block);
        let place = file.footer.index.start + place.start..file.footer.index.start + place.end;
        let Some(bytes) = self.ranges_anew((&file.key, file.size), Content::Index, std::slice::from_ref(&place)).await? else {
            return Ok(None);
        };
        Ok(index.header.open_block(block, &bytes.concat()).ok().map(Bytes::from))
    }
}
