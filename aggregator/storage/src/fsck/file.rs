//! Verifies one segment or data file: every byte of it is under a sum that is checked, every row is decoded, and what the file says of its rows is so.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use crate::entry::TenantId;
use crate::error::{FileError, ReadError};
use crate::file::columns::Wanted;
use crate::file::pages::{FetchPlan, Pages};
use crate::file::read::{FileFooter, FileIdentity, ParsedFile, StoredPage, TAIL_GUESS, Tail, parse_tail};
use crate::fsck::audit::RowGroupAudit;
use crate::fsck::describe::describe;
use crate::fsck::{index, inventory};
use crate::manifest::DataFile;
use crate::store::Store;

/// Bytes of pages that are read at once.
pub(super) const FETCH_BYTES: u64 = 8 << 20;

/// Faults of one file that are told.
const TOLD: usize = 20;

/// A Parquet file begins and ends with it.
const MAGIC: &[u8] = b"PAR1";

/// The least a Parquet file has: both magics and the length of the footer.
const SMALLEST: u64 = 12;

/// What a file turned out to be.
#[derive(Debug)]
pub(super) enum Described {
    Segment { tenants: Vec<TenantId> },
    Data(Box<DataFile>),
}

/// What was found in one file.
#[derive(Debug, Default)]
pub(super) struct FileVerdict {
    /// `None`: its end cannot be read, or it is not what its name says.
    pub(super) described: Option<Described>,
    pub(super) faults: Vec<String>,
    pub(super) index_faults: Vec<String>,
    pub(super) pages: u64,
    pub(super) rows: u64,
    /// It was deleted since it was listed.
    pub(super) is_gone: bool,
}

impl FileVerdict {
    pub(super) fn unreadable(fault: String) -> Self {
        Self { faults: vec![fault], ..Self::default() }
    }

    fn fault(&mut self, fault: impl ToString) {
        match self.faults.len() {
            told if told < TOLD => self.faults.push(fault.to_string()),
            TOLD => self.faults.push("there is more".to_owned()),
            _ => {}
        }
    }
}

/// Verifies an object of `size` bytes. `tenant`: whose data file it should be; `None`: it should be a segment.
pub(super) async fn check(store: &Store, tenant: Option<&TenantId>, key: &str, size: u64) -> FileVerdict {
    let mut verdict = FileVerdict::default();
    match look_through(store, tenant, key, size, &mut verdict).await {
        Ok(()) => {}
        Err(error) if error.is_not_found() => verdict.is_gone = true,
        Err(ReadError::File { source, .. }) => verdict.fault(source),
        Err(error) => verdict.fault(format!("it cannot be read: {error}")),
    }
    verdict
}

/// Reads the end of an object.
pub(super) async fn open(store: &Store, key: &str, size: u64) -> Result<ParsedFile, ReadError> {
    let damaged = |reason: String| ReadError::file(key, FileError::Damaged { part: "file", reason });
    if size < SMALLEST {
        return Err(damaged(format!("it has {size} bytes, fewer than any file of ours")));
    }
    let mut length = TAIL_GUESS;
    loop {
        let tail = store.tail(key, size, length).await?;
        match parse_tail(&tail, size).map_err(|error| ReadError::file(key, error))? {
            Tail::Footer(file) => return Ok(*file),
            Tail::NeedBytes(needed) => length = needed,
        }
    }
}

async fn look_through(store: &Store, tenant: Option<&TenantId>, key: &str, size: u64, verdict: &mut FileVerdict) -> Result<(), ReadError> {
    let parsed = open(store, key, size).await?;
    match described(tenant, key, size, &parsed) {
        Ok(described) => verdict.described = Some(described),
        Err(fault) => verdict.fault(fault),
    }
    for fault in gaps(&parsed) {
        verdict.fault(fault);
    }
    let begin = store.ranges(key, std::slice::from_ref(&(0..MAGIC.len() as u64))).await?;
    if begin.first().is_none_or(|bytes| bytes.as_ref() != MAGIC) {
        verdict.fault("it does not begin as a Parquet file does");
    }
    let ParsedFile { footer, every_page, .. } = parsed;
    let footer = Arc::new(footer);
    verdict.pages = every_page.len() as u64;
    check_foreign_pages(store, key, &footer, &every_page, verdict).await?;
    check_rows(store, key, &footer, verdict).await?;
    verdict.index_faults = index::check(store, key, &footer).await?;
    Ok(())
}

