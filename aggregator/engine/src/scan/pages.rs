//! Which pages hold rows of a selection, and how they are shared out.
//!
//! Pages come from stream tables and page indexes alone; nothing is read. A page's pieces tell between which stamps their rows lie, so that
//! a page that cannot hold a visible row is not among them.

use std::ops::Range;

use tailwater_storage::catalog::Part;
use tailwater_storage::file::columns::Wanted;
use tailwater_storage::file::pages::FetchPlan;

use crate::plan::selection::{SelectedSpan, Selection};

/// A page with rows of selected streams.
#[derive(Debug, Clone)]
pub(crate) struct SelectedPage {
    /// Place of its part in the snapshot.
    pub(crate) part: usize,
    /// Its number within the part.
    pub(crate) page: usize,
    /// Ascending by row.
    pub(crate) pieces: Vec<Piece>,
    /// Bytes of line text of the pieces, about.
    pub(crate) bytes: u64,
}

/// Rows of one stream in a page.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    /// Place among the selection's streams.
    pub(crate) stream: u32,
    /// Rows of the page.
    pub(crate) rows: Range<usize>,
    /// No row is older than this …
    pub(crate) oldest: i64,
    /// … or newer than this.
    pub(crate) newest: i64,
    /// Rows of other incarnations of the namespace may lie among them.
    pub(crate) is_mixed: bool,
}

impl SelectedPage {
    pub(crate) fn oldest(&self) -> i64 {
        self.pieces.iter().map(|piece| piece.oldest).min().unwrap_or(i64::MAX)
    }

    pub(crate) fn newest(&self) -> i64 {
        self.pieces.iter().map(|piece| piece.newest).max().unwrap_or(i64::MIN)
    }

    /// Whether lines have to be read to know which rows were deleted.
    pub(crate) fn is_erased_by_line(&self, selection: &Selection) -> bool {
        self.pieces.iter().any(|piece| selection.visible(piece.stream).erased(piece.oldest, piece.newest).next().is_some())
    }

    /// Whether metadata has to be read to know which rows may be seen.
    pub(crate) fn is_mixed(&self) -> bool {
        self.pieces.iter().any(|piece| piece.is_mixed)
    }
}

/// The pages of spans, in the order of parts and pages. `spans` in the order of parts and rows.
pub(crate) fn pages_of<'s>(selection: &Selection, spans: impl IntoIterator<Item = &'s SelectedSpan>) -> Vec<SelectedPage> {
    let mut pages: Vec<SelectedPage> = Vec::new();
    for span in spans {
        let table = selection.part(span.part).pages();
        for page in table.holding(&span.rows) {
            #[cfg(feature = "planted-faults")]
            if tailwater_planted::Fault::PageSkipped.is_planted() && page + 1 == table.len() {
                continue;
            }
            let piece = piece(span, table.rows(page), table.stamps(page));
            // Of a mixed span, pages beyond its bounds hold nothing that may be seen.
            if piece.oldest > piece.newest || !selection.visible(span.stream).touches(piece.oldest, piece.newest) {
                continue;
            }
            let bytes = span.bytes * piece.rows.len() as u64 / span.rows.len().max(1) as u64;
            match pages.last_mut() {
                Some(last) if (last.part, last.page) == (span.part, page) => {
                    last.pieces.push(piece);
                    last.bytes += bytes;
                }
                _ => pages.push(SelectedPage { part: span.part, page, pieces: vec![piece], bytes }),
            }
        }
    }
    pages
}

fn piece(span: &SelectedSpan, of_page: Range<usize>, (least, greatest): (i64, i64)) -> Piece {
    let rows = span.rows.start.max(of_page.start)..span.rows.end.min(of_page.end);
    // Rows of a stream ascend by stamp: where the span begins or ends in the page, the stamp is known.
    let oldest = if rows.start == span.rows.start { span.oldest } else { span.oldest.max(least) };
    let newest = if rows.end == span.rows.end { span.newest } else { span.newest.min(greatest) };
    let rows = rows.start - of_page.start..rows.end - of_page.start;
    Piece { stream: span.stream, rows, oldest, newest, is_mixed: span.is_mixed }
}

/// Pages of one part that are fetched at once.
#[derive(Debug, Clone)]
pub(crate) struct PageGroup {
    pub(crate) part: usize,
    pub(crate) pages: Vec<SelectedPage>,
}

impl PageGroup {
    pub(crate) fn numbers(&self) -> Vec<usize> {
        self.pages.iter().map(|page| page.page).collect()
    }
}

/// Most bytes that are fetched at once.
const GROUP_BYTES: u64 = 8 << 20;

/// Groups a partition gets, where there is enough for all of them.
const GROUPS_OF_PARTITION: u64 = 4;

/// Cuts pages into groups that are fetched at once, and deals these out so that partitions have about the same text to look at.
pub(crate) fn share_out(selection: &Selection, pages: Vec<SelectedPage>, wanted: Wanted, partitions: usize) -> Vec<Vec<PageGroup>> {
    let total: u64 = pages.iter().map(|page| page.bytes).sum();
    let share = total / (partitions as u64 * GROUPS_OF_PARTITION).max(1);
    let groups = groups(selection, pages, wanted, share);
    let mut shares: Vec<(u64, Vec<PageGroup>)> = vec![(0, Vec::new()); partitions.clamp(1, groups.len().max(1))];
    for group in groups {
        let least = shares.iter_mut().min_by_key(|(bytes, _)| *bytes).expect("there is one at least");
        least.0 += group.pages.iter().map(|page| page.bytes).sum::<u64>().max(1);
        least.1.push(group);
    }
    shares.into_iter().map(|(_, groups)| groups).collect()
}

/// Groups of at least `share` bytes of text, unless [`GROUP_BYTES`] are to be fetched for less or the part ends.
pub(crate) fn groups(selection: &Selection, pages: Vec<SelectedPage>, wanted: Wanted, share: u64) -> Vec<PageGroup> {
    let mut groups: Vec<PageGroup> = Vec::new();
    let (mut text, mut fetched) = (0, 0);
    for page in pages {
        let bytes = fetched_bytes(selection.part(page.part), page.page, wanted);
        match groups.last_mut() {
            Some(group) if group.part == page.part && text < share && fetched + bytes <= GROUP_BYTES => {
                text += page.bytes;
                fetched += bytes;
                group.pages.push(page);
            }
            _ => {
                (text, fetched) = (page.bytes, bytes);
                groups.push(PageGroup { part: page.part, pages: vec![page] });
            }
        }
    }
    groups
}

/// What fetching a page takes; nothing for rows in memory.
pub(crate) fn fetched_bytes(part: &Part, page: usize, wanted: Wanted) -> u64 {
    match part.recent() {
        Some(_) => 0,
        None => FetchPlan::new(&part.file().footer, part.row_group(), [page], wanted).bytes(),
    }
}
