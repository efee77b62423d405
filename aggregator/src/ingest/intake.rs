//! What of a push may be stored: the decoders hand over its streams and entries one by one, a [`PushBatch`] comes out.
//!
//! Invariants:
//! 1. An entry that breaks a limit is refused with Loki's text; the others of the request are stored all the same.
//! 2. A stream whose labels cannot be read refuses the whole request, as does a batch that would outgrow [`MAX_BATCH_BYTES`].
//! 3. Streams without entries cost nothing; a stream named twice is one stream.
//! 4. Identity is of what was pushed: derived `service_name` and `detected_level` are kept apart.

use std::collections::HashMap;
use std::sync::Arc;

use tailwater_storage::entry::{Metadata, MetadataHandle, PushBatch, StreamEntries, StreamId, TenantId};
use tailwater_storage::pairs::Pairs;

use crate::ingest::decode::PushRefused;
use crate::ingest::discover::{DETECTED_LEVEL, DetectedLevel, detected_level};
use crate::ingest::level::{Level, level_of_line};
use crate::ingest::metadata::{MetadataPairs, Pair, merged, sanitised_name, shown_value, valid_text};
use crate::ingest::newest::{NewestStamps, WINDOW_NANOSECONDS, newest_of};
use crate::ingest::rejection::{Rejection, Rejections, Size};
use crate::ingest::stamp::Stamp;
use crate::ingest::stream::{KnownStream, StreamCache, StreamRefused};
use crate::ingest::stream_limits::{ActiveStreams, Allowance};
use crate::limits::Limits;

/// Bytes that the decoded form of one request may hold.
pub const MAX_BATCH_BYTES: usize = 256 << 20;

/// Streams of one request, with entries or not.
pub const MAX_STREAMS: u64 = 1_000_000;

/// Bytes of one stream's label text.
pub const MAX_LABEL_TEXT: usize = 16 << 20;
/// A stream without entries, in memory.
const STREAM_OVERHEAD: usize = 640;
/// An entry without its line, in memory.
const ENTRY_OVERHEAD: usize = 32;

/// What all pushes share.
#[derive(Debug, Default)]
pub struct Intake {
    streams: StreamCache,
    newest: NewestStamps,
    active: Arc<ActiveStreams>,
    levels: Levels,
    is_strict: bool,
}

impl Intake {
    /// `is_strict`: behave as Loki, refuse entries too far behind.
    pub fn new(is_strict: bool) -> Self {
        Self { is_strict, ..Self::default() }
    }

    /// The streams that are pushed to.
    pub(crate) fn active_streams(&self) -> Arc<ActiveStreams> {
        Arc::clone(&self.active)
    }

    /// Begins a batch of one tenant at a time (nanoseconds since the epoch).
    pub(crate) fn begin<'a>(&'a self, tenant: &'a TenantId, limits: &'a Limits, now: i64) -> BatchBuilder<'a> {
        BatchBuilder {
            intake: self,
            tenant,
            limits,
            now,
            oldest: limits.oldest_acceptable(now),
            newest: limits.newest_acceptable(now),
            open: Vec::new(),
            places: HashMap::new(),
            current: Current::None,
            shared: MetadataPairs::default(),
            own: MetadataPairs::default(),
            rejections: Rejections::default(),
            bytes: 0,
            metadata_bytes: 0,
            invalid_bytes: 0,
            streams_seen: 0,
        }
    }

    /// To be called with the stamps of a batch once it is durable.
    pub(crate) fn record_durable(&self, tenant: &TenantId, newest: &[(StreamId, i64)]) {
        self.newest.record(tenant, newest);
    }
}

/// `detected_level` pairs of the known levels, made once.
#[derive(Debug)]
struct Levels([Pairs; Level::COUNT]);

impl Default for Levels {
    fn default() -> Self {
        Self(Level::ALL.map(|level| Pairs::from_pairs([(DETECTED_LEVEL, level.as_str())])))
    }
}

/// What came of a push.
#[derive(Debug)]
pub struct Accepted {
    pub batch: PushBatch,
    /// Bytes of names and values of structured metadata.
    pub metadata_bytes: u64,
    /// Bytes that were no UTF-8 and became U+FFFD.
    pub invalid_bytes: u64,
    pub(crate) rejections: Rejections,
    /// For [`Intake::record_durable`]; empty unless strict.
    pub(crate) newest: Vec<(StreamId, i64)>,
}

