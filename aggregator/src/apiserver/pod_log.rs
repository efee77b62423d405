//! `…/namespaces/NS/pods/POD/log`: what a pod has written as plain text, with the parameters of the core API's pod log, also after the pod is gone.
//!
//! ```text
//! parameters → LogQL → pages of query_range, oldest first → lines
//! ```
//! Pages are asked for as the client reads; one is in memory at a time. What is followed goes on by `live_log.rs`.

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Response, header};
use futures::{Stream, stream};
use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use serde_json::Value;

use crate::apiserver::forward::Upstream;
use crate::apiserver::live_log::{LiveLog, Sent, StillHolds};
use crate::apiserver::status::Refused;
use crate::http::form::Form;
use crate::http::range::parse_rfc_3339;

/// Entries of a page.
const PAGE: usize = 1000;
/// Lines that may be asked for from the end.
const MOST_LINES: usize = 5000;
const SECOND: i64 = 1_000_000_000;
/// The time that one query is asked over: what tenants may ask over by default. Without a beginning it is all that is looked at.
pub(super) const WINDOW: i64 = 720 * 3600 * SECOND;

/// How far behind the present the history of a followed log is read.
const AHEAD: i64 = 3600 * SECOND;

/// What is asked of a pod's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PodLogQuestion {
    /// LogQL.
    query: String,
    /// Nanoseconds since the epoch, both included.
    since: i64,
    until: i64,
    /// The instance of the container before the newest.
    previous: bool,
    timestamps: bool,
    tail_lines: Option<usize>,
    limit_bytes: Option<usize>,
    follow: bool,
}

impl PodLogQuestion {
    /// The text of a refusal says which parameter is wrong.
    pub(super) fn of(form: &Form, namespace: &str, pod: &str, now: i64) -> Result<Self, String> {
        // What an instance before the newest wrote does not go on.
        let previous = flag(form, "previous")?;
        let follow = flag(form, "follow")? && !previous;
        if follow && !form.get("untilTime").is_empty() {
            return Err("at most one of `follow` or `untilTime` may be specified".to_owned());
        }
        let (since, until) = span(form, now)?;
        let since = since.unwrap_or(until.saturating_sub(WINDOW));
        // Pages go on until they have all there is, also what comes while they are read.
        let until = if follow { until.saturating_add(AHEAD) } else { until };
        let tail_lines = number(form, "tailLines")?;
        if tail_lines.is_some_and(|lines| lines > MOST_LINES) {
            return Err(format!("tailLines is greater than {MOST_LINES}, ask for a time instead (sinceTime, untilTime)"));
        }
        Ok(Self {
            query: query(form, namespace, pod)?,
            since,
            until,
            previous,
            timestamps: flag(form, "timestamps")?,
            tail_lines,
            limit_bytes: number(form, "limitBytes")?,
            follow,
        })
    }

    fn line(&self, entry: &Entry, out: &mut Vec<u8>) {
        if self.timestamps
            && let Ok(stamp) = Timestamp::from_nanosecond(i128::from(entry.stamp))
        {
            let printer = DateTimePrinter::new().precision(Some(9));
            out.extend_from_slice(printer.timestamp_to_string(&stamp).as_bytes());
            out.push(b' ');
        }
        out.extend_from_slice(entry.line.as_bytes());
        out.push(b'\n');
    }

    fn of_restart(&self, restart: u64) -> Self {
        Self { query: format!("{} | restart={}", self.query, quoted(&restart.to_string())), ..self.clone() }
    }
}

fn query(form: &Form, namespace: &str, pod: &str) -> Result<String, String> {
    let mut selector = format!("namespace={}, pod={}", quoted(namespace), quoted(pod));
    if !form.get("container").is_empty() {
        selector.push_str(&format!(", container={}", quoted(form.get("container"))));
    }
    let mut query = format!("{{{selector}}}");
    for (parameter, label) in [("uid", "pod_uid"), ("restart", "restart")] {
        if !form.get(parameter).is_empty() {
            query.push_str(&format!(" | {label}={}", quoted(form.get(parameter))));
        }
    }
    if !form.get("query").is_empty() {
        query.push_str(&format!(" {}", form.get("query")));
        tailwater_logql::parse(&query).map_err(|error| format!("query: {error}"))?;
    }
    Ok(query)
}

