//! The newest stamp of each stream, for the refusal of entries that are too far behind (only with `strict_loki`).
//!
//! Bounded: of more streams than [`HALF_STREAMS`] twice over, those longest without a push are forgotten, and their next entry
//! is taken whatever its age. A restart forgets all.

use std::collections::HashMap;

use parking_lot::Mutex;
use tailwater_storage::entry::{PushBatch, StreamId, TenantId};

const HALF_STREAMS: usize = 100_000;

/// How far behind the newest entry of its stream an entry may be: half of Loki's maximum chunk age.
pub(crate) const WINDOW_NANOSECONDS: i64 = 3_600_000_000_000;

#[derive(Debug, Default)]
pub(crate) struct NewestStamps {
    halves: Mutex<Halves>,
}

#[derive(Debug, Default)]
struct Halves {
    young: HashMap<(TenantId, StreamId), i64>,
    old: HashMap<(TenantId, StreamId), i64>,
}

impl NewestStamps {
    /// Nanoseconds since the epoch; `None` for a stream not seen of late.
    pub(crate) fn of(&self, tenant: &TenantId, stream: StreamId) -> Option<i64> {
        let halves = self.halves.lock();
        let key = (tenant.clone(), stream);
        halves.young.get(&key).or_else(|| halves.old.get(&key)).copied()
    }

    /// Notes what a batch, now durable, brought.
    pub(crate) fn record(&self, tenant: &TenantId, newest: &[(StreamId, i64)]) {
        let mut halves = self.halves.lock();
        for &(stream, stamp) in newest {
            let key = (tenant.clone(), stream);
            let known = halves.young.get(&key).or_else(|| halves.old.get(&key)).copied();
            if halves.young.len() >= HALF_STREAMS {
                halves.old = std::mem::take(&mut halves.young);
            }
            halves.young.insert(key, known.map_or(stamp, |known| known.max(stamp)));
        }
    }
}

/// The newest stamp of each stream of a batch.
pub(crate) fn newest_of(batch: &PushBatch) -> Vec<(StreamId, i64)> {
    let newest = |entries: &tailwater_storage::entry::StreamEntries| entries.timestamps().iter().max().copied();
    batch.streams.iter().filter_map(|entries| Some((entries.labels().id(), newest(entries)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_stamp_stays() {
        let (stamps, tenant) = (NewestStamps::default(), TenantId::new("t"));
        assert_eq!(stamps.of(&tenant, StreamId(1)), None);
        stamps.record(&tenant, &[(StreamId(1), 5)]);
        stamps.record(&tenant, &[(StreamId(1), 3), (StreamId(2), 9)]);
        assert_eq!((stamps.of(&tenant, StreamId(1)), stamps.of(&tenant, StreamId(2))), (Some(5), Some(9)));
        assert_eq!(stamps.of(&TenantId::new("other"), StreamId(1)), None);
    }
}
