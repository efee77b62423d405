//! A fetched page, decoded as far as it is needed: stamps, lines and metadata each at their first use.

use std::cell::OnceCell;
use std::ops::Range;

use arrow::buffer::ScalarBuffer;
use datafusion_common::{DataFusionError, Result};
use tailwater_storage::catalog::Part;
use tailwater_storage::error::{FileError, ReadError};
use tailwater_storage::file::columns::{LinePage, MetadataColumn, Wanted};
use tailwater_storage::file::pages::Pages;
use tailwater_storage::file::schema::NAMESPACE_UID;

use crate::plan::selection::Selection;
use crate::scan::pages::{Piece, SelectedPage};

/// Rows of a page that belong to one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    /// Place among the selection's streams.
    pub(crate) stream: u32,
    /// Rows of the page; never empty.
    pub(crate) rows: Range<usize>,
}

/// One page of a group.
pub(crate) struct OpenPage<'a> {
    selection: &'a Selection,
    part: &'a Part,
    selected: &'a SelectedPage,
    pages: &'a Pages,
    stamps: OnceCell<ScalarBuffer<i64>>,
    lines: OnceCell<LinePage>,
    metadata: OnceCell<MetadataColumn>,
}

/// A failed read, as plans pass it on.
pub(crate) fn read_error(error: ReadError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// A fault of a part's object.
pub(crate) fn file_error(part: &Part, source: FileError) -> DataFusionError {
    read_error(named(part, source))
}

fn named(part: &Part, source: FileError) -> ReadError {
    ReadError::File { key: part.key().to_owned(), source }
}

impl<'a> OpenPage<'a> {
    pub(crate) fn new(selection: &'a Selection, selected: &'a SelectedPage, pages: &'a Pages) -> Self {
        let part = selection.part(selected.part);
        Self { selection, part, selected, pages, stamps: OnceCell::new(), lines: OnceCell::new(), metadata: OnceCell::new() }
    }

    pub(crate) fn selected(&self) -> &'a SelectedPage {
        self.selected
    }

    pub(crate) fn pieces(&self) -> &'a [Piece] {
        &self.selected.pieces
    }

    /// Orders entries by when they came: parts in their order, rows within.
    pub(crate) fn arrival(&self, row: usize) -> u64 {
        (self.selected.part as u64) << 32 | (self.first_row() + row) as u64
    }

    /// The row behind an arrival of this page.
    pub(crate) fn row_of(&self, arrival: u64) -> usize {
        (arrival & u64::from(u32::MAX)) as usize - self.first_row()
    }

    fn first_row(&self) -> usize {
        self.part.pages().rows(self.selected.page).start
    }

    /// Nanoseconds since the epoch, by row.
    pub(crate) fn stamps(&self) -> Result<&ScalarBuffer<i64>> {
        self.decoded(&self.stamps, Pages::timestamps).map_err(read_error)
    }

    pub(crate) fn lines(&self) -> Result<&LinePage> {
        self.decoded(&self.lines, Pages::lines).map_err(read_error)
    }

    /// The lines, if they are decoded.
    pub(crate) fn decoded_lines(&self) -> Option<&LinePage> {
        self.lines.get()
    }

    /// Ends of the lines (rows + 1), without their text unless that is decoded anyway.
    pub(crate) fn line_offsets(&self) -> Result<Vec<i32>> {
        match self.lines.get() {
            Some(lines) => Ok(lines.offsets.to_vec()),
            None => self.pages.line_offsets(self.selected.page).map_err(|error| file_error(self.part, error)),
        }
    }

    pub(crate) fn metadata(&self) -> Result<&MetadataColumn> {
        self.decoded(&self.metadata, Pages::metadata).map_err(read_error)
    }

    /// Decodes some columns, so that nothing of them can fail any more.
    pub(crate) fn check(&self, wanted: Wanted) -> Result<(), ReadError> {
        if wanted.timestamps {
            self.decoded(&self.stamps, Pages::timestamps)?;
        }
        if wanted.lines {
            self.decoded(&self.lines, Pages::lines)?;
        }
        if wanted.metadata {
            self.decoded(&self.metadata, Pages::metadata)?;
        }
        Ok(())
    }

    /// The value of a cell, decoded at its first use.
    fn decoded<'c, T>(
        &self,
        cell: &'c OnceCell<T>,
        decode: impl FnOnce(&Pages, usize) -> Result<T, FileError>,
    ) -> Result<&'c T, ReadError> {
        if let Some(known) = cell.get() {
            return Ok(known);
        }
        let made = decode(self.pages, self.selected.page).map_err(|error| named(self.part, error))?;
        Ok(cell.get_or_init(|| made))
    }

    /// The rows of all pieces that may be seen, each once, ascending.
    pub(crate) fn visible_rows(&self) -> Result<Vec<Run>> {
        let mut runs = Vec::with_capacity(self.selected.pieces.len());
        for piece in &self.selected.pieces {
            self.visible_rows_of(piece, &mut runs)?;
        }
        Ok(runs)
    }

    /// Appends the rows of a piece that may be seen.
    pub(crate) fn visible_rows_of(&self, piece: &Piece, runs: &mut Vec<Run>) -> Result<()> {
        let hidden = self.hidden_rows(piece)?;
        let visible = self.selection.visible(piece.stream);
        if visible.holds(piece.oldest, piece.newest) {
            without(piece.stream, piece.rows.clone(), &hidden, runs);
            return Ok(());
        }
        let column = &self.stamps()?[piece.rows.clone()];
        for (start, end) in visible.intervals() {
            let from = piece.rows.start + column.partition_point(|stamp| stamp < start);
            let to = piece.rows.start + column.partition_point(|stamp| stamp <= end);
            without(piece.stream, from..to, &hidden, runs);
        }
        Ok(())
    }

    /// Rows of a piece that repeat others, were deleted by their line or are of another incarnation of the namespace; ascending.
    fn hidden_rows(&self, piece: &Piece) -> Result<Vec<usize>> {
        let (first, repeated) = (self.first_row(), self.selection.repeated(self.selected.part));
        let from = repeated.partition_point(|&row| (row as usize) < first + piece.rows.start);
        let to = repeated.partition_point(|&row| (row as usize) < first + piece.rows.end);
        let mut hidden: Vec<usize> = repeated[from..to].iter().map(|&row| row as usize - first).collect();
        let mut erased = self.selection.visible(piece.stream).erased(piece.oldest, piece.newest).peekable();
        if erased.peek().is_none() && !piece.is_mixed {
            return Ok(hidden);
        }
        if erased.peek().is_some() {
            let (stamps, lines) = (self.stamps()?, self.lines()?);
            for deleted in erased {
                hidden.extend(piece.rows.clone().filter(|row| deleted.names(stamps[*row], lines.line(*row))));
            }
        }
        if piece.is_mixed {
            hidden.extend(self.rows_of_others(piece)?);
        }
        hidden.sort_unstable();
        hidden.dedup();
        Ok(hidden)
    }

    /// Rows of a piece that incarnations of the namespace pushed which may not be seen.
    fn rows_of_others(&self, piece: &Piece) -> Result<impl Iterator<Item = usize>> {
        let (stamps, metadata) = (self.stamps()?, self.metadata()?);
        let incarnations = self.selection.incarnations(piece.stream);
        let uids: Vec<&str> = metadata.sets.iter().map(|set| set.get(NAMESPACE_UID).unwrap_or_default()).collect();
        let is_seen = move |row: &usize| incarnations.sees(uids[metadata.of[*row] as usize], stamps[*row]);
        Ok(piece.rows.clone().filter(move |row| !is_seen(row)))
    }
}

/// Appends what is left of some rows without the hidden ones, which ascend.
fn without(stream: u32, rows: Range<usize>, hidden: &[usize], runs: &mut Vec<Run>) {
    let mut start = rows.start;
    let first = hidden.partition_point(|row| *row < rows.start);
    for &row in hidden[first..].iter().take_while(|row| **row < rows.end).chain([&rows.end]) {
        if start < row {
            runs.push(Run { stream, rows: start..row });
        }
        start = row + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_rows_cut_a_run() {
        let left = |rows: Range<usize>, hidden: &[usize]| {
            let mut runs = Vec::new();
            without(7, rows, hidden, &mut runs);
            runs.into_iter().map(|run| run.rows).collect::<Vec<_>>()
        };
        assert_eq!(left(2..9, &[]), vec![2..9; 1]);
        assert_eq!(left(2..9, &[0, 2, 4, 5, 8, 9]), [3..4, 6..8]);
        assert!(left(2..4, &[2, 3]).is_empty());
        assert!(left(4..4, &[4]).is_empty());
    }
}