/// When a question begins, if it says so, and ends: nanoseconds since the epoch, both included.
pub(super) fn span(form: &Form, now: i64) -> Result<(Option<i64>, i64), String> {
    let until = time(form, "untilTime")?.unwrap_or(now);
    let since = match (number(form, "sinceSeconds")?, time(form, "sinceTime")?) {
        (Some(_), Some(_)) => return Err("at most one of `sinceTime` or `sinceSeconds` may be specified".to_owned()),
        (Some(seconds), None) => Some(now.saturating_sub(i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(SECOND))),
        (None, since) => since,
    };
    Ok((since, until))
}

/// A text of LogQL.
pub(super) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

pub(super) fn flag(form: &Form, name: &str) -> Result<bool, String> {
    match form.get(name) {
        "" | "false" | "0" => Ok(false),
        "true" | "1" => Ok(true),
        other => Err(format!("{name}: `{other}` is neither true nor false")),
    }
}

pub(super) fn number(form: &Form, name: &str) -> Result<Option<usize>, String> {
    match form.get(name) {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| format!("{name}: `{text}` is no whole number from 0 on")),
    }
}

fn time(form: &Form, name: &str) -> Result<Option<i64>, String> {
    match form.get(name) {
        "" => Ok(None),
        text => parse_rfc_3339(text).map(Some).ok_or_else(|| format!("{name}: `{text}` is no time as of RFC 3339")),
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) stamp: i64,
    pub(super) line: String,
    pub(super) restart: Option<u64>,
    pub(super) container: String,
}

/// The entries of an answer to a log query, oldest first.
fn entries(answer: &Value) -> Vec<Entry> {
    entries_of(&answer["data"]["result"])
}

/// The entries of a list of streams, oldest first.
pub(super) fn entries_of(streams: &Value) -> Vec<Entry> {
    let mut entries = Vec::new();
    for found in streams.as_array().into_iter().flatten() {
        let container = found["stream"]["container"].as_str().unwrap_or_default();
        let restart = found["stream"]["restart"].as_str().and_then(|text| text.parse().ok());
        for value in found["values"].as_array().into_iter().flatten() {
            let stamp = value[0].as_str().and_then(|text| text.parse().ok());
            if let (Some(stamp), Some(line)) = (stamp, value[1].as_str()) {
                entries.push(Entry { stamp, line: line.to_owned(), restart, container: container.to_owned() });
            }
        }
    }
    entries.sort_by_key(|entry| entry.stamp);
    entries
}

/// Cuts a full page where the next one can go on: before the last stamp, which may have more entries. A page that is not full is all that its
/// window, which ends at `end`, has.
fn cut(mut page: Vec<Entry>, end: i64, until: i64) -> (Vec<Entry>, Option<i64>) {
    let after = |stamp: i64| stamp.checked_add(1).filter(|next| *next <= until);
    let (Some(first), Some(last)) = (page.first().map(|entry| entry.stamp), page.last().map(|entry| entry.stamp)) else {
        return (page, after(end));
    };
    if page.len() < PAGE {
        return (page, after(end));
    }
    if first == last {
        return (page, after(last));
    }
    page.retain(|entry| entry.stamp < last);
    (page, Some(last))
}

/// A pod's log on its way to a client.
pub(super) struct PodLog<S> {
    pub(super) upstream: Upstream,
    pub(super) question: PodLogQuestion,
    /// The signed rights, for each page anew.
    pub(super) sign: S,
    /// Asked while it is followed.
    pub(super) still_holds: Option<StillHolds>,
}

