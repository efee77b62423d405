//! A namespace that was deleted and made again is another one under the same name: its lines carry another `namespace_uid`.
//!
//! Who may read the present one sees none of the former one's lines. Lines that carry no UID (they come from other shippers) count for the
//! present one if they are younger than it.

use std::sync::Arc;

use tailwater_storage::file::stream_table::{NamespaceUidShare, StreamSpan};

/// Which incarnations of a namespace may be seen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Incarnations {
    /// Every namespace that ever had the name.
    Every,
    /// The one with this UID, made at this time (nanoseconds since the epoch).
    Present { uid: Arc<str>, created: i64 },
}

/// What may be seen of a span's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanSight {
    Nothing,
    All,
    /// Rows have to be looked at one by one.
    Some,
}

/// What tables tell of the rows of a span that may be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SpanView {
    /// No such row is older than this …
    pub(crate) oldest: i64,
    /// … and one of them is as new as this.
    pub(crate) newest: i64,
    /// So many there are, with so many bytes of lines; at most, if it is cut.
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    /// Other rows lie among them.
    pub(crate) is_mixed: bool,
    /// Rows without a UID are older and younger than the namespace.
    pub(crate) is_cut: bool,
}

impl Incarnations {
    /// May a row be seen? `uid`: what it carries, empty if nothing.
    pub fn sees(&self, uid: &str, stamp: i64) -> bool {
        match self {
            Self::Every => true,
            Self::Present { uid: present, created } if uid.is_empty() => stamp > *created && !present.is_empty(),
            Self::Present { uid: present, .. } => uid == present.as_ref(),
        }
    }

    /// What may be seen of a span, as far as tables tell.
    pub fn sight(&self, span: &StreamSpan) -> SpanSight {
        match self.view(span) {
            None => SpanSight::Nothing,
            Some(SpanView { is_mixed: false, .. }) => SpanSight::All,
            Some(_) => SpanSight::Some,
        }
    }

    /// `None`: no row may be seen.
    pub(crate) fn view(&self, span: &StreamSpan) -> Option<SpanView> {
        let whole = SpanView {
            oldest: span.min_timestamp,
            newest: span.max_timestamp,
            rows: span.rows.len() as u64,
            bytes: span.bytes,
            is_mixed: false,
            is_cut: false,
        };
        if *self == Self::Every {
            return Some(whole);
        }
        let seen = span.by_namespace_uid.iter().filter_map(|share| self.of_share(share));
        let joined = seen.reduce(|left, right| SpanView {
            oldest: left.oldest.min(right.oldest),
            newest: left.newest.max(right.newest),
            rows: left.rows + right.rows,
            bytes: left.bytes + right.bytes,
            is_mixed: false,
            is_cut: left.is_cut || right.is_cut,
        })?;
        Some(SpanView { is_mixed: joined.is_cut || joined.rows < whole.rows, ..joined })
    }

    fn of_share(&self, share: &NamespaceUidShare) -> Option<SpanView> {
        let Self::Present { created, .. } = self else { return None };
        if !self.sees(&share.uid, share.max_ts) {
            return None;
        }
        let is_cut = !self.sees(&share.uid, share.min_ts);
        let oldest = if is_cut { created.saturating_add(1) } else { share.min_ts };
        Some(SpanView { oldest, newest: share.max_ts, rows: share.rows, bytes: share.bytes, is_mixed: false, is_cut })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tailwater_storage::entry::StreamId;
    use tailwater_storage::pairs::Pairs;

    const CREATED: i64 = 10;

    fn present() -> Incarnations {
        Incarnations::Present { uid: "new".into(), created: CREATED }
    }

    /// The span of some rows: (uid, stamp), each with one byte of text.
    fn span(rows: &[(&str, i64)]) -> StreamSpan {
        let share = |uid: &&str| {
            let stamps: Vec<i64> = rows.iter().filter(|(other, _)| other == uid).map(|(_, stamp)| *stamp).collect();
            NamespaceUidShare {
                uid: (*uid).into(),
                min_ts: *stamps.iter().min()?,
                max_ts: *stamps.iter().max()?,
                rows: stamps.len() as u64,
                bytes: stamps.len() as u64,
            }
            .into()
        };
        StreamSpan {
            id: StreamId(1),
            labels: Pairs::default(),
            rows: 0..rows.len(),
            min_timestamp: rows.iter().map(|row| row.1).min().expect("rows"),
            max_timestamp: rows.iter().map(|row| row.1).max().expect("rows"),
            bytes: rows.len() as u64,
            by_namespace_uid: ["", "new", "old"].iter().filter_map(share).collect(),
        }
    }

    #[test]
    fn lines_without_a_uid_count_for_a_namespace_that_is_older() {
        for (uid, stamp, is_seen) in
            [("new", 0, true), ("old", 99, false), ("", CREATED, false), ("", CREATED + 1, true), ("", i64::MIN, false)]
        {
            assert_eq!(present().sees(uid, stamp), is_seen, "{uid} {stamp}");
        }
        assert!(Incarnations::Every.sees("old", 0));
        let unknown = Incarnations::Present { uid: "".into(), created: 0 };
        assert!(!unknown.sees("", 5), "a namespace without a UID is none");
    }

    proptest! {
        #[test]
        fn a_view_bounds_what_is_seen(rows in proptest::collection::vec(("(|new|old)", 0i64..20), 1..12)) {
            let rows: Vec<(&str, i64)> = rows.iter().map(|(uid, stamp)| (uid.as_str(), *stamp)).collect();
            let seen: Vec<i64> = rows.iter().filter(|(uid, stamp)| present().sees(uid, *stamp)).map(|(_, stamp)| *stamp).collect();
            let view = present().view(&span(&rows));
            prop_assert_eq!(view.is_some(), !seen.is_empty());
            let Some(view) = view else { return Ok(()) };
            prop_assert_eq!(Some(view.newest), seen.iter().max().copied());
            prop_assert!(seen.iter().all(|stamp| *stamp >= view.oldest));
            prop_assert_eq!(view.is_mixed, seen.len() < rows.len());
            if !view.is_cut {
                prop_assert_eq!((view.rows as usize, Some(view.oldest)), (seen.len(), seen.iter().min().copied()));
            }
            let every = Incarnations::Every.view(&span(&rows)).expect("all of it");
            prop_assert_eq!((every.rows as usize, every.is_mixed), (rows.len(), false));
        }
    }
}
