//! How many streams a tenant may write to, and how fast to each of them: what is known of its active streams.
//!
//! A stream is active from its first push until half an hour without one. Of no more streams than a tenant may have is anything kept; without a limit, of
//! the first [`MOST_STREAMS`]. Where there are many tenants, those without active streams are forgotten. A restart forgets all.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use tailwater_storage::entry::{StreamId, TenantId};

use crate::clock::Clock;
use crate::limits::{IngestionRate, Limits};

/// How long a stream counts after its last push, in nanoseconds.
const IDLE: i64 = 30 * 60 * 1_000_000_000;
/// Idle streams are looked for so often at most.
const SWEEP_EVERY: i64 = 1_000_000_000;
/// Streams of a tenant that are known, where their number has no limit.
const MOST_STREAMS: usize = 100_000;
/// More tenants than that and those without active streams go.
const TENANTS: usize = 1024;

#[derive(Debug, Default)]
pub(crate) struct ActiveStreams {
    tenants: Mutex<Tenants>,
}

#[derive(Debug, Default)]
struct Tenants {
    known: HashMap<TenantId, OfTenant>,
    swept_at: i64,
}

#[derive(Debug, Default)]
struct OfTenant {
    streams: HashMap<StreamId, Active>,
    swept_at: i64,
}

#[derive(Debug, Clone, Copy)]
struct Active {
    /// Nanoseconds since the epoch.
    pushed_at: i64,
    /// Bytes that may come at once; below 0 where pushes at the same time took more.
    tokens: f64,
}

/// What a stream may take until its push is over.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Allowance {
    pub(crate) rate: IngestionRate,
    tokens: f64,
    taken: f64,
}

impl Allowance {
    /// Takes the bytes of an entry, or leaves everything as it is.
    pub(crate) fn take(&mut self, bytes: u64) -> bool {
        let taken = self.taken + bytes as f64;
        let fits = taken <= self.tokens;
        if fits {
            self.taken = taken;
        }
        fits
    }
}

/// Tells how many streams are active.
pub(crate) struct StreamFigure {
    pub(crate) active: Arc<ActiveStreams>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl fmt::Debug for StreamFigure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamFigure")
    }
}

impl Collector for StreamFigure {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let streams = self.active.count(self.clock.now());
        for name in ["tailwater_active_streams", "loki_ingester_memory_streams"] {
            let gauge = ConstGauge::new(i64::try_from(streams).unwrap_or(i64::MAX));
            let metric = encoder.encode_descriptor(name, "Streams that were pushed to within half an hour", None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        Ok(())
    }
}

/// No further stream may become active.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooManyStreams;

impl ActiveStreams {
    /// Notes a push to a stream at `now`. `None`: its rate has no limit.
    pub(crate) fn open(&self, tenant: &TenantId, stream: StreamId, limits: &Limits, now: i64) -> Result<Option<Allowance>, TooManyStreams> {
        let (most, rate) = (limits.max_active_streams(), limits.stream_rate());
        let mut tenants = self.tenants.lock();
        let known = tenants.of(tenant, now);
        let burst = rate.map_or(0.0, |rate| rate.burst_bytes);
        if !known.streams.contains_key(&stream) && !known.makes_room(most.unwrap_or(MOST_STREAMS), now) {
            match most {
                Some(_) => return Err(TooManyStreams),
                None => return Ok(rate.map(|rate| Allowance { rate, tokens: burst, taken: 0.0 })),
            }
        }
        let active = known.streams.entry(stream).or_insert(Active { pushed_at: now, tokens: burst });
        if let Some(rate) = rate {
            let seconds = now.saturating_sub(active.pushed_at).max(0) as f64 / 1e9;
            active.tokens = (active.tokens + seconds * rate.bytes_per_second).min(burst);
        }
        active.pushed_at = active.pushed_at.max(now);
        let tokens = active.tokens;
        Ok(rate.map(|rate| Allowance { rate, tokens, taken: 0.0 }))
    }

    /// How many streams of all tenants are active at `now`.
    fn count(&self, now: i64) -> usize {
        let mut tenants = self.tenants.lock();
        tenants.sweep(now);
        tenants.known.values().map(|known| known.streams.len()).sum()
    }

