//! Rows on their way into a segment: the entries of a flush, sorted, each once, cut into row groups.
//!
//! The same columns serve three readers: the encoder, queries on recent data (which read them from memory instead of the store)
//! and, later, compaction. Text lies end to end, cut by offsets, as in Arrow.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;

use arrow::buffer::OffsetBuffer;

use crate::entry::{Metadata, PushBatch, StreamEntries, StreamId, TenantId};
use crate::file::columns::{LinePage, MetadataColumn};
use crate::file::rows::RowGroupRows;
use crate::file::stream_table_builder::StreamTableBuilder;
use crate::file::write::ROW_GROUP_BYTES;
use crate::pairs::Pairs;
use crate::same_stamp::SameStamp;

/// The row groups of a flush and how many entries were left out because an identical one stood before them.
#[derive(Debug)]
pub struct SegmentRows {
    pub row_groups: Vec<RowGroupRows>,
    pub duplicates: u64,
}

impl SegmentRows {
    /// Sorts the pushes of a flush (in order of arrival) into row groups.
    pub fn from_pushes(pushes: &[PushBatch]) -> Self {
        Self::with_row_group_bytes(pushes, ROW_GROUP_BYTES)
    }

    fn with_row_group_bytes(pushes: &[PushBatch], row_group_bytes: usize) -> Self {
        let mut tenants: BTreeMap<&TenantId, BTreeMap<StreamId, Vec<&StreamEntries>>> = BTreeMap::new();
        for push in pushes {
            let streams = tenants.entry(&push.tenant).or_default();
            for entries in push.streams.iter().filter(|entries| !entries.is_empty()) {
                streams.entry(entries.labels().id()).or_default().push(entries);
            }
        }
        let mut result = Self { row_groups: Vec::new(), duplicates: 0 };
        for (tenant, streams) in tenants {
            let mut open = Builder::new(tenant.clone(), row_group_bytes);
            open.rows.reserve(streams.values().flatten(), row_group_bytes);
            for (_, parts) in streams {
                result.duplicates += open.append_stream(&parts, &mut result.row_groups);
            }
            open.finish(&mut result.row_groups);
        }
        result
    }

    pub fn rows(&self) -> usize {
        self.row_groups.iter().map(RowGroupRows::rows).sum()
    }

    pub fn heap_bytes(&self) -> usize {
        self.row_groups.iter().map(RowGroupRows::heap_bytes).sum()
    }
}

/// The columns of a row group that is still growing.
struct OpenRows {
    streams: StreamTableBuilder,
    timestamps: Vec<i64>,
    line_offsets: Vec<i32>,
    line_text: Vec<u8>,
    line_hashes: Vec<u64>,
    metadata_of: Vec<u32>,
    metadata_sets: Vec<Pairs>,
}

impl OpenRows {
    fn new() -> Self {
        Self {
            streams: StreamTableBuilder::default(),
            timestamps: Vec::new(),
            line_offsets: vec![0],
            line_text: Vec::new(),
            line_hashes: Vec::new(),
            metadata_of: Vec::new(),
            metadata_sets: Vec::new(),
        }
    }

    /// Makes room for all of these entries at once, up to a row group.
    fn reserve<'e>(&mut self, entries: impl Iterator<Item = &'e &'e StreamEntries>, row_group_bytes: usize) {
        let (rows, bytes) = entries.fold((0, 0), |(rows, bytes), entries| (rows + entries.len(), bytes + entries.line_bytes_len()));
        self.timestamps.reserve_exact(rows);
        self.line_offsets.reserve_exact(rows);
        self.line_text.reserve_exact(bytes.min(row_group_bytes));
        self.line_hashes.reserve_exact(rows);
        self.metadata_of.reserve_exact(rows);
    }

    fn rows(&self) -> usize {
        self.timestamps.len()
    }

    fn close(self, tenant: TenantId) -> RowGroupRows {
        RowGroupRows::new(
            self.streams.finish(tenant),
            self.timestamps.into(),
            LinePage { offsets: OffsetBuffer::new(self.line_offsets.into()), text: self.line_text.into() },
            self.line_hashes.into(),
            MetadataColumn { of: self.metadata_of.into(), sets: self.metadata_sets.into() },
        )
    }
}

/// Collects the rows of one tenant, handing over a row group whenever one is full.
struct Builder<'a> {
    tenant: TenantId,
    row_group_bytes: usize,
    rows: OpenRows,
    set_index: HashMap<&'a Metadata, u32>,
}

impl<'a> Builder<'a> {
    fn new(tenant: TenantId, row_group_bytes: usize) -> Self {
        Self { rows: OpenRows::new(), tenant, row_group_bytes, set_index: HashMap::new() }
    }

