//! Rows of one stream on their way through a merge: slices of decoded pages, never copied before they are written.

use std::ops::Range;
use std::sync::Arc;

use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};

use crate::compact::whole_pages::WholePage;
use crate::error::ReadError;
use crate::file::columns::{LinePage, MetadataColumn};
use crate::pairs::Pairs;

/// Consecutive rows of one stream, ascending by stamp.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) timestamps: ScalarBuffer<i64>,
    /// rows + 1 offsets into the text.
    pub(crate) offsets: OffsetBuffer<i32>,
    pub(crate) text: Text,
    pub(crate) metadata: MetadataColumn,
}

/// The text of the page that a run is of.
#[derive(Debug, Clone)]
pub(crate) enum Text {
    Decoded(Buffer),
    /// Not decoded before a line is asked for.
    Stored(Arc<WholePage>),
}

impl Run {
    pub(crate) fn rows(&self) -> usize {
        self.timestamps.len()
    }

    /// Some of its rows; shares the buffers.
    pub(crate) fn slice(&self, start: usize, length: usize) -> Self {
        Self {
            timestamps: self.timestamps.slice(start, length),
            offsets: self.offsets.slice(start, length),
            text: self.text.clone(),
            metadata: MetadataColumn { of: self.metadata.of.slice(start, length), sets: self.metadata.sets.clone() },
        }
    }

    /// Its last `length` rows with a text of their own, if that is decoded and they are less than half of it.
    pub(crate) fn copied_end(&self, length: usize) -> Option<Self> {
        let Text::Decoded(text) = &self.text else { return None };
        let end = self.slice(self.rows() - length, length);
        let (from, to) = (end.offsets[0] as usize, end.offsets[length] as usize);
        if (to - from) * 2 >= text.len() {
            return None;
        }
        Some(Self { text: Text::Decoded(Buffer::from_slice_ref(&text[from..to])), ..end.with_own_offsets() })
    }

    /// With offsets into a text that begins with its first row.
    pub(crate) fn with_own_offsets(self) -> Self {
        let offsets: Vec<i32> = self.offsets.iter().map(|offset| offset - self.offsets[0]).collect();
        Self { offsets: OffsetBuffer::new(offsets.into()), ..self }
    }

    /// Bytes of the lines of some rows.
    pub(crate) fn line_bytes(&self, rows: Range<usize>) -> usize {
        (self.offsets[rows.end] - self.offsets[rows.start]) as usize
    }

    /// Decodes them if need be.
    pub(crate) fn lines(&self) -> Result<LinePage, ReadError> {
        let text = match &self.text {
            Text::Decoded(text) => text.clone(),
            Text::Stored(page) => page.text()?,
        };
        Ok(LinePage { offsets: self.offsets.clone(), text })
    }

    /// The page as it is stored, if these are all its rows and it may go over as it is.
    pub(crate) fn whole(&self) -> Option<&WholePage> {
        match &self.text {
            Text::Stored(page) if page.lines.rows() == self.rows() => Some(page),
            _ => None,
        }
    }

    pub(crate) fn metadata(&self, row: usize) -> &Pairs {
        self.metadata.row(row)
    }

    /// Whether two rows with equal stamps are the same entry.
    pub(crate) fn is_same(&self, row: usize, other: &Self, other_row: usize) -> Result<bool, ReadError> {
        let is_as_long = self.line_bytes(row..row + 1) == other.line_bytes(other_row..other_row + 1);
        Ok(is_as_long && self.metadata(row) == other.metadata(other_row) && self.lines()?.line(row) == other.lines()?.line(other_row))
    }
}