    /// Takes from a stream what its push took.
    pub(crate) fn settle(&self, tenant: &TenantId, stream: StreamId, allowance: &Allowance) {
        if allowance.taken > 0.0
            && let Some(active) = self.tenants.lock().known.get_mut(tenant).and_then(|known| known.streams.get_mut(&stream))
        {
            active.tokens -= allowance.taken;
        }
    }
}

impl Tenants {
    fn of(&mut self, tenant: &TenantId, now: i64) -> &mut OfTenant {
        if self.known.len() >= TENANTS && !self.known.contains_key(tenant) && now.saturating_sub(self.swept_at) >= SWEEP_EVERY {
            self.sweep(now);
        }
        self.known.entry(tenant.clone()).or_default()
    }

    fn sweep(&mut self, now: i64) {
        self.known.retain(|_, known| {
            known.sweep(now);
            !known.streams.is_empty()
        });
        self.swept_at = now;
    }
}

impl OfTenant {
    fn sweep(&mut self, now: i64) {
        self.streams.retain(|_, active| now.saturating_sub(active.pushed_at) < IDLE);
        self.swept_at = now;
    }

    /// Whether another stream may become active, if need be after idle ones were forgotten.
    fn makes_room(&mut self, most: usize, now: i64) -> bool {
        if self.streams.len() >= most && now.saturating_sub(self.swept_at) >= SWEEP_EVERY {
            self.sweep(now);
        }
        self.streams.len() < most
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::size::ByteSize;

    const SECOND: i64 = 1_000_000_000;

    fn limits(streams: usize, rate: u64, burst: u64) -> Limits {
        Limits {
            max_global_streams_per_user: Some(streams),
            per_stream_rate_limit: Some(ByteSize::bytes(rate)),
            per_stream_rate_limit_burst: Some(ByteSize::bytes(burst)),
            ..Limits::default()
        }
    }

    #[test]
    fn streams_are_counted_until_they_are_idle() {
        let (streams, limits) = (ActiveStreams::default(), limits(2, 0, 0));
        let open = |tenant: &str, stream, now| streams.open(&TenantId::new(tenant), StreamId(stream), &limits, now).map(|_| ());
        assert_eq!([open("t", 1, 0), open("t", 2, 10 * SECOND), open("t", 1, 20 * SECOND)], [Ok(()); 3]);
        assert_eq!(open("t", 3, 30 * SECOND), Err(TooManyStreams));
        assert_eq!(open("other", 3, 30 * SECOND), Ok(()));
        assert_eq!(open("t", 3, 11 * SECOND + IDLE), Ok(()), "the second is idle");
        assert_eq!(open("t", 2, 12 * SECOND + IDLE), Err(TooManyStreams));
    }

    #[test]
    fn a_stream_has_a_rate_of_its_own() {
        let (streams, limits, tenant) = (ActiveStreams::default(), limits(0, 100, 150), TenantId::new("t"));
        let push = |stream, sizes: &[u64], now| {
            let mut allowance = streams.open(&tenant, StreamId(stream), &limits, now).expect("few streams").expect("a rate");
            let taken: Vec<bool> = sizes.iter().map(|bytes| allowance.take(*bytes)).collect();
            streams.settle(&tenant, StreamId(stream), &allowance);
            taken
        };
        assert_eq!(push(1, &[100, 60, 50], 0), [true, false, true]);
        assert_eq!(push(2, &[150], 0), [true]);
        assert_eq!(push(1, &[1], 0), [false]);
        assert_eq!(push(1, &[60, 40], SECOND), [true, true]);
        assert_eq!(push(1, &[151, 150], 100 * SECOND), [false, true]);
    }

    #[test]
    fn without_limits_streams_are_only_counted() {
        let (streams, limits) = (ActiveStreams::default(), limits(0, 0, 0));
        for stream in 0..100 {
            assert_eq!(streams.open(&TenantId::new("t"), StreamId(stream), &limits, 0), Ok(None));
        }
        assert_eq!((streams.count(IDLE - 1), streams.count(IDLE)), (100, 0));
    }

    #[test]
    fn made_up_tenants_leave_nothing_behind() {
        let (streams, limits) = (ActiveStreams::default(), limits(5, 0, 0));
        for number in 0..10 * TENANTS as i64 {
            let tenant = TenantId::new(&format!("t{number}"));
            assert_eq!(streams.open(&tenant, StreamId(1), &limits, number * IDLE / 100), Ok(None));
        }
        assert!(streams.tenants.lock().known.len() <= TENANTS + 1);
    }
}