    /// Appends a stream's entries in stamp order; returns how many were repetitions.
    fn append_stream(&mut self, parts: &[&'a StreamEntries], full: &mut Vec<RowGroupRows>) -> u64 {
        let labels = parts[0].labels();
        let order = Order::of(parts);
        let mut duplicates = 0;
        self.rows.streams.begin_stream(labels.id(), labels.stored());
        // Rows of the stamp being appended: an identical entry can only be among them.
        let (mut equal_stamps, mut last_stamp) = (SameStamp::default(), None);
        let mut sets: Vec<Vec<Option<u32>>> = parts.iter().map(|part| vec![None; part.metadata_sets().len()]).collect();
        order.for_each(|part, row| {
            let entries = parts[part];
            let stamp = entries.timestamps()[row];
            if last_stamp != Some(stamp) {
                equal_stamps.clear();
                last_stamp = Some(stamp);
            }
            let hash = |&(part, row): &(usize, usize)| Ok::<_, Infallible>(parts[part].line_hashes()[row]);
            let is_same = |own: &(usize, usize), other: &(usize, usize)| Ok(is_same((parts[own.0], own.1), (parts[other.0], other.1)));
            let Ok(same) = equal_stamps.find(&(part, row), hash, is_same);
            if same.is_some() {
                duplicates += 1;
                return;
            }
            equal_stamps.push((part, row));
            if self.rows.line_text.len() + entries.line(row).len() > self.row_group_bytes && self.rows.rows() > 0 {
                self.cut(full);
                self.rows.streams.begin_stream(labels.id(), labels.stored());
                sets.iter_mut().for_each(|known| known.fill(None));
            }
            let known = &mut sets[part][entries.metadata_index(row)];
            let set = *known.get_or_insert_with(|| self.set_of(entries.metadata(row)));
            self.append(entries, row, set);
        });
        duplicates
    }

    /// The row group's index of a metadata set.
    fn set_of(&mut self, metadata: &'a Metadata) -> u32 {
        *self.set_index.entry(metadata).or_insert_with(|| {
            let stored = metadata.stored();
            self.rows.streams.add_set(&stored);
            self.rows.metadata_sets.push(stored);
            u32::try_from(self.rows.metadata_sets.len() - 1).expect("a row group holds fewer than 2^32 rows")
        })
    }

    fn append(&mut self, entries: &StreamEntries, row: usize, set: u32) {
        let rows = &mut self.rows;
        let (stamp, line) = (entries.timestamps()[row], entries.line(row));
        rows.streams.count(set, stamp, line.len() as u64);
        rows.timestamps.push(stamp);
        rows.line_text.extend_from_slice(line);
        rows.line_offsets.push(i32::try_from(rows.line_text.len()).expect("a row group stays below 2 GiB of text"));
        rows.line_hashes.push(entries.line_hashes()[row]);
        rows.metadata_of.push(set);
    }

    fn cut(&mut self, full: &mut Vec<RowGroupRows>) {
        let rows = std::mem::replace(&mut self.rows, OpenRows::new());
        self.set_index.clear();
        full.push(rows.close(self.tenant.clone()));
    }

    fn finish(mut self, full: &mut Vec<RowGroupRows>) {
        if self.rows.rows() > 0 {
            self.cut(full);
        }
    }
}

fn is_same((left, left_row): (&StreamEntries, usize), (right, right_row): (&StreamEntries, usize)) -> bool {
    left.line_hashes()[left_row] == right.line_hashes()[right_row]
        && left.line(left_row) == right.line(right_row)
        && left.metadata(left_row).pushed == right.metadata(right_row).pushed
}

/// The order of a stream's entries by (stamp, arrival).
enum Order {
    /// As they came: stamps never go back.
    AsIs(Vec<usize>),
    Sorted(Vec<(i64, u32, u32)>),
}

impl Order {
    fn of(parts: &[&StreamEntries]) -> Self {
        let stamps = || parts.iter().flat_map(|entries| entries.timestamps());
        if stamps().zip(stamps().skip(1)).all(|(earlier, later)| earlier <= later) {
            return Self::AsIs(parts.iter().map(|entries| entries.len()).collect());
        }
        let mut order: Vec<(i64, u32, u32)> = Vec::with_capacity(stamps().count());
        for (part, entries) in parts.iter().enumerate() {
            order.extend(entries.timestamps().iter().enumerate().map(|(row, &stamp)| (stamp, part as u32, row as u32)));
        }
        order.sort_unstable();
        Self::Sorted(order)
    }

