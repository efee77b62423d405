//! Writes a push request: entries go straight into the bytes of their stream, streams into the bytes of the request.
//!
//! ```text
//! EntriesBuffer    Entry Entry Entry ...                          one per stream, each line copied once
//! RequestBuffer    [Stream: labels, entries, shared metadata] ... the second and last copy, ready to compress
//! CompressedRequest  the same, compressed while it is written: what the agent sends
//! ```
//! Lengths are computed before the bytes are written, so nothing is moved afterwards. Fields that hold their default are left
//! out, as every protobuf encoder does: the bytes equal those of a general encoder. Nothing here fails; the caller bounds the sizes.

use bytes::Bytes;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use crate::field;
use crate::snappy::BlockWriter;

/// More than key, length, timestamp and line length of any entry need.
const ENTRY_HEAD_CAPACITY: usize = 64;

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// Size of the first chunk of a stream, of which a batch may hold thousands, and of the largest, but for an entry that is larger itself.
const CHUNK_BYTES: std::ops::RangeInclusive<usize> = 256..=(64 << 10);

/// Encoded entries of one stream, in sending order. They lie in chunks, so that no buffer is ever copied into one of twice its size, and a large stream
/// takes as much memory as it has bytes.
#[derive(Debug, Default)]
pub struct EntriesBuffer {
    /// Written and full.
    full: Vec<Vec<u8>>,
    full_bytes: usize,
    /// Being written.
    bytes: Vec<u8>,
    count: usize,
}

impl EntriesBuffer {
    /// Appends one entry; `timestamp` in nanoseconds since the epoch.
    #[inline]
    pub fn push(&mut self, timestamp: i64, line: &[u8]) {
        self.push_with_metadata(timestamp, line, &[]);
    }

    /// Appends one entry with structured metadata of its own.
    #[inline]
    pub fn push_with_metadata(&mut self, timestamp: i64, line: &[u8], metadata: &[(&str, &str)]) {
        let stamp = Stamp::new(timestamp);
        let stamp_length = stamp.length();
        let metadata_length: usize = metadata.iter().map(|pair| pair_field_length(field::ENTRY_STRUCTURED_METADATA, pair)).sum();
        let entry_length = 1 + encoded_len_varint(stamp_length as u64) + stamp_length + line_field_length(line.len()) + metadata_length;

        let needed = ENTRY_HEAD_CAPACITY + line.len() + metadata_length;
        if self.bytes.capacity() - self.bytes.len() < needed {
            self.begin_chunk(needed);
        }
        put_length_delimited(&mut self.bytes, field::STREAM_ENTRIES, entry_length);
        put_length_delimited(&mut self.bytes, field::ENTRY_TIMESTAMP, stamp_length);
        stamp.put(&mut self.bytes);
        if !line.is_empty() {
            put_length_delimited(&mut self.bytes, field::ENTRY_LINE, line.len());
            self.bytes.extend_from_slice(line);
        }
        for pair in metadata {
            put_pair(&mut self.bytes, field::ENTRY_STRUCTURED_METADATA, pair);
        }
        self.count += 1;
    }

    #[cold]
    fn begin_chunk(&mut self, needed: usize) {
        let size = (2 * self.bytes.capacity()).clamp(*CHUNK_BYTES.start(), *CHUNK_BYTES.end()).max(needed);
        let full = std::mem::replace(&mut self.bytes, Vec::with_capacity(size));
        if !full.is_empty() {
            self.full_bytes += full.len();
            self.full.push(full);
        }
    }

    fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        self.full.iter().chain(std::iter::once(&self.bytes)).map(Vec::as_slice)
    }

    pub fn count(&self) -> usize {
        self.count
    }

    /// Encoded bytes so far.
    pub fn encoded_length(&self) -> usize {
        self.full_bytes + self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Forgets the entries, keeps the memory of the last chunk.
    pub fn clear(&mut self) {
        self.full.clear();
        self.bytes.clear();
        (self.full_bytes, self.count) = (0, 0);
    }
}

/// Metadata pairs encoded once, for every request that needs them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SharedMetadata(Vec<u8>);

impl SharedMetadata {
    /// Encodes `pairs` in the order given.
    pub fn new<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut bytes = Vec::new();
        for pair in pairs {
            put_pair(&mut bytes, field::STREAM_SHARED_METADATA, &pair);
        }
        Self(bytes)
    }

    pub fn encoded_length(&self) -> usize {
        self.0.len()
    }
}

/// The bytes of one request, uncompressed.
#[derive(Debug, Default)]
pub struct RequestBuffer {
    bytes: Vec<u8>,
}

impl RequestBuffer {
    /// Appends one stream. `labels` is the canonical text, `{a="b", c="d"}`.
    pub fn push_stream(&mut self, labels: &[u8], entries: &EntriesBuffer, shared_metadata: &SharedMetadata) {
        self.bytes.reserve(encoded_stream_length(labels, entries.encoded_length(), shared_metadata));
        put_stream_head(&mut self.bytes, labels, entries, shared_metadata);
        entries.chunks().for_each(|chunk| self.bytes.extend_from_slice(chunk));
        self.bytes.extend_from_slice(&shared_metadata.0);
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Forgets the streams, keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }
}

