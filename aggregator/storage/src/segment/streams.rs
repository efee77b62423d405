//! The stream table: which streams a row group holds, where, and between which stamps.
//!
//! It stands in the footer (`tw.streams`, JSON), so that a reader knows what a segment holds without reading a page. Rows of
//! one stream are contiguous and streams ascend by id, so the row counts give the row ranges.

use std::ops::Range;

use serde::{Deserialize, Serialize};

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
    pub by_namespace_uid: Vec<NamespaceUidShare>,
}

/// What one incarnation of a namespace has of a stream's rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceUidShare {
    #[serde(rename = "namespace_uid")]
    pub uid: String,
    pub min_ts: i64,
    pub max_ts: i64,
    pub rows: u64,
    pub bytes: u64,
}

/// The stream table of one row group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowGroupStreams {
    pub tenant: TenantId,
    /// Ascending by id.
    pub streams: Vec<StreamSpan>,
}

impl RowGroupStreams {
    pub fn rows(&self) -> usize {
        self.streams.last().map_or(0, |span| span.rows.end)
    }

    pub fn find(&self, id: StreamId) -> Option<&StreamSpan> {
        self.streams.binary_search_by_key(&id, |span| span.id).ok().map(|index| &self.streams[index])
    }
}

#[derive(Serialize, Deserialize)]
struct StoredRowGroup {
    tenant: String,
    streams: Vec<StoredStream>,
}

#[derive(Serialize, Deserialize)]
struct StoredStream {
    /// 16 hexadecimal digits.
    id: String,
    labels: Vec<(String, String)>,
    shares: Vec<NamespaceUidShare>,
}

/// The text of `tw.streams`.
pub(crate) fn to_json(row_groups: &[&RowGroupStreams]) -> String {
    let stored: Vec<StoredRowGroup> = row_groups
        .iter()
        .map(|row_group| StoredRowGroup {
            tenant: row_group.tenant.as_str().to_owned(),
            streams: row_group
                .streams
                .iter()
                .map(|span| StoredStream {
                    id: format!("{:016x}", span.id.0),
                    labels: span.labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
                    shares: span.by_namespace_uid.clone(),
                })
                .collect(),
        })
        .collect();
    serde_json::to_string(&stored).expect("strings and numbers always serialise")
}

/// Reads `tw.streams`; the reason for a refusal is meant for a person.
pub(crate) fn from_json(text: &str) -> Result<Vec<RowGroupStreams>, String> {
    let stored: Vec<StoredRowGroup> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    stored.into_iter().map(row_group_from_stored).collect()
}

fn row_group_from_stored(stored: StoredRowGroup) -> Result<RowGroupStreams, String> {
    let mut next_row = 0usize;
    let mut streams: Vec<StreamSpan> = Vec::with_capacity(stored.streams.len());
    for stream in stored.streams {
        let id = StreamId(u64::from_str_radix(&stream.id, 16).map_err(|_| format!("`{}` is no stream id", stream.id))?);
        if streams.last().is_some_and(|previous| previous.id >= id) {
            return Err(format!("stream {} is out of order", stream.id));
        }
        let rows: u64 = stream.shares.iter().map(|share| share.rows).sum();
        let end = usize::try_from(rows).ok().and_then(|rows| next_row.checked_add(rows)).ok_or("row counts overflow")?;
        let (Some(min_timestamp), Some(max_timestamp)) =
            (stream.shares.iter().map(|share| share.min_ts).min(), stream.shares.iter().map(|share| share.max_ts).max())
        else {
            return Err(format!("stream {} has no rows", stream.id));
        };
        streams.push(StreamSpan {
            id,
            labels: Pairs::from_pairs(&stream.labels.into_iter().collect::<std::collections::BTreeMap<_, _>>()),
            rows: next_row..end,
            min_timestamp,
            max_timestamp,
            bytes: stream.shares.iter().map(|share| share.bytes).sum(),
            by_namespace_uid: stream.shares,
        });
        next_row = end;
    }
    Ok(RowGroupStreams { tenant: TenantId::new(&stored.tenant), streams })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_survives_its_text() {
        let share = |uid: &str, rows| NamespaceUidShare { uid: uid.into(), min_ts: -5, max_ts: 7, rows, bytes: 3 * rows };
        let span = |id, rows: Range<usize>, shares: Vec<NamespaceUidShare>| StreamSpan {
            id: StreamId(id),
            labels: Pairs::from_pairs([("app", "a\"b"), ("zone", "ü")]),
            bytes: 3 * (rows.len() as u64),
            rows,
            min_timestamp: -5,
            max_timestamp: 7,
            by_namespace_uid: shares,
        };
        let table = RowGroupStreams {
            tenant: TenantId::new("fake"),
            streams: vec![span(1, 0..3, vec![share("", 1), share("u", 2)]), span(u64::MAX, 3..4, vec![share("", 1)])],
        };
        assert_eq!(from_json(&to_json(&[&table, &table])), Ok(vec![table.clone(), table.clone()]));
        assert_eq!(table.rows(), 4);
        assert_eq!(table.find(StreamId(u64::MAX)).map(|span| span.rows.clone()), Some(3..4));
        assert_eq!(table.find(StreamId(2)), None);
    }

    #[test]
    fn a_table_out_of_order_or_empty_is_refused() {
        let stream = |id: &str, shares: &str| format!(r#"{{"id":"{id}","labels":[],"shares":[{shares}]}}"#);
        let share = r#"{"namespace_uid":"","min_ts":1,"max_ts":1,"rows":1,"bytes":1}"#;
        for streams in [format!("{},{}", stream("02", share), stream("01", share)), stream("01", ""), stream("x", share)] {
            assert!(from_json(&format!(r#"[{{"tenant":"t","streams":[{streams}]}}]"#)).is_err(), "{streams}");
        }
    }
}
