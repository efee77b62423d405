//! One record of docker's json-file driver: `{"log":"text\n","stream":"stdout","time":"…Z"}`, keys in any order, others ignored.
//!
//! A record whose text does not end in a newline is a piece of a line. Bytes that are not such an object are `None`.

use std::borrow::Cow;

use serde::Deserialize;

use super::cri::OutputStream;
use super::time::StampReader;

#[derive(Debug, Deserialize)]
struct Object<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    #[serde(borrow)]
    stream: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
}

/// A record; its text is borrowed unless it holds escapes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DockerRecord<'a> {
    /// The runtime's stamp, nanoseconds since the epoch.
    pub(crate) timestamp: i64,
    pub(crate) stream: OutputStream,
    /// A piece of a line that goes on in a later record.
    pub(crate) is_partial: bool,
    text: Cow<'a, str>,
}

impl DockerRecord<'_> {
    /// The text without the newline that ends a line.
    pub(crate) fn text(&self) -> &[u8] {
        self.text.strip_suffix('\n').unwrap_or(&self.text).as_bytes()
    }
}

/// Parses `record` (without its newline).
pub(crate) fn parse<'a>(stamps: &mut StampReader, record: &'a [u8]) -> Option<DockerRecord<'a>> {
    let object: Object<'a> = serde_json::from_slice(record).ok()?;
    let (timestamp, length) = stamps.read(object.time.as_bytes())?;
    if length != object.time.len() {
        return None;
    }
    let stream = OutputStream::from_name(&object.stream)?;
    Some(DockerRecord { timestamp, stream, is_partial: !object.log.ends_with('\n'), text: object.log })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(record: &str) -> Option<(bool, String)> {
        parse(&mut StampReader::default(), record.as_bytes())
            .map(|record| (record.is_partial, String::from_utf8(record.text().to_vec()).unwrap()))
    }

    #[test]
    fn lines_pieces_and_escapes() {
        for (record, expected) in [
            (r#"{"log":"a\n","stream":"stdout","time":"2026-11-21T09:00:00Z"}"#, Some((false, "a"))),
            (r#"{"time":"2026-11-21T09:00:00Z","attrs":{"x":"y"},"stream":"stderr","log":"\u20ac \""}"#, Some((true, "\u{20ac} \""))),
            (r#"{"log":"\n","stream":"stdout","time":"2026-11-21T09:00:00Z"}"#, Some((false, ""))),
            (r#"{"log":"\n\n","stream":"stdout","time":"2026-11-21T09:00:00Z"}"#, Some((false, "\n"))),
            (r#"{"log":"a\n","stream":"stdin","time":"2026-11-21T09:00:00Z"}"#, None),
            (r#"{"log":"a\n","stream":"stdout","time":"yesterday"}"#, None),
            (r#"{"log":"a\n","stream":"stdout"}"#, None),
            (r#"{"log":"#, None),
        ] {
            assert_eq!(read(record), expected.map(|(is_partial, text)| (is_partial, text.to_owned())), "{record}");
        }
    }
}