impl<S: Fn() -> HeaderValue + Clone + Send + Sync + 'static> PodLog<S> {
    /// The answer; what goes wrong before its first page is told by a status.
    pub(super) async fn answer(mut self, done: impl FnOnce(u64) + Send + 'static) -> Result<Response<Body>, Refused> {
        if self.question.previous {
            self.question = self.of_previous().await?;
        }
        let (first, next) = match self.question.tail_lines {
            Some(0) => (Vec::new(), None),
            Some(lines) => (self.page(self.newest_window(), lines, "backward").await?, None),
            None => self.next_page(self.question.since).await?,
        };
        let body = Body::from_stream(self.pieces(first, next, done));
        let response = Response::builder().header(header::CONTENT_TYPE, "text/plain; charset=utf-8");
        response.body(body).map_err(|error| Refused::Unavailable { reason: error.to_string() })
    }

    /// The same question of the instance before the newest.
    async fn of_previous(&self) -> Result<PodLogQuestion, Refused> {
        let newest = self.page(self.newest_window(), 1, "backward").await?;
        let restart = newest.first().and_then(|entry| entry.restart).and_then(|restart| restart.checked_sub(1));
        let restart = restart.ok_or_else(|| Refused::BadRequest { text: "previous terminated container not found".to_owned() })?;
        Ok(self.question.of_restart(restart))
    }

    /// What is looked at from its end.
    fn newest_window(&self) -> (i64, i64) {
        (self.question.since.max(self.question.until.saturating_sub(WINDOW)), self.question.until)
    }

    /// The oldest entries from a time on, and where the page after them begins.
    async fn next_page(&self, start: i64) -> Result<(Vec<Entry>, Option<i64>), Refused> {
        let end = self.question.until.min(start.saturating_add(WINDOW));
        Ok(cut(self.page((start, end), PAGE, "forward").await?, end, self.question.until))
    }

    async fn page(&self, (start, end): (i64, i64), limit: usize, direction: &str) -> Result<Vec<Entry>, Refused> {
        if end < start {
            return Ok(Vec::new());
        }
        // Queries leave the end of their range out.
        let (start, end, limit) = (start.to_string(), end.saturating_add(1).to_string(), limit.to_string());
        let parameters =
            [("query", self.question.query.as_str()), ("start", &start), ("end", &end), ("limit", &limit), ("direction", direction)];
        let answer = self.upstream.json("/loki/api/v1/query_range", &parameters, (self.sign)()).await?;
        Ok(entries(&answer))
    }

    /// What goes on behind the pages, if it is asked for. `oldest`: of the first page.
    fn live(&mut self, oldest: Option<&Entry>) -> Option<LiveLog<S>> {
        let still_holds = self.still_holds.take().filter(|_| self.question.follow)?;
        let PodLogQuestion { query, since, until, tail_lines, .. } = &self.question;
        let mut sent = Sent::new(*since);
        if tail_lines.is_some() {
            // What is older than the lines that were asked for is not wanted.
            sent.begin(oldest.map_or(until.saturating_sub(AHEAD), |oldest| oldest.stamp).saturating_add(1));
        }
        let (upstream, query, sign) = (self.upstream.clone(), query.clone(), self.sign.clone());
        Some(LiveLog { upstream, query, sign, still_holds, sent, following: None })
    }

    /// Lines, page by page.
    fn pieces(
        mut self,
        first: Vec<Entry>,
        next: Option<i64>,
        done: impl FnOnce(u64) + Send + 'static,
    ) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static {
        let left = self.question.limit_bytes.unwrap_or(usize::MAX);
        let live = self.live(first.first());
        let state = Sending { log: self, live, ready: Some(first), next, left, sent: 0, done: Some(done) };
        stream::try_unfold(state, |mut sending| async move {
            let piece = sending.piece().await.map_err(std::io::Error::other)?;
            Ok::<_, std::io::Error>(piece.map(|piece| (piece, sending)))
        })
    }
}

/// How far a log has been sent. Its bytes are told when it is dropped.
struct Sending<S, F: FnOnce(u64)> {
    log: PodLog<S>,
    /// What comes behind the pages.
    live: Option<LiveLog<S>>,
    ready: Option<Vec<Entry>>,
    /// Where the next page begins.
    next: Option<i64>,
    /// Bytes that may still be sent.
    left: usize,
    sent: u64,
    done: Option<F>,
}

impl<S: Fn() -> HeaderValue + Clone + Send + Sync + 'static, F: FnOnce(u64)> Sending<S, F> {
    async fn piece(&mut self) -> Result<Option<Bytes>, Refused> {
        loop {
            if self.left == 0 {
                return Ok(None);
            }
            let Some(page) = self.entries().await? else { return Ok(None) };
            let mut bytes = Vec::new();
            page.iter().for_each(|entry| self.log.question.line(entry, &mut bytes));
            bytes.truncate(self.left);
            if !bytes.is_empty() {
                self.left -= bytes.len();
                self.sent += bytes.len() as u64;
                return Ok(Some(bytes.into()));
            }
        }
    }

    /// The next entries; `None` behind the last.
    async fn entries(&mut self) -> Result<Option<Vec<Entry>>, Refused> {
        let page = match (self.ready.take(), self.next.take()) {
            (Some(page), next) => {
                self.next = next;
                page
            }
            (None, Some(start)) => {
                let (page, next) = self.log.next_page(start).await?;
                self.next = next;
                page
            }
            (None, None) => {
                return Ok(match &mut self.live {
                    Some(live) => live.next().await,
                    None => None,
                });
            }
        };
        if let Some(live) = &mut self.live {
            page.iter().for_each(|entry| live.sent.note(entry));
        }
        Ok(Some(page))
    }
}

