//! The columns that are constant within a stream: stream id, promoted labels, the map of the others, the tenant.
//!
//! Queries of ours read the stream table instead; these are for every other Parquet reader. They cost a few runs for each stream.

use parquet::basic::Encoding;
use parquet::data_type::ByteArray;
use parquet::errors::Result;
use parquet::file::statistics::Statistics;

use crate::file::chunk::{ChunkWriter, Dictionary, EncodedChunk, PageCompressor};
use crate::file::hybrid;
use crate::file::metadata_columns::{DictionaryBuilder, level_count, put_indices, put_map_levels};
use crate::file::schema::{FileKind, Leaf, PROMOTED_LABELS};
use crate::file::stream_table::RowGroupStreams;
use crate::pairs::Pairs;

/// Writes the label columns of one row group.
pub(crate) struct LabelColumns<'a> {
    pub(crate) kind: FileKind,
    pub(crate) table: &'a RowGroupStreams,
    pub(crate) compressor: &'a mut PageCompressor,
}

impl LabelColumns<'_> {
    pub(crate) fn tenant(&mut self) -> Result<EncodedChunk> {
        let tenant = self.table.tenant.as_str().to_owned();
        self.strings(Leaf::Tenant, &|_| tenant.as_str())
    }

    /// Stream ids, cut into pages of so many rows each.
    pub(crate) fn stream_ids(&mut self, page_rows: &[usize]) -> Result<EncodedChunk> {
        let mut chunk = ChunkWriter::new(self.kind, Leaf::StreamId);
        let ids: Vec<i64> = self.table.streams.iter().map(|span| span.id.0.cast_signed()).collect();
        let width = hybrid::width_of((ids.len() as u32).saturating_sub(1));
        let (mut start, mut body) = (0, Vec::new());
        for &rows in page_rows {
            let end = start + rows;
            let spans = self.table.streams.iter().enumerate().filter(|(_, span)| span.rows.start < end && span.rows.end > start);
            let runs: Vec<(u32, usize)> =
                spans.map(|(number, span)| (number as u32, span.rows.end.min(end) - span.rows.start.max(start))).collect();
            let of_page = || runs.iter().map(|(number, _)| ids[*number as usize]);
            let bounds = of_page().map(i64::cast_unsigned).min().zip(of_page().map(i64::cast_unsigned).max());
            body.clear();
            put_indices(runs.iter().copied(), width, &mut body);
            let bounds = bounds.map(|(least, greatest)| (least.cast_signed(), greatest.cast_signed()));
            chunk.page(self.compressor, (rows, rows), Encoding::RLE_DICTIONARY, &body, bounds)?;
            start = end;
        }
        let plain: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        let dictionary = Dictionary { plain: &plain, values: ids.len() };
        chunk.close(self.compressor, Some(dictionary), None)
    }

    pub(crate) fn promoted(&mut self) -> Result<Vec<EncodedChunk>> {
        let table = self.table;
        let labels = PROMOTED_LABELS.into_iter().enumerate();
        labels.map(|(index, name)| self.strings(Leaf::Promoted(index), &|span| promoted(&table.streams[span].labels, name))).collect()
    }

    /// A column of one page whose value follows from the stream.
    fn strings<'v>(&mut self, leaf: Leaf, value: &dyn Fn(usize) -> &'v str) -> Result<EncodedChunk> {
        let mut dictionary = DictionaryBuilder::default();
        let spans = &self.table.streams;
        let runs: Vec<(u32, usize)> =
            spans.iter().enumerate().map(|(index, span)| (dictionary.number(value(index)), span.rows.len())).collect();
        let bounds = (0..spans.len()).map(value).min().zip((0..spans.len()).map(value).max());
        let statistics = bounds.map(|(least, greatest)| {
            Statistics::byte_array(Some(ByteArray::from(least)), Some(ByteArray::from(greatest)), None, Some(0), false)
        });
        let mut body = Vec::new();
        let encoding = dictionary.put_indices(runs.into_iter(), &mut body);
        let rows = self.table.rows();
        let mut chunk = ChunkWriter::new(self.kind, leaf);
        chunk.page(self.compressor, (rows, rows), encoding, &body, None)?;
        chunk.close(self.compressor, dictionary.finish(), statistics)
    }

    /// Names and values of the labels that have no column of their own.
    pub(crate) fn others(&mut self) -> Result<[EncodedChunk; 2]> {
        let sets: Vec<(Vec<(&str, &str)>, usize)> =
            self.table.streams.iter().map(|span| (unpromoted(&span.labels), span.rows.len())).collect();
        let names =
            self.map_column(Leaf::LabelNames, sets.iter().map(|(pairs, rows)| (pairs.iter().map(|pair| pair.0).collect(), *rows)))?;
        let values =
            self.map_column(Leaf::LabelValues, sets.iter().map(|(pairs, rows)| (pairs.iter().map(|pair| pair.1).collect(), *rows)))?;
        Ok([names, values])
    }

    /// One leaf of the label map, from the texts of each stream's pairs and its rows.
    fn map_column<'v>(&mut self, leaf: Leaf, streams: impl Iterator<Item = (Vec<&'v str>, usize)>) -> Result<EncodedChunk> {
        let mut dictionary = DictionaryBuilder::default();
        let numbered: Vec<(Vec<u32>, usize)> =
            streams.map(|(texts, rows)| (texts.iter().map(|text| dictionary.number(text)).collect(), rows)).collect();
        let sizes: Vec<(usize, usize)> = numbered.iter().map(|(numbers, rows)| (numbers.len(), *rows)).collect();
        let runs = numbered.iter().flat_map(|(numbers, rows)| {
            // A single pair makes a run; of several the rows alternate.
            let (times, count) = if numbers.len() == 1 { (1, *rows) } else { (*rows, 1) };
            std::iter::repeat_n(numbers, times).flat_map(move |numbers| numbers.iter().map(move |number| (*number, count)))
        });
        let mut body = Vec::new();
        put_map_levels(&sizes, &mut body);
        let encoding = dictionary.put_indices(runs, &mut body);
        let mut chunk = ChunkWriter::new(self.kind, leaf);
        chunk.page(self.compressor, (self.table.rows(), level_count(&sizes)), encoding, &body, None)?;
        chunk.close(self.compressor, dictionary.finish(), None)
    }
}

fn promoted<'p>(labels: &'p Pairs, name: &str) -> &'p str {
    let value = if name == "namespace" { labels.namespace() } else { labels.get(name) };
    value.unwrap_or_default()
}

fn unpromoted(labels: &Pairs) -> Vec<(&str, &str)> {
    labels.iter().filter(|(name, _)| !PROMOTED_LABELS.contains(name)).collect()
}
