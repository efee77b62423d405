//! One input of a merge, read stream by stream: a segment, or a data file with its row groups one after the other.
//!
//! Data files are in the order of the merge, so each page is fetched and decoded once, in groups that are read ahead. Segments are in another
//! order and small: their pages stay decoded.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::buffer::Buffer;

use crate::catalog::{Catalog, Part};
use crate::entry::StreamId;
use crate::error::{FileError, ReadError};
use crate::file::columns::{LinePage, Wanted};
use crate::file::halves::{HalvedLines, SecondHalf};
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

/// The rows of a page from some row of its part on, as far as their text is decoded.
#[derive(Debug)]
struct DecodedPage {
    first_row: usize,
    rows: Run,
    /// The rows behind these, as each input holds a page from stream to stream: half of its text is enough.
    second: Option<(Run, SecondHalf)>,
}

impl DecodedPage {
    /// Of the rows asked for those at the beginning whose text is there.
    fn of(&self, rows: &Range<usize>) -> Run {
        let start = rows.start - self.first_row;
        self.rows.slice(start, rows.len().min(self.rows.rows() - start))
    }

    /// Whether the row is here, or will be once the second half is decoded.
    fn has(&self, row: usize) -> bool {
        self.first_row <= row
    }

    /// Puts the second half in place of the first, if the row is in it.
    fn go_on_to(&mut self, row: usize) -> Result<(), FileError> {
        let end = self.first_row + self.rows.rows();
        if row >= end
            && let Some((rows, half)) = self.second.take()
        {
            *self = Self { first_row: end, rows: Run { text: Text::Decoded(half.text()?), ..rows }, second: None };
        }
        Ok(())
    }

    /// Forgets the rows before `row` once they are more than half of the text.
    fn begin_at(&mut self, row: usize) {
        let length = (self.first_row + self.rows.rows()).saturating_sub(row);
        if let Some(rest) = self.rows.copied_end(length) {
            (self.first_row, self.rows) = (self.first_row + self.rows.rows() - length, rest);
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

    /// Bytes of text of decoded pages.
    pub(crate) fn held_bytes(&self) -> usize {
        self.decoded.values().map(|decoded| decoded.rows.line_bytes(0..decoded.rows.rows())).sum()
    }

    /// Forgets decoded pages if they are more than one input may hold; to be called between streams.
    pub(crate) fn keep_within_bounds(&mut self) {
        if self.held_bytes() > KEPT_BYTES {
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
        let run = self.page(stretch.part, page, rows.start).await?.of(&rows);
        stretch.rows.start = rows.start + run.rows();
        if let Some(piece) = &self.piece {
            piece.advance(run.line_bytes(0..run.rows()) as u64);
        }
        if !self.keeps_pages {
            self.let_go(stretch.part, page, stretch.rows.start..of_page.end);
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

    /// A page with the text of `row` of its part, and of rows before that only as far as it was not let go.
    async fn page(&mut self, part: usize, page: usize, row: usize) -> Result<&DecodedPage, ReadError> {
        if !self.decoded.get(&(part, page)).is_some_and(|decoded| decoded.has(row)) {
            let decoded = self.decode(part, page).await?;
            if !self.keeps_pages {
                self.decoded.clear();
            }
            self.decoded.insert((part, page), decoded);
        }
        let decoded = self.decoded.get_mut(&(part, page)).expect("it was there or was decoded");
        decoded.go_on_to(row).map_err(|error| ReadError::file(self.parts[part].key(), error))?;
        Ok(decoded)
    }

    async fn decode(&mut self, part: usize, page: usize) -> Result<DecodedPage, ReadError> {
        let pages = self.fetched(part, page).await?;
        let key = self.parts[part].key();
        let damaged = |error| ReadError::file(key, error);
        let first_row = self.parts[part].pages().rows(page).start;
        let (timestamps, metadata) = (pages.timestamps(page).map_err(damaged)?, pages.metadata(page).map_err(damaged)?);
        if let Some(planes) = self.planes.remove(&(part, page))
            && let Some(lines) = pages.stored_lines(page).map_err(damaged)?
        {
            let whole = WholePage::new(key.to_owned(), lines, planes);
            let (offsets, text) = (whole.lines.offsets.clone(), Text::Stored(Arc::new(whole)));
            return Ok(DecodedPage { first_row, rows: Run { timestamps, offsets, text, metadata }, second: None });
        }
        let halved = if self.keeps_pages { None } else { pages.halved_lines(page).map_err(damaged)? };
        let Some(HalvedLines { offsets, rows, text, second }) = halved else {
            let LinePage { offsets, text } = pages.lines(page).map_err(damaged)?;
            return Ok(DecodedPage { first_row, rows: Run { timestamps, offsets, text: Text::Decoded(text), metadata }, second: None });
        };
        let all = Run { timestamps, offsets, text: Text::Decoded(text), metadata };
        let behind = Run { text: Text::Decoded(Buffer::default()), ..all.slice(rows, all.rows() - rows) }.with_own_offsets();
        Ok(DecodedPage { first_row, rows: all.slice(0, rows), second: Some((behind, second)) })
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
