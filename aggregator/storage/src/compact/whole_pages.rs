//! Pages that go from one data file into the next as they are.
//!
//! A page of lines of one stream needs not be compressed and indexed anew if all its rows go out together: its bytes and its planes of the
//! text index stay the same. In files of large streams these are a third of the pages and more.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use arrow::buffer::Buffer;
use tailwater_textindex::{GranulePlanes, IndexParameters};

use crate::catalog::{Catalog, Part};
use crate::error::ReadError;
use crate::file::decode::StoredLines;
use crate::file::write::LINE_PAGE_BYTES;

/// Bytes of text below which a page is rather filled up with what follows.
const LEAST_TEXT: u64 = LINE_PAGE_BYTES as u64 / 2;

/// Each time that whole pages begin, the page before them may end early; fewer are not worth it.
const FEWEST: usize = 3;

/// A stream of so many bytes begins a page of its own, so that the pages of its next merge are whole.
pub(crate) const LARGE_STREAM: u64 = 4 * LINE_PAGE_BYTES as u64;

/// A page of lines as it is stored, and its planes.
#[derive(Debug)]
pub(crate) struct WholePage {
    /// Of the object that it is in.
    key: String,
    pub(crate) lines: StoredLines,
    pub(crate) planes: GranulePlanes,
    text: OnceLock<Buffer>,
}

impl WholePage {
    pub(crate) fn new(key: String, lines: StoredLines, planes: GranulePlanes) -> Self {
        Self { key, lines, planes, text: OnceLock::new() }
    }

    /// Decoded when it is first asked for.
    pub(crate) fn text(&self) -> Result<Buffer, ReadError> {
        if let Some(text) = self.text.get() {
            return Ok(text.clone());
        }
        let text = self.lines.text().map_err(|error| ReadError::file(&self.key, error))?;
        Ok(self.text.get_or_init(|| text).clone())
    }
}

/// Planes of pages that may go over whole, by part and page.
pub(crate) type PlanesOfPages = HashMap<(usize, usize), GranulePlanes>;

/// Of the parts of one file. `parameters`: of the index that they go into.
pub(crate) async fn planes_of_whole_pages(
    catalog: &Catalog,
    parts: &[Arc<Part>],
    parameters: &IndexParameters,
) -> Result<PlanesOfPages, ReadError> {
    let Some(file) = parts.first().map(|part| part.file()) else { return Ok(PlanesOfPages::new()) };
    let of_part = |(number, part): (usize, &Arc<Part>)| whole_pages(part).into_iter().map(|page| (number, page)).collect::<Vec<_>>();
    catalog.planes(file, parts.iter().enumerate().flat_map(of_part).collect(), parameters).await
}

/// The pages that hold rows of one stream alone, where a stream has several.
fn whole_pages(part: &Part) -> Vec<usize> {
    let pages = part.pages();
    let of_stream = |rows: &Range<usize>| -> Vec<usize> {
        let is_whole = |page: &usize| {
            let of_page = pages.rows(*page);
            rows.start <= of_page.start && of_page.end <= rows.end && pages.text_bytes(*page) >= LEAST_TEXT
        };
        pages.holding(rows).filter(is_whole).collect()
    };
    part.table().streams.iter().map(|span| of_stream(&span.rows)).filter(|whole| whole.len() >= FEWEST).flatten().collect()
}
