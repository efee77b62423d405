//! One CRI record: `<time> <stream> <tags> <text>`, without its newline.
//!
//! The header is read at fixed places, one byte telling the stream and one the tag. Tags after a `:` and unknown tags behind it
//! are ignored; the text is the rest, whatever it holds. A record that does not have this form is `None`.

use super::time::StampReader;

/// Which of a container's outputs a record belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum OutputStream {
    Stdout,
    Stderr,
}

impl OutputStream {
    pub(crate) const ALL: [Self; 2] = [Self::Stdout, Self::Stderr];

    /// Its index in [`Self::ALL`].
    pub(crate) fn index(self) -> usize {
        self as usize
    }

    /// Value of the `stream` label.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stream| stream.name() == name)
    }
}

/// A record of a CRI log, borrowed from the read buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CriRecord<'a> {
    /// The runtime's stamp, nanoseconds since the epoch.
    pub(crate) timestamp: i64,
    pub(crate) stream: OutputStream,
    /// A piece of a line that goes on in a later record (`P`).
    pub(crate) is_partial: bool,
    pub(crate) text: &'a [u8],
}

/// Parses `record` (without its newline); `stamps` carries what lines of one file share.
#[inline]
pub(crate) fn parse<'a>(stamps: &mut StampReader, record: &'a [u8]) -> Option<CriRecord<'a>> {
    let (timestamp, length) = stamps.read(record)?;
    let rest = record.get(length..)?;
    let (stream, rest) = match rest.split_first_chunk::<8>()? {
        (b" stdout ", rest) => (OutputStream::Stdout, rest),
        (b" stderr ", rest) => (OutputStream::Stderr, rest),
        _ => return None,
    };
    let (is_partial, text) = match rest {
        [b'F', b' ', text @ ..] => (false, text),
        [b'P', b' ', text @ ..] => (true, text),
        [tag @ (b'F' | b'P'), b':', more @ ..] => {
            let end = memchr::memchr(b' ', more)?;
            (*tag == b'P', &more[end + 1..])
        }
        _ => return None,
    };
    Some(CriRecord { timestamp, stream, is_partial, text })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse_text(record: &[u8]) -> Option<CriRecord<'_>> {
        parse(&mut StampReader::default(), record)
    }

    /// Splits at blanks and compares words: slow and plain.
    fn naive(record: &[u8]) -> Option<(i64, String, bool, Vec<u8>)> {
        let mut words = record.splitn(4, |byte| *byte == b' ');
        let (time, stream, tags, text) = (words.next()?, words.next()?, words.next()?, words.next()?);
        let (timestamp, length) = StampReader::default().read(time)?;
        let stream = std::str::from_utf8(stream).ok().filter(|name| ["stdout", "stderr"].contains(name))?;
        let tag = tags.split(|byte| *byte == b':').next()?;
        let is_partial = match tag {
            b"P" => true,
            b"F" => false,
            _ => return None,
        };
        (length == time.len()).then(|| (timestamp, stream.to_owned(), is_partial, text.to_vec()))
    }

    fn record() -> impl Strategy<Value = Vec<u8>> {
        let time = prop_oneof![
            8 => Just("2026-11-21T09:08:41.5Z".to_owned()),
            2 => "20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9](\\.[0-9]{0,10})?(Z|[+-][0-2][0-9]:[0-6][0-9])?",
        ];
        let stream = prop_oneof![6 => Just("stdout".to_owned()), 6 => Just("stderr".to_owned()), 1 => "[a-z]{0,7}"];
        let tags = prop_oneof![6 => Just("F".to_owned()), 4 => Just("P".to_owned()), 2 => "[FP]:[a-zP:]{0,4}", 1 => "[A-Z]{0,3}"];
        let text = proptest::collection::vec(any::<u8>(), 0..20);
        let separator = || prop_oneof![20 => Just(" "), 1 => Just(""), 1 => Just("  ")];
        (time, separator(), stream, separator(), tags, separator(), text).prop_map(|(time, a, stream, b, tags, c, text)| {
            let mut record = format!("{time}{a}{stream}{b}{tags}{c}").into_bytes();
            record.extend(text);
            record
        })
    }

    #[test]
    fn records_of_both_runtimes() {
        for (record, expected) in [
            ("2026-11-21T09:08:41.5Z stdout F hello world", Some((OutputStream::Stdout, false, "hello world"))),
            ("2026-11-21T09:08:41.5+01:00 stderr P half", Some((OutputStream::Stderr, true, "half"))),
            ("2026-11-21T09:08:41.5Z stdout P:foo:bar x", Some((OutputStream::Stdout, true, "x"))),
            ("2026-11-21T09:08:41.5Z stdout F ", Some((OutputStream::Stdout, false, ""))),
            ("2026-11-21T09:08:41.5Z stdout F  padded ", Some((OutputStream::Stdout, false, " padded "))),
            ("2026-11-21T09:08:41.5Z stdout F", None),
            ("2026-11-21T09:08:41.5Z stdout hello", None),
            ("2026-11-21T09:08:41.5Z stdin F hello", None),
            ("2026-11-21T09:08:41.5Z stdout FP hello", None),
            ("-11-21T09:08:41.5Z stdout F cut header", None),
            ("{\"log\":\"docker\"}", None),
            ("", None),
        ] {
            let seen = parse_text(record.as_bytes()).map(|r| (r.stream, r.is_partial, std::str::from_utf8(r.text).unwrap()));
            assert_eq!(seen, expected, "{record}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_naive_parser(record in record()) {
            let seen = parse_text(&record).map(|r| (r.timestamp, r.stream.name().to_owned(), r.is_partial, r.text.to_vec()));
            prop_assert_eq!(seen, naive(&record));
        }

        #[test]
        fn any_bytes_are_parsed_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse_text(&bytes);
        }
    }
}
