//! How an export request is wrapped: two media types, four encodings, the same bounds as any push.

use std::io::Read;

use crate::ingest::body::{BodyError, gunzip, inflate};
use crate::ingest::decode::{Format, PushRefused};
use crate::ingest::otlp::OtlpError;

/// Memory that a zstd frame may ask for, as a power of two: what every decoder is expected to grant.
const ZSTD_WINDOW: u32 = 23;

/// What has to be undone before a request can be walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OtlpWrapping {
    pub format: Format,
    encoding: Encoding,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    None,
    Gzip,
    Zstd,
    Lz4,
}

impl OtlpWrapping {
    /// From the values of `Content-Type`, which is taken exactly, and `Content-Encoding`.
    pub fn of_headers(content_type: Option<&str>, encoding: Option<&str>) -> Result<Self, OtlpError> {
        let format = match content_type.unwrap_or_default() {
            "application/x-protobuf" => Format::Protobuf,
            "application/json" => Format::Json,
            other => return Err(OtlpError::ContentType { content_type: other.to_owned() }),
        };
        let encoding = match encoding.unwrap_or_default() {
            "" | "identity" => Encoding::None,
            "gzip" => Encoding::Gzip,
            "zstd" => Encoding::Zstd,
            "lz4" => Encoding::Lz4,
            other => return Err(OtlpError::Encoding { encoding: other.to_owned() }),
        };
        Ok(Self { format, encoding })
    }

    /// Undoes the compression of a body received whole.
    pub fn unwrap(self, received: Vec<u8>) -> Result<Vec<u8>, PushRefused> {
        let bytes = received.len();
        let corrupt = |encoding| BodyError::Corrupt { encoding };
        let unwrapped = match self.encoding {
            Encoding::None => Ok(received),
            Encoding::Gzip => gunzip(&received),
            Encoding::Zstd => inflate(zstd_decoder(&received)?, bytes, corrupt("zstd")),
            Encoding::Lz4 => inflate(lz4_flex::frame::FrameDecoder::new(received.as_slice()), bytes, corrupt("lz4")),
        };
        Ok(unwrapped?)
    }
}

fn zstd_decoder(received: &[u8]) -> Result<impl Read, BodyError> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(received).map_err(|_| BodyError::Corrupt { encoding: "zstd" })?;
    decoder.window_log_max(ZSTD_WINDOW).map_err(|_| BodyError::Corrupt { encoding: "zstd" })?;
    Ok(decoder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("to memory");
        encoder.finish().expect("to memory")
    }

    fn lz4(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
        encoder.write_all(bytes).expect("to memory");
        encoder.finish().expect("to memory")
    }

    fn unwrap(encoding: &str, body: &[u8]) -> Result<Vec<u8>, PushRefused> {
        OtlpWrapping::of_headers(Some("application/json"), Some(encoding))?.unwrap(body.to_vec())
    }

    #[test]
    fn every_encoding_is_undone() {
        let body = b"a body".repeat(100);
        let zstd = zstd::encode_all(body.as_slice(), 1).expect("to memory");
        for (encoding, sent) in [("", body.clone()), ("identity", body.clone()), ("gzip", gzip(&body)), ("zstd", zstd), ("lz4", lz4(&body))]
        {
            assert_eq!(unwrap(encoding, &sent), Ok(body.clone()), "{encoding}");
        }
    }

    #[test]
    fn other_types_and_encodings_are_refused() {
        let told = |content_type, encoding| OtlpWrapping::of_headers(content_type, encoding).expect_err("refused").to_string();
        assert_eq!(told(Some("text/plain"), None), "content type: text/plain is not supported");
        assert_eq!(told(Some("application/json; charset=utf-8"), None), "content type: application/json; charset=utf-8 is not supported");
        assert_eq!(told(None, None), "content type:  is not supported");
        assert_eq!(told(Some("application/json"), Some("br")), "unsupported content encoding br: only gzip, lz4 and zstd are supported");
    }

    #[test]
    fn bombs_are_refused_before_they_grow() {
        let zeros = vec![0; 8 << 20];
        let bomb = zstd::encode_all(zeros.as_slice(), 1).expect("to memory");
        assert_eq!(unwrap("zstd", &bomb), Err(BodyError::Ratio { limit: crate::ingest::body::MAX_RATIO }.into()));
        assert_eq!(unwrap("lz4", &lz4(&zeros)), Err(BodyError::Ratio { limit: crate::ingest::body::MAX_RATIO }.into()));
        assert_eq!(unwrap("zstd", b"no frame at all"), Err(BodyError::Corrupt { encoding: "zstd" }.into()));
        assert_eq!(unwrap("lz4", b"no frame at all"), Err(BodyError::Corrupt { encoding: "lz4" }.into()));
    }

    proptest! {
        #[test]
        fn any_body_is_taken_or_refused_without_panic(body in proptest::collection::vec(any::<u8>(), 0..300), kind in 0..4usize) {
            drop(unwrap(["", "gzip", "zstd", "lz4"][kind], &body));
        }
    }
}
