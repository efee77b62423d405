//! The stream table of a row group while its rows are written: counts each stream's rows, by `namespace_uid`.

use std::collections::HashMap;
use std::sync::Arc;

use crate::entry::{StreamId, TenantId};
use crate::file::schema::NAMESPACE_UID;
use crate::file::stream_table::{NamespaceUidShare, RowGroupStreams, StreamSpan};
use crate::pairs::Pairs;

/// Streams come one after the other, the rows of each ascending by stamp.
#[derive(Default)]
pub(crate) struct StreamTableBuilder {
    rows: usize,
    /// Distinct uids of the metadata sets, and the number of each.
    uids: Vec<Arc<str>>,
    number_of_uid: HashMap<Arc<str>, u32>,
    /// By metadata set of the row group: which uid.
    uid_of_set: Vec<u32>,
    /// By uid: which share of the open stream, or [`NO_SHARE`]. Somebody may send a uid with every entry, so a stream costs what it has.
    share_of_uid: Vec<u32>,
    spans: Vec<StreamSpan>,
    open: Option<OpenSpan>,
}

const NO_SHARE: u32 = u32::MAX;

/// The stream whose rows come now.
struct OpenSpan {
    id: StreamId,
    labels: Pairs,
    first_row: usize,
    /// Which uid, and what it has.
    shares: Vec<(u32, NamespaceUidShare)>,
}

impl StreamTableBuilder {
    /// Rows so far.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Takes note of the row group's next metadata set.
    pub(crate) fn add_set(&mut self, set: &Pairs) {
        let uid = set.get(NAMESPACE_UID).unwrap_or_default();
        let number = match self.number_of_uid.get(uid) {
            Some(&known) => known,
            None => {
                let (uid, number) = (Arc::<str>::from(uid), self.uids.len() as u32);
                self.uids.push(uid.clone());
                self.share_of_uid.push(NO_SHARE);
                self.number_of_uid.insert(uid, number);
                number
            }
        };
        self.uid_of_set.push(number);
    }

    /// The rows that follow are of this stream.
    pub(crate) fn begin_stream(&mut self, id: StreamId, labels: &Pairs) {
        self.end_stream();
        self.open = Some(OpenSpan { id, labels: labels.clone(), first_row: self.rows, shares: Vec::new() });
    }

    /// Counts a row of the stream begun last. `set`: its metadata; `bytes`: of its line.
    pub(crate) fn count(&mut self, set: u32, stamp: i64, bytes: u64) {
        let uid = self.uid_of_set[set as usize];
        let shares = &mut self.open.as_mut().expect("a stream was begun").shares;
        let place = &mut self.share_of_uid[uid as usize];
        if *place == NO_SHARE {
            *place = shares.len() as u32;
            let name = self.uids[uid as usize].clone();
            shares.push((uid, NamespaceUidShare { uid: name, min_ts: stamp, max_ts: stamp, rows: 0, bytes: 0 }));
        }
        let share = &mut shares[*place as usize].1;
        share.max_ts = stamp;
        share.rows += 1;
        share.bytes += bytes;
        self.rows += 1;
    }

    /// The stream that is open.
    pub(crate) fn open_stream(&self) -> Option<(StreamId, Pairs)> {
        self.open.as_ref().map(|open| (open.id, open.labels.clone()))
    }

    fn end_stream(&mut self) {
        let Some(open) = self.open.take() else { return };
        open.shares.iter().for_each(|(uid, _)| self.share_of_uid[*uid as usize] = NO_SHARE);
        let mut shares: Box<[NamespaceUidShare]> = open.shares.into_iter().map(|(_, share)| share).collect();
        shares.sort_unstable_by(|left, right| left.uid.cmp(&right.uid));
        let stamps = (shares.iter().map(|share| share.min_ts).min(), shares.iter().map(|share| share.max_ts).max());
        // A stream of no rows has no place in the table.
        let (Some(min_timestamp), Some(max_timestamp)) = stamps else { return };
        self.spans.push(StreamSpan {
            id: open.id,
            labels: open.labels,
            rows: open.first_row..self.rows,
            min_timestamp,
            max_timestamp,
            bytes: shares.iter().map(|share| share.bytes).sum(),
            by_namespace_uid: shares,
        });
    }

    pub(crate) fn finish(mut self, tenant: TenantId) -> RowGroupStreams {
        self.end_stream();
        RowGroupStreams::new(tenant, self.spans)
    }
}
