//! `format=ndjson`: every entry of a log query as a line of JSON, in order over all streams, as long as there are any.
//!
//! `limit` is how many, beyond the limit of entries too; without it all. One page of entries is in memory at a time; the next is read when the
//! client has taken it, so a client that goes ends the work, and one that is slow slows it. Each page has the time of a query. What fails before
//! the first line is an answer as everywhere; after it the connection is cut, so that no client takes a part for the whole.

use std::time::{Duration, Instant};
use std::vec::IntoIter;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use tailwater_engine::QueryError;
use tailwater_engine::answer::{ListedEntry, LogPage};
use tailwater_engine::request::{LogRequest, PageEnd, PageRequest, QueryLimits};
use tailwater_logql::ast::LogExpr;

use crate::http::error::ApiError;
use crate::http::portions::refused;
use crate::http::query::{Asked, RangeParameters, ReadState, encoding_flags, log_request};
use crate::http::response::CHUNK_BYTES;
use crate::http::response::logs::write_group;
use crate::http::response::text::{write, write_labels, write_string};

/// Entries of the first page.
const FIRST_PAGE: usize = 2_000;
/// Bytes of lines that pages aim at, and entries they have at most.
const PAGE_BYTES: usize = 8 << 20;
const LONGEST_PAGE: usize = 50_000;
/// Pages that do not fit into memory are made shorter, down to that.
const SHORTEST_PAGE: usize = 10;

/// How often it is asked whether what was allowed still is.
const RIGHTS_INTERVAL: Duration = Duration::from_secs(30);

/// What proxies are told, so that they pass on what comes when it comes.
const UNBUFFERED: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Answers with lines of JSON.
pub(crate) async fn lines(
    state: &ReadState,
    headers: &HeaderMap,
    asked: Asked,
    parameters: RangeParameters,
    expr: LogExpr,
) -> Result<Response, ApiError> {
    if asked.tolerance.is_partial() {
        return Err(refused("lines cannot tell what they lack: ask without `X-Tailwater-Read: partial`, or for an answer in one piece"));
    }
    let categorize = encoding_flags(headers).categorize();
    let left = if asked.form.get("limit").is_empty() { usize::MAX } else { parameters.limit as usize };
    let body = match log_request(state, &asked, parameters, expr, categorize).await? {
        None => Body::empty(),
        Some(log) => {
            let limits = state.query_limits(headers, &asked.limits);
            let mut export =
                Export { state: state.clone(), asked, log, limits, left, page_length: FIRST_PAGE, at: None, rights_asked: Instant::now() };
            export.read(None).await?;
            Body::from_stream(futures::stream::try_unfold(export, Export::next_chunk))
        }
    };
    let mut response = body.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    response.headers_mut().insert(UNBUFFERED, HeaderValue::from_static("no"));
    Ok(response)
}

/// An export under way.
struct Export {
    state: ReadState,
    asked: Asked,
    log: LogRequest,
    limits: QueryLimits,
    /// Entries that are still wanted.
    left: usize,
    page_length: usize,
    at: Option<Page>,
    rights_asked: Instant,
}

/// What is left of a page, and the page itself, which holds the memory.
struct Page {
    entries: IntoIter<ListedEntry>,
    next: Option<PageEnd>,
    _read: LogPage,
}

impl Export {
    /// The next lines; `None` at the end.
    async fn next_chunk(mut self) -> Result<Option<(Bytes, Self)>, ApiError> {
        loop {
            let Some(page) = &mut self.at else { return Ok(None) };
            let mut chunk = Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 4);
            while chunk.len() < CHUNK_BYTES
                && self.left > 0
                && let Some(listed) = page.entries.next()
            {
                write_line(&mut chunk, &listed, self.log.categorize);
                self.left -= 1;
            }
            if !chunk.is_empty() {
                return Ok(Some((chunk.into(), self)));
            }
            let Some(page) = self.at.take() else { return Ok(None) };
            if let Some(next) = page.next.filter(|_| self.left > 0) {
                self.check_rights().await?;
                self.read(Some(next)).await.inspect_err(|error| tracing::warn!(%error, "an export is cut off"))?;
            }
        }
    }

    /// Ends the export of somebody who may no longer read all of it.
    async fn check_rights(&mut self) -> Result<(), ApiError> {
        if self.rights_asked.elapsed() < RIGHTS_INTERVAL {
            return Ok(());
        }
        self.rights_asked = Instant::now();
        let still_hold = self.asked.rights.still_hold().await;
        if still_hold { Ok(()) } else { Err(refused("what the export reads may no longer be read, begin another one")) }
    }

    /// Reads the next page, in shorter ones where memory is scarce.
    async fn read(&mut self, after: Option<PageEnd>) -> Result<(), ApiError> {
        let mut read = loop {
            let log = LogRequest { limit: self.page_length.min(self.left), ..self.log.clone() };
            let request = PageRequest { log, after: after.clone() };
            match self.state.engine.page(self.state.scope(&self.asked), request, &self.limits).await {
                Err(QueryError::OutOfMemory { .. }) if self.page_length > SHORTEST_PAGE => {
                    self.page_length = (self.page_length / 4).max(SHORTEST_PAGE)
                }
                outcome => break outcome?,
            }
        };
        let entries = std::mem::take(&mut read.entries);
        let bytes: usize = entries.iter().map(|listed| listed.entry.line.len()).sum();
        let fitting = (PAGE_BYTES as u64 * entries.len() as u64 / (bytes as u64).max(1)) as usize;
        self.page_length = fitting.clamp(SHORTEST_PAGE, (self.page_length * 4).min(LONGEST_PAGE));
        self.at = Some(Page { next: read.next.clone(), entries: entries.into_iter(), _read: read });
        Ok(())
    }
}

/// Appends an entry and a newline.
fn write_line(out: &mut Vec<u8>, ListedEntry { labels, entry }: &ListedEntry, categorize: bool) {
    write(out, format_args!("{{\"timestamp\":\"{}\",\"labels\":", entry.timestamp));
    write_labels(out, labels);
    if categorize {
        write_group(out, "structuredMetadata", &entry.structured_metadata, true);
        write_group(out, "parsed", &entry.parsed, true);
    }
    out.extend_from_slice(b",\"line\":");
    write_string(out, &entry.line);
    out.extend_from_slice(b"}\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use tailwater_engine::answer::LogEntry;
    use tailwater_logql::labels::LabelSet;

    #[test]
    fn an_entry_is_one_line() {
        let labels = |name: &str, value: &str| LabelSet::from_pairs([(name, value)]);
        let entry =
            LogEntry { timestamp: 7, line: b"a\n\"b\"".to_vec(), structured_metadata: labels("trace", "x"), parsed: LabelSet::default() };
        let listed = ListedEntry { labels: labels("app", "a"), entry };
        let written = |categorize| {
            let mut out = Vec::new();
            write_line(&mut out, &listed, categorize);
            assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1);
            serde_json::from_slice::<Value>(&out).expect("JSON")
        };
        assert_eq!(written(false), json!({"timestamp": "7", "labels": {"app": "a"}, "line": "a\n\"b\""}));
        assert_eq!(
            written(true),
            json!({"timestamp": "7", "labels": {"app": "a"}, "structuredMetadata": {"trace": "x"}, "line": "a\n\"b\""})
        );
    }
}