/// A request that is compressed while it is written.
#[derive(Debug, Default)]
pub struct CompressedRequest {
    block: BlockWriter,
    head: Vec<u8>,
}

impl CompressedRequest {
    /// As [`RequestBuffer::push_stream`].
    pub fn push_stream(&mut self, labels: &[u8], entries: &EntriesBuffer, shared_metadata: &SharedMetadata) {
        self.head.clear();
        put_stream_head(&mut self.head, labels, entries, shared_metadata);
        self.block.write(&self.head);
        entries.chunks().for_each(|chunk| self.block.write(chunk));
        self.block.write(&shared_metadata.0);
    }

    /// The snappy block of the streams since the last one; no bytes if there were none.
    pub fn finish(&mut self) -> Bytes {
        self.block.finish()
    }
}

/// Key and length of a stream, and its labels.
fn put_stream_head(bytes: &mut Vec<u8>, labels: &[u8], entries: &EntriesBuffer, shared_metadata: &SharedMetadata) {
    let length = labels_field_length(labels) + entries.encoded_length() + shared_metadata.0.len();
    put_length_delimited(bytes, field::REQUEST_STREAMS, length);
    if !labels.is_empty() {
        put_length_delimited(bytes, field::STREAM_LABELS, labels.len());
        bytes.extend_from_slice(labels);
    }
}

/// What [`EntriesBuffer::push`] adds at most for a line of `line_length` bytes without metadata.
pub fn entry_length_bound(line_length: usize) -> usize {
    ENTRY_HEAD_CAPACITY + line_length
}

/// What [`RequestBuffer::push_stream`] adds for a stream with `entries_length` bytes of entries.
pub fn encoded_stream_length(labels: &[u8], entries_length: usize, shared_metadata: &SharedMetadata) -> usize {
    let length = labels_field_length(labels) + entries_length + shared_metadata.0.len();
    key_len(field::REQUEST_STREAMS) + encoded_len_varint(length as u64) + length
}

#[derive(Clone, Copy)]
struct Stamp {
    seconds: u64,
    nanos: u64,
}

impl Stamp {
    #[inline]
    fn new(timestamp: i64) -> Self {
        Self {
            seconds: timestamp.div_euclid(NANOS_PER_SECOND).cast_unsigned(),
            nanos: timestamp.rem_euclid(NANOS_PER_SECOND).cast_unsigned(),
        }
    }

    #[inline]
    fn length(self) -> usize {
        let field_length = |value: u64| if value == 0 { 0 } else { 1 + encoded_len_varint(value) };
        field_length(self.seconds) + field_length(self.nanos)
    }

    #[inline]
    fn put(self, bytes: &mut Vec<u8>) {
        for (number, value) in [(field::TIMESTAMP_SECONDS, self.seconds), (field::TIMESTAMP_NANOS, self.nanos)] {
            if value != 0 {
                encode_key(number, WireType::Varint, bytes);
                encode_varint(value, bytes);
            }
        }
    }
}

#[inline]
fn put_length_delimited(bytes: &mut Vec<u8>, number: u32, length: usize) {
    encode_key(number, WireType::LengthDelimited, bytes);
    encode_varint(length as u64, bytes);
}

#[inline]
fn line_field_length(length: usize) -> usize {
    if length == 0 { 0 } else { key_len(field::ENTRY_LINE) + encoded_len_varint(length as u64) + length }
}

fn labels_field_length(labels: &[u8]) -> usize {
    text_field_length(field::STREAM_LABELS, labels)
}

fn text_field_length(number: u32, text: &[u8]) -> usize {
    if text.is_empty() { 0 } else { key_len(number) + encoded_len_varint(text.len() as u64) + text.len() }
}

fn pair_length((name, value): &(&str, &str)) -> usize {
    text_field_length(field::PAIR_NAME, name.as_bytes()) + text_field_length(field::PAIR_VALUE, value.as_bytes())
}

fn pair_field_length(number: u32, pair: &(&str, &str)) -> usize {
    let length = pair_length(pair);
    key_len(number) + encoded_len_varint(length as u64) + length
}

