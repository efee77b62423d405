//! The batch being filled by one reader thread.
//!
//! Each stream has a buffer into which entries are written as protobuf. A buffer that is full goes into the request at once, compressed while it is in the
//! processor's caches, as a part of its stream; finishing adds the rest. So of a batch hardly more than its compressed form is held. Nothing is allocated
//! per line.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tailwater_proto::write::{CompressedRequest, EntriesBuffer, SharedMetadata, entry_length_bound};

use super::{Batch, TenantRequest};
use crate::positions::table::{Mark, Revision};
use crate::tail::balance::BalancePart;

/// A batch is closed at this many entries.
const MAX_ENTRIES: usize = 65_536;
/// Hard limit of a request before compression, in bytes.
pub(crate) const MAX_REQUEST_BYTES: usize = 3 << 20;
/// An invalid byte becomes the three bytes of U+FFFD.
const WORST_EXPANSION: usize = 3;
/// Room for keys and lengths of a stream beyond labels and metadata.
const STREAM_OVERHEAD: usize = 32;

/// A stream's entries are compressed when they take so many bytes.
const PART_BYTES: usize = 48 << 10;

/// When a batch is full.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchLimits {
    /// Bytes of lines and labels.
    pub(crate) batch_bytes: usize,
    /// No line is longer, in bytes.
    pub(crate) max_line_bytes: usize,
}

/// A stream's place in the current batch; void when the batch is finished.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct StreamSlot {
    epoch: u64,
    index: usize,
}

#[derive(Debug)]
struct OpenStream {
    labels: Arc<[u8]>,
    shared_metadata: Arc<SharedMetadata>,
    /// Where the lines name one themselves.
    tenant: Option<Arc<str>>,
    entries: EntriesBuffer,
}

pub(crate) struct BatchBuilder {
    limits: BatchLimits,
    /// Starts at 1, so that a default slot is void.
    epoch: u64,
    streams: Vec<OpenStream>,
    request: CompressedRequest,
    marks: Vec<Mark>,
    balances: Vec<BalancePart>,
    rests_on: Revision,
    on_its_way: Option<Arc<()>>,
    entries: usize,
    line_bytes: usize,
    /// Line and label bytes, as `batchsize` counts them.
    counted_bytes: usize,
    encoded_bound: usize,
    oldest: Option<Instant>,
    oldest_stamp: i64,
}

impl std::fmt::Debug for BatchBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchBuilder").field("entries", &self.entries).field("line_bytes", &self.line_bytes).finish_non_exhaustive()
    }
}

impl BatchBuilder {
    pub(crate) fn new(limits: BatchLimits) -> Self {
        Self {
            limits,
            epoch: 1,
            streams: Vec::new(),
            request: CompressedRequest::default(),
            marks: Vec::new(),
            balances: Vec::new(),
            rests_on: Revision::default(),
            on_its_way: None,
            entries: 0,
            line_bytes: 0,
            counted_bytes: 0,
            encoded_bound: 0,
            oldest: None,
            oldest_stamp: i64::MAX,
        }
    }

    /// Whether `slot` still stands for a stream of the current batch.
    #[inline]
    pub(crate) fn is_open(&self, slot: StreamSlot) -> bool {
        slot.epoch == self.epoch
    }

    /// Opens a stream in the current batch.
    pub(crate) fn open(&mut self, labels: &Arc<[u8]>, shared_metadata: &Arc<SharedMetadata>) -> StreamSlot {
        self.open_for(None, labels, shared_metadata)
    }

    /// The same for a tenant that lines name.
    pub(crate) fn open_for(&mut self, tenant: Option<Arc<str>>, labels: &Arc<[u8]>, shared_metadata: &Arc<SharedMetadata>) -> StreamSlot {
        self.counted_bytes += labels.len();
        self.encoded_bound += labels.len() + shared_metadata.encoded_length() + STREAM_OVERHEAD;
        let entries = EntriesBuffer::default();
        self.streams.push(OpenStream { labels: Arc::clone(labels), shared_metadata: Arc::clone(shared_metadata), tenant, entries });
        StreamSlot { epoch: self.epoch, index: self.streams.len() - 1 }
    }

