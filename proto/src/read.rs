//! Walks a push request where it lies, handing out borrowed views; nothing is allocated.
//!
//! Memory is bounded by the request's own bytes whatever it says: ten million empty streams are ten million steps of an
//! iterator. Unknown fields are skipped; a cut or malformed message ends the walk with a [`WireError`] that says where.

pub use crate::wire::WireError;

use crate::field;
use crate::wire::{Fields, Value};

/// Iterates over the streams of a push request (uncompressed protobuf).
#[derive(Debug, Clone)]
pub struct Streams<'a>(Fields<'a>);

/// The streams of a request, in its order.
pub fn streams(request: &[u8]) -> Streams<'_> {
    Streams(Fields::new("PushRequest", request))
}

impl<'a> Iterator for Streams<'a> {
    type Item = Result<StreamView<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next_bytes_of(field::REQUEST_STREAMS).map(|bytes| Ok(StreamView { bytes: bytes? }))
    }
}

/// One `Stream` message.
#[derive(Debug, Clone, Copy)]
pub struct StreamView<'a> {
    bytes: &'a [u8],
}

impl<'a> StreamView<'a> {
    /// The label text; empty if absent. As protobuf has it, the last one counts.
    pub fn labels(&self) -> Result<&'a [u8], WireError> {
        let mut labels: &[u8] = &[];
        let mut fields = Fields::new("Stream", self.bytes);
        while let Some(bytes) = fields.next_bytes_of(field::STREAM_LABELS) {
            labels = bytes?;
        }
        Ok(labels)
    }

    pub fn entries(&self) -> Entries<'a> {
        Entries(Fields::new("Stream", self.bytes))
    }

    /// How many entries there are, and the bytes of their messages, in which their lines lie; what cannot be read ends the count.
    pub fn size(&self) -> (usize, usize) {
        let mut fields = Fields::new("Stream", self.bytes);
        let (mut entries, mut bytes) = (0, 0);
        while let Some(Ok(entry)) = fields.next_bytes_of(field::STREAM_ENTRIES) {
            entries += 1;
            bytes += entry.len();
        }
        (entries, bytes)
    }

    /// Pairs meant for every entry of this stream in this request that has no pair of the name.
    pub fn shared_metadata(&self) -> PairViews<'a> {
        PairViews { fields: Fields::new("Stream", self.bytes), number: field::STREAM_SHARED_METADATA }
    }
}

#[derive(Debug, Clone)]
pub struct Entries<'a>(Fields<'a>);

impl<'a> Iterator for Entries<'a> {
    type Item = Result<EntryView<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next_bytes_of(field::STREAM_ENTRIES).map(|bytes| EntryView::read(bytes?))
    }
}

/// One `Entry` message.
#[derive(Debug, Clone, Copy)]
pub struct EntryView<'a> {
    /// Seconds since the epoch, as sent.
    pub seconds: i64,
    /// Nanoseconds within the second, as sent; may be out of 0..1e9.
    pub nanos: i32,
    pub line: &'a [u8],
    bytes: &'a [u8],
    has_metadata: bool,
}

impl<'a> EntryView<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut entry = EntryView { seconds: 0, nanos: 0, line: &[], bytes, has_metadata: false };
        let mut fields = Fields::new("Entry", bytes);
        while let Some((number, value)) = fields.next_field()? {
            match (number, value) {
                (field::ENTRY_TIMESTAMP, Value::Bytes(bytes)) => (entry.seconds, entry.nanos) = read_timestamp(bytes)?,
                (field::ENTRY_LINE, Value::Bytes(bytes)) => entry.line = bytes,
                (field::ENTRY_STRUCTURED_METADATA, Value::Bytes(_)) => entry.has_metadata = true,
                _ => {}
            }
        }
        Ok(entry)
    }

    /// Nanoseconds since the epoch, or `None` where the stamp does not fit (years 1678 to 2262 do).
    pub fn timestamp(&self) -> Option<i64> {
        self.seconds.checked_mul(1_000_000_000)?.checked_add(i64::from(self.nanos))
    }

    pub fn metadata(&self) -> PairViews<'a> {
        let bytes = if self.has_metadata { self.bytes } else { &[] };
        PairViews { fields: Fields::new("Entry", bytes), number: field::ENTRY_STRUCTURED_METADATA }
    }
}