fn put_pair(bytes: &mut Vec<u8>, number: u32, pair: &(&str, &str)) {
    put_length_delimited(bytes, number, pair_length(pair));
    for (number, text) in [(field::PAIR_NAME, pair.0), (field::PAIR_VALUE, pair.1)] {
        if !text.is_empty() {
            put_length_delimited(bytes, number, text.len());
            bytes.extend_from_slice(text.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::{Entry, Pair, Push, Stream, Timestamp};
    use proptest::prelude::*;
    use prost::Message;

    type PlainEntry = (i64, Vec<u8>, Vec<(String, String)>);
    type PlainStream = (String, Vec<PlainEntry>, Vec<(String, String)>);

    fn pairs() -> impl Strategy<Value = Vec<(String, String)>> {
        proptest::collection::vec((".{0,6}", ".{0,200}"), 0..3)
    }

    fn streams() -> impl Strategy<Value = Vec<PlainStream>> {
        let line = proptest::collection::vec(any::<u8>(), 0..300);
        let entry = (prop_oneof![any::<i64>(), Just(0), Just(7_000_000_000)], line, pairs());
        proptest::collection::vec((".{0,200}", proptest::collection::vec(entry, 0..5), pairs()), 0..4)
    }

    fn borrowed(pairs: &[(String, String)]) -> Vec<(&str, &str)> {
        pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    fn messages(pairs: &[(String, String)]) -> Vec<Pair> {
        pairs.iter().cloned().map(|(name, value)| Pair { name, value }).collect()
    }

    fn reference(streams: &[PlainStream]) -> Vec<u8> {
        let entry = |(timestamp, line, metadata): &PlainEntry| Entry {
            timestamp: Some(Timestamp {
                seconds: timestamp.div_euclid(1_000_000_000),
                nanos: i32::try_from(timestamp.rem_euclid(1_000_000_000)).expect("below 1e9"),
            }),
            line: line.clone(),
            metadata: messages(metadata),
        };
        let streams = streams
            .iter()
            .map(|(labels, entries, shared)| Stream {
                hash: 0,
                labels: labels.clone(),
                entries: entries.iter().map(entry).collect(),
                shared: messages(shared),
            })
            .collect();
        Push { streams }.encode_to_vec()
    }

    fn written(streams: &[PlainStream]) -> RequestBuffer {
        let mut request = RequestBuffer::default();
        for (labels, entries, shared) in streams {
            let mut buffer = EntriesBuffer::default();
            for (timestamp, line, metadata) in entries {
                let before = buffer.encoded_length();
                buffer.push_with_metadata(*timestamp, line, &borrowed(metadata));
                assert!(!metadata.is_empty() || buffer.encoded_length() - before <= entry_length_bound(line.len()));
            }
            assert_eq!(buffer.count(), entries.len());
            let shared = SharedMetadata::new(borrowed(shared));
            let before = request.as_bytes().len();
            request.push_stream(labels.as_bytes(), &buffer, &shared);
            assert_eq!(request.as_bytes().len() - before, encoded_stream_length(labels.as_bytes(), buffer.encoded_length(), &shared));
        }
        request
    }

    proptest! {
        #[test]
        fn bytes_equal_those_of_a_general_encoder(streams in streams()) {
            let (written, reference) = (written(&streams), reference(&streams));
            prop_assert_eq!(written.as_bytes(), reference.as_slice());
        }

        #[test]
        fn the_reader_sees_what_was_written(streams in streams()) {
            let request = written(&streams);
            let mut seen = Vec::new();
            for stream in crate::read::streams(request.as_bytes()) {
                let stream = stream.expect("written by us");
                let entries: Vec<_> = stream
                    .entries()
                    .map(|entry| entry.map(|entry| (entry.timestamp(), entry.line.to_vec())).expect("written by us"))
                    .collect();
                seen.push((stream.labels().expect("written by us").to_vec(), entries));
            }
            let expected: Vec<_> = streams
                .iter()
                .map(|(labels, entries, _)| {
                    (labels.as_bytes().to_vec(), entries.iter().map(|(t, line, _)| (fits(*t), line.clone())).collect::<Vec<_>>())
                })
                .collect();
            prop_assert_eq!(seen, expected);
        }
    }

    /// The reader's own arithmetic overflows just below the earliest stamp; the wire carries it all the same.
    fn fits(timestamp: i64) -> Option<i64> {
        timestamp.div_euclid(1_000_000_000).checked_mul(1_000_000_000)?.checked_add(timestamp.rem_euclid(1_000_000_000))
    }

    #[test]
    fn entries_of_any_size_lie_in_chunks_that_are_as_large_as_they_need_be() {
        let mut buffer = EntriesBuffer::default();
        let lines: Vec<Vec<u8>> = [10, 5000, 300_000, 0, 70_000].iter().map(|length| vec![b'x'; *length]).collect();
        let lines: Vec<&Vec<u8>> = std::iter::repeat_n(&lines, 20).flatten().collect();
        lines.iter().for_each(|line| buffer.push(1, line));
        assert!(buffer.full.len() > 20, "{} chunks", buffer.full.len());
        let held: usize = buffer.chunks().map(<[u8]>::len).sum();
        assert_eq!(held, buffer.encoded_length());
        let mut request = RequestBuffer::default();
        request.push_stream(b"{}", &buffer, &SharedMetadata::default());
        let stream = crate::read::streams(request.as_bytes()).next().expect("one stream").expect("written by us");
        assert!(stream.entries().map(|entry| entry.expect("written by us").line.len()).eq(lines.iter().map(|line| line.len())));
    }
}
