//! The stream table: which streams each row group of a file holds, where, and between which stamps.
//!
//! It is part `tw.streams` of a file (protobuf, zstd), so that a reader knows what a file holds without reading a page. Rows of one stream
//! are contiguous in a row group and streams stand in the order of their rows, so the row counts give the row ranges.

use std::ops::Range;
use std::sync::Arc;

use prost::Message;

use crate::entry::{StreamId, TenantId};
use crate::pairs::Pairs;

/// The rows of one stream in one row group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSpan {
    pub id: StreamId,
    /// Labels as stored.
    pub labels: Pairs,
    /// Rows of the row group.
    pub rows: Range<usize>,
    /// First and last stamp, nanoseconds, both included.
    pub min_timestamp: i64,
    pub max_timestamp: i64,
    /// Bytes of line text.
    pub bytes: u64,
    /// The same figures by `namespace_uid`, which the empty string stands for where an entry has none.
    pub by_namespace_uid: Box<[NamespaceUidShare]>,
}

/// What one incarnation of a namespace has of a stream's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceUidShare {
    pub uid: Arc<str>,
    pub min_ts: i64,
    pub max_ts: i64,
    pub rows: u64,
    pub bytes: u64,
}

/// The stream table of one row group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowGroupStreams {
    pub tenant: TenantId,
    /// In the order of their rows.
    pub streams: Box<[StreamSpan]>,
    /// Indices into `streams`, ascending by id.
    by_id: Box<[u32]>,
}

impl RowGroupStreams {
    /// `streams` in the order of their rows, each once.
    pub fn new(tenant: TenantId, streams: Vec<StreamSpan>) -> Self {
        let mut by_id: Vec<u32> = (0..streams.len() as u32).collect();
        by_id.sort_unstable_by_key(|&index| streams[index as usize].id);
        Self { tenant, streams: streams.into(), by_id: by_id.into() }
    }

    pub fn rows(&self) -> usize {
        self.streams.last().map_or(0, |span| span.rows.end)
    }

    pub fn bytes(&self) -> u64 {
        self.streams.iter().map(|span| span.bytes).sum()
    }

    pub fn find(&self, id: StreamId) -> Option<&StreamSpan> {
        let found = self.by_id.binary_search_by_key(&id, |&index| self.streams[index as usize].id).ok()?;
        Some(&self.streams[self.by_id[found] as usize])
    }

    /// First and last stamp of all its streams.
    pub fn stamps(&self) -> Option<(i64, i64)> {
        let first = self.streams.iter().map(|span| span.min_timestamp).min()?;
        Some((first, self.streams.iter().map(|span| span.max_timestamp).max()?))
    }

    pub fn heap_bytes(&self) -> usize {
        let shares: usize = self.streams.iter().map(|span| span.by_namespace_uid.len()).sum();
        self.streams.len() * (size_of::<StreamSpan>() + size_of::<u32>()) + shares * size_of::<NamespaceUidShare>()
    }
}