fn described(tenant: Option<&TenantId>, key: &str, size: u64, parsed: &ParsedFile) -> Result<Described, String> {
    if let Some(tenant) = tenant {
        return describe(tenant, key, size, parsed).map(|file| Described::Data(Box::new(file)));
    }
    let FileIdentity::Segment(name) = &parsed.footer.identity else { return Err("it says that it is a data file".to_owned()) };
    if inventory::segment_of(key) != Some((name.writer.clone(), name.sequence)) {
        return Err(format!("it says that it is segment {} of writer `{}`", name.sequence, name.writer));
    }
    let mut tenants: Vec<TenantId> = parsed.footer.row_groups.iter().map(|row_group| row_group.table.tenant.clone()).collect();
    tenants.dedup();
    Ok(Described::Segment { tenants })
}

/// Bytes that lie under no sum.
fn gaps(parsed: &ParsedFile) -> Vec<String> {
    let mut pages: Vec<Range<u64>> = parsed.every_page.iter().map(StoredPage::range).collect();
    pages.push(parsed.footer.index.clone());
    pages.push(parsed.streams.clone());
    pages.retain(|range| !range.is_empty());
    pages.sort_by_key(|range| range.start);
    let mut next = MAGIC.len() as u64;
    let mut gaps = Vec::new();
    for range in pages {
        if range.start != next {
            gaps.push(format!("bytes {} to {next} belong to several parts or to none", range.start.min(next)));
        }
        next = next.max(range.end);
    }
    gaps
}

/// Sums of the pages that only others read.
async fn check_foreign_pages(
    store: &Store,
    key: &str,
    footer: &FileFooter,
    every_page: &[StoredPage],
    verdict: &mut FileVerdict,
) -> Result<(), ReadError> {
    let read: HashSet<u64> = footer.row_groups.iter().flat_map(|row_group| row_group.read_pages()).map(|page| page.offset).collect();
    let foreign: Vec<StoredPage> = every_page.iter().filter(|page| !read.contains(&page.offset)).copied().collect();
    for group in grouped(&foreign, |page| u64::from(page.length)) {
        let ranges: Vec<Range<u64>> = group.iter().map(StoredPage::range).collect();
        for (page, bytes) in group.iter().zip(store.ranges(key, &ranges).await?) {
            let computed = crc32c::crc32c(&bytes);
            if computed != page.crc {
                let part = format!("the page at byte {}", page.offset);
                verdict.fault(FileError::Checksum { part, stored: page.crc, computed });
            }
        }
    }
    Ok(())
}

/// Cuts items into groups of about [`FETCH_BYTES`].
fn grouped<T>(items: &[T], bytes: impl Fn(&T) -> u64) -> Vec<&[T]> {
    let (mut groups, mut start, mut held) = (Vec::new(), 0, 0);
    for (at, item) in items.iter().enumerate() {
        if held > 0 && held + bytes(item) > FETCH_BYTES {
            groups.push(&items[start..at]);
            (start, held) = (at, 0);
        }
        held += bytes(item);
    }
    groups.push(&items[start..]);
    groups
}

async fn check_rows(store: &Store, key: &str, footer: &Arc<FileFooter>, verdict: &mut FileVerdict) -> Result<(), ReadError> {
    let is_segment = matches!(footer.identity, FileIdentity::Segment(_));
    let wanted = Wanted { timestamps: true, lines: true, metadata: true, line_hashes: is_segment };
    for (number, row_group) in footer.row_groups.iter().enumerate() {
        let mut audit = RowGroupAudit::new(&footer.identity, row_group);
        let pages: Vec<usize> = (0..row_group.pages.len()).collect();
        for group in grouped(&pages, |page| row_group.stored_bytes(*page)) {
            let plan = FetchPlan::new(footer, number, group.iter().copied(), wanted);
            let fetched = store.ranges(key, &plan.ranges).await?;
            let stored = Pages::Stored(plan.fetched(&fetched).map_err(|error| ReadError::file(key, error))?);
            for &page in group {
                match audit.page(&stored, page, is_segment) {
                    Ok(rows) => verdict.rows += rows as u64,
                    Err(error) => verdict.fault(format!("row group {number}, page {page}: {error}")),
                }
            }
        }
        for fault in audit.finish() {
            verdict.fault(format!("row group {number}: {fault}"));
        }
    }
    Ok(())
}
