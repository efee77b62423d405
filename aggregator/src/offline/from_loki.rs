//! `import --from-loki`: what a Loki has, read through its query API, as NDJSON for the import.
//!
//! ```text
//! from..to → windows, newest last → selectors → pages of query_range, oldest first → lines of NDJSON
//! ```
//! Without a selector of the user's, the labels of a window give selectors that hold each stream once: those with the first label, those without it
//! and with the second, and so on. Pages are read as the import goes on; one is in memory at a time. A Loki that does not answer, or that is busy, is
//! asked again for a while; anything else ends the import.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::time::Duration;

use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::time::sleep;

use crate::offline::{LokiSource, OfflineError};
use crate::tls::install_provider;

/// Nanoseconds of a window.
const WINDOW: i64 = 6 * 3600 * 1_000_000_000;
const PATIENCE: Duration = Duration::from_secs(120);
/// Waits between tries.
const TRIES: [Duration; 5] =
    [Duration::from_millis(500), Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(10), Duration::from_secs(30)];

/// Lines of NDJSON. To be read on a thread that may block.
pub(super) struct LokiLines {
    client: Client,
    runtime: Handle,
    source: LokiSource,
    /// Where the next window begins, and where the last one ends: nanoseconds since the epoch.
    next: i64,
    end: i64,
    /// What is left of the present window.
    parts: VecDeque<Part>,
    ready: io::Cursor<Vec<u8>>,
}

/// Streams of a selector, from a time on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    selector: String,
    start: i64,
    end: i64,
}

impl LokiLines {
    /// `span`: nanoseconds since the epoch, the end not included.
    pub(super) fn new(source: LokiSource, (start, end): (i64, i64)) -> Result<Self, OfflineError> {
        install_provider();
        let client = Client::builder().timeout(PATIENCE).build().map_err(|error| OfflineError::Loki(error.to_string()))?;
        let runtime = Handle::current();
        Ok(Self { client, runtime, source, next: start, end, parts: VecDeque::new(), ready: io::Cursor::default() })
    }

    /// The next lines; `None` behind the last.
    async fn page(&mut self) -> Result<Option<Vec<u8>>, String> {
        loop {
            let Some(part) = self.parts.pop_front() else {
                if self.next >= self.end {
                    return Ok(None);
                }
                let window = (self.next, self.next.saturating_add(WINDOW).min(self.end));
                self.parts = self.parts_of(window).await?;
                self.next = window.1;
                continue;
            };
            let limit = self.source.page.to_string();
            let (start, end) = (part.start.to_string(), part.end.to_string());
            let parameters =
                [("query", part.selector.as_str()), ("start", &start), ("end", &end), ("limit", &limit), ("direction", "forward")];
            let page = entries(&self.ask("query_range", &parameters).await?);
            let (page, next) = cut(page, self.source.page, &part)?;
            if let Some(next) = next {
                self.parts.push_front(next);
            }
            if !page.is_empty() {
                return Ok(Some(page.iter().flat_map(|entry| format!("{}\n", entry.document).into_bytes()).collect()));
            }
        }
    }

    async fn parts_of(&self, (start, end): (i64, i64)) -> Result<VecDeque<Part>, String> {
        let selectors = match &self.source.selector {
            Some(selector) => vec![selector.clone()],
            None => {
                let span = (start.to_string(), end.to_string());
                let answer = self.ask("labels", &[("start", &span.0), ("end", &span.1)]).await?;
                let labels = answer["data"].as_array().into_iter().flatten().filter_map(Value::as_str);
                // Nobody pushed it: such names are made by queries.
                selectors_of(labels.filter(|label| !label.starts_with("__")))
            }
        };
        Ok(selectors.into_iter().map(|selector| Part { selector, start, end }).collect())
    }

    async fn ask(&self, endpoint: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        let url = format!("{}/loki/api/v1/{endpoint}?{query}", self.source.url.trim_end_matches('/'));
        let mut tries = TRIES.iter();
        loop {
            let failure = match self.authorized(self.client.get(&url)).map_err(|error| error.to_string())?.send().await {
                Ok(answer) => {
                    let status = answer.status();
                    let text = answer.text().await.map_err(|error| error.without_url().to_string());
                    match text {
                        Ok(text) if status.is_success() => {
                            return serde_json::from_str(&text).map_err(|error| format!("its answer is no JSON: {error}"));
                        }
                        Ok(text) if !is_passing(status) => return Err(format!("it answers {status}: {}", text.trim())),
                        Ok(text) => format!("it answers {status}: {}", text.trim()),
                        Err(error) => error,
                    }
                }
                Err(error) if error.is_builder() => return Err(error.to_string()),
                Err(error) => error.without_url().to_string(),
            };
            let Some(wait) = tries.next() else { return Err(failure) };
            sleep(*wait).await;
        }
    }

