//! One line of our own log for each query: what was asked, by whom, and what it cost, under the names that Loki's log of queries has.
//!
//! `X-Query-Tags` (`Source=grafana,Dashboard=a`) are part of it: characters that tags do not have become `_`, names are in lower case. The tag
//! `source` is a field of its own; all of them are in `tags`.

use std::time::Instant;

use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use tailwater_engine::answer::Statistics;

use crate::config::blocked_query::{QueryKind, query_hash};
use crate::http::error::ApiError;
use crate::http::query::Asked;
use crate::http::range::{Bounds, GoDuration};

/// Queries that took longer are slow.
const SLOW_SECONDS: f64 = 10.0;
/// Bytes of a query's text that are logged.
const LONGEST_TEXT: usize = 16 << 10;

/// The tags of a request, `(name, value)`.
pub(crate) fn query_tags(headers: &HeaderMap) -> Vec<(String, String)> {
    let value = headers.get("x-query-tags").map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).unwrap_or_default();
    let is_allowed = |c: &char| c.is_ascii_alphanumeric() || "-=.@, ".contains(*c);
    let cleaned: String = value.chars().map(|c| if is_allowed(&c) { c } else { '_' }).collect();
    let pairs = cleaned.split(',').filter_map(|tag| tag.split_once('='));
    pairs.map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned())).collect()
}

/// A query under way.
pub(crate) struct QueryLog {
    started: Instant,
    tenant: String,
    query: String,
    tags: Vec<(String, String)>,
    now: i64,
    is_instant: bool,
    asked_for: Option<AskedFor>,
}

/// What is known once the parameters are read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AskedFor {
    pub(crate) kind: QueryKind,
    pub(crate) bounds: Bounds,
    /// Nanoseconds.
    pub(crate) step: i64,
    pub(crate) limit: u32,
}

/// What an answer cost; travels with the response to its line in the log.
#[derive(Debug, Clone, Copy)]
struct Cost(Statistics);

/// A response that says what it cost.
pub(crate) fn with_cost(mut response: Response, statistics: Statistics) -> Response {
    response.extensions_mut().insert(Cost(statistics));
    response
}

impl QueryLog {
    pub(crate) fn new(asked: &Asked, headers: &HeaderMap, is_instant: bool) -> Self {
        let tenants: Vec<&str> = asked.tenants.iter().map(|tenant| tenant.as_str()).collect();
        let (query, tags) = (asked.form.get("query").to_owned(), query_tags(headers));
        Self { started: Instant::now(), tenant: tenants.join("|"), query, tags, now: asked.now, is_instant, asked_for: None }
    }

    pub(crate) fn note(&mut self, asked_for: AskedFor) {
        self.asked_for = Some(asked_for);
    }

    pub(crate) fn tags(&self) -> &[(String, String)] {
        &self.tags
    }

    /// Writes the line.
    pub(crate) fn end(&self, outcome: &Result<Response, ApiError>) {
        let status = outcome.as_ref().map_or_else(ApiError::status, |_| StatusCode::OK).as_u16();
        let cost = outcome.as_ref().ok().and_then(|response| response.extensions().get::<Cost>());
        let Statistics { bytes_processed, lines_processed, entries_returned, .. } = cost.map(|cost| cost.0).unwrap_or_default();
        let seconds = self.started.elapsed().as_secs_f64();
        let asked = self.asked_for;
        let delta = |time: fn(Bounds) -> i64| asked.map(|asked| text(self.now.saturating_sub(time(asked.bounds)))).unwrap_or_default();
        tracing::info!(
            target: "tailwater::query",
            org_id = self.tenant,
            latency = if seconds > SLOW_SECONDS { "slow" } else { "fast" },
            query = &self.query[..self.query.floor_char_boundary(LONGEST_TEXT)],
            query_hash = query_hash(&self.query),
            query_type = asked.map_or("", |asked| asked.kind.name()),
            range_type = if self.is_instant { "instant" } else { "range" },
            length = asked.map(|asked| text(asked.bounds.length())).unwrap_or_default(),
            start_delta = delta(|bounds| bounds.start),
            end_delta = delta(|bounds| bounds.end),
            step = asked.map(|asked| text(asked.step)).unwrap_or_default(),
            duration = format!("{seconds:.6}s"),
            status,
            limit = asked.map_or(0, |asked| asked.limit),
            returned_lines = entries_returned,
            throughput = (bytes_processed as f64 / seconds.max(1e-6)) as u64,
            total_bytes = bytes_processed,
            total_lines = lines_processed,
            source = self.tags.iter().find(|(name, _)| name == "source").map_or("", |(_, value)| value),
            tags = self.tags.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(","),
            "query"
        );
    }
}

fn text(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    format!("{sign}{}", GoDuration(nanoseconds.saturating_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn tags_are_cleaned() {
        let tags = |value: &'static [u8]| {
            let header = HeaderValue::from_bytes(value).expect("a header");
            query_tags(&HeaderMap::from_iter([("x-query-tags".parse().expect("a name"), header)]))
        };
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(tags(b"Source=logvolhist, User=a@b.c"), [pair("source", "logvolhist"), pair("user", "a@b.c")]);
        assert_eq!(tags(b"Source=<x>\xff,none"), [pair("source", "_x__")]);
        assert!(tags(b"").is_empty() && query_tags(&HeaderMap::new()).is_empty());
    }
}
