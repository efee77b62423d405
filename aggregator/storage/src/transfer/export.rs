//! Lines of a tenant out of the store, day by day, stream by stream, each entry once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

use crate::catalog::{Catalog, Part};
use crate::compact::erasure::{Erasure, StreamErasure};
use crate::compact::error::CompactError;
use crate::compact::merge::Sink;
use crate::compact::run::Run;
use crate::compact::source::Source;
use crate::compact::streams::{Streams, merge_streams};
use crate::entry::{StreamId, TenantId};
use crate::manifest::{DataFile, ManifestState};
use crate::pairs::Pairs;
use crate::store::Day;
use crate::transfer::error::ExportError;
use crate::transfer::pushed_labels::pushed_labels;

/// Bytes that all inputs together read ahead.
const READ_AHEAD: u64 = 48 << 20;

const DAY_NANOSECONDS: i64 = 86_400_000_000_000;

/// Says by its labels, as stored, whether a stream is wanted.
pub type StreamPredicate = Arc<dyn Fn(&Pairs) -> bool + Send + Sync>;

/// What is taken out.
#[derive(Clone)]
pub struct ExportSelection {
    pub tenant: TenantId,
    /// Stamps (ns), both included.
    pub first: i64,
    pub last: i64,
    pub streams: StreamPredicate,
    /// What queries do not show any more.
    pub erasure: Arc<dyn Erasure>,
}

impl fmt::Debug for ExportSelection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExportSelection")
            .field("tenant", &self.tenant)
            .field("first", &self.first)
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
}

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Exported {
    pub entries: u64,
    /// Bytes of lines.
    pub line_bytes: u64,
    /// Repetitions that were left out.
    pub duplicates: u64,
}

/// How far an export is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExportProgress {
    pub days_done: u64,
    pub days_total: u64,
    pub exported: Exported,
}

/// Where exported rows go.
pub trait RowWriter: Send {
    /// The rows that follow are of this stream. `labels` as stored.
    fn begin_stream(&mut self, id: StreamId, labels: &Pairs) -> Result<(), ExportError>;

    /// Takes rows of the stream begun last, ascending by stamp.
    fn rows(&mut self, rows: ExportedRows<'_>) -> Result<(), ExportError>;

    /// A day has ended; streams begin anew.
    fn end_day(&mut self) -> Result<(), ExportError>;

    /// Writes what is left.
    fn finish(&mut self) -> Result<(), ExportError>;
}

/// Some rows of a run.
pub struct ExportedRows<'a> {
    pub(super) run: &'a Run,
    pub(super) rows: Range<usize>,
}

/// Writes what a catalog shows of the selection, which should have discovered everything before. Each day as it is visible when its turn comes:
/// a server that works on the store replaces files meanwhile, and deletes them some minutes later.
pub async fn export(
    catalog: &Arc<Catalog>,
    selection: &ExportSelection,
    writer: &mut dyn RowWriter,
    progress: impl Fn(ExportProgress),
) -> Result<Exported, ExportError> {
    let mut export = Export { catalog, selection, exported: Exported::default() };
    let (mut days_done, mut last) = (0, None);
    loop {
        catalog.refresh(&selection.tenant).await.map_err(CompactError::from)?;
        let (segments, manifest) = catalog.segments_and_manifest(&selection.tenant);
        let days: Vec<Day> = days(&segments, &manifest, selection).into_iter().filter(|day| last.is_none_or(|last| *day > last)).collect();
        let told = |exported| progress(ExportProgress { days_done, days_total: days_done + days.len() as u64, exported });
        told(export.exported);
        let Some(day) = days.first() else { break };
        export.day(*day, &segments, &manifest, writer).await?;
        writer.end_day()?;
        (days_done, last) = (days_done + 1, Some(*day));
    }
    writer.finish()?;
    Ok(export.exported)
}

/// The days that may have entries.
fn days(segments: &[Arc<Part>], manifest: &ManifestState, selection: &ExportSelection) -> BTreeSet<Day> {
    let of_files = manifest.files().filter(|file| touches(file, selection.first, selection.last)).map(|file| file.day);
    let mut days: BTreeSet<Day> = of_files.collect();
    for span in segments.iter().flat_map(|part| &part.table().streams).filter(|span| (selection.streams)(&span.labels)) {
        let (first, last) = (span.min_timestamp.max(selection.first), span.max_timestamp.min(selection.last));
        if first <= last {
            days.extend((Day::of(first).days()..=Day::of(last).days()).filter_map(Day::from_days));
        }
    }
    days
}

fn touches(file: &DataFile, first: i64, last: i64) -> bool {
    file.min_timestamp <= last && file.max_timestamp >= first
}

struct Export<'a> {
    catalog: &'a Arc<Catalog>,
    selection: &'a ExportSelection,
    exported: Exported,
}

