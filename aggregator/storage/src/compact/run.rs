//! Rows of one stream on their way through a merge: slices of decoded pages, never copied before they are written.

use std::sync::Arc;

use arrow::buffer::{OffsetBuffer, ScalarBuffer};

use crate::compact::whole_pages::WholePage;
use crate::file::columns::{LinePage, MetadataColumn};
use crate::pairs::Pairs;

/// Consecutive rows of one stream, ascending by stamp.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) timestamps: ScalarBuffer<i64>,
    pub(crate) lines: LinePage,
    pub(crate) metadata: MetadataColumn,
    /// The page as it is stored, if these are all its rows and it may go over as it is.
    pub(crate) whole: Option<Arc<WholePage>>,
}

impl Run {
    pub(crate) fn rows(&self) -> usize {
        self.timestamps.len()
    }

    /// Some of its rows; shares the buffers.
    pub(crate) fn slice(&self, start: usize, length: usize) -> Self {
        let offsets = self.lines.offsets.inner().slice(start, length + 1);
        Self {
            timestamps: self.timestamps.slice(start, length),
            lines: LinePage { offsets: OffsetBuffer::new(offsets), text: self.lines.text.clone() },
            metadata: MetadataColumn { of: self.metadata.of.slice(start, length), sets: self.metadata.sets.clone() },
            whole: self.whole.clone().filter(|_| length == self.rows()),
        }
    }

    pub(crate) fn metadata(&self, row: usize) -> &Pairs {
        self.metadata.row(row)
    }

    /// Whether two rows with equal stamps are the same entry.
    pub(crate) fn is_same(&self, row: usize, other: &Self, other_row: usize) -> bool {
        self.lines.line(row) == other.lines.line(other_row) && self.metadata(row) == other.metadata(other_row)
    }
}
