//! Loki's HTTP API, as far as drills ask.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

/// Longer than any query may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(120);
/// Entries of one page.
const PAGE: usize = 5000;

/// A server that speaks it: the gateway or an aggregator.
#[derive(Debug, Clone)]
pub struct Api {
    base: String,
    client: Client,
}

/// One value of an instant query.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// One listed line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListedEntry {
    /// Nanoseconds since the epoch.
    pub timestamp: i64,
    pub line: String,
}

/// Status and text of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    pub text: String,
}

impl Api {
    /// `base` is `http://host:port`.
    pub fn new(base: &str) -> Result<Self> {
        let client = Client::builder().timeout(REQUEST_LIMIT).build().context("cannot make an HTTP client")?;
        Ok(Self { base: base.to_owned(), client })
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    pub fn push_url(&self) -> String {
        format!("{}/loki/api/v1/push", self.base)
    }

    pub async fn ready(&self) -> Result<()> {
        let reply = self.get("/ready", &[]).await?;
        ensure!(reply.status == 200, "/ready says {}: {}", reply.status, reply.text);
        Ok(())
    }

    pub async fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Reply> {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        let mark = if query.is_empty() { "" } else { "?" };
        let answer = self.client.get(format!("{}{path}{mark}{query}", self.base)).send().await?;
        Ok(Reply { status: answer.status().as_u16(), text: answer.text().await? })
    }

    /// The same with the parameters as a form, for those that are too long for a URL; endpoints without forms are asked by GET.
    pub async fn get_or_post(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Reply> {
        const LONGEST_URL: usize = 8_000;
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        if form.len() < LONGEST_URL {
            return self.get(path, parameters).await;
        }
        let request = self.client.post(format!("{}{path}", self.base)).header("Content-Type", "application/x-www-form-urlencoded");
        let answer = request.body(form).send().await?;
        Ok(Reply { status: answer.status().as_u16(), text: answer.text().await? })
    }

    /// A request of another method, with its parameters in the URL and no body. Gives the headers of the answer too.
    pub async fn send(&self, method: Method, path: &str, parameters: &[(&str, &str)]) -> Result<(Reply, HeaderMap)> {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        let answer = self.client.request(method, format!("{}{path}?{query}", self.base)).send().await?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Ok((Reply { status, text: answer.text().await? }, headers))
    }

    /// Asks for entries to be deleted (seconds, both ends count); the request's id.
    pub async fn delete_entries(&self, query: &str, start: i64, end: i64) -> Result<String> {
        let (start, end) = (start.to_string(), end.to_string());
        let parameters = [("query", query), ("start", start.as_str()), ("end", end.as_str())];
        let (reply, headers) = self.send(Method::POST, "/loki/api/v1/delete", &parameters).await?;
        ensure!(reply.status == 204, "the delete of `{query}` is answered with {}: {}", reply.status, reply.text);
        let id = headers.get("x-delete-request-id").context("the answer names no delete request")?;
        Ok(id.to_str().context("the id of the delete request is no text")?.to_owned())
    }

    /// By id, the status of each delete request.
    pub async fn delete_requests(&self) -> Result<BTreeMap<String, String>> {
        let listed = self.json("/loki/api/v1/delete", &[]).await?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let requests = listed.as_array().context("the answer is no list")?.iter();
        Ok(requests.map(|request| (text(&request["request_id"]), text(&request["status"]))).collect())
    }

    /// Pushes a body as it is. Without `content_type` the header is left out.
    pub async fn push(&self, content_type: Option<&str>, encoding: Option<&str>, body: Vec<u8>) -> Result<Reply> {
        let mut request = self.client.post(self.push_url()).body(body);
        for (name, value) in [("Content-Type", content_type), ("Content-Encoding", encoding)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        let answer = request.send().await?;
        Ok(Reply { status: answer.status().as_u16(), text: answer.text().await? })
    }

    /// Pushes lines of one stream as JSON; anything but 204 is an error.
    pub async fn push_lines(&self, labels: &[(&str, &str)], lines: &[(i64, &str)]) -> Result<()> {
        let stream: BTreeMap<&str, &str> = labels.iter().copied().collect();
        let values: Vec<Value> = lines.iter().map(|(timestamp, line)| json!([timestamp.to_string(), line])).collect();
        let body = json!({"streams": [{"stream": stream, "values": values}]});
        let reply = self.push(Some("application/json"), None, body.to_string().into_bytes()).await?;
        ensure!(reply.status == 204, "the push was answered with {}: {}", reply.status, reply.text);
        Ok(())
    }

    /// An instant query at `time` (nanoseconds).
    pub async fn instant(&self, query: &str, time: i64) -> Result<Vec<Sample>> {
        let answer = self.json("/loki/api/v1/query", &[("query", query), ("time", &time.to_string())]).await?;
        let vector = answer["data"]["result"].as_array().context("the answer has no result")?;
        vector.iter().map(Sample::read).collect()
    }

    /// An instant query that gives one number; nothing counts as 0.
    pub async fn number(&self, query: &str, time: i64) -> Result<u64> {
        match self.instant(query, time).await?.as_slice() {
            [] => Ok(0),
            [sample] => Ok(sample.value as u64),
            more => bail!("`{query}` gives {} values instead of one", more.len()),
        }
    }

    /// Values of a label between two times (nanoseconds).
    pub async fn label_values(&self, name: &str, start: i64, end: i64) -> Result<Vec<String>> {
        let parameters = [("start", start.to_string()), ("end", end.to_string())];
        let parameters: Vec<(&str, &str)> = parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = self.json(&format!("/loki/api/v1/label/{name}/values"), &parameters).await?;
        let values = answer["data"].as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(values.iter().filter_map(Value::as_str).map(str::to_owned).collect())
    }

    /// All lines from `start` to `end` (nanoseconds, without it), page by page, the oldest first.
    ///
    /// Pages follow each other by time, so no stamp may stand on more lines than a page holds.
    pub async fn lines(&self, query: &str, start: i64, end: i64) -> Result<Vec<ListedEntry>> {
        let mut all: Vec<ListedEntry> = Vec::new();
        let mut from = start;
        loop {
            let page = self.page(query, from, end).await?;
            let Some(last) = page.last().map(|entry| entry.timestamp) else { return Ok(all) };
            if page.len() < PAGE {
                all.extend(page);
                return Ok(all);
            }
            // The last stamp may go on behind the page's end: it comes again, whole.
            ensure!(last > from, "{PAGE} lines or more stand on one stamp");
            all.extend(page.into_iter().filter(|entry| entry.timestamp < last));
            from = last;
        }
    }

    async fn page(&self, query: &str, start: i64, end: i64) -> Result<Vec<ListedEntry>> {
        let (start, end, limit) = (start.to_string(), end.to_string(), PAGE.to_string());
        let parameters = [("query", query), ("start", &start), ("end", &end), ("limit", &limit), ("direction", "forward")];
        let answer = self.json("/loki/api/v1/query_range", &parameters).await?;
        let streams = answer["data"]["result"].as_array().context("the answer has no result")?;
        let mut entries = Vec::new();
        for value in streams.iter().flat_map(|stream| stream["values"].as_array().map(Vec::as_slice).unwrap_or_default()) {
            let timestamp = value[0].as_str().and_then(|text| text.parse().ok()).context("an entry has no stamp")?;
            entries.push(ListedEntry { timestamp, line: value[1].as_str().context("an entry has no line")?.to_owned() });
        }
        entries.sort_by_key(|entry| entry.timestamp);
        Ok(entries)
    }

    async fn json(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value> {
        let reply = self.get(path, parameters).await?;
        ensure!(reply.status == 200, "`{path}` {parameters:?} is answered with {}: {}", reply.status, reply.text);
        serde_json::from_str(&reply.text).with_context(|| format!("`{path}` answers no JSON"))
    }
}

impl Sample {
    fn read(value: &Value) -> Result<Self> {
        let metric = value["metric"].as_object().context("a sample has no labels")?;
        let labels = metric.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect();
        let number = value["value"][1].as_str().and_then(|text| text.parse().ok()).context("a sample has no number")?;
        Ok(Self { labels, value: number })
    }
}

/// The sum of a metric's values over its label sets, by the name that `/metrics` prints; `None` if there is none.
pub async fn metric(base: &str, name: &str) -> Result<Option<f64>> {
    Ok(value_of(&get_text(&format!("{base}/metrics")).await?, name))
}

fn value_of(metrics: &str, name: &str) -> Option<f64> {
    let value = |line: &str| line.strip_prefix(name).filter(|rest| rest.starts_with([' ', '{']))?.rsplit(' ').next()?.parse::<f64>().ok();
    metrics.lines().filter_map(value).reduce(|sum, value| sum + value)
}

/// The body of a page that is answered with 200.
pub async fn get_text(url: &str) -> Result<String> {
    let answer = Client::builder().timeout(REQUEST_LIMIT).build()?.get(url).send().await?;
    let status = answer.status();
    let text = answer.text().await?;
    ensure!(status == StatusCode::OK, "{status}: {text}");
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_the_sum_over_its_labels() {
        let text = "# TYPE a counter\na_total{x=\"1 2\"} 3\na_total{x=\"b\"} 4.5\na_total_more 9\nb 2\n";
        assert_eq!(value_of(text, "a_total"), Some(7.5));
        assert_eq!(value_of(text, "b"), Some(2.0));
        assert_eq!(value_of(text, "a"), None);
    }
}