/// Takes the streams and entries of one request.
pub(crate) struct BatchBuilder<'a> {
    intake: &'a Intake,
    tenant: &'a TenantId,
    limits: &'a Limits,
    now: i64,
    oldest: i64,
    newest: i64,
    open: Vec<OpenStream>,
    places: HashMap<StreamId, usize>,
    current: Current,
    /// Pairs for every entry of the current stream.
    shared: MetadataPairs,
    /// Pairs of the entry that comes next.
    own: MetadataPairs,
    rejections: Rejections,
    bytes: usize,
    metadata_bytes: u64,
    invalid_bytes: u64,
    streams_seen: u64,
}

#[derive(Debug)]
enum Current {
    None,
    /// Its entries are refused for this; how many, and their bytes.
    Refused {
        rejection: Rejection,
        lines: u64,
        bytes: u64,
    },
    Open(usize),
}

struct OpenStream {
    known: Arc<KnownStream>,
    entries: StreamEntries,
    /// Metadata of entries that bring none of their own, by level of their line.
    plain: [Option<MetadataHandle>; Level::COUNT],
    /// Of the stream, where entries far behind it are refused.
    newest: Option<i64>,
    /// What it may take, where that has a limit.
    allowance: Option<Allowance>,
    /// Entries that were good in themselves, and those of them refused for the state of the stream.
    total: usize,
    ignored: usize,
}