    fn for_each(&self, mut each: impl FnMut(usize, usize)) {
        match self {
            Self::AsIs(lengths) => {
                for (part, &length) in lengths.iter().enumerate() {
                    (0..length).for_each(|row| each(part, row));
                }
            }
            Self::Sorted(order) => order.iter().for_each(|&(_, part, row)| each(part as usize, row as usize)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::StreamLabels;
    use crate::file::schema::NAMESPACE_UID;
    use crate::file::stream_table::NamespaceUidShare;
    use std::sync::Arc;

    fn push(tenant: &str, app: &str, entries: &[(i64, &str, &str)]) -> PushBatch {
        let labels = Arc::new(StreamLabels::new(Pairs::from_pairs([("app", app)]), None));
        let mut stream = StreamEntries::new(labels);
        for &(stamp, line, trace) in entries {
            let pushed = if trace.is_empty() { Pairs::default() } else { Pairs::from_pairs([("trace_id", trace)]) };
            let handle = stream.intern(Metadata { pushed, derived: Pairs::from_pairs([("detected_level", "info")]) });
            stream.push(stamp, line, handle);
        }
        PushBatch { tenant: TenantId::new(tenant), streams: vec![stream] }
    }

    fn lines(rows: &RowGroupRows) -> Vec<(i64, String)> {
        (0..rows.rows()).map(|row| (rows.timestamps[row], String::from_utf8_lossy(rows.lines.line(row)).into_owned())).collect()
    }

    #[test]
    fn rows_are_sorted_by_stamp_then_arrival_and_repetitions_fall_out() {
        let pushes = [
            push("t", "a", &[(5, "late", ""), (1, "first", ""), (5, "late", "")]),
            push("t", "a", &[(5, "other", ""), (5, "late", "x"), (1, "first", "")]),
        ];
        let rows = SegmentRows::from_pushes(&pushes);
        assert_eq!(rows.duplicates, 2);
        let group = &rows.row_groups[0];
        assert_eq!(lines(group), [(1, "first".into()), (5, "late".into()), (5, "other".into()), (5, "late".into())]);
        assert_eq!(group.metadata.row(3).get("trace_id"), Some("x"));
        assert_eq!(group.metadata.row(0).get("detected_level"), Some("info"));
        assert_eq!(group.table.streams[0].rows, 0..4);
    }

    #[test]
    fn a_hundred_thousand_entries_of_one_stamp_are_told_apart() {
        let texts: Vec<String> = (0..100_000).map(|number| format!("{number}")).collect();
        let entries: Vec<(i64, &str, &str)> = texts.iter().chain(&texts[..10]).map(|text| (7, text.as_str(), "")).collect();
        let rows = SegmentRows::from_pushes(&[push("t", "a", &entries)]);
        assert_eq!((rows.rows(), rows.duplicates), (100_000, 10));
    }

    #[test]
    fn tenants_never_share_a_row_group() {
        let rows = SegmentRows::from_pushes(&[push("b", "a", &[(1, "x", "")]), push("a", "a", &[(1, "x", "")])]);
        let tenants: Vec<_> = rows.row_groups.iter().map(|group| group.table.tenant.as_str().to_owned()).collect();
        assert_eq!(tenants, ["a", "b"]);
        assert_eq!(rows.duplicates, 0);
    }

    #[test]
    fn a_full_row_group_is_cut_even_inside_a_stream() {
        let entries: Vec<(i64, &str, &str)> = (0..10).map(|stamp| (stamp, "0123456789", "")).collect();
        let rows = SegmentRows::with_row_group_bytes(&[push("t", "a", &entries), push("t", "b", &[(3, "z", "")])], 35);
        assert_eq!(rows.rows(), 11);
        for group in &rows.row_groups {
            assert!(group.lines.text.len() <= 35);
            assert_eq!(group.table.rows(), group.rows());
            for span in &group.table.streams {
                assert_eq!(span.min_timestamp, group.timestamps[span.rows.start]);
                assert_eq!(span.max_timestamp, group.timestamps[span.rows.end - 1]);
            }
        }
    }

    #[test]
    fn figures_are_kept_by_namespace_uid() {
        let labels = Arc::new(StreamLabels::new(Pairs::default(), None));
        let mut stream = StreamEntries::new(labels);
        let old = stream.intern(Metadata { pushed: Pairs::from_pairs([(NAMESPACE_UID, "old")]), derived: Pairs::default() });
        let new = stream.intern(Metadata { pushed: Pairs::from_pairs([(NAMESPACE_UID, "new")]), derived: Pairs::default() });
        stream.push(1, "ab", old);
        stream.push(2, "c", new);
        stream.push(3, "def", old);
        let rows = SegmentRows::from_pushes(&[PushBatch { tenant: TenantId::new("t"), streams: vec![stream] }]);
        let shares = &rows.row_groups[0].table.streams[0].by_namespace_uid;
        assert_eq!(shares.len(), 2);
        assert_eq!(shares[1], NamespaceUidShare { uid: "old".into(), min_ts: 1, max_ts: 3, rows: 2, bytes: 5 });
    }
}
