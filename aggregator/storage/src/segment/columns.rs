//! The columns of a row group as queries read them: Arrow buffers, shared, never copied.

use std::sync::Arc;

use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};

use crate::pairs::Pairs;

/// Which columns a reader wants decoded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    pub timestamps: bool,
    pub lines: bool,
    pub metadata: bool,
    pub line_hashes: bool,
}

/// Columns of one row group, all of the same rows; those not wanted may be absent.
#[derive(Debug, Clone, Default)]
pub struct RowGroupColumns {
    /// Nanoseconds since the epoch.
    pub timestamps: Option<ScalarBuffer<i64>>,
    /// Consecutive pages that together hold every row.
    pub lines: Option<Vec<LinePage>>,
    pub metadata: Option<MetadataColumn>,
    pub line_hashes: Option<ScalarBuffer<u64>>,
}

impl RowGroupColumns {
    /// The text of a row, if lines were decoded.
    pub fn line(&self, row: usize) -> Option<&[u8]> {
        let pages = self.lines.as_ref()?;
        let page = pages.partition_point(|page| page.first_row <= row).checked_sub(1)?;
        let page = &pages[page];
        (row - page.first_row < page.rows()).then(|| page.line(row - page.first_row))
    }
}

/// Consecutive lines, end to end in one buffer.
#[derive(Debug, Clone)]
pub struct LinePage {
    /// Row of the row group that the first line belongs to.
    pub first_row: usize,
    /// rows + 1 offsets into `text`.
    pub offsets: OffsetBuffer<i32>,
    /// Valid UTF-8 within each line.
    pub text: Buffer,
}

impl LinePage {
    pub fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    /// A line by its place in the page.
    pub fn line(&self, index: usize) -> &[u8] {
        &self.text[self.offsets[index] as usize..self.offsets[index + 1] as usize]
    }
}

/// Structured metadata by row: an index into the distinct sets.
#[derive(Debug, Clone)]
pub struct MetadataColumn {
    pub of: ScalarBuffer<u32>,
    pub sets: Arc<[Pairs]>,
}

impl MetadataColumn {
    pub fn row(&self, row: usize) -> &Pairs {
        &self.sets[self.of[row] as usize]
    }
}
