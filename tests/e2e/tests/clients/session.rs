//! A client's view of the server: a gateway before an aggregator, some lines to ask for, requests with the client's headers.

use std::io::Read;

use anyhow::{Context, Result, bail, ensure};
use flate2::read::GzDecoder;
use futures::StreamExt;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tailwater_e2e::chain::{Chain, Hops, Store};
use tailwater_e2e::deadline::eventually;
use tailwater_e2e::drill::Folder;
use tailwater_podwriter::UnixNanoseconds;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

pub(crate) const SECOND: i64 = 1_000_000_000;
/// Lines of each of the two streams that [`Session::fill`] pushes.
pub(crate) const LINES: i64 = 30;
const LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

pub(crate) struct Session {
    pub(crate) chain: Chain,
    client: reqwest::Client,
    headers: Vec<(&'static str, String)>,
    /// When the first line was, and the end of the range to ask for; nanoseconds.
    pub(crate) first: i64,
    pub(crate) end: i64,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) was_compressed: bool,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body of a success, which is JSON.
    pub(crate) fn json(&self) -> Result<Value> {
        ensure!(self.status == 200, "answered with {}: {}", self.status, self.text());
        ensure!(self.content_type == "application/json; charset=UTF-8", "{}", self.content_type);
        serde_json::from_slice(&self.body).with_context(|| self.text())
    }

    /// A refusal as all but a few endpoints make them.
    pub(crate) fn require_refusal(&self, status: u16, text: &str) -> Result<()> {
        ensure!((self.status, self.text().as_str()) == (status, text), "{} {}", self.status, self.text());
        ensure!(self.content_type == "text/plain; charset=utf-8", "{}", self.content_type);
        Ok(())
    }
}

