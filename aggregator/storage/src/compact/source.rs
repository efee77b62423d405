//! One input of a merge, read stream by stream: a segment, or a data file with its row groups one after the other.
//!
//! Data files are in the order of the merge, so each page is fetched and decoded once, in groups that are read ahead. Segments are in another
//! order and small: their pages stay decoded.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use crate::catalog::{Catalog, Part};
use crate::entry::StreamId;
use crate::error::ReadError;
use crate::file::columns::{LinePage, Wanted};
use crate::file::pages::Pages;

use crate::compact::progress::Piece;
use crate::compact::run::{Run, Text};
use crate::compact::whole_pages::{PlanesOfPages, WholePage};

const WANTED: Wanted = Wanted { timestamps: true, lines: true, metadata: true, line_hashes: false };

/// Bytes of text of decoded pages that one segment keeps from stream to stream.
const KEPT_BYTES: usize = 32 << 20;

/// Rows of one stream in one part.
#[derive(Debug, Clone)]
pub(crate) struct Stretch {
    /// Index into the source's parts.
    part: usize,
    rows: Range<usize>,
    /// The stamp of its first row (ns).
    pub(crate) first: i64,
}

/// The rows of a page from some row of its part on.
#[derive(Debug, Clone)]
struct DecodedPage {
    first_row: usize,
    rows: Run,
}

impl DecodedPage {
    fn of(&self, rows: &Range<usize>) -> Run {
        self.rows.slice(rows.start - self.first_row, rows.len())
    }

    /// Forgets the rows before `row` once they are more than half of the text: each input holds a page from stream to stream.
    fn begin_at(&mut self, row: usize) {
        let length = self.first_row + self.rows.rows() - row;
        if let Some(rest) = self.rows.copied_end(length) {
            *self = Self { first_row: row, rows: rest };
        }
    }
}

/// Reads the rows of one input.
#[derive(Debug)]
pub(crate) struct Source {
    catalog: Arc<Catalog>,
    parts: Vec<Arc<Part>>,
    keeps_pages: bool,
    read_ahead: u64,
    /// Of pages that are offered whole and have not been read yet.
    planes: PlanesOfPages,
    decoded: HashMap<(usize, usize), DecodedPage>,
    /// Of which part, and up to which page.
    fetched: Option<(usize, Range<usize>, Arc<Pages>)>,
    /// What its rows are read for, if it is told how far that is.
    piece: Option<Arc<Piece>>,
}

impl Source {
    /// `parts` of one object, in their order. `read_ahead`: bytes to fetch at once.
    pub(crate) fn new(catalog: Arc<Catalog>, parts: Vec<Arc<Part>>, read_ahead: u64) -> Self {
        let keeps_pages = parts.first().is_some_and(|part| part.file().is_segment());
        Self { catalog, parts, keeps_pages, read_ahead, planes: PlanesOfPages::new(), decoded: HashMap::new(), fetched: None, piece: None }
    }

    /// Offers some pages also as they are stored.
    pub(crate) fn with_whole_pages(mut self, planes: PlanesOfPages) -> Self {
        self.planes = planes;
        self
    }

    /// Its rows are read for this piece of work.
    pub(crate) fn for_piece(mut self, piece: &Arc<Piece>) -> Self {
        self.piece = Some(piece.clone());
        self
    }

    pub(crate) fn parts(&self) -> &[Arc<Part>] {
        &self.parts
    }

    /// Forgets decoded pages if they are more than one input may hold; to be called between streams.
    pub(crate) fn keep_within_bounds(&mut self) {
        let held: usize = self.decoded.values().map(|decoded| decoded.rows.line_bytes(0..decoded.rows.rows())).sum();
        if held > KEPT_BYTES {
            self.decoded.clear();
        }
    }