impl Export<'_> {
    async fn day(
        &mut self,
        day: Day,
        segments: &[Arc<Part>],
        manifest: &ManifestState,
        writer: &mut dyn RowWriter,
    ) -> Result<(), ExportError> {
        let start = i64::from(day.days()).saturating_mul(DAY_NANOSECONDS);
        let first = start.max(self.selection.first);
        let last = start.saturating_add(DAY_NANOSECONDS - 1).min(self.selection.last);
        let mut objects: Vec<Vec<Arc<Part>>> = Vec::new();
        let mut files: Vec<Arc<DataFile>> =
            manifest.files().filter(|file| file.day == day && touches(file, first, last)).cloned().collect();
        files.sort_by_key(|file| (file.arrived, file.id));
        for file in files {
            objects.push(self.catalog.data_file(&self.selection.tenant, file).await.map_err(CompactError::from)?.to_vec());
        }
        // Segments stand in their order, row groups of one side by side.
        let touching: Vec<Arc<Part>> = segments.iter().filter(|part| part.touches(first, last)).cloned().collect();
        objects.extend(touching.chunk_by(|left, right| left.key() == right.key()).map(<[Arc<Part>]>::to_vec));
        let read_ahead = READ_AHEAD / objects.len().max(1) as u64;
        let mut sources: Vec<_> = objects.into_iter().map(|parts| (Source::new(self.catalog.clone(), parts, read_ahead), None)).collect();
        let mut sink = Selected {
            first,
            last,
            erasure: self.selection.erasure.as_ref(),
            of_stream: StreamErasure::default(),
            stream: None,
            is_begun: false,
            writer,
            exported: self.exported,
            failure: None,
        };
        let streams = Streams { first, last, wanted: self.selection.streams.as_ref() };
        let merged = merge_streams(&mut sources, &streams, &mut sink).await;
        let (exported, failure) = (sink.exported, sink.failure.take());
        if let Some(failure) = failure {
            return Err(failure);
        }
        self.exported = Exported { duplicates: exported.duplicates + merged?.duplicates, ..exported };
        Ok(())
    }
}

/// Passes on the rows of the day that are wanted and not erased.
struct Selected<'a> {
    first: i64,
    last: i64,
    erasure: &'a dyn Erasure,
    of_stream: StreamErasure,
    stream: Option<(StreamId, Pairs)>,
    /// The writer was told of the stream.
    is_begun: bool,
    writer: &'a mut dyn RowWriter,
    exported: Exported,
    failure: Option<ExportError>,
}

impl Selected<'_> {
    fn write(&mut self, run: &Run, rows: Range<usize>) -> Result<(), ExportError> {
        if rows.is_empty() {
            return Ok(());
        }
        if let Some((id, labels)) = self.stream.as_ref().filter(|_| !self.is_begun) {
            self.writer.begin_stream(*id, labels)?;
            self.is_begun = true;
        }
        self.exported.entries += rows.len() as u64;
        self.exported.line_bytes += run.line_bytes(rows.clone()) as u64;
        self.writer.rows(ExportedRows { run, rows })
    }

    fn kept(&mut self, run: &Run, rows: Range<usize>) -> Result<(), ExportError> {
        if self.of_stream.is_nothing() {
            return self.write(run, rows);
        }
        let (lines, mut start) = (run.lines().map_err(CompactError::from)?, rows.start);
        for row in rows.clone() {
            if !self.of_stream.keeps(run.timestamps[row], lines.line(row)) {
                self.write(run, start..row)?;
                start = row + 1;
            }
        }
        self.write(run, start..rows.end)
    }
}

impl Sink for Selected<'_> {
    fn begin_stream(&mut self, id: StreamId, labels: &Pairs, _bytes: u64) {
        self.of_stream = self.erasure.of_stream(labels);
        self.stream = Some((id, labels.clone()));
        self.is_begun = false;
    }

    async fn append(&mut self, run: &Run, start: usize, length: usize) -> Result<(), CompactError> {
        let stamps = &run.timestamps[start..start + length];
        let (from, to) = (stamps.partition_point(|stamp| *stamp < self.first), stamps.partition_point(|stamp| *stamp <= self.last));
        match self.kept(run, start + from..start + to.max(from)) {
            Ok(()) => Ok(()),
            Err(failure) => {
                self.failure = Some(failure);
                Err(CompactError::Stopped)
            }
        }
    }
}

/// Writes NDJSON.
#[derive(Debug)]
pub struct JsonLinesWriter<W> {
    output: W,
    /// `"labels":{…}` of the stream, as JSON.
    labels: Vec<u8>,
}

impl<W: Write> JsonLinesWriter<W> {
    pub fn new(output: W) -> Self {
        Self { output, labels: Vec::new() }
    }
}

impl<W: Write + Send> RowWriter for JsonLinesWriter<W> {
    fn begin_stream(&mut self, id: StreamId, labels: &Pairs) -> Result<(), ExportError> {
        self.labels.clear();
        Ok(write_pairs(&mut self.labels, &pushed_labels(id, labels))?)
    }

    fn rows(&mut self, ExportedRows { run, rows }: ExportedRows<'_>) -> Result<(), ExportError> {
        let lines = run.lines().map_err(CompactError::from)?;
        for row in rows {
            write!(self.output, "{{\"ts\":\"{}\",\"labels\":", run.timestamps[row])?;
            self.output.write_all(&self.labels)?;
            self.output.write_all(b",\"metadata\":")?;
            write_pairs(&mut self.output, run.metadata(row))?;
            self.output.write_all(b",\"line\":")?;
            serde_json::to_writer(&mut self.output, &String::from_utf8_lossy(lines.line(row))).map_err(std::io::Error::from)?;
            self.output.write_all(b"}\n")?;
        }
        Ok(())
    }

    fn end_day(&mut self) -> Result<(), ExportError> {
        Ok(())
    }

    fn finish(&mut self) -> Result<(), ExportError> {
        Ok(self.output.flush()?)
    }
}

fn write_pairs(output: &mut impl Write, pairs: &Pairs) -> std::io::Result<()> {
    let map: BTreeMap<&str, &str> = pairs.iter().collect();
    Ok(serde_json::to_writer(output, &map)?)
}
