//! HTTP towards one server: exactly the requests of the cases, and answers as they come.
//!
//! No redirects, no proxy, no compression asked for. A request that dies with its connection is tried once
//! more, because a server may close an idle connection at any time; a second failure is the case's failure.

use std::io::Read;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Response};

const TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    /// Without a slash at its end.
    base: String,
}

/// A request with every placeholder filled.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) params: Vec<(String, String)>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<Vec<u8>>,
}

/// What came back, before anything is read into it.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    /// Invalid UTF-8 shown replaced.
    pub(crate) text: String,
}

impl Client {
    pub(crate) fn new(url: &str) -> Result<Self> {
        let base = url.trim_end_matches('/').to_owned();
        reqwest::Url::parse(&base).with_context(|| format!("`{url}` is no address; give one such as `http://127.0.0.1:3100`"))?;
        let http =
            reqwest::Client::builder().http1_only().no_proxy().redirect(reqwest::redirect::Policy::none()).timeout(TIMEOUT).build()?;
        Ok(Self { http, base })
    }

    pub(crate) async fn send(&self, request: &Request) -> Result<Reply> {
        read(self.open(request, HeaderMap::new()).await?).await
    }

    /// Sends `request` with `extra` headers; the body of the answer is still to be read.
    pub(crate) async fn open(&self, request: &Request, extra: HeaderMap) -> Result<Response> {
        match self.attempt(request, extra.clone()).await {
            Err(error) if !error.is_timeout() && !error.is_builder() => Ok(self.attempt(request, extra).await?),
            outcome => Ok(outcome?),
        }
    }

    async fn attempt(&self, request: &Request, extra: HeaderMap) -> Result<Response, reqwest::Error> {
        let method = Method::from_bytes(request.method.as_bytes()).unwrap_or(Method::GET);
        let mut builder = self.http.request(method.clone(), self.target(request)).header(ACCEPT_ENCODING, "identity");
        for (name, value) in &request.headers {
            builder = builder.header(name.as_str(), value.as_str());
        }
        builder = builder.headers(extra);
        match &request.body {
            Some(body) => builder = builder.body(body.clone()),
            None if method == Method::POST || method == Method::PUT => builder = builder.body(Vec::new()),
            None => {}
        }
        builder.send().await
    }

    fn target(&self, request: &Request) -> String {
        let mut target = format!("{}{}", self.base, request.path);
        if !request.params.is_empty() {
            let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(&request.params).finish();
            target.push('?');
            target.push_str(&query);
        }
        target
    }
}

impl Request {
    /// Checks what the HTTP library would otherwise refuse only while sending.
    pub(crate) fn validate(&self) -> Result<()> {
        Method::from_bytes(self.method.as_bytes()).with_context(|| format!("`{}` is no method", self.method))?;
        for (name, value) in &self.headers {
            HeaderName::from_bytes(name.as_bytes()).with_context(|| format!("`{name}` is no header name"))?;
            HeaderValue::from_str(value).with_context(|| format!("`{value}` is no header value"))?;
        }
        Ok(())
    }
}

pub(crate) async fn read(response: Response) -> Result<Reply> {
    let status = response.status().as_u16();
    let header = |name| response.headers().get(name).map(|value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let content_type = header(CONTENT_TYPE).unwrap_or_default();
    let encoding = header(CONTENT_ENCODING);
    let bytes = response.bytes().await?;
    let text = match encoding.as_deref() {
        Some("gzip") => String::from_utf8_lossy(&gunzip(&bytes)?).into_owned(),
        _ => String::from_utf8_lossy(&bytes).into_owned(),
    };
    Ok(Reply { status, content_type, text })
}

fn gunzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut plain = Vec::new();
    // A test program's bound: no recorded answer is near it.
    let limit = 256 << 20;
    flate2::read::MultiGzDecoder::new(bytes).take(limit + 1).read_to_end(&mut plain)?;
    if plain.len() as u64 > limit {
        bail!("the answer is larger than {limit} bytes unpacked");
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_escaped_and_repeated_ones_kept() {
        let client = Client { http: reqwest_client(), base: "http://h:1/prefix".to_owned() };
        let params = vec![("query".to_owned(), "{a=\"b\"} |= `+&`".to_owned()), ("query".to_owned(), "2".to_owned())];
        let request = Request { path: "/p".to_owned(), params, ..Request::default() };
        assert_eq!(client.target(&request), "http://h:1/prefix/p?query=%7Ba%3D%22b%22%7D+%7C%3D+%60%2B%26%60&query=2");
    }

    #[test]
    fn a_request_that_cannot_be_sent_is_refused_before() {
        let bad_header = Request { method: "GET".to_owned(), headers: vec![("a b".to_owned(), "c".to_owned())], ..Request::default() };
        assert!(bad_header.validate().is_err());
        let empty_value =
            Request { method: "GET".to_owned(), headers: vec![("Content-Type".to_owned(), String::new())], ..Request::default() };
        assert!(empty_value.validate().is_ok());
    }

    fn reqwest_client() -> reqwest::Client {
        crate::install_tls();
        reqwest::Client::new()
    }
}