    /// Appends an entry to an open stream.
    #[inline]
    pub(crate) fn push(&mut self, slot: StreamSlot, timestamp: i64, line: &[u8]) {
        self.oldest_stamp = self.oldest_stamp.min(timestamp);
        let entries = &mut self.streams[slot.index].entries;
        entries.push(timestamp, line);
        if entries.encoded_length() >= PART_BYTES {
            self.end_part(slot.index);
        }
        self.count(line.len(), 0);
    }

    /// Compresses what there is of a stream.
    #[cold]
    fn end_part(&mut self, index: usize) {
        let stream = &mut self.streams[index];
        // A tenant's streams go into a request of its own, at the end.
        if stream.tenant.is_none() {
            self.request.push_stream(&stream.labels, &stream.entries, &stream.shared_metadata);
            stream.entries.clear();
            self.encoded_bound += stream.labels.len() + stream.shared_metadata.encoded_length() + STREAM_OVERHEAD;
        }
    }

    /// Appends an entry with structured metadata of its own.
    pub(crate) fn push_with_metadata(&mut self, slot: StreamSlot, timestamp: i64, line: &[u8], metadata: &[(&str, &str)]) {
        let entries = &mut self.streams[slot.index].entries;
        let before = entries.encoded_length();
        self.oldest_stamp = self.oldest_stamp.min(timestamp);
        entries.push_with_metadata(timestamp, line, metadata);
        let more = (entries.encoded_length() - before).saturating_sub(entry_length_bound(line.len()));
        self.count(line.len(), more);
    }

    #[inline]
    fn count(&mut self, line_length: usize, more: usize) {
        self.entries += 1;
        self.line_bytes += line_length;
        self.counted_bytes += line_length;
        self.encoded_bound += entry_length_bound(line_length) + more;
    }

