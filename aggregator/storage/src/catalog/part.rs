//! A part: one row group of one object, the unit in which data is found and read.

use std::sync::Arc;

use parking_lot::RwLock;

use crate::file::read::{FileFooter, FileIdentity, PageTable, RowGroup};
use crate::file::rows::RowGroupRows;
use crate::file::stream_table::RowGroupStreams;
use crate::manifest::DataFile;

/// An object whose end was read.
#[derive(Debug)]
pub struct OpenFile {
    pub key: String,
    /// Bytes of the object.
    pub size: u64,
    pub footer: Arc<FileFooter>,
    /// What the manifest says of it; `None`: a segment.
    pub data: Option<Arc<DataFile>>,
}

impl OpenFile {
    pub fn is_segment(&self) -> bool {
        self.data.is_none()
    }

    /// When a segment was flushed (ns).
    pub fn flushed(&self) -> Option<i64> {
        match &self.footer.identity {
            FileIdentity::Segment(name) => Some(name.flushed),
            FileIdentity::Data { .. } => None,
        }
    }

    /// Bytes it takes in memory.
    pub fn heap_bytes(&self) -> usize {
        self.footer.heap_bytes() + self.key.len() + size_of::<Self>()
    }
}

/// One row group of an object.
#[derive(Debug)]
pub struct Part {
    file: Arc<OpenFile>,
    row_group: usize,
    order: PartOrder,
    recent: RwLock<Option<Arc<RowGroupRows>>>,
}

/// The order in which parts count for entries with equal stamps: compacted files first, then segments as they were flushed. Of identical
/// entries the first stays, different ones follow it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartOrder {
    is_segment: bool,
    /// When the (first) segment was flushed.
    arrived: i64,
    /// The writer, or the compacted file.
    name: String,
    sequence: u64,
    row_group: usize,
}

impl Part {
    /// The parts of a file, in their order.
    pub(crate) fn of(file: &Arc<OpenFile>) -> Vec<Arc<Part>> {
        let part = |row_group: usize| {
            Arc::new(Part { file: file.clone(), row_group, order: PartOrder::new(file, row_group), recent: RwLock::new(None) })
        };
        (0..file.footer.row_groups.len()).map(part).collect()
    }

    /// The object it lies in.
    pub fn key(&self) -> &str {
        &self.file.key
    }

    pub fn file(&self) -> &Arc<OpenFile> {
        &self.file
    }

    /// Which of the object's row groups it is.
    pub fn row_group(&self) -> usize {
        self.row_group
    }

    pub fn order(&self) -> &PartOrder {
        &self.order
    }

    pub fn table(&self) -> &RowGroupStreams {
        &self.body().table
    }

    pub fn pages(&self) -> &PageTable {
        &self.body().pages
    }

    fn body(&self) -> &RowGroup {
        &self.file.footer.row_groups[self.row_group]
    }

    /// Its rows, while they are in memory.
    pub fn recent(&self) -> Option<Arc<RowGroupRows>> {
        self.recent.read().clone()
    }

    pub(super) fn keep(&self, rows: Arc<RowGroupRows>) {
        *self.recent.write() = Some(rows);
    }

    pub(super) fn forget_rows(&self) {
        *self.recent.write() = None;
    }

    pub(crate) fn touches(&self, start: i64, end: i64) -> bool {
        self.table().streams.iter().any(|span| span.min_timestamp <= end && span.max_timestamp >= start)
    }
}

impl PartOrder {
    fn new(file: &OpenFile, row_group: usize) -> Self {
        match (&file.footer.identity, &file.data) {
            (FileIdentity::Segment(name), _) => {
                Self { is_segment: true, arrived: name.flushed, name: name.writer.clone(), sequence: name.sequence, row_group }
            }
            (FileIdentity::Data { .. }, Some(data)) => {
                Self { is_segment: false, arrived: data.arrived, name: data.id.to_string(), sequence: 0, row_group }
            }
            (FileIdentity::Data { .. }, None) => Self { is_segment: false, arrived: 0, name: file.key.clone(), sequence: 0, row_group },
        }
    }
}