    fn authorized(&self, request: RequestBuilder) -> io::Result<RequestBuilder> {
        let LokiSource { tenant, username, password_file, bearer_token_file, .. } = &self.source;
        let secret = |path: &std::path::PathBuf| std::fs::read_to_string(path).map(|text| text.trim_end_matches(['\r', '\n']).to_owned());
        let mut request = request.header("x-loki-response-encoding-flags", "categorize-labels");
        if let Some(tenant) = tenant {
            request = request.header("x-scope-orgid", tenant);
        }
        if let Some(username) = username {
            request = request.basic_auth(username, password_file.as_ref().map(secret).transpose()?);
        }
        if let Some(path) = bearer_token_file {
            request = request.bearer_auth(secret(path)?);
        }
        Ok(request)
    }
}

impl Read for LokiLines {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.ready.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            let runtime = self.runtime.clone();
            match runtime.block_on(self.page()).map_err(|error| io::Error::other(format!("Loki: {error}")))? {
                Some(lines) => self.ready = io::Cursor::new(lines),
                None => return Ok(0),
            }
        }
    }
}

/// Whether it may go better soon.
fn is_passing(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

/// Selectors that hold each stream with any of the labels once.
fn selectors_of<'l>(labels: impl Iterator<Item = &'l str>) -> Vec<String> {
    let mut without = String::new();
    let mut selectors = Vec::new();
    for label in labels {
        selectors.push(format!("{{{without}{label}=~\".+\"}}"));
        without.push_str(&format!("{label}=\"\", "));
    }
    selectors
}

#[derive(Debug, Clone, PartialEq)]
struct LokiEntry {
    stamp: i64,
    /// As the import takes it.
    document: Value,
}

/// The entries of an answer, oldest first.
fn entries(answer: &Value) -> Vec<LokiEntry> {
    let mut found = Vec::new();
    for stream in answer["data"]["result"].as_array().into_iter().flatten() {
        for value in stream["values"].as_array().into_iter().flatten() {
            let Some(stamp) = value[0].as_str().and_then(|text| text.parse().ok()) else { continue };
            let metadata = &value[2]["structuredMetadata"];
            let metadata = if metadata.is_object() { metadata.clone() } else { json!({}) };
            let document = json!({"ts": value[0], "labels": stream["stream"], "metadata": metadata, "line": value[1]});
            found.push(LokiEntry { stamp, document });
        }
    }
    found.sort_by_key(|entry| entry.stamp);
    found
}

/// Cuts a full page before its last stamp, which may have more entries, and tells where the next one goes on.
fn cut(mut page: Vec<LokiEntry>, full: usize, part: &Part) -> Result<(Vec<LokiEntry>, Option<Part>), String> {
    let (Some(first), Some(last)) = (page.first().map(|entry| entry.stamp), page.last().map(|entry| entry.stamp)) else {
        return Ok((page, None));
    };
    if page.len() < full {
        return Ok((page, None));
    }
    if first == last {
        return Err(format!("{full} entries or more have the stamp {last}: raise --page, and max_entries_limit_per_query of that Loki"));
    }
    page.retain(|entry| entry.stamp < last);
    Ok((page, Some(Part { start: last, ..part.clone() })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stream_is_in_one_selector() {
        assert_eq!(
            selectors_of(["app", "job", "pod"].into_iter()),
            [r#"{app=~".+"}"#, r#"{app="", job=~".+"}"#, r#"{app="", job="", pod=~".+"}"#]
        );
        for selector in selectors_of(["app", "job"].into_iter()) {
            assert!(tailwater_logql::parse(&selector).is_ok(), "{selector}");
        }
    }

    #[test]
    fn entries_are_lines_for_the_import() {
        let answer = json!({"data": {"result": [
            {"stream": {"app": "a"}, "values": [["9", "later", {"structuredMetadata": {"trace": "t"}, "parsed": {}}], ["7", "plain"]]},
            {"stream": {"app": "b"}, "values": [["8", "between", {}]]},
        ]}});
        let found: Vec<(i64, Value)> = entries(&answer).into_iter().map(|entry| (entry.stamp, entry.document)).collect();
        assert_eq!(
            found,
            [
                (7, json!({"ts": "7", "labels": {"app": "a"}, "metadata": {}, "line": "plain"})),
                (8, json!({"ts": "8", "labels": {"app": "b"}, "metadata": {}, "line": "between"})),
                (9, json!({"ts": "9", "labels": {"app": "a"}, "metadata": {"trace": "t"}, "line": "later"})),
            ]
        );
    }

    #[test]
    fn a_full_page_goes_on_at_its_last_stamp() {
        let page = |stamps: &[i64]| stamps.iter().map(|stamp| LokiEntry { stamp: *stamp, document: Value::Null }).collect::<Vec<_>>();
        let part = Part { selector: "{a=\"b\"}".to_owned(), start: 0, end: 100 };
        let next = |start| Some(Part { start, ..part.clone() });
        assert_eq!(cut(page(&[1, 2, 3]), 5, &part), Ok((page(&[1, 2, 3]), None)));
        assert_eq!(cut(page(&[1, 2, 3, 3]), 4, &part), Ok((page(&[1, 2]), next(3))));
        assert!(cut(page(&[3, 3]), 2, &part).expect_err("no way on").contains("--page"));
        assert_eq!(cut(page(&[]), 2, &part), Ok((page(&[]), None)));
    }
}
