//! JSON pushes, in both shapes that clients send:
//!
//! ```text
//! {"streams": [{"stream": {"a": "b"},   "values":  [["<nanoseconds>", "line", {"name": "value"}], …]}]}
//! {"streams": [{"labels": "{a=\"b\"}", "entries": [{"ts": "<RFC 3339>", "line": "x"}, …]}]}
//! ```
//! Walked like protobuf, without a tree. Unknown keys are skipped, `null` stands for nothing; times and lines must be strings,
//! as must be the values of metadata. Label values of other kinds are taken by their text, as Loki does.

pub(super) mod cursor;

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;
use tailwater_storage::pairs::Pairs;

use crate::ingest::decode::PushRefused;
use crate::ingest::intake::{BatchBuilder, MAX_LABEL_TEXT};
use cursor::Cursor;
pub use cursor::JsonError;

const NANOSECONDS: i64 = 1_000_000_000;

/// Reads a whole request; what follows it is ignored.
pub(crate) fn read_request(text: &[u8], builder: &mut BatchBuilder<'_>) -> Result<(), PushRefused> {
    let mut cursor = Cursor::new(text);
    if cursor.peek().is_none() {
        return Err(JsonError::Empty.into());
    }
    if cursor.take_null() || !cursor.open(b'{', b'}', "{ or null")? {
        return Ok(());
    }
    loop {
        match &*cursor.key()? {
            b"streams" if !cursor.take_null() => read_streams(&mut cursor, builder)?,
            b"streams" => {}
            _ => drop(cursor.skip_value()?),
        }
        if !cursor.another(b'}', "',' or '}' after a value")? {
            return Ok(());
        }
    }
}

fn read_streams(cursor: &mut Cursor<'_>, builder: &mut BatchBuilder<'_>) -> Result<(), PushRefused> {
    if !cursor.open(b'[', b']', "an array of streams")? {
        return Ok(());
    }
    loop {
        if !cursor.take_null() {
            builder.see_stream()?;
            read_stream(cursor, builder)?;
        }
        if !cursor.another(b']', "',' or ']' after a stream")? {
            return Ok(());
        }
    }
}

/// The fields of one stream: where its entries are is noted, since its labels may come after them.
#[derive(Default)]
struct Stream<'a> {
    labels: Option<Vec<u8>>,
    values: Option<Cursor<'a>>,
    entries: Option<Cursor<'a>>,
}

fn read_stream<'a>(cursor: &mut Cursor<'a>, builder: &mut BatchBuilder<'_>) -> Result<(), PushRefused> {
    let mut stream = Stream::default();
    let mut has_more = cursor.open(b'{', b'}', "a stream object")?;
    while has_more {
        let key = cursor.key()?;
        if !cursor.take_null() {
            match &*key {
                b"stream" => stream.labels = Some(read_labels(cursor)?),
                b"labels" => stream.labels = Some(cursor.string("labels as a string")?.into_owned()),
                b"values" => stream.values = Some(skipped(cursor)?),
                b"entries" => stream.entries = Some(skipped(cursor)?),
                _ => drop(cursor.skip_value()?),
            }
        }
        has_more = cursor.another(b'}', "',' or '}' after a value")?;
    }
    let mut target = Target { builder, labels: stream.labels.unwrap_or_else(|| b"{}".to_vec()), is_begun: false };
    if let Some(mut values) = stream.values {
        read_list(&mut values, |cursor| read_value(cursor, &mut target))?;
    }
    if let Some(mut entries) = stream.entries {
        read_list(&mut entries, |cursor| read_entry(cursor, &mut target))?;
    }
    Ok(())
}

/// Skips a value and keeps where it begins.
fn skipped<'a>(cursor: &mut Cursor<'a>) -> Result<Cursor<'a>, JsonError> {
    Ok(Cursor::new(cursor.skip_value()?))
}

/// Where entries go: the stream is named before its first one, and not at all if it has none.
struct Target<'a, 'b> {
    builder: &'a mut BatchBuilder<'b>,
    labels: Vec<u8>,
    is_begun: bool,
}

impl Target<'_, '_> {
    fn begin(&mut self) -> Result<(), PushRefused> {
        if !self.is_begun {
            self.builder.stream(&self.labels)?;
            self.is_begun = true;
        }
        Ok(())
    }
}

