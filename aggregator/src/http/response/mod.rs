//! Answers as Loki writes them, in pieces: an answer is never held a second time as text.
//!
//! [`logs`] writes streams, [`legacy`] the same in the old form, [`metrics`] matrix, vector and scalar, [`statistics`] the `stats` block, [`text`] strings and
//! numbers. An [`Answer`] is a list of pieces written one after the other into chunks of about [`CHUNK_BYTES`].

pub mod legacy;
pub mod logs;
pub mod metrics;
pub(crate) mod statistics;
pub mod text;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

pub(crate) const CHUNK_BYTES: usize = 64 << 10;

/// An answer that knows how to write its next piece.
pub trait Answer: Send + 'static {
    /// Appends the next piece; `false` once nothing is left.
    fn write_piece(&mut self, out: &mut Vec<u8>) -> bool;
}

/// Sends an answer as JSON, chunk by chunk.
pub fn stream(mut answer: impl Answer) -> Response {
    let mut is_done = false;
    let chunks = std::iter::from_fn(move || {
        if is_done {
            return None;
        }
        let mut chunk = Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 4);
        while chunk.len() < CHUNK_BYTES && !is_done {
            is_done = !answer.write_piece(&mut chunk);
        }
        Some(Ok::<Bytes, std::convert::Infallible>(Bytes::from(chunk)))
    });
    json_headers(Body::from_stream(futures::stream::iter(chunks)).into_response())
}

/// Sends a small answer as JSON, with a newline at its end.
pub fn json(value: &impl Serialize) -> Response {
    let mut body = serde_json::to_vec(value).expect("answers are made of texts, numbers, lists and maps with text keys");
    body.push(b'\n');
    json_headers(Body::from(body).into_response())
}

fn json_headers(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=UTF-8"));
    response
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Writes a whole answer, whatever its chunks.
    pub(crate) fn whole(mut answer: impl Answer) -> String {
        let mut out = Vec::new();
        while answer.write_piece(&mut out) {}
        String::from_utf8(out).expect("answers are valid text")
    }
}