fn read_timestamp(bytes: &[u8]) -> Result<(i64, i32), WireError> {
    let (mut seconds, mut nanos) = (0, 0);
    let mut fields = Fields::new("Timestamp", bytes);
    while let Some((number, value)) = fields.next_field()? {
        match (number, value) {
            (field::TIMESTAMP_SECONDS, Value::Varint(value)) => seconds = value.cast_signed(),
            (field::TIMESTAMP_NANOS, Value::Varint(value)) => nanos = value.cast_signed() as i32,
            _ => {}
        }
    }
    Ok((seconds, nanos))
}

/// Iterates over `LabelPair` messages of one field.
#[derive(Debug, Clone)]
pub struct PairViews<'a> {
    fields: Fields<'a>,
    number: u32,
}

impl<'a> Iterator for PairViews<'a> {
    type Item = Result<(&'a [u8], &'a [u8]), WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.fields.next_bytes_of(self.number).map(|bytes| read_pair(bytes?))
    }
}

fn read_pair(bytes: &[u8]) -> Result<(&[u8], &[u8]), WireError> {
    let (mut name, mut value): (&[u8], &[u8]) = (&[], &[]);
    let mut fields = Fields::new("LabelPair", bytes);
    while let Some((number, field)) = fields.next_field()? {
        match (number, field) {
            (field::PAIR_NAME, Value::Bytes(bytes)) => name = bytes,
            (field::PAIR_VALUE, Value::Bytes(bytes)) => value = bytes,
            _ => {}
        }
    }
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::{Entry, Pair, Push, Stream, Timestamp};
    use proptest::prelude::*;
    use prost::Message;

    fn pair() -> impl Strategy<Value = Pair> {
        (".{0,5}", ".{0,5}").prop_map(|(name, value)| Pair { name, value })
    }

    fn push() -> impl Strategy<Value = Push> {
        let stamp = (any::<i64>(), any::<i32>()).prop_map(|(seconds, nanos)| Timestamp { seconds, nanos });
        let entry = (proptest::option::of(stamp), proptest::collection::vec(any::<u8>(), 0..20), proptest::collection::vec(pair(), 0..3))
            .prop_map(|(timestamp, line, metadata)| Entry { timestamp, line, metadata });
        let stream = (".{0,9}", proptest::collection::vec(entry, 0..4), any::<u64>(), proptest::collection::vec(pair(), 0..3))
            .prop_map(|(labels, entries, hash, shared)| Stream { labels, entries, hash, shared });
        proptest::collection::vec(stream, 0..4).prop_map(|streams| Push { streams })
    }

    fn pairs_of(views: PairViews<'_>) -> Result<Vec<Pair>, WireError> {
        views
            .map(|pair| pair.map(|(n, v)| Pair { name: String::from_utf8_lossy(n).into(), value: String::from_utf8_lossy(v).into() }))
            .collect()
    }

    fn walk(bytes: &[u8]) -> Result<Push, WireError> {
        let mut push = Push::default();
        for stream in streams(bytes) {
            let stream = stream?;
            let mut entries = Vec::new();
            for entry in stream.entries() {
                let entry = entry?;
                entries.push(Entry {
                    timestamp: Some(Timestamp { seconds: entry.seconds, nanos: entry.nanos }),
                    line: entry.line.to_vec(),
                    metadata: pairs_of(entry.metadata())?,
                });
            }
            let labels = String::from_utf8_lossy(stream.labels()?).into();
            push.streams.push(Stream { labels, entries, hash: 0, shared: pairs_of(stream.shared_metadata())? });
        }
        Ok(push)
    }

    proptest! {
        #[test]
        fn the_walk_sees_what_a_decoder_sees(push in push()) {
            let mut expected = push.clone();
            for stream in &mut expected.streams {
                stream.hash = 0;
                stream.entries.iter_mut().for_each(|entry| { entry.timestamp.get_or_insert_default(); });
            }
            prop_assert_eq!(walk(&push.encode_to_vec()), Ok(expected));
        }

        #[test]
        fn a_cut_request_is_an_error_or_a_prefix_never_a_panic(push in push(), cut in any::<prop::sample::Index>()) {
            let bytes = push.encode_to_vec();
            let cut = cut.index(bytes.len() + 1);
            if let Ok(seen) = walk(&bytes[..cut]) {
                prop_assert!(seen.streams.len() <= push.streams.len());
            }
        }

        #[test]
        fn any_bytes_are_walked_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            drop(walk(&bytes));
        }
    }

    #[test]
    fn a_length_beyond_the_message_is_refused() {
        let error = streams(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]).next().expect("one item").expect_err("too long");
        assert_eq!(error.reason, "unexpected end of message");
    }
}