#[derive(Clone, PartialEq, Message)]
struct StoredTable {
    #[prost(message, repeated, tag = "1")]
    streams: Vec<StoredStream>,
    #[prost(string, repeated, tag = "2")]
    namespace_uids: Vec<String>,
    #[prost(message, repeated, tag = "3")]
    row_groups: Vec<StoredRowGroup>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredStream {
    #[prost(fixed64, tag = "1")]
    id: u64,
    /// [`Pairs`] bytes.
    #[prost(bytes = "vec", tag = "2")]
    labels: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredRowGroup {
    #[prost(string, tag = "1")]
    tenant: String,
    #[prost(message, repeated, tag = "2")]
    spans: Vec<StoredSpan>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredSpan {
    /// Index into the table's streams.
    #[prost(uint32, tag = "1")]
    stream: u32,
    #[prost(message, repeated, tag = "2")]
    shares: Vec<StoredShare>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredShare {
    /// Index into the table's uids.
    #[prost(uint32, tag = "1")]
    namespace_uid: u32,
    #[prost(sfixed64, tag = "2")]
    min_ts: i64,
    #[prost(uint64, tag = "3")]
    duration: u64,
    #[prost(uint64, tag = "4")]
    rows: u64,
    #[prost(uint64, tag = "5")]
    bytes: u64,
}

const ZSTD_LEVEL: i32 = 1;

/// Most bytes of a table when decompressed: what a damaged length cannot exceed.
const LARGEST: usize = 1 << 30;

/// The bytes of part `tw.streams`.
pub(crate) fn encode(row_groups: &[RowGroupStreams]) -> std::io::Result<Vec<u8>> {
    let mut table = StoredTable::default();
    let (mut streams, mut uids) = (std::collections::HashMap::new(), std::collections::HashMap::new());
    for row_group in row_groups {
        let mut spans = Vec::with_capacity(row_group.streams.len());
        for span in &row_group.streams {
            // Labels as stored are part of the key: a later version may derive other ones for the same stream.
            let stream = *streams.entry((span.id, &span.labels)).or_insert_with(|| {
                table.streams.push(StoredStream { id: span.id.0, labels: span.labels.as_bytes().to_vec() });
                table.streams.len() as u32 - 1
            });
            let shares = span.by_namespace_uid.iter().map(|share| StoredShare {
                namespace_uid: *uids.entry(share.uid.clone()).or_insert_with(|| {
                    table.namespace_uids.push(share.uid.as_ref().to_owned());
                    table.namespace_uids.len() as u32 - 1
                }),
                min_ts: share.min_ts,
                duration: share.max_ts.wrapping_sub(share.min_ts).cast_unsigned(),
                rows: share.rows,
                bytes: share.bytes,
            });
            spans.push(StoredSpan { stream, shares: shares.collect() });
        }
        table.row_groups.push(StoredRowGroup { tenant: row_group.tenant.as_str().to_owned(), spans });
    }
    zstd::bulk::compress(&table.encode_to_vec(), ZSTD_LEVEL)
}

/// Reads part `tw.streams`; the reason for a refusal is meant for a person.
pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<RowGroupStreams>, String> {
    let length = zstd::zstd_safe::get_frame_content_size(bytes).ok().flatten().ok_or("it is no zstd frame")?;
    let length = usize::try_from(length).ok().filter(|length| *length <= LARGEST).ok_or("its length is beyond all bounds")?;
    let plain = zstd::bulk::decompress(bytes, length).map_err(|error| error.to_string())?;
    let table = StoredTable::decode(plain.as_slice()).map_err(|error| error.to_string())?;
    let labels: Vec<(StreamId, Pairs)> = table
        .streams
        .iter()
        .map(|stream| Ok((StreamId(stream.id), Pairs::from_bytes(&stream.labels).map_err(|error| error.to_string())?)))
        .collect::<Result<_, String>>()?;
    let uids: Vec<Arc<str>> = table.namespace_uids.iter().map(|uid| uid.as_str().into()).collect();
    table.row_groups.into_iter().map(|row_group| row_group_from_stored(row_group, &labels, &uids)).collect()
}

fn row_group_from_stored(stored: StoredRowGroup, labels: &[(StreamId, Pairs)], uids: &[Arc<str>]) -> Result<RowGroupStreams, String> {
    let mut next_row = 0usize;
    let mut streams: Vec<StreamSpan> = Vec::with_capacity(stored.spans.len());
    for span in stored.spans {
        let (id, labels) = labels.get(span.stream as usize).ok_or("it names a stream that it does not hold")?;
        let share = |share: StoredShare| -> Result<NamespaceUidShare, String> {
            let uid = uids.get(share.namespace_uid as usize).ok_or("it names a namespace uid that it does not hold")?;
            let max_ts = share.min_ts.wrapping_add(share.duration.cast_signed());
            Ok(NamespaceUidShare { uid: uid.clone(), min_ts: share.min_ts, max_ts, rows: share.rows, bytes: share.bytes })
        };
        let shares: Box<[NamespaceUidShare]> = span.shares.into_iter().map(share).collect::<Result<_, _>>()?;
        let rows: u64 = shares.iter().map(|share| share.rows).fold(0, u64::saturating_add);
        let end = usize::try_from(rows).ok().and_then(|rows| next_row.checked_add(rows)).ok_or("row counts overflow")?;
        let (Some(min_timestamp), Some(max_timestamp)) =
            (shares.iter().map(|share| share.min_ts).min(), shares.iter().map(|share| share.max_ts).max())
        else {
            return Err(format!("stream {:016x} has no rows", id.0));
        };
        streams.push(StreamSpan {
            id: *id,
            labels: labels.clone(),
            rows: next_row..end,
            min_timestamp,
            max_timestamp,
            bytes: shares.iter().map(|share| share.bytes).fold(0, u64::saturating_add),
            by_namespace_uid: shares,
        });
        next_row = end;
    }
    let table = RowGroupStreams::new(TenantId::new(&stored.tenant), streams);
    let ids = table.by_id.iter().map(|&index| table.streams[index as usize].id);
    if !ids.is_sorted_by(|left, right| left < right) {
        return Err("it lists a stream of a row group twice".to_owned());
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn share(uid: &str, rows: u64) -> NamespaceUidShare {
        NamespaceUidShare { uid: uid.into(), min_ts: -5, max_ts: 7, rows, bytes: 3 * rows }
    }

    fn span(id: u64, rows: Range<usize>, shares: Vec<NamespaceUidShare>) -> StreamSpan {
        StreamSpan {
            id: StreamId(id),
            labels: Pairs::from_pairs([("app", "a\"b"), ("zone", "ü")]),
            bytes: 3 * (rows.len() as u64),
            rows,
            min_timestamp: -5,
            max_timestamp: 7,
            by_namespace_uid: shares.into(),
        }
    }

    #[test]
    fn the_table_survives_its_bytes() {
        let spans = vec![span(u64::MAX, 0..3, vec![share("", 1), share("u", 2)]), span(1, 3..4, vec![share("", 1)])];
        let table = RowGroupStreams::new(TenantId::new("fake"), spans);
        let bytes = encode(&[table.clone(), table.clone()]).expect("compresses");
        assert_eq!(decode(&bytes), Ok(vec![table.clone(), table.clone()]));
        assert_eq!(table.rows(), 4);
        assert_eq!(table.find(StreamId(u64::MAX)).map(|span| span.rows.clone()), Some(0..3));
        assert_eq!(table.find(StreamId(1)).map(|span| span.rows.clone()), Some(3..4));
        assert_eq!(table.find(StreamId(2)), None);
    }

    #[test]
    fn a_stream_that_stands_twice_or_has_no_rows_is_refused() {
        for spans in [vec![span(1, 0..1, vec![share("", 1)]), span(1, 1..2, vec![share("", 1)])], vec![span(1, 0..0, vec![])]] {
            let bytes = encode(&[RowGroupStreams::new(TenantId::new("t"), spans)]).expect("compresses");
            assert!(decode(&bytes).is_err());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_decoded_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let compressed = zstd::bulk::compress(&bytes, 1).expect("compresses");
            drop(decode(&compressed));
            drop(decode(&bytes));
        }
    }
}
