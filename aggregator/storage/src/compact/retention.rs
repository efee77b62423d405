//! Which files are past their retention: decisions only, from the manifest and the stream tables.

use std::time::Duration;

use crate::manifest::DataFile;

/// A file is rewritten when so much of its lines' bytes is past retention, in percent.
const DEAD_PERCENT: u128 = 25;

/// A file is rewritten when some of it is past retention for so long, however little.
const DEAD_FOR: Duration = Duration::from_secs(7 * 86_400);

/// Stamps (ns) beyond which retention need not look at streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionEdges {
    /// Earlier rows are past the retention of every stream.
    pub all_dead_before: i64,
    /// These rows and later ones are kept of every stream.
    pub all_kept_from: i64,
}

impl RetentionEdges {
    /// Everything is kept for ever.
    pub const NONE: Self = Self { all_dead_before: i64::MIN, all_kept_from: i64::MIN };

    /// What becomes of a file; `None`: its stream table tells.
    pub(super) fn fate(&self, file: &DataFile) -> Option<Fate> {
        if file.min_timestamp >= self.all_kept_from {
            return Some(Fate::Keep);
        }
        (file.max_timestamp < self.all_dead_before).then_some(Fate::Drop)
    }
}

/// What retention does with a file now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Keep,
    Drop,
    Rewrite,
}

/// Rows of one stream as a stream table tells of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) oldest: i64,
    pub(super) newest: i64,
    pub(super) bytes: u64,
    /// Earlier rows of the stream are past its retention.
    pub(super) keep_from: i64,
}

impl Span {
    /// Bytes past retention, if lines lie evenly between the stamps.
    fn dead_bytes(&self) -> u128 {
        let bytes = u128::from(self.bytes);
        if self.newest < self.keep_from {
            return bytes;
        }
        let length = |from: i64, to: i64| u128::try_from(i128::from(to) - i128::from(from)).unwrap_or(0);
        bytes * length(self.oldest, self.keep_from) / (length(self.oldest, self.newest) + 1)
    }

    fn is_dead_for(&self, time: Duration) -> bool {
        i128::from(self.keep_from) - i128::from(self.oldest) >= i128::try_from(time.as_nanos()).unwrap_or(i128::MAX)
    }
}

/// What becomes of a file with these spans.
pub(super) fn fate(spans: impl IntoIterator<Item = Span>) -> Fate {
    let (mut dead, mut all, mut is_old, mut is_all_dead, mut is_any_dead) = (0, 0, false, true, false);
    for span in spans {
        dead += span.dead_bytes();
        all += u128::from(span.bytes);
        is_old |= span.is_dead_for(DEAD_FOR);
        is_all_dead &= span.newest < span.keep_from;
        is_any_dead |= span.oldest < span.keep_from;
    }
    match is_any_dead {
        true if is_all_dead => Fate::Drop,
        true if is_old || dead * 100 >= all * DEAD_PERCENT => Fate::Rewrite,
        _ => Fate::Keep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DAY: i64 = 86_400_000_000_000;

    fn span(oldest: i64, newest: i64, bytes: u64, keep_from: i64) -> Span {
        Span { oldest, newest, bytes, keep_from }
    }

    #[test]
    fn a_file_is_dropped_whole_or_rewritten_once_a_quarter_is_dead() {
        for (what, spans, expected) in [
            ("nothing is dead", vec![span(10, 20, 100, 10)], Fate::Keep),
            ("all is dead", vec![span(10, 20, 100, 21), span(0, 5, 1, 6)], Fate::Drop),
            ("the newest row is alive", vec![span(10, 20, 100, 20)], Fate::Rewrite),
            ("under a quarter", vec![span(0, 99, 1000, 24)], Fate::Keep),
            ("a quarter", vec![span(0, 99, 1000, 25)], Fate::Rewrite),
            ("one stream of five is dead", vec![span(0, 9, 20, 10), span(0, 9, 80, 0)], Fate::Keep),
            ("one stream of four is dead", vec![span(0, 9, 25, 10), span(0, 9, 75, 0)], Fate::Rewrite),
            ("little, for less than a week", vec![span(0, 1, 1, 7 * DAY - 1), span(0, 9, 1000, 0)], Fate::Keep),
            ("little, for a week", vec![span(0, 1, 1, 7 * DAY), span(0, 9, 1000, 0)], Fate::Rewrite),
            ("empty lines count as rows", vec![span(0, 9, 0, 1)], Fate::Rewrite),
            ("no stream", vec![], Fate::Keep),
            ("the ends of time", vec![span(i64::MIN, i64::MAX, u64::MAX, i64::MIN)], Fate::Keep),
        ] {
            assert_eq!(fate(spans), expected, "{what}");
        }
    }

    proptest! {
        #[test]
        fn what_edges_say_the_stream_table_would_say(
            spans in proptest::collection::vec((-50i64..50, 0i64..40, 0u64..9, -60i64..100), 1..6),
        ) {
            let spans: Vec<Span> = spans.iter().map(|(oldest, length, bytes, keep)| span(*oldest, oldest + length, *bytes, *keep)).collect();
            let keeps = || spans.iter().map(|span| span.keep_from);
            let edges = RetentionEdges { all_dead_before: keeps().min().unwrap_or(0), all_kept_from: keeps().max().unwrap_or(0) };
            let mut file = crate::compact::tests::erasing::data_file(1);
            file.min_timestamp = spans.iter().map(|span| span.oldest).min().unwrap_or(0);
            file.max_timestamp = spans.iter().map(|span| span.newest).max().unwrap_or(0);
            if let Some(glance) = edges.fate(&file) {
                prop_assert_eq!(glance, fate(spans.iter().copied()));
            }
        }
    }
}
