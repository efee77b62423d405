//! Pages that go from one data file into the next as they are.
//!
//! A page of lines of one stream needs not be compressed and indexed anew if all its rows go out together: its bytes and its planes of the
//! text index stay the same. In files of large streams these are a third of the pages and more.

use std::collections::HashMap;
use std::sync::Arc;

use tailwater_textindex::{GranulePlanes, IndexParameters};

use crate::catalog::{Catalog, Part};
use crate::error::ReadError;
use crate::file::decode::StoredLines;
use crate::file::write::LINE_PAGE_BYTES;

/// Bytes of text below which a page is rather filled up with what follows.
const LEAST_TEXT: u64 = LINE_PAGE_BYTES as u64 / 2;

/// A page of lines as it is stored, and its planes.
#[derive(Debug)]
pub(crate) struct WholePage {
    pub(crate) lines: StoredLines,
    pub(crate) planes: GranulePlanes,
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
    let of_part = |(number, part): (usize, &Arc<Part>)| {
        let pages = (0..part.pages().len()).filter(|page| is_of_one_stream(part, *page));
        pages.map(|page| (number, page)).collect::<Vec<_>>()
    };
    catalog.planes(file, parts.iter().enumerate().flat_map(of_part).collect(), parameters).await
}

fn is_of_one_stream(part: &Part, page: usize) -> bool {
    let rows = part.pages().rows(page);
    let streams = &part.table().streams;
    let first = &streams[streams.partition_point(|span| span.rows.end <= rows.start)];
    rows.end <= first.rows.end && part.pages().text_bytes(page) >= LEAST_TEXT
}