    /// Where a stream's rows are, in their order, as far as they touch `[first, last]`.
    pub(crate) fn stretches(&self, stream: StreamId, first: i64, last: i64) -> Vec<Stretch> {
        let found = self.parts.iter().enumerate().filter_map(|(part, of)| Some((part, of.table().find(stream)?)));
        found
            .filter(|(_, span)| span.min_timestamp <= last && span.max_timestamp >= first)
            .map(|(part, span)| Stretch { part, rows: span.rows.clone(), first: span.min_timestamp })
            .collect()
    }

    /// The next rows of a stretch, at most to the end of a page; `None` at its end.
    pub(crate) async fn next(&mut self, stretch: &mut Stretch) -> Result<Option<Run>, ReadError> {
        if stretch.rows.is_empty() {
            return Ok(None);
        }
        let pages = self.parts[stretch.part].pages();
        let page = pages.holding(&(stretch.rows.start..stretch.rows.start + 1)).start;
        let of_page = pages.rows(page);
        let rows = stretch.rows.start..stretch.rows.end.min(of_page.end);
        stretch.rows.start = rows.end;
        let run = self.page(stretch.part, page, rows.start).await?.of(&rows);
        if let Some(piece) = &self.piece {
            piece.advance(run.line_bytes(0..run.rows()) as u64);
        }
        if !self.keeps_pages {
            self.let_go(stretch.part, page, rows.end..of_page.end);
        }
        Ok(Some(run))
    }

    /// Keeps no more of a page than the rows to come. Whoever holds others of it goes on holding it.
    fn let_go(&mut self, part: usize, page: usize, rest: Range<usize>) {
        if !rest.is_empty() {
            self.decoded.values_mut().for_each(|decoded| decoded.begin_at(rest.start));
            return;
        }
        self.decoded.clear();
        if self.fetched.as_ref().is_some_and(|(of, range, _)| *of == part && range.end == page + 1) {
            self.fetched = None;
        }
    }

    /// A page, from `row` of its part on if not from before.
    async fn page(&mut self, part: usize, page: usize, row: usize) -> Result<DecodedPage, ReadError> {
        if let Some(decoded) = self.decoded.get(&(part, page)).filter(|decoded| decoded.first_row <= row) {
            return Ok(decoded.clone());
        }
        let pages = self.fetched(part, page).await?;
        let key = self.parts[part].key();
        let damaged = |error| ReadError::file(key, error);
        let whole = match self.planes.remove(&(part, page)) {
            Some(planes) => pages.stored_lines(page).map_err(damaged)?.map(|lines| WholePage::new(key.to_owned(), lines, planes)),
            None => None,
        };
        let (offsets, text) = match whole {
            Some(whole) => (whole.lines.offsets.clone(), Text::Stored(Arc::new(whole))),
            None => {
                let LinePage { offsets, text } = pages.lines(page).map_err(damaged)?;
                (offsets, Text::Decoded(text))
            }
        };
        let rows =
            Run { timestamps: pages.timestamps(page).map_err(damaged)?, offsets, text, metadata: pages.metadata(page).map_err(damaged)? };
        if !self.keeps_pages {
            self.decoded.clear();
        }
        let decoded = DecodedPage { first_row: self.parts[part].pages().rows(page).start, rows };
        self.decoded.insert((part, page), decoded.clone());
        Ok(decoded)
    }

    /// The bytes of a page, and of as many after it as are read at once.
    async fn fetched(&mut self, part: usize, page: usize) -> Result<Arc<Pages>, ReadError> {
        match &self.fetched {
            Some((of, range, pages)) if *of == part && range.contains(&page) => return Ok(pages.clone()),
            _ => {}
        }
        let of = &self.parts[part];
        let row_group = &of.file().footer.row_groups[of.row_group()];
        let (mut end, mut bytes) = (page, 0);
        while end < of.pages().len() && (end == page || bytes < self.read_ahead) {
            bytes += row_group.stored_bytes(end);
            end += 1;
        }
        let pages = Arc::new(self.catalog.fetch_once(of, page..end, WANTED).await?);
        self.fetched = Some((part, page..end, pages.clone()));
        Ok(pages)
    }
}