fn read_list<'a>(
    cursor: &mut Cursor<'a>,
    mut read_element: impl FnMut(&mut Cursor<'a>) -> Result<(), PushRefused>,
) -> Result<(), PushRefused> {
    let mut has_more = cursor.open(b'[', b']', "an array of entries")?;
    while has_more {
        if !cursor.take_null() {
            read_element(cursor)?;
        }
        has_more = cursor.another(b']', "',' or ']' after an entry")?;
    }
    Ok(())
}

/// `{"a": "b"}` as the text of labels; of a repeated name the last value counts.
fn read_labels(cursor: &mut Cursor<'_>) -> Result<Vec<u8>, PushRefused> {
    let mut labels: BTreeMap<String, String> = BTreeMap::new();
    let mut room = MAX_LABEL_TEXT;
    let mut has_more = cursor.open(b'{', b'}', "labels as an object")?;
    while has_more {
        let name = cursor.key()?;
        let value: Cow<'_, [u8]> = if cursor.peek() == Some(b'"') { cursor.string("a label value")? } else { cursor.skip_value()?.into() };
        // What a label takes in the map, not only in the text.
        let taken = name.len() + value.len() + 128;
        room = room.checked_sub(taken).ok_or(PushRefused::LabelTextTooLarge { limit: MAX_LABEL_TEXT })?;
        labels.insert(String::from_utf8_lossy(&name).into_owned(), String::from_utf8_lossy(&value).into_owned());
        has_more = cursor.another(b'}', "',' or '}' after a label")?;
    }
    Ok(Pairs::from_pairs(labels).canonical_text().into_bytes())
}

/// `["<nanoseconds>", "line", {"name": "value"}]`; without a line there is no entry.
fn read_value(cursor: &mut Cursor<'_>, target: &mut Target<'_, '_>) -> Result<(), PushRefused> {
    if !cursor.open(b'[', b']', "an entry as an array")? {
        return Ok(());
    }
    let (seconds, nanos) = nanoseconds(cursor)?;
    if !cursor.another(b']', "',' or ']' after a timestamp")? {
        return Ok(());
    }
    let line = cursor.string("a line as a string")?;
    target.begin()?;
    if cursor.another(b']', "',' or ']' after a line")? {
        read_metadata(cursor, target)?;
        while cursor.another(b']', "',' or ']' after metadata")? {
            cursor.skip_value()?;
        }
    }
    target.builder.entry(seconds, nanos, &line)
}

fn nanoseconds(cursor: &mut Cursor<'_>) -> Result<(i64, i32), JsonError> {
    let mut at = cursor.clone();
    let text = cursor.string("a timestamp as a string")?;
    let number = std::str::from_utf8(&text).ok().and_then(|text| text.parse::<i64>().ok());
    let number = number.ok_or_else(|| at.unexpected("nanoseconds since the epoch as a string of digits"))?;
    let nanos = i32::try_from(number.rem_euclid(NANOSECONDS)).expect("a remainder of 1e9 has 30 bits");
    Ok((number.div_euclid(NANOSECONDS), nanos))
}

fn read_metadata(cursor: &mut Cursor<'_>, target: &mut Target<'_, '_>) -> Result<(), PushRefused> {
    if cursor.take_null() {
        return Ok(());
    }
    let mut has_more = cursor.open(b'{', b'}', "structured metadata as an object")?;
    while has_more {
        let name = cursor.key()?;
        let value = cursor.string("a metadata value as a string")?;
        target.builder.own_pair(&name, &value)?;
        has_more = cursor.another(b'}', "',' or '}' after metadata")?;
    }
    Ok(())
}

/// `{"ts": "<RFC 3339>", "line": "x"}`, keys in any order.
fn read_entry(cursor: &mut Cursor<'_>, target: &mut Target<'_, '_>) -> Result<(), PushRefused> {
    let (mut timestamp, mut line) = (None, Cow::Borrowed([].as_slice()));
    target.begin()?;
    let mut has_more = cursor.open(b'{', b'}', "an entry as an object")?;
    while has_more {
        let key = cursor.key()?;
        if !cursor.take_null() {
            match &*key {
                b"ts" | b"timestamp" => timestamp = Some(rfc_3339(cursor)?),
                b"line" => line = cursor.string("a line as a string")?,
                b"structuredMetadata" => read_metadata(cursor, target)?,
                _ => drop(cursor.skip_value()?),
            }
        }
        has_more = cursor.another(b'}', "',' or '}' after a value")?;
    }
    let Some((seconds, nanos)) = timestamp else { return Err(cursor.unexpected("an entry with `ts`").into()) };
    target.builder.entry(seconds, nanos, &line)
}