impl BatchBuilder<'_> {
    /// Was there any stream at all, with entries or not?
    pub(crate) fn has_streams(&self) -> bool {
        self.streams_seen > 0
    }

    /// Counts a stream; those without entries need no more than that, but even so not without end.
    pub(crate) fn see_stream(&mut self) -> Result<(), PushRefused> {
        self.streams_seen += 1;
        if self.streams_seen > MAX_STREAMS { Err(PushRefused::TooManyStreams { limit: MAX_STREAMS }) } else { Ok(()) }
    }

    /// The entries that follow belong to the stream of these labels.
    pub(crate) fn stream(&mut self, label_text: &[u8]) -> Result<(), PushRefused> {
        self.end_stream();
        if label_text.len() > MAX_LABEL_TEXT {
            return Err(PushRefused::LabelTextTooLarge { limit: MAX_LABEL_TEXT });
        }
        let text = valid_text(label_text, &mut self.invalid_bytes);
        self.current = match self.intake.streams.stream(self.tenant, &text, self.limits) {
            Ok(known) => self.opened(known)?,
            Err(StreamRefused::Limit(rejection)) => Current::Refused { rejection, lines: 0, bytes: 0 },
            Err(StreamRefused::Text(error)) => return Err(PushRefused::Labels(error)),
        };
        Ok(())
    }

    /// Makes room for entries of the current stream that are about to come, as far as they may.
    pub(crate) fn expect(&mut self, entries: usize, line_bytes: usize) {
        let Current::Open(place) = self.current else { return };
        let room = MAX_BATCH_BYTES.saturating_sub(self.bytes);
        self.open[place].entries.reserve(entries.min(room / ENTRY_OVERHEAD), line_bytes.min(room));
    }

    fn end_stream(&mut self) {
        self.shared.clear();
        self.own.clear();
        if let Current::Refused { rejection, lines, bytes } = std::mem::replace(&mut self.current, Current::None) {
            self.rejections.add(rejection, lines, bytes);
        }
    }

    /// The stream that comes next, or why its entries are refused.
    fn opened(&mut self, known: Arc<KnownStream>) -> Result<Current, PushRefused> {
        let id = known.labels.id();
        if let Some(&place) = self.places.get(&id) {
            self.open[place].plain = [None; Level::COUNT];
            return Ok(Current::Open(place));
        }
        let refused = |rejection| Ok(Current::Refused { rejection, lines: 0, bytes: 0 });
        if let Some(labels) = self.missing_labels(&known) {
            let (tenant, stream) = (self.tenant.to_string(), known.labels.stored().canonical_text());
            return refused(Rejection::RequiredLabels { labels, tenant, stream });
        }
        let Ok(allowance) = self.intake.active.open(self.tenant, id, self.limits, self.now) else {
            let (tenant, stream) = (self.tenant.to_string(), known.labels.stored().canonical_text());
            return refused(Rejection::TooManyStreams { stream, tenant });
        };
        self.grow(STREAM_OVERHEAD)?;
        let newest = self.intake.is_strict.then(|| self.intake.newest.of(self.tenant, id).unwrap_or(i64::MIN));
        let entries = StreamEntries::new(Arc::clone(&known.labels));
        self.open.push(OpenStream { known, entries, plain: [None; Level::COUNT], newest, allowance, total: 0, ignored: 0 });
        self.places.insert(id, self.open.len() - 1);
        Ok(Current::Open(self.open.len() - 1))
    }

    /// Labels that the stream should have and has not, as refusals tell them.
    fn missing_labels(&self, known: &KnownStream) -> Option<String> {
        let labels = known.labels.stored();
        let missing: Vec<&str> =
            self.limits.enforced_labels.iter().map(String::as_str).filter(|name| labels.get(name).is_none_or(str::is_empty)).collect();
        (!missing.is_empty()).then(|| missing.join(","))
    }

    /// Counts bytes that a request makes its decoder hold.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), PushRefused> {
        self.bytes += bytes;
        if self.bytes > MAX_BATCH_BYTES {
            return Err(PushRefused::BatchTooLarge { limit: MAX_BATCH_BYTES });
        }
        Ok(())
    }

    /// A pair for every entry of the current stream that has none of its name.
    pub(crate) fn shared_pair(&mut self, name: &[u8], value: &[u8]) -> Result<(), PushRefused> {
        let pair = self.pair(name, value)?;
        self.shared.add(pair, self.limits);
        Ok(())
    }

    /// A pair of the entry that comes next.
    pub(crate) fn own_pair(&mut self, name: &[u8], value: &[u8]) -> Result<(), PushRefused> {
        let pair = self.pair(name, value)?;
        self.own.add(pair, self.limits);
        Ok(())
    }

    fn pair(&mut self, name: &[u8], value: &[u8]) -> Result<(String, String), PushRefused> {
        const OVERHEAD: usize = 96;
        let is_bounded = self.limits.max_structured_metadata_entries_count > 0;
        self.grow(name.len() + value.len() + if is_bounded { 0 } else { OVERHEAD })?;
        let name = sanitised_name(name);
        let value = shown_value(value, &mut self.invalid_bytes);
        Ok((name.into_owned(), value.into_owned()))
    }

    /// An entry of the current stream. `seconds` and `nanos` are as pushed.
    pub(crate) fn entry(&mut self, seconds: i64, nanos: i32, line: &[u8]) -> Result<(), PushRefused> {
        self.grow(line.len() + ENTRY_OVERHEAD)?;
        let place = match &mut self.current {
            Current::Open(place) => *place,
            Current::Refused { lines, bytes, .. } => {
                (*lines, *bytes) = (*lines + 1, *bytes + line.len() as u64);
                self.own.clear();
                return Ok(());
            }
            Current::None => unreachable!("decoders name the stream before its entries"),
        };
        if let Err(rejection) = self.checked_entry(place, seconds, nanos, line) {
            self.rejections.add(rejection, 1, line.len() as u64);
        }
        self.own.clear();
        Ok(())
    }

    fn checked_entry(&mut self, place: usize, seconds: i64, nanos: i32, line: &[u8]) -> Result<(), Rejection> {
        let timestamp = self.check_timestamp(place, seconds, nanos)?;
        let line = self.check_line(place, line)?;
        self.check_metadata(place)?;
        self.open[place].total += 1;
        let state = self.check_rate(place, timestamp, line.len()).and_then(|()| self.check_behind(place, timestamp));
        if let Err(rejection) = state {
            self.open[place].ignored += 1;
            return Err(rejection);
        }
        let line = valid_text(line, &mut self.invalid_bytes);
        let handle = self.metadata_handle(place, line.as_bytes());
        self.open[place].entries.push(timestamp, &line, handle);
        Ok(())
    }

    /// The stream as refusals tell it; nothing where no more are told.
    fn text_of(&self, place: usize) -> String {
        let is_wanted = self.rejections.wants_texts();
        if is_wanted { self.open[place].known.labels.stored().canonical_text() } else { String::new() }
    }

    fn check_timestamp(&self, place: usize, seconds: i64, nanos: i32) -> Result<i64, Rejection> {
        let whole = seconds.checked_mul(1_000_000_000).and_then(|whole| whole.checked_add(i64::from(nanos)));
        let in_second = (0..1_000_000_000).contains(&nanos);
        let Some(timestamp) = whole.filter(|_| in_second) else {
            return Err(Rejection::OutOfRange { stream: self.text_of(place), seconds, nanos });
        };
        if timestamp < self.oldest {
            let (stream, oldest) = (self.text_of(place), Stamp(self.oldest));
            return Err(Rejection::TooOld { stream, timestamp: Stamp(timestamp), oldest });
        }
        if timestamp > self.newest {
            return Err(Rejection::TooNew { stream: self.text_of(place), timestamp: Stamp(timestamp) });
        }
        Ok(timestamp)
    }

    fn check_line<'l>(&self, place: usize, line: &'l [u8]) -> Result<&'l [u8], Rejection> {
        let limit = self.limits.max_line_size;
        if limit.as_u64() == 0 || line.len() as u64 <= limit.as_u64() {
            return Ok(line);
        }
        if self.limits.max_line_size_truncate {
            return Ok(&line[..limit.as_usize()]);
        }
        Err(Rejection::LineTooLong { stream: self.text_of(place), limit: limit.as_u64(), length: line.len() })
    }

    fn check_metadata(&self, place: usize) -> Result<(), Rejection> {
        let (count, size) = (self.own.count + self.shared.count, self.own.size + self.shared.size);
        if count == 0 {
            return Ok(());
        }
        if !self.limits.allow_structured_metadata {
            return Err(Rejection::MetadataDisallowed { stream: self.text_of(place) });
        }
        let limit = self.limits.max_structured_metadata_size.as_u64();
        if limit > 0 && size as u64 > limit {
            return Err(Rejection::MetadataTooLarge { stream: self.text_of(place), size, limit });
        }
        let limit = self.limits.max_structured_metadata_entries_count;
        if limit > 0 && count > limit {
            return Err(Rejection::MetadataTooMany { stream: self.text_of(place), count, limit });
        }
        Ok(())
    }

    fn check_rate(&mut self, place: usize, timestamp: i64, line: usize) -> Result<(), Rejection> {
        let bytes = (line + self.own.size + self.shared.size) as u64;
        let Some(allowance) = &mut self.open[place].allowance else { return Ok(()) };
        let rate = allowance.rate;
        if allowance.take(bytes) {
            return Ok(());
        }
        let (stream, limit) = (self.text_of(place), Size(rate.bytes_per_second as u64));
        Err(Rejection::StreamRate { timestamp: Stamp(timestamp), stream, limit, bytes: Size(bytes) })
    }

    fn check_behind(&mut self, place: usize, timestamp: i64) -> Result<(), Rejection> {
        let Some(newest) = &mut self.open[place].newest else { return Ok(()) };
        let oldest = newest.saturating_sub(WINDOW_NANOSECONDS);
        if timestamp >= oldest {
            *newest = timestamp.max(*newest);
            return Ok(());
        }
        Err(Rejection::TooFarBehind { timestamp: Stamp(timestamp), oldest: Stamp(oldest) })
    }

    /// The metadata of the next entry; most entries of a stream share a few sets.
    fn metadata_handle(&mut self, place: usize, line: &[u8]) -> MetadataHandle {
        self.metadata_bytes += (self.own.size + self.shared.size) as u64;
        if !self.limits.discover_log_levels {
            let pushed = merged(&self.own.pairs, &self.shared.pairs);
            return self.open[place].entries.intern(Metadata { pushed, derived: Pairs::default() });
        }
        if self.own.count > 0 || self.open[place].known.level.is_some() {
            return self.levelled_handle(place, line);
        }
        let level = level_of_line(line);
        if let Some(handle) = self.open[place].plain[level as usize] {
            return handle;
        }
        let handle = self.levelled_handle(place, line);
        self.open[place].plain[level as usize] = Some(handle);
        handle
    }

    fn levelled_handle(&mut self, place: usize, line: &[u8]) -> MetadataHandle {
        let stream = &mut self.open[place];
        let all: Vec<Pair<'_>> =
            self.own.pairs.iter().chain(&self.shared.pairs).map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect();
        let level = detected_level(stream.known.level.as_ref(), &all, line);
        let pushed = merged(&self.own.pairs, &self.shared.pairs);
        let derived = match &level {
            level if pushed.get(DETECTED_LEVEL) == Some(level.as_str()) => Pairs::default(),
            DetectedLevel::Known(level) => self.intake.levels.0[*level as usize].clone(),
            DetectedLevel::Verbatim(word) => Pairs::from_pairs([(DETECTED_LEVEL, word)]),
        };
        stream.entries.intern(Metadata { pushed, derived })
    }

    pub(crate) fn finish(mut self) -> Accepted {
        self.end_stream();
        for stream in &self.open {
            if let Some(allowance) = &stream.allowance {
                self.intake.active.settle(self.tenant, stream.known.labels.id(), allowance);
            }
            if stream.ignored == 0 {
                continue;
            }
            let text = Rejection::IgnoredOfStream {
                tenant: self.tenant.to_string(),
                ignored: stream.ignored,
                total: stream.total,
                stream: stream.known.labels.stored().canonical_text(),
            };
            self.rejections.add(text, 0, 0);
        }
        let streams = self.open.into_iter().map(|stream| stream.entries).filter(|entries| !entries.is_empty()).collect();
        let batch = PushBatch { tenant: self.tenant.clone(), streams };
        let newest = if self.intake.is_strict { newest_of(&batch) } else { Vec::new() };
        Accepted { batch, metadata_bytes: self.metadata_bytes, invalid_bytes: self.invalid_bytes, rejections: self.rejections, newest }
    }
}
