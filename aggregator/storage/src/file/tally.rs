//! What was written into the pages of a row group, added up, so that a stream table is believed only if it says the same.

use crate::file::stream_table::RowGroupStreams;

/// Of the pages so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    rows: usize,
    text_bytes: u64,
    stamps: Option<(i64, i64)>,
    last: Option<i64>,
    /// Rows with a stamp before that of the row above: only the first rows of streams may have one.
    steps_back: usize,
}

impl Tally {
    pub(super) fn page(&mut self, timestamps: &[i64], text_bytes: usize) {
        let (Some(&first), Some(&last)) = (timestamps.first(), timestamps.last()) else { return };
        let bounds = timestamps.iter().fold((first, first), |(least, most), &stamp| (least.min(stamp), most.max(stamp)));
        self.stamps = Some(self.stamps.map_or(bounds, |(least, most)| (least.min(bounds.0), most.max(bounds.1))));
        self.steps_back += timestamps.windows(2).filter(|pair| pair[1] < pair[0]).count();
        self.steps_back += usize::from(self.last.is_some_and(|last| first < last));
        self.last = Some(last);
        self.rows += timestamps.len();
        self.text_bytes += text_bytes as u64;
    }

    /// What a stream table says otherwise.
    pub(super) fn contradiction(&self, table: &RowGroupStreams) -> Option<&'static str> {
        let mut next = 0;
        for span in &table.streams {
            if span.rows.start != next || span.rows.is_empty() {
                return Some("the stream table's streams do not stand one behind the other");
            }
            next = span.rows.end;
            let shares = || span.by_namespace_uid.iter();
            if shares().map(|share| share.rows).sum::<u64>() != span.rows.len() as u64
                || shares().map(|share| share.bytes).sum::<u64>() != span.bytes
            {
                return Some("the shares of namespaces are not all of a stream");
            }
        }
        match () {
            () if next != self.rows => Some("the stream table's rows are not those of the pages"),
            () if table.bytes() != self.text_bytes => Some("the stream table's bytes are not those of the pages"),
            () if table.stamps() != self.stamps => Some("the stream table's stamps are not those of the pages"),
            () if self.steps_back >= table.streams.len().max(1) => Some("the rows of a stream do not stand in the order of their stamps"),
            () => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{StreamId, TenantId};
    use crate::file::stream_table::{NamespaceUidShare, StreamSpan};
    use crate::pairs::Pairs;

    fn span(id: u64, rows: std::ops::Range<usize>, (min, max): (i64, i64), bytes: u64) -> StreamSpan {
        let share = NamespaceUidShare { uid: "".into(), min_ts: min, max_ts: max, rows: rows.len() as u64, bytes };
        StreamSpan {
            id: StreamId(id),
            labels: Pairs::default(),
            rows,
            min_timestamp: min,
            max_timestamp: max,
            bytes,
            by_namespace_uid: Box::new([share]),
        }
    }

    fn table(spans: Vec<StreamSpan>) -> RowGroupStreams {
        RowGroupStreams::new(TenantId::new("t"), spans)
    }

    /// Two streams, of which the first goes over into the second page.
    fn tally() -> Tally {
        let mut tally = Tally::default();
        tally.page(&[10, 20], 4);
        tally.page(&[20, 30, 5], 6);
        tally
    }

    fn right() -> Vec<StreamSpan> {
        vec![span(1, 0..4, (10, 30), 8), span(2, 4..5, (5, 5), 2)]
    }

    #[test]
    fn a_table_that_says_what_was_written_is_believed() {
        assert_eq!(tally().contradiction(&table(right())), None);
        assert_eq!(Tally::default().contradiction(&table(Vec::new())), None);
    }

    #[test]
    fn each_contradiction_is_noticed() {
        let changed = |change: fn(&mut Vec<StreamSpan>)| {
            let mut spans = right();
            change(&mut spans);
            tally().contradiction(&table(spans)).expect("a contradiction")
        };
        for (change, words) in [
            ((|spans| spans[1].rows = 3..5) as fn(&mut Vec<StreamSpan>), "one behind the other"),
            (|spans| spans[1].rows = 4..4, "one behind the other"),
            (|spans| spans[0].by_namespace_uid[0].rows = 3, "shares"),
            (|spans| drop(spans.pop()), "rows are not those"),
            (|spans| spans[1] = span(2, 4..5, (5, 5), 3), "bytes are not those"),
            (|spans| spans[0].max_timestamp = 31, "stamps are not those"),
            (|spans| *spans = vec![span(1, 0..5, (5, 30), 10)], "order of their stamps"),
        ] {
            let told = changed(change);
            assert!(told.contains(words), "{told}");
        }
    }
}
