//! HTTP/1.1 requests as bytes: where one ends, and what its first line says.
//!
//! Enough for what an agent and nginx send: bodies with `Content-Length`, one request after the other.

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Longer heads are an error.
const LONGEST_HEAD: usize = 256 << 10;

/// A whole request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// First line and headers, with the empty line that ends them.
    pub head: Vec<u8>,
    pub body: Vec<u8>,
}

impl Request {
    /// The next request of a connection; `None` at its end.
    pub async fn read(connection: &mut (impl AsyncRead + Unpin)) -> Result<Option<Self>> {
        let mut bytes = Vec::new();
        let head_length = loop {
            if let Some(end) = end_of_head(&bytes) {
                break end;
            }
            ensure!(bytes.len() < LONGEST_HEAD, "a request's head is longer than {LONGEST_HEAD} bytes");
            if connection.read_buf(&mut bytes).await? == 0 {
                ensure!(bytes.is_empty(), "a request was cut off in its head");
                return Ok(None);
            }
        };
        let body_length = body_length(&bytes[..head_length])?;
        while bytes.len() < head_length + body_length {
            ensure!(connection.read_buf(&mut bytes).await? > 0, "a request was cut off in its body");
        }
        ensure!(bytes.len() == head_length + body_length, "a request was sent before the one before it was answered");
        let body = bytes.split_off(head_length);
        Ok(Some(Self { head: bytes, body }))
    }

    /// Whether it pushes lines.
    pub fn is_push(&self) -> bool {
        is_push(&self.head)
    }

    /// Its bytes with another body, and with the wish that the connection be closed behind the answer.
    pub fn closing(&self, body: &[u8]) -> Vec<u8> {
        let head = String::from_utf8_lossy(&self.head);
        let mut bytes = Vec::with_capacity(head.len() + body.len() + 64);
        for line in head.trim_end().split("\r\n").filter(|line| !has_name(line, "connection") && !has_name(line, "content-length")) {
            bytes.extend_from_slice(line.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(format!("Content-Length: {}\r\nConnection: close\r\n\r\n", body.len()).as_bytes());
        bytes.extend_from_slice(body);
        bytes
    }
}

/// Finds the ends of requests in the bytes of a connection, whatever pieces they come in.
#[derive(Debug, Default)]
pub struct RequestEnds {
    head: Vec<u8>,
    /// Bytes of the body that are still to come.
    body_left: usize,
    is_push: bool,
}

impl RequestEnds {
    /// Takes the next bytes; true if a push ended with or in them.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<bool> {
        let mut push_ended = false;
        while !bytes.is_empty() {
            if self.body_left > 0 {
                let taken = self.body_left.min(bytes.len());
                self.body_left -= taken;
                bytes = &bytes[taken..];
                push_ended |= self.body_left == 0 && self.is_push;
                continue;
            }
            let before = self.head.len();
            self.head.extend_from_slice(bytes);
            let Some(end) = end_of_head(&self.head) else {
                ensure!(self.head.len() < LONGEST_HEAD, "a request's head is longer than {LONGEST_HEAD} bytes");
                break;
            };
            bytes = &bytes[end - before..];
            self.body_left = body_length(&self.head[..end])?;
            self.is_push = is_push(&self.head[..end]);
            push_ended |= self.body_left == 0 && self.is_push;
            self.head.clear();
        }
        Ok(push_ended)
    }
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

fn is_push(head: &[u8]) -> bool {
    head.starts_with(b"POST /loki/api/v1/push ")
}

fn body_length(head: &[u8]) -> Result<usize> {
    let text = String::from_utf8_lossy(head);
    for line in text.split("\r\n").skip(1) {
        if has_name(line, "content-length") {
            return line["content-length:".len()..].trim().parse().context("a request has no number as Content-Length");
        }
        if has_name(line, "transfer-encoding") {
            bail!("a request comes in chunks, which this proxy does not read");
        }
    }
    Ok(0)
}

fn has_name(line: &str, name: &str) -> bool {
    line.split_once(':').is_some_and(|(found, _)| found.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUSH: &[u8] = b"POST /loki/api/v1/push HTTP/1.1\r\nHost: x\r\ncontent-length: 5\r\n\r\nhello";
    const OTHER: &[u8] = b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n";

    #[test]
    fn ends_of_pushes_are_found_in_any_pieces() {
        let sent = [PUSH, OTHER, PUSH].concat();
        for piece in 1..sent.len() {
            let mut ends = RequestEnds::default();
            let ended = sent.chunks(piece).filter(|bytes| ends.feed(bytes).unwrap()).count();
            assert!(ended == 2 || piece >= PUSH.len(), "{ended} pushes in pieces of {piece}");
            assert!(ended >= 1);
        }
    }

    #[test]
    fn a_push_that_is_not_whole_has_not_ended() {
        let mut ends = RequestEnds::default();
        assert!(!ends.feed(&PUSH[..PUSH.len() - 1]).unwrap());
        assert!(ends.feed(&PUSH[PUSH.len() - 1..]).unwrap());
    }

    #[test]
    fn chunks_are_refused() {
        let chunked = b"POST /loki/api/v1/push HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(RequestEnds::default().feed(chunked).is_err());
    }

    #[tokio::test]
    async fn requests_are_read_whole_and_written_with_another_body() {
        let mut connection = PUSH;
        let request = Request::read(&mut connection).await.unwrap().unwrap();
        assert_eq!((request.body.as_slice(), request.is_push()), (b"hello".as_slice(), true));
        let written = String::from_utf8(request.closing(b"bye")).unwrap();
        assert_eq!(written, "POST /loki/api/v1/push HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbye");
        assert_eq!(Request::read(&mut connection).await.unwrap(), None);
        assert!(Request::read(&mut &PUSH[..PUSH.len() - 1]).await.is_err());
    }
}