impl<S, F: FnOnce(u64)> Drop for Sending<S, F> {
    fn drop(&mut self) {
        if let Some(done) = self.done.take() {
            done(self.sent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderMap;
    use serde_json::json;

    const NOW: i64 = 1_768_903_200 * SECOND;

    fn question(parameters: &[(&str, &str)]) -> Result<PodLogQuestion, String> {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        PodLogQuestion::of(&Form::new(&HeaderMap::new(), Some(&query), &Bytes::new()), "a", "web-1", NOW)
    }

    #[test]
    fn parameters_become_a_query() {
        for (parameters, query) in [
            (&[][..], r#"{namespace="a", pod="web-1"}"#),
            (&[("container", "c\"")], r#"{namespace="a", pod="web-1", container="c\""}"#),
            (&[("uid", "u"), ("restart", "2")], r#"{namespace="a", pod="web-1"} | pod_uid="u" | restart="2""#),
            (&[("query", "|= `x` | logfmt")], r#"{namespace="a", pod="web-1"} |= `x` | logfmt"#),
        ] {
            let found = question(parameters).expect(query);
            assert_eq!(found.query, query);
            assert!(tailwater_logql::parse(&found.query).is_ok(), "{query}");
        }
        let ranged = question(&[("sinceSeconds", "60"), ("untilTime", "2026-01-20T09:59:30Z")]).expect("parameters");
        assert_eq!((ranged.since, ranged.until), (NOW - 60 * SECOND, NOW - 30 * SECOND));
    }

    #[test]
    fn what_cannot_be_answered_is_refused() {
        for (parameters, part) in [
            (&[("follow", "true"), ("untilTime", "2026-01-20T10:00:00Z")][..], "follow"),
            (&[("sinceSeconds", "1"), ("sinceTime", "2026-01-20T10:00:00Z")], "at most one"),
            (&[("tailLines", "-1")], "tailLines"),
            (&[("tailLines", "5001")], "greater than 5000"),
            (&[("limitBytes", "x")], "limitBytes"),
            (&[("sinceTime", "yesterday")], "sinceTime"),
            (&[("timestamps", "maybe")], "timestamps"),
            (&[("query", "|= ")], "query: parse error"),
            (&[("query", r#"} or {app="x"}"#)], "query: parse error"),
        ] {
            let refusal = question(parameters).expect_err(part);
            assert!(refusal.contains(part), "{refusal}");
        }
    }

    #[test]
    fn lines_are_shown_as_the_kubelet_shows_them() {
        let entry = Entry { stamp: NOW + 5, line: "hello".to_owned(), restart: None, container: String::new() };
        let shown = |parameters: &[(&str, &str)]| {
            let mut out = Vec::new();
            question(parameters).expect("parameters").line(&entry, &mut out);
            String::from_utf8(out).expect("text")
        };
        assert_eq!(shown(&[]), "hello\n");
        assert_eq!(shown(&[("timestamps", "true")]), "2026-01-20T10:00:00.000000005Z hello\n");
    }

    #[test]
    fn pages_join_without_a_gap_or_a_repetition() {
        let entry = |stamp: i64| Entry { stamp, line: stamp.to_string(), restart: None, container: String::new() };
        let stamps = |page: &[Entry]| page.iter().map(|entry| entry.stamp).collect::<Vec<_>>();
        let all: Vec<Entry> = (0..2500).map(|number| entry(number / 3)).collect();
        let (mut found, mut next) = (Vec::new(), Some(0));
        let until = 900;
        while let Some(start) = next {
            let end = until.min(start + 300);
            let of_window = all.iter().filter(|entry| (start..=end).contains(&entry.stamp));
            let (page, following) = cut(of_window.take(PAGE).cloned().collect(), end, until);
            found.extend(page);
            next = following;
        }
        assert_eq!(stamps(&found), stamps(&all));
        let (same, next) = cut(vec![entry(7); PAGE], 9, 9);
        assert_eq!((same.len(), next), (PAGE, Some(8)));
    }

    #[test]
    fn entries_of_several_streams_are_one_log() {
        let stream = |restart: &str, values: Value| json!({"stream": {"restart": restart}, "values": values});
        let answer = json!({"data": {"result": [stream("1", json!([["3", "c"], ["1", "a"]])), stream("x", json!([["2", "b"]]))]}});
        let found: Vec<(String, Option<u64>)> = entries(&answer).into_iter().map(|entry| (entry.line, entry.restart)).collect();
        assert_eq!(found, [("a".to_owned(), Some(1)), ("b".to_owned(), None), ("c".to_owned(), Some(1))]);
    }
}
