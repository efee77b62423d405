//! The bytes of a push request, from what was received to what is walked: decompressed within bounds.
//!
//! Received bytes, decompressed bytes and their ratio are limited ([`MAX_RECEIVED`], [`MAX_DECOMPRESSED`], [`MAX_RATIO`]); each is
//! checked before memory for it is taken.

use std::io::{ErrorKind, Read};

use flate2::bufread::{DeflateDecoder, MultiGzDecoder};
use tailwater_proto::snappy::{self, SnappyError};

use crate::ingest::decode::Format;
use crate::ingest::media_type::{MediaTypeError, media_type};

/// Bytes of a request as received.
pub const MAX_RECEIVED: usize = 16 << 20;
/// Bytes of a request decompressed.
pub const MAX_DECOMPRESSED: usize = 64 << 20;
/// Decompressed bytes for one received, beyond [`FREE_BYTES`].
pub const MAX_RATIO: usize = 100;
/// So much may come of any body, however small.
const FREE_BYTES: usize = 1 << 20;

/// Why a body was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// 400.
    #[error(transparent)]
    MediaType(#[from] MediaTypeError),
    /// 400.
    #[error("Content-Encoding \"{encoding}\" not supported")]
    Encoding { encoding: String },
    /// 413.
    #[error("request body too large: more than {limit} bytes received, send smaller batches")]
    Received { limit: usize },
    /// 413.
    #[error("request body too large: more than {limit} bytes decompressed, send smaller batches")]
    Decompressed { limit: usize },
    /// 413.
    #[error("request body too large: it expands more than {limit} times")]
    Ratio { limit: usize },
    /// 400.
    #[error("snappy: corrupt input")]
    Snappy,
    /// 400.
    #[error("gzip: invalid header")]
    GzipHeader,
    /// 400.
    #[error("unexpected EOF")]
    Cut,
    /// 400.
    #[error("{encoding}: corrupt input")]
    Corrupt { encoding: &'static str },
}

/// What has to be undone before a request can be walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wrapping {
    pub format: Format,
    outer: Outer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outer {
    None,
    Gzip,
    Deflate,
}

impl Wrapping {
    /// From the values of `Content-Type` and `Content-Encoding`. `snappy` says nothing: protobuf always is, JSON never.
    pub fn of_headers(content_type: Option<&str>, encoding: Option<&str>) -> Result<Self, BodyError> {
        let outer = match encoding.unwrap_or_default() {
            "" | "snappy" => Outer::None,
            "gzip" => Outer::Gzip,
            "deflate" => Outer::Deflate,
            other => return Err(BodyError::Encoding { encoding: other.to_owned() }),
        };
        let is_json = media_type(content_type.unwrap_or_default())? == "application/json";
        Ok(Self { format: if is_json { Format::Json } else { Format::Protobuf }, outer })
    }

    /// Undoes the compression of a body received whole.
    pub fn unwrap(self, received: Vec<u8>) -> Result<Vec<u8>, BodyError> {
        let received_bytes = received.len();
        let inflated = match self.outer {
            Outer::None => received,
            Outer::Gzip => gunzip(&received)?,
            Outer::Deflate => inflate(DeflateDecoder::new(received.as_slice()), received_bytes, FLATE)?,
        };
        match self.format {
            Format::Json => Ok(inflated),
            Format::Protobuf => unsnap(&inflated, received_bytes),
        }
    }
}

const FLATE: BodyError = BodyError::Corrupt { encoding: "flate" };

/// Bytes that may come of so many received, and the error when there are more.
fn allowance(received: usize) -> (usize, BodyError) {
    let by_ratio = received.saturating_mul(MAX_RATIO).max(FREE_BYTES);
    if by_ratio < MAX_DECOMPRESSED {
        (by_ratio, BodyError::Ratio { limit: MAX_RATIO })
    } else {
        (MAX_DECOMPRESSED, BodyError::Decompressed { limit: MAX_DECOMPRESSED })
    }
}

pub(super) fn gunzip(received: &[u8]) -> Result<Vec<u8>, BodyError> {
    const HEADER_BYTES: usize = 10;
    const MAGIC: [u8; 2] = [0x1f, 0x8b];
    if received.len() < HEADER_BYTES {
        return Err(BodyError::Cut);
    }
    if !received.starts_with(&MAGIC) {
        return Err(BodyError::GzipHeader);
    }
    inflate(MultiGzDecoder::new(received), received.len(), FLATE)
}

/// Reads all that comes of so many received bytes; `corrupt` says what is wrong with them if something is.
pub(super) fn inflate(mut decoder: impl Read, received: usize, corrupt: BodyError) -> Result<Vec<u8>, BodyError> {
    const PIECE: usize = 64 << 10;
    let (allowed, too_large) = allowance(received);
    let mut out = Vec::new();
    loop {
        let filled = out.len();
        out.resize(filled + PIECE, 0);
        let read = match decoder.read(&mut out[filled..]) {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Err(BodyError::Cut),
            Err(_) => return Err(corrupt),
        };
        out.truncate(filled + read);
        if read == 0 {
            return Ok(out);
        }
        if out.len() > allowed {
            return Err(too_large);
        }
    }
}

fn unsnap(block: &[u8], received: usize) -> Result<Vec<u8>, BodyError> {
    let (allowed, too_large) = allowance(received);
    let mut out = Vec::new();
    match snappy::decompress(block, allowed, &mut out) {
        Ok(()) => Ok(out),
        Err(SnappyError::TooLarge { declared, .. }) if declared > MAX_DECOMPRESSED as u64 => {
            Err(BodyError::Decompressed { limit: MAX_DECOMPRESSED })
        }
        Err(SnappyError::TooLarge { .. }) => Err(too_large),
        Err(SnappyError::Corrupt) => Err(BodyError::Snappy),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder};
    use proptest::prelude::*;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).expect("to memory");
        encoder.finish().expect("to memory")
    }

    fn deflate(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).expect("to memory");
        encoder.finish().expect("to memory")
    }

    fn snap(bytes: &[u8]) -> Vec<u8> {
        snap::raw::Encoder::new().compress_vec(bytes).expect("to memory")
    }

    fn unwrap(content_type: &str, encoding: Option<&str>, body: &[u8]) -> Result<Vec<u8>, BodyError> {
        Wrapping::of_headers(Some(content_type), encoding)?.unwrap(body.to_vec())
    }

    #[test]
    fn headers_say_what_to_undo() {
        let body = b"a body".as_slice();
        for (content_type, encoding, sent) in [
            ("application/json", None, body.to_vec()),
            ("APPLICATION/JSON; charset=utf-8", Some("gzip"), gzip(body)),
            ("application/json", Some("deflate"), deflate(body)),
            ("application/x-protobuf", None, snap(body)),
            ("application/x-protobuf", Some("snappy"), snap(body)),
            ("application/json", Some("snappy"), body.to_vec()),
            ("text/plain", Some("gzip"), gzip(&snap(body))),
        ] {
            assert_eq!(unwrap(content_type, encoding, &sent).as_deref(), Ok(body), "{content_type} {encoding:?}");
        }
    }

    #[test]
    fn what_cannot_be_undone_is_refused_as_loki_refuses_it() {
        for (content_type, encoding, sent, expected) in [
            ("", None, b"x".as_slice(), "mime: no media type"),
            ("application/json", Some("br"), b"x", r#"Content-Encoding "br" not supported"#),
            ("application/json; charset", None, b"x", "mime: invalid media parameter"),
            ("", Some("br"), b"x", r#"Content-Encoding "br" not supported"#),
            ("application/x-protobuf", Some("zstd"), b"x", r#"Content-Encoding "zstd" not supported"#),
            ("text/plain", None, br#"{"streams": []}"#, "snappy: corrupt input"),
            ("application/x-protobuf", None, b"", "snappy: corrupt input"),
            ("application/json", Some("gzip"), b"not gzip", "unexpected EOF"),
            ("application/json", Some("gzip"), b"not gzip at all", "gzip: invalid header"),
            ("application/json", Some("deflate"), b"\xff\xff\xff", "flate: corrupt input"),
        ] {
            assert_eq!(unwrap(content_type, encoding, sent).expect_err(expected).to_string(), expected);
        }
        assert_eq!(Wrapping::of_headers(None, None), Err(MediaTypeError::Missing.into()));
        let cut = gzip(b"a longer body that is cut");
        assert_eq!(unwrap("application/json", Some("gzip"), &cut[..cut.len() - 9]), Err(BodyError::Cut));
    }

    #[test]
    fn bombs_are_refused_before_they_grow() {
        let zeros = vec![0; 8 << 20];
        assert_eq!(unwrap("application/json", Some("gzip"), &gzip(&zeros)), Err(BodyError::Ratio { limit: MAX_RATIO }));
        let declared_4_gib = [0xff, 0xff, 0xff, 0xff, 0x0f, 0x00];
        assert_eq!(unwrap("application/x-protobuf", None, &declared_4_gib), Err(BodyError::Decompressed { limit: MAX_DECOMPRESSED }));
        let small = vec![7; FREE_BYTES / 2];
        assert_eq!(unwrap("application/json", Some("gzip"), &gzip(&small)), Ok(small));
    }

    proptest! {
        #[test]
        fn any_body_is_taken_or_refused_without_panic(body in proptest::collection::vec(any::<u8>(), 0..300), kind in 0..5usize) {
            let kinds = [("application/json", "gzip"), ("application/json", "deflate"), ("x", ""), ("x", "gzip"), ("x", "deflate")];
            let (content_type, encoding) = kinds[kind];
            drop(unwrap(content_type, Some(encoding), &body));
        }
    }
}
