//! The rows of a row group in memory, cut into the same pages as when stored.

use arrow::buffer::ScalarBuffer;

use crate::file::columns::{LinePage, MetadataColumn};
use crate::file::read::PageTable;
use crate::file::stream_table::RowGroupStreams;
use crate::file::write::{FileWriter, PageRows, page_rows};

/// The rows of one row group. All columns have the same length.
#[derive(Debug)]
pub struct RowGroupRows {
    pub table: RowGroupStreams,
    pub pages: PageTable,
    /// Nanoseconds since the epoch.
    pub timestamps: ScalarBuffer<i64>,
    /// All lines, end to end.
    pub lines: LinePage,
    pub line_hashes: ScalarBuffer<u64>,
    /// Metadata as stored, derived pairs and `namespace_uid` included.
    pub metadata: MetadataColumn,
}

impl RowGroupRows {
    pub(crate) fn new(
        table: RowGroupStreams,
        timestamps: ScalarBuffer<i64>,
        lines: LinePage,
        line_hashes: ScalarBuffer<u64>,
        metadata: MetadataColumn,
    ) -> Self {
        let (mut starts, mut stamps, mut text) = (vec![0], Vec::new(), Vec::new());
        for page in page_rows(&lines.offsets) {
            starts.push(u32::try_from(page.end).expect("a row group holds fewer than 2^32 rows"));
            text.push((lines.offsets[page.end] - lines.offsets[page.start]) as u64);
            let column = &timestamps[page];
            let least = column.iter().copied().min().expect("a page has rows");
            stamps.push((least, column.iter().copied().max().expect("a page has rows")));
        }
        Self { table, pages: PageTable::new(starts, stamps, text), timestamps, lines, line_hashes, metadata }
    }

    pub fn rows(&self) -> usize {
        self.timestamps.len()
    }

    /// Writes all rows as a row group.
    pub(crate) fn write(&self, file: &mut FileWriter) -> parquet::errors::Result<()> {
        for page in 0..self.pages.len() {
            let rows = self.pages.rows(page);
            let page = PageRows {
                timestamps: &self.timestamps[rows.clone()],
                offsets: &self.lines.offsets[rows.start..=rows.end],
                text: &self.lines.text,
                metadata_of: &self.metadata.of[rows.clone()],
                line_hashes: &self.line_hashes[rows],
            };
            file.page(page, &self.metadata.sets)?;
        }
        file.close_row_group(self.table.clone())
    }

    pub fn heap_bytes(&self) -> usize {
        self.lines.text.capacity()
            + self.rows() * (8 + 4 + 8 + 4)
            + self.metadata.sets.iter().map(|set| set.as_bytes().len() + 32).sum::<usize>()
            + self.table.heap_bytes()
    }
}