impl Session {
    /// `headers` go with every request.
    pub(crate) async fn start(folder: &Folder, headers: &[(&'static str, &str)]) -> Result<Self> {
        let chain = Chain::start(folder, Store::Folder, Hops::None).await?;
        let client = reqwest::Client::builder().build()?;
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let now = UnixNanoseconds::now().0 / SECOND * SECOND;
        Ok(Self { chain, client, headers, first: now - 600 * SECOND, end: now + 60 * SECOND })
    }

    /// Two streams: of JSON with trace ids, one line a second, and of logfmt at the same stamps.
    pub(crate) async fn fill(&self) -> Result<()> {
        let stamp = |number: i64| (self.first + number * SECOND).to_string();
        let level = |number: i64| if number % 5 == 0 { "error" } else { "info" };
        let web = |number: i64| {
            let line = format!(r#"{{"level":"{}","msg":"request done","latency":"{number}ms","status":200}}"#, level(number));
            json!([stamp(number), line, {"trace_id": format!("trace-{number}")}])
        };
        let api = |number: i64| json!([stamp(number), format!("level=warn msg=\"slow reply {number}\" took=1.5s size=2KB")]);
        let values = |entry: &dyn Fn(i64) -> Value| (0..LINES).map(entry).collect::<Vec<Value>>();
        let streams = json!({"streams": [
            {"stream": {"namespace": "shop", "app": "web", "pod": "web-1"}, "values": values(&web)},
            {"stream": {"namespace": "shop", "app": "api", "pod": "api-1"}, "values": values(&api)},
        ]});
        let answer = self.push("/loki/api/v1/push", &[("Content-Type", "application/json")], streams.to_string()).await?;
        ensure!(answer.status == 204 && answer.body.is_empty(), "{answer:?}");
        Ok(())
    }

    pub(crate) fn range(&self) -> [(&'static str, String); 2] {
        [("start", self.first.to_string()), ("end", self.end.to_string())]
    }

    pub(crate) async fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Answer> {
        self.get_with(path, parameters, &[]).await
    }

    pub(crate) async fn get_with(&self, path: &str, parameters: &[(&str, &str)], headers: &[(&str, &str)]) -> Result<Answer> {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        self.send(self.request(Method::GET, &format!("{path}?{query}"), headers)).await
    }

    /// [`Self::get`] within [`Self::range`].
    pub(crate) async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Answer> {
        self.ask_with(path, parameters, &[]).await
    }

    pub(crate) async fn ask_with(&self, path: &str, parameters: &[(&str, &str)], headers: &[(&str, &str)]) -> Result<Answer> {
        let range = self.range();
        let all: Vec<(&str, &str)> = range.iter().map(|(name, value)| (*name, value.as_str())).chain(parameters.iter().copied()).collect();
        self.get_with(path, &all, headers).await
    }

    pub(crate) async fn method(&self, method: Method, path: &str, parameters: &[(&str, &str)]) -> Result<Answer> {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        self.send(self.request(method, &format!("{path}?{query}"), &[])).await
    }

    /// An answer whose body is still to be read, as it comes over the wire.
    pub(crate) async fn open(&self, path: &str, parameters: &[(&str, &str)]) -> Result<reqwest::Response> {
        let range = self.range();
        let all = range.iter().map(|(name, value)| (*name, value.as_str())).chain(parameters.iter().copied());
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(all).finish();
        // Not compressed, so that it does not fit between the two.
        let url = format!("http://{}{path}?{query}", self.chain.gateway.address());
        Ok(self.client.get(url).send().await?.error_for_status()?)
    }

    pub(crate) async fn push(&self, path: &str, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> Result<Answer> {
        self.send(self.request(Method::POST, path, headers).body(body)).await
    }

    fn request(&self, method: Method, target: &str, headers: &[(&str, &str)]) -> RequestBuilder {
        let request = self.client.request(method, format!("http://{}{target}", self.chain.gateway.address()));
        let own = self.headers.iter().map(|(name, value)| (*name, value.as_str()));
        own.chain(headers.iter().copied()).fold(request, |request, (name, value)| request.header(name, value))
    }

    async fn send(&self, request: RequestBuilder) -> Result<Answer> {
        let answer = request.send().await?;
        let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let (status, content_type, was_compressed) =
            (answer.status().as_u16(), header("content-type"), header("content-encoding") == "gzip");
        let received = answer.bytes().await?;
        let mut body = Vec::new();
        if was_compressed {
            GzDecoder::new(received.as_ref()).read_to_end(&mut body).context("the body is no gzip")?;
        } else {
            body.extend_from_slice(&received);
        }
        Ok(Answer { status, content_type, was_compressed, body })
    }

    /// Opens a tail.
    pub(crate) async fn tail(&self, parameters: &[(&str, &str)]) -> Result<Tail> {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        let address = self.chain.gateway.address();
        let mut request = format!("ws://{address}/loki/api/v1/tail?{query}").into_client_request()?;
        for (name, value) in &self.headers {
            request.headers_mut().insert(*name, value.parse()?);
        }
        let connection = TcpStream::connect(&address).await?;
        let (socket, response) = tokio_tungstenite::client_async(request, connection).await?;
        ensure!(response.status().as_u16() == 101, "the tail is answered with {}", response.status());
        Ok(Tail(socket))
    }

    /// Waits until a query finds so many entries.
    pub(crate) async fn stored(&self, query: &str, entries: u64) -> Result<()> {
        let counted = format!("sum(count_over_time({query} [2h]))");
        let time = self.end.to_string();
        eventually("what was pushed is found", LIMIT, || async {
            let answer = self.get("/loki/api/v1/query", &[("query", &counted), ("time", &time)]).await?.json()?;
            let found = answer["data"]["result"][0]["value"][1].as_str().unwrap_or("0").to_owned();
            ensure!(found == entries.to_string(), "{found} entries");
            Ok(())
        })
        .await
    }
}

pub(crate) struct Tail(WebSocketStream<TcpStream>);

impl Tail {
    /// The next frame.
    pub(crate) async fn frame(&mut self) -> Result<Value> {
        let next = async {
            loop {
                match self.0.next().await.context("the tail ended")?? {
                    Message::Text(text) => return Ok(serde_json::from_str(text.as_str())?),
                    Message::Close(reason) => bail!("the tail was closed: {reason:?}"),
                    _ => {}
                }
            }
        };
        tokio::time::timeout(LIMIT, next).await.context("no frame came")?
    }
}

/// Every value of an answer of streams with the labels of its stream.
pub(crate) fn entries(answer: &Value) -> Result<Vec<(Value, Value)>> {
    ensure!(answer["status"] == "success" && answer["data"]["resultType"] == "streams", "{answer}");
    streams(&answer["data"]["result"])
}

pub(crate) fn streams(list: &Value) -> Result<Vec<(Value, Value)>> {
    let mut found = Vec::new();
    for stream in list.as_array().context("no list of streams")? {
        let values = stream["values"].as_array().context("a stream has no values")?;
        found.extend(values.iter().map(|value| (stream["stream"].clone(), value.clone())));
    }
    Ok(found)
}

/// The stamp of a value; a text of nanoseconds.
pub(crate) fn stamp(value: &Value) -> Result<i64> {
    Ok(value[0].as_str().context("a stamp is no text")?.parse()?)
}

/// Every point of a matrix or vector with its labels, `(labels, seconds, value)`.
pub(crate) fn points(answer: &Value, kind: &str) -> Result<Vec<(Value, f64, f64)>> {
    ensure!(answer["status"] == "success" && answer["data"]["resultType"] == kind, "{answer}");
    require_statistics(&answer["data"]["stats"])?;
    let mut found = Vec::new();
    for series in answer["data"]["result"].as_array().context("no list of series")? {
        let single = [series["value"].clone()];
        let values = if kind == "vector" { &single[..] } else { series["values"].as_array().context("a series has no values")? };
        for value in values {
            let (time, number) = (value[0].as_f64().context("a time is no number")?, value[1].as_str().context("a value is no text")?);
            found.push((series["metric"].clone(), time, number.parse()?));
        }
    }
    Ok(found)
}

/// The block that Grafana's inspector and `logcli --stats` read.
pub(crate) fn require_statistics(statistics: &Value) -> Result<()> {
    for path in [
        "/summary/bytesProcessedPerSecond",
        "/summary/linesProcessedPerSecond",
        "/summary/totalBytesProcessed",
        "/summary/totalLinesProcessed",
        "/summary/execTime",
        "/summary/queueTime",
        "/summary/subqueries",
        "/summary/totalEntriesReturned",
        "/summary/splits",
        "/summary/shards",
        "/summary/totalPostFilterLines",
        "/summary/totalStructuredMetadataBytesProcessed",
        "/querier/store/chunk/decompressedBytes",
        "/ingester/totalReached",
        "/ingester/store/totalChunksRef",
        "/cache/result/entriesFound",
        "/index/totalChunks",
    ] {
        ensure!(statistics.pointer(path).is_some_and(Value::is_number), "the statistics have no number {path}: {statistics}");
    }
    Ok(())
}