fn rfc_3339(cursor: &mut Cursor<'_>) -> Result<(i64, i32), JsonError> {
    let mut at = cursor.clone();
    let text = cursor.string("a timestamp as a string")?;
    let timestamp = std::str::from_utf8(&text).ok().and_then(|text| text.parse::<Timestamp>().ok());
    let timestamp = timestamp.ok_or_else(|| at.unexpected("a timestamp as RFC 3339"))?;
    let total = timestamp.as_nanosecond();
    let seconds = i64::try_from(total.div_euclid(i128::from(NANOSECONDS))).expect("years up to 9999 fit");
    let nanos = i32::try_from(total.rem_euclid(i128::from(NANOSECONDS))).expect("a remainder of 1e9 has 30 bits");
    Ok((seconds, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::decode::Format;
    use crate::ingest::intake::{Accepted, Intake};
    use crate::limits::Limits;
    use proptest::prelude::*;
    use tailwater_storage::entry::TenantId;

    const NOW: i64 = 1_768_903_200_000_000_000;

    fn accept(request: &str) -> Result<Accepted, PushRefused> {
        Intake::new(false).accept(&TenantId::new("fake"), &Limits::default(), NOW, Format::Json, request.as_bytes())
    }

    /// Stream, timestamp, line and pushed metadata of each entry.
    fn entries(request: &str) -> Vec<(String, i64, String, String)> {
        let accepted = accept(request).expect(request);
        let mut all = Vec::new();
        for stream in &accepted.batch.streams {
            let labels = stream.labels().stored().without("service_name").canonical_text();
            for row in 0..stream.len() {
                let line = String::from_utf8(stream.line(row).to_vec()).expect("valid text");
                all.push((labels.clone(), stream.timestamps()[row], line, stream.metadata(row).pushed.canonical_text()));
            }
        }
        all
    }

    #[test]
    fn both_shapes_are_read() {
        let one =
            |labels: &str, timestamp: i64, line: &str, metadata: &str| (labels.to_owned(), timestamp, line.to_owned(), metadata.to_owned());
        for (request, expected) in [
            (
                r#"{"x":{"y":[1]},"streams":[{"stream":{"b":"2","a":"1"},"values":[["1768903200000000001","l\n",{"k":"v"}],["0","m",null],null]}]}"#,
                vec![one(r#"{a="1", b="2"}"#, NOW + 1, "l\n", r#"{k="v"}"#), one(r#"{a="1", b="2"}"#, 0, "m", "{}")],
            ),
            (r#"{"streams":[{"values":[["-1","x"]],"stream":{"a":"b"}}]}"#, vec![one(r#"{a="b"}"#, -1, "x", "{}")]),
            (
                r#"{"streams":[{"labels":"{a=\"b\"}","entries":[{"ts":"2026-01-20T10:00:00.5Z","line":"x"}]}]}"#,
                vec![one(r#"{a="b"}"#, NOW + 500_000_000, "x", "{}")],
            ),
            (
                r#"{"streams":[{"stream":{"a":1,"c":"x","c":"y"},"values":[["1","x"]]}]} trailing"#,
                vec![one(r#"{a="1", c="y"}"#, 1, "x", "{}")],
            ),
            (r#"{"streams":[{"stream":{"a":"b"},"values":[["1"]]}]}"#, vec![]),
            (r#"{"streams":[{}]}"#, vec![]),
            (r#"{"streams":[{"stream":{"a":"b"}}]}"#, vec![]),
            (r#"{"streams":[{"stream":{},"values":[["1","x"]]}]}"#, vec![one("{}", 1, "x", "{}")]),
        ] {
            assert_eq!(entries(request), expected, "{request}");
        }
    }

    #[test]
    fn requests_without_streams_say_so() {
        for request in ["{}", r#"{"streams":[]}"#, r#"{"streams":null}"#, "null"] {
            assert_eq!(accept(request).expect_err(request), PushRefused::NoStreams);
        }
        assert_eq!(accept("").expect_err("empty").to_string(), "EOF");
    }

    #[test]
    fn labels_are_refused_where_prometheus_would() {
        for (name, expected) in [
            ("1a", "1:2: parse error: unexpected character inside braces: '1'"),
            ("a-b", "1:3: parse error: unexpected character inside braces: '-'"),
            ("", r#"1:2: parse error: unexpected "=" in label set, expected identifier or "}""#),
        ] {
            let request = format!(r#"{{"streams":[{{"stream":{{"{name}":"b"}},"values":[["1","x"]]}}]}}"#);
            assert_eq!(accept(&request).expect_err(name).to_string(), format!("couldn't parse labels: {expected}"));
        }
    }

    #[test]
    fn other_json_is_refused() {
        for request in [
            "[]",
            "not json",
            r#"{"streams":[{"stream":{"a":"b"},"values":[["1","x"]]}]"#,
            r#"{"streams":[{"stream":{"a":"b"},"values":[[1,"x"]]}]}"#,
            r#"{"streams":[{"stream":{"a":"b"},"values":[["","x"]]}]}"#,
            r#"{"streams":[{"stream":{"a":"b"},"values":[["1.5","x"]]}]}"#,
            r#"{"streams":[{"stream":{"a":"b"},"values":[["99999999999999999999","x"]]}]}"#,
            r#"{"streams":[{"stream":{"a":"b"},"values":[["1",5]]}]}"#,
            r#"{"streams":[{"stream":{"a":"b"},"values":["1","x"]}]}"#,
            r#"{"streams":[{"stream":"{a=\"b\"}","values":[["1","x"]]}]}"#,
            r#"{"streams":[{"stream":{"a":"b"},"values":[["1","x",{"k":1}]]}]}"#,
            r#"{"streams":[{"stream":{"a":"b"},"values":[["1","x",["k"]]]}]}"#,
            r#"{"streams":[{"stream":{"a":"b"},"values":[["1","x","k"]]}]}"#,
            r#"{"streams":[{"labels":"{a=\"b\"}","entries":[{"ts":"tuesday","line":"x"}]}]}"#,
            r#"{"streams":[{"labels":"{a=\"b\"}","entries":[{"line":"x"}]}]}"#,
        ] {
            assert!(matches!(accept(request), Err(PushRefused::Json(_))), "{request}");
        }
    }

    #[test]
    fn countless_labels_are_refused_before_they_grow() {
        let labels: Vec<String> = (0..200_000).map(|number| format!(r#""l{number}":"v""#)).collect();
        let request = format!(r#"{{"streams":[{{"stream":{{{}}},"values":[["1","x"]]}}]}}"#, labels.join(","));
        assert_eq!(accept(&request).expect_err("too many"), PushRefused::LabelTextTooLarge { limit: MAX_LABEL_TEXT });
    }

    #[test]
    fn one_invalid_byte_refuses_nothing() {
        let request = b"{\"streams\":[{\"stream\":{\"a\":\"b\"},\"values\":[[\"1\",\"a\xffb\"]]}]}";
        let accepted = Intake::new(false).accept(&TenantId::new("fake"), &Limits::default(), NOW, Format::Json, request).expect("accepted");
        assert_eq!((accepted.invalid_bytes, accepted.batch.streams[0].line(0)), (1, "a\u{fffd}b".as_bytes()));
    }

    proptest! {
        #[test]
        fn a_cut_request_is_refused(cut in any::<prop::sample::Index>()) {
            let whole = r#"{"streams":[{"stream":{"a":"b"},"values":[["1","xé\n",{"k":"v"}]]}]}"#.as_bytes();
            let cut = &whole[..cut.index(whole.len())];
            let intake = Intake::new(false);
            prop_assert!(intake.accept(&TenantId::new("fake"), &Limits::default(), NOW, Format::Json, cut).is_err());
        }

        #[test]
        fn any_bytes_are_accepted_or_refused_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(Intake::new(false).accept(&TenantId::new("fake"), &Limits::default(), NOW, Format::Json, &bytes));
        }
    }
}