    /// Changes with every batch.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether no further record should be added; the next line, however it expands, would still fit before that.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.counted_bytes >= self.limits.batch_bytes
            || self.entries >= MAX_ENTRIES
            || (self.encoded_bound + WORST_EXPANSION * self.limits.max_line_bytes > MAX_REQUEST_BYTES && self.entries > 0)
    }

    /// Whether finishing it would send or settle anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries == 0 && self.marks.is_empty() && self.balances.is_empty() && self.on_its_way.is_none()
    }

    /// Where files stand when this batch is acknowledged; later marks of a file replace earlier ones when applied in order.
    pub(crate) fn mark(&mut self, mark: Mark) {
        self.marks.push(mark);
    }

    /// Entries of the current batch.
    pub(crate) fn entries(&self) -> usize {
        self.entries
    }

    /// What this batch holds of a file.
    pub(crate) fn balance(&mut self, part: BalancePart) {
        self.balances.push(part);
    }

    /// Entries of the current batch that balances tell of.
    pub(crate) fn told_entries(&self) -> i64 {
        self.balances.iter().map(|part| part.part.entries).sum()
    }

    /// Lives until this batch, and so every one before it, is settled.
    pub(crate) fn on_its_way(&mut self) -> Weak<()> {
        Arc::downgrade(self.on_its_way.get_or_insert_default())
    }

    /// This batch must not be sent before `revision` is on disk.
    pub(crate) fn rest_on(&mut self, revision: Revision) {
        self.rests_on = self.rests_on.max(revision);
    }

    /// To be called after entries were added at `now`.
    pub(crate) fn touched(&mut self, now: Instant) {
        if self.entries > 0 {
            self.oldest.get_or_insert(now);
        }
    }

    /// Age of the oldest line at `now`.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        self.oldest.map_or(Duration::ZERO, |oldest| now.saturating_duration_since(oldest))
    }

    /// Closes the batch and starts the next one.
    pub(crate) fn finish(&mut self, now: Instant) -> Batch {
        let mut tenants: Vec<Arc<str>> = self.streams.iter().filter_map(|stream| stream.tenant.clone()).collect();
        tenants.sort();
        tenants.dedup();
        let (body, _) = self.request_of(None);
        let of_tenant = |tenant: Arc<str>| {
            let (body, entries) = self.request_of(Some(&tenant));
            TenantRequest { tenant, body, entries }
        };
        let tenants: Vec<TenantRequest> = tenants.into_iter().map(of_tenant).filter(|request| request.entries > 0).collect();
        self.streams.clear();
        let batch = Batch {
            body,
            entries: self.entries as u64,
            tenants,
            line_bytes: self.line_bytes as u64,
            marks: std::mem::take(&mut self.marks),
            balances: std::mem::take(&mut self.balances),
            rests_on: self.rests_on,
            on_its_way: self.on_its_way.take(),
            finished_at: now,
            oldest_stamp: Some(self.oldest_stamp).filter(|_| self.entries > 0),
        };
        self.oldest_stamp = i64::MAX;
        self.epoch += 1;
        (self.entries, self.line_bytes, self.counted_bytes, self.encoded_bound) = (0, 0, 0, 0);
        self.oldest = None;
        batch
    }

    /// What is left of the streams of one tenant, behind the parts of them that are compressed already, as a request, with the number of entries that are
    /// added.
    fn request_of(&mut self, tenant: Option<&Arc<str>>) -> (Bytes, u64) {
        let mut entries = 0;
        for stream in self.streams.iter().filter(|stream| stream.tenant.as_ref() == tenant && !stream.entries.is_empty()) {
            entries += stream.entries.count() as u64;
            self.request.push_stream(&stream.labels, &stream.entries, &stream.shared_metadata);
        }
        (self.request.finish(), entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tailwater_proto::{read, snappy};

    const LIMITS: BatchLimits = BatchLimits { batch_bytes: 1000, max_line_bytes: 256 << 10 };

    fn labels(text: &str) -> Arc<[u8]> {
        Arc::from(text.as_bytes())
    }

    fn request_of(batch: &Batch) -> Vec<u8> {
        let mut request = Vec::new();
        snappy::decompress(&batch.body, 64 << 20, &mut request).expect("compressed by us");
        request
    }

    #[test]
    fn entries_are_grouped_by_stream_in_order() {
        let mut builder = BatchBuilder::new(LIMITS);
        let shared = Arc::new(SharedMetadata::new([("pod_uid", "u")]));
        let out = builder.open(&labels("{a=\"1\"}"), &shared);
        let err = builder.open(&labels("{a=\"2\"}"), &shared);
        builder.push(out, 1, b"one");
        builder.push(err, 2, b"two");
        builder.push(out, 3, b"three");
        let batch = builder.finish(Instant::now());
        assert_eq!((batch.entries, batch.line_bytes), (3, 11));
        let request = request_of(&batch);
        let streams: Vec<_> = read::streams(&request).map(Result::unwrap).collect();
        let lines = |index: usize| streams[index].entries().map(|e| e.unwrap().line.to_vec()).collect::<Vec<_>>();
        assert_eq!(lines(0), [b"one".to_vec(), b"three".to_vec()]);
        assert_eq!(lines(1), [b"two".to_vec()]);
        assert_eq!(streams[1].shared_metadata().next().unwrap().unwrap(), (&b"pod_uid"[..], &b"u"[..]));
    }

    #[test]
    fn a_large_stream_goes_in_parts_that_are_its_entries_in_order() {
        let mut builder = BatchBuilder::new(BatchLimits { batch_bytes: 1 << 20, max_line_bytes: 256 << 10 });
        let shared = Arc::new(SharedMetadata::new([("pod_uid", "u")]));
        let slots = [builder.open(&labels("{a=\"1\"}"), &shared), builder.open(&labels("{a=\"2\"}"), &shared)];
        let mut written = [Vec::new(), Vec::new()];
        for number in 0.. {
            if builder.is_full() {
                break;
            }
            let line = format!("{number} {}", "x".repeat(number * 37 % 400));
            builder.push(slots[number % 7 / 6], number as i64, line.as_bytes());
            written[number % 7 / 6].push(line);
        }
        let batch = builder.finish(Instant::now());
        let request = request_of(&batch);
        let mut seen = [Vec::new(), Vec::new()];
        let mut parts = 0;
        for stream in read::streams(&request).map(Result::unwrap) {
            parts += 1;
            let index = usize::from(stream.labels().unwrap() == b"{a=\"2\"}");
            assert_eq!(stream.shared_metadata().count(), 1);
            seen[index].extend(stream.entries().map(|entry| String::from_utf8(entry.unwrap().line.to_vec()).unwrap()));
        }
        assert_eq!(seen, written);
        assert_eq!(batch.entries, (written[0].len() + written[1].len()) as u64);
        assert!(parts > 10 && batch.body.len() < request.len(), "{parts} parts");
        let slot = builder.open(&labels("{}"), &Arc::default());
        builder.push(slot, 1, b"next");
        assert_eq!(read::streams(&request_of(&builder.finish(Instant::now()))).count(), 1, "nothing of the batch before is left");
    }

    #[test]
    fn slots_are_void_after_the_batch_is_finished() {
        let mut builder = BatchBuilder::new(LIMITS);
        assert!(!builder.is_open(StreamSlot::default()));
        let slot = builder.open(&labels("{}"), &Arc::default());
        assert!(builder.is_open(slot));
        builder.finish(Instant::now());
        assert!(!builder.is_open(slot));
    }

    #[test]
    fn full_by_bytes_by_entries_and_before_the_request_limit() {
        let mut builder = BatchBuilder::new(LIMITS);
        let slot = builder.open(&labels("{}"), &Arc::default());
        builder.push(slot, 1, &[b'x'; 997]);
        assert!(!builder.is_full());
        builder.push(slot, 1, b"x");
        assert!(builder.is_full());

        let mut builder = BatchBuilder::new(BatchLimits { batch_bytes: usize::MAX, max_line_bytes: 10 });
        let slot = builder.open(&labels("{}"), &Arc::default());
        (0..MAX_ENTRIES / 2).for_each(|_| builder.push(slot, 1, b""));
        assert!(!builder.is_full());
        let mut builder = BatchBuilder::new(BatchLimits { batch_bytes: usize::MAX, max_line_bytes: 100_000 });
        let slot = builder.open(&labels("{}"), &Arc::default());
        while !builder.is_full() {
            builder.push(slot, 1, &[b'x'; 100_000]);
        }
        assert!(request_of(&builder.finish(Instant::now())).len() + 3 * 100_000 <= MAX_REQUEST_BYTES + 100_064);
    }

    #[test]
    fn a_request_never_mixes_tenants() {
        let mut builder = BatchBuilder::new(LIMITS);
        let own = builder.open(&labels("{a=\"1\"}"), &Arc::default());
        let other = builder.open_for(Some(Arc::from("t")), &labels("{a=\"1\"}"), &Arc::default());
        builder.push(own, 1, b"one");
        builder.push(other, 2, b"two");
        builder.push(other, 3, b"three");
        let batch = builder.finish(Instant::now());
        assert_eq!((batch.entries, batch.tenants.len(), batch.tenants[0].entries), (3, 1, 2));
        assert_eq!(read::streams(&request_of(&batch)).count(), 1);
    }

    #[test]
    fn marks_alone_make_a_batch_without_a_body() {
        let mut builder = BatchBuilder::new(LIMITS);
        assert!(builder.is_empty());
        let entry = crate::positions::table::tests::file_entry("c", 1);
        builder.mark(Mark { file: crate::positions::table::FileId(1), entry });
        assert!(!builder.is_empty());
        let batch = builder.finish(Instant::now());
        assert!(batch.body.is_empty());
        assert_eq!(batch.marks.len(), 1);
        assert!(builder.is_empty());
    }
}
