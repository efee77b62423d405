//! The columns of a page as queries and compaction read them: Arrow buffers, shared, never copied.

use std::sync::Arc;

use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};

use crate::pairs::Pairs;

/// Which columns a reader wants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    pub timestamps: bool,
    pub lines: bool,
    pub metadata: bool,
    /// Segments alone hold them.
    pub line_hashes: bool,
}

/// Consecutive lines, end to end in one buffer.
#[derive(Debug, Clone)]
pub struct LinePage {
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
