//! Protobuf pushes: walked on the wire, entry by entry, into a batch.

use tailwater_proto::read::{self, StreamView, WireError};
use tailwater_storage::entry::TenantId;

use crate::ingest::body::BodyError;
use crate::ingest::intake::{Accepted, BatchBuilder, Intake};
use crate::ingest::json::JsonError;
use crate::ingest::label_text::LabelTextError;
use crate::ingest::otlp::OtlpError;
use crate::limits::Limits;

/// Why a request is refused as a whole; nothing of it is stored.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PushRefused {
    #[error(transparent)]
    Body(#[from] BodyError),
    /// Loki's decoder has one text for every kind of cut or malformed message; ours goes to the log.
    #[error("unexpected EOF")]
    Wire(#[from] WireError),
    #[error(transparent)]
    Json(#[from] JsonError),
    #[error(transparent)]
    Otlp(#[from] OtlpError),
    #[error("couldn't parse labels: {0}")]
    Labels(LabelTextError),
    #[error("error at least one valid stream is required for ingestion")]
    NoStreams,
    #[error("request body too large: its streams and entries take more than {limit} bytes, send smaller batches")]
    BatchTooLarge { limit: usize },
    #[error("request body too large: it has more than {limit} streams, send smaller batches")]
    TooManyStreams { limit: u64 },
    #[error("request body too large: the labels of a stream take more than {limit} bytes")]
    LabelTextTooLarge { limit: usize },
}

/// The encodings of a push request, uncompressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `logproto.PushRequest`
    Protobuf,
    /// `{"streams": […]}`, each stream with `stream` and `values`, or `labels` and `entries`.
    Json,
}

impl Intake {
    /// What of an uncompressed request may be stored. `now`: nanoseconds since the epoch.
    pub fn accept(&self, tenant: &TenantId, limits: &Limits, now: i64, format: Format, request: &[u8]) -> Result<Accepted, PushRefused> {
        let mut builder = self.begin(tenant, limits, now);
        match format {
            Format::Protobuf => walk(request, &mut builder)?,
            Format::Json => crate::ingest::json::read_request(request, &mut builder)?,
        }
        if !builder.has_streams() {
            return Err(PushRefused::NoStreams);
        }
        Ok(builder.finish())
    }
}

fn walk(request: &[u8], builder: &mut BatchBuilder<'_>) -> Result<(), PushRefused> {
    for stream in read::streams(request) {
        builder.see_stream()?;
        walk_stream(stream?, builder)?;
    }
    Ok(())
}

fn walk_stream(stream: StreamView<'_>, builder: &mut BatchBuilder<'_>) -> Result<(), PushRefused> {
    let mut is_begun = false;
    for entry in stream.entries() {
        let entry = entry?;
        if !is_begun {
            begin_stream(stream, builder)?;
            is_begun = true;
        }
        for pair in entry.metadata() {
            let (name, value) = pair?;
            builder.own_pair(name, value)?;
        }
        builder.entry(entry.seconds, entry.nanos, entry.line)?;
    }
    Ok(())
}

fn begin_stream(stream: StreamView<'_>, builder: &mut BatchBuilder<'_>) -> Result<(), PushRefused> {
    builder.stream(stream.labels()?)?;
    let (entries, bytes) = stream.size();
    builder.expect(entries, bytes);
    for pair in stream.shared_metadata() {
        let (name, value) = pair?;
        builder.shared_pair(name, value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: i64 = 1_768_903_200_000_000_000;

    /// Writes messages field by field, as a client would.
    #[derive(Default, Clone)]
    struct Message(Vec<u8>);

    impl Message {
        fn varint(&mut self, mut value: u64) {
            while value >= 0x80 {
                self.0.push(value as u8 | 0x80);
                value >>= 7;
            }
            self.0.push(value as u8);
        }

        fn bytes(mut self, number: u64, bytes: &[u8]) -> Self {
            self.varint(number << 3 | 2);
            self.varint(bytes.len() as u64);
            self.0.extend_from_slice(bytes);
            self
        }

        fn number(mut self, number: u64, value: i64) -> Self {
            self.varint(number << 3);
            self.varint(value.cast_unsigned());
            self
        }
    }

    fn pair(name: &[u8], value: &[u8]) -> Message {
        Message::default().bytes(1, name).bytes(2, value)
    }

    fn entry(seconds: i64, line: &[u8]) -> Message {
        Message::default().bytes(1, &Message::default().number(1, seconds).0).bytes(2, line)
    }

    fn request(streams: &[Message]) -> Vec<u8> {
        streams.iter().fold(Message::default(), |request, stream| request.bytes(1, &stream.0)).0
    }

    fn accept(request: &[u8]) -> Result<Accepted, PushRefused> {
        accept_with(request, &Limits::default())
    }

    fn accept_with(request: &[u8], limits: &Limits) -> Result<Accepted, PushRefused> {
        Intake::new(false).accept(&TenantId::new("fake"), limits, NOW, Format::Protobuf, request)
    }

    const SECOND: i64 = NOW / 1_000_000_000;

    #[test]
    fn entries_become_a_batch_of_streams() {
        let stream = Message::default()
            .bytes(1, br#"{app="a"}"#)
            .bytes(2, &entry(SECOND, b"error: x").0)
            .bytes(2, &entry(SECOND + 1, b"plain").bytes(3, &pair(b"user.id", b"7").0).0);
        let again = Message::default().bytes(1, br#"{app="a",}"#).bytes(2, &entry(SECOND + 2, b"more").0);
        let accepted = accept(&request(&[stream, again])).expect("accepted");
        let [entries] = accepted.batch.streams.as_slice() else { panic!("one stream") };
        assert_eq!(entries.labels().stored().canonical_text(), r#"{app="a", service_name="a"}"#);
        let seen: Vec<(i64, &[u8], String)> = (0..entries.len())
            .map(|row| (entries.timestamps()[row], entries.line(row), entries.metadata(row).stored().canonical_text()))
            .collect();
        let second = 1_000_000_000;
        assert_eq!(
            seen,
            [
                (NOW, b"error: x".as_slice(), r#"{detected_level="error"}"#.to_owned()),
                (NOW + second, b"plain", r#"{detected_level="unknown", user_id="7"}"#.to_owned()),
                (NOW + 2 * second, b"more", r#"{detected_level="unknown"}"#.to_owned()),
            ]
        );
        assert!(entries.metadata(0).pushed.is_empty());
    }

    #[test]
    fn shared_metadata_joins_every_entry_that_has_no_pair_of_the_name() {
        let stream = Message::default()
            .bytes(1, br#"{app="a"}"#)
            .bytes(2, &entry(SECOND, b"x").0)
            .bytes(2, &entry(SECOND, b"y").bytes(3, &pair(b"pod_uid", b"own").0).0)
            .bytes(1001, &pair(b"pod_uid", b"u1").0);
        let accepted = accept(&request(&[stream])).expect("accepted");
        let entries = &accepted.batch.streams[0];
        assert_eq!(entries.metadata(0).pushed.canonical_text(), r#"{pod_uid="u1"}"#);
        assert_eq!(entries.metadata(1).pushed.canonical_text(), r#"{pod_uid="own"}"#);
    }

    #[test]
    fn a_level_that_is_pushed_as_stored_is_not_derived_again() {
        let stream = Message::default()
            .bytes(1, br#"{app="a"}"#)
            .bytes(2, &entry(SECOND, b"x").bytes(3, &pair(b"detected_level", b"warn").0).0)
            .bytes(2, &entry(SECOND, b"x").bytes(3, &pair(b"detected_level", b"WARN").0).0);
        let accepted = accept(&request(&[stream])).expect("accepted");
        let entries = &accepted.batch.streams[0];
        assert!(entries.metadata(0).derived.is_empty());
        assert_eq!(entries.metadata(1).stored().canonical_text(), r#"{detected_level="warn"}"#);
    }

    #[test]
    fn good_entries_stay_when_others_are_refused() {
        let limits = Limits { max_line_size: crate::config::size::ByteSize::bytes(5), ..Limits::default() };
        let stream = Message::default()
            .bytes(1, br#"{app="a"}"#)
            .bytes(2, &entry(SECOND, b"fine").0)
            .bytes(2, &entry(SECOND, b"too long").0)
            .bytes(2, &entry(SECOND + 601, b"new").0)
            .bytes(2, &entry(i64::MAX, b"far").0);
        let refused = Message::default().bytes(1, br#"{a="1", a="2"}"#).bytes(2, &entry(SECOND, b"x").0);
        let accepted = accept_with(&request(&[stream, refused]), &limits).expect("accepted");
        assert_eq!(accepted.batch.entries(), 1);
        let stream = r#"{app="a", service_name="a"}"#;
        assert_eq!(
            accepted.rejections.to_string(),
            format!(
                "1 errors like: max entry size '5' bytes exceeded for stream '{stream}' while adding an entry with length '8' bytes; \
                 1 errors like: entry for stream '{stream}' has timestamp too new: 2026-01-20T10:10:01Z; \
                 1 errors like: entry for stream '{stream}' has timestamp out of range: 9223372036854775807 seconds and 0 nanoseconds since the epoch; \
                 1 errors like: stream '{{a=\"1\", a=\"2\", service_name=\"unknown_service\"}}' has duplicate label name: 'a'"
            )
        );
    }

    #[test]
    fn metadata_limits_are_per_entry() {
        let with_pairs = |limits: &Limits| {
            let entry = entry(SECOND, b"x").bytes(3, &pair(b"k", b"v").0).bytes(3, &pair(b"l", b"w").0);
            let stream = Message::default().bytes(1, br#"{app="a"}"#).bytes(2, &entry.0);
            accept_with(&request(&[stream]), limits).expect("accepted").rejections.to_string()
        };
        let size = crate::config::size::ByteSize::bytes(3);
        for (limits, expected) in [
            (Limits::default(), ""),
            (
                Limits { allow_structured_metadata: false, ..Limits::default() },
                "includes structured metadata, but this feature is disallowed",
            ),
            (
                Limits { max_structured_metadata_size: size, ..Limits::default() },
                "has structured metadata too large: '4' bytes, limit: '3' bytes",
            ),
            (
                Limits { max_structured_metadata_entries_count: 1, ..Limits::default() },
                "has too many structured metadata labels: '2', limit: '1'",
            ),
        ] {
            assert!(with_pairs(&limits).contains(expected), "{expected}");
        }
    }

    #[test]
    fn invalid_bytes_are_replaced_before_identity_is_taken() {
        let stream = |line: &[u8]| Message::default().bytes(1, br#"{app="a"}"#).bytes(2, &entry(SECOND, line).0);
        let accepted = accept(&request(&[stream(b"a\xffb")])).expect("accepted");
        assert_eq!((accepted.invalid_bytes, accepted.batch.streams[0].line(0)), (1, "a\u{fffd}b".as_bytes()));
        let replaced = accept(&request(&[stream("a\u{fffd}b".as_bytes())])).expect("accepted");
        assert_eq!(replaced.batch.streams[0].line_hashes(), accepted.batch.streams[0].line_hashes());
    }

    #[test]
    fn whole_requests_are_refused_with_lokis_texts() {
        let one = |labels: &[u8]| request(&[Message::default().bytes(1, labels).bytes(2, &entry(SECOND, b"x").0)]);
        for (request, expected) in [
            (Vec::new(), "error at least one valid stream is required for ingestion"),
            (vec![0xff, 0xff, 0xff], "unexpected EOF"),
            (one(b"{bad"), "couldn't parse labels: 1:5: parse error: unexpected end of input inside braces"),
        ] {
            assert_eq!(accept(&request).expect_err(expected).to_string(), expected);
        }
        for labels in [b"{}".as_slice(), b""] {
            let accepted = accept(&one(labels)).expect("accepted");
            assert_eq!(accepted.batch.streams[0].labels().stored().canonical_text(), r#"{service_name="unknown_service"}"#);
        }
    }

    #[test]
    fn empty_streams_take_no_memory_and_countless_ones_are_refused() {
        let empty = [0x0a, 0x00].repeat(10_000_000);
        let accepted = accept(&empty[..2_000_000]).expect("accepted");
        assert_eq!((accepted.batch.streams.len(), accepted.batch.heap_bytes()), (0, 0));
        assert_eq!(accept(&empty).expect_err("countless"), PushRefused::TooManyStreams { limit: 1_000_000 });
    }

    #[test]
    fn a_request_of_countless_streams_is_refused_at_its_bound() {
        let tiny = |number: u32| {
            let labels = format!(r#"{{n="{number}"}}"#);
            Message::default().bytes(1, labels.as_bytes()).bytes(2, &entry(SECOND, b"").0)
        };
        let streams: Vec<Message> = (0..500_000).map(tiny).collect();
        assert_eq!(accept(&request(&streams)).expect_err("too much"), PushRefused::BatchTooLarge { limit: 256 << 20 });
    }

    #[test]
    fn entries_too_far_behind_are_refused_only_by_strict() {
        let push = |intake: &Intake, seconds: &[i64]| {
            let stream = seconds.iter().fold(Message::default().bytes(1, br#"{a="b"}"#), |s, at| s.bytes(2, &entry(SECOND + at, b"x").0));
            let tenant = TenantId::new("fake");
            let accepted = intake.accept(&tenant, &Limits::default(), NOW, Format::Protobuf, &request(&[stream])).expect("accepted");
            intake.record_durable(&tenant, &accepted.newest);
            (accepted.batch.entries(), accepted.rejections.to_string())
        };
        let lenient = Intake::new(false);
        push(&lenient, &[0]);
        assert_eq!(push(&lenient, &[-7200]), (1, String::new()));
        let strict = Intake::new(true);
        push(&strict, &[0]);
        let (stored, text) = push(&strict, &[-3600, -3601, -7200]);
        assert_eq!(stored, 1);
        assert!(text.ends_with("user 'fake', total ignored: 2 out of 3 for stream: {a=\"b\", service_name=\"unknown_service\"}"), "{text}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_accepted_or_refused_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            drop(accept(&bytes));
        }

        #[test]
        fn a_cut_push_is_refused_or_a_prefix(cut in any::<prop::sample::Index>()) {
            let stream = Message::default().bytes(1, br#"{app="a"}"#).bytes(2, &entry(SECOND, b"line").bytes(3, &pair(b"k", b"v").0).0);
            let whole = request(&[stream.clone(), stream]);
            if let Ok(accepted) = accept(&whole[..cut.index(whole.len())]) {
                prop_assert!(accepted.batch.entries() <= 1);
            }
        }
    }
}
