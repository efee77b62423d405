//! One receiver: where it is, how we show who we are, and how a request looks.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER, USER_AGENT};
use reqwest::redirect;
use reqwest::{Client, RequestBuilder, Response, Url};

use super::answer;
use super::backoff::BackoffBounds;
use super::gate::Gate;
use super::limited::LimitedTenants;
use super::oauth2::{OAuth2, TokenError, TokenSource};
use super::print;
use super::renewed::Renewed;
use super::tls::TlsFiles;
use crate::clock;
use crate::observe::clients::ClientLabels;

/// A connection lives at most this long, so that load spreads and names are resolved again.
const CONNECTION_LIFE: Duration = Duration::from_secs(300);
/// Requests under way at once.
const CONCURRENCY: usize = 2;
/// Redirects that one request follows.
const MAX_REDIRECTS: usize = 4;
/// How much of an answer is read.
const ANSWER_BYTES: usize = 64 << 10;
const TENANT_HEADER: &str = "x-scope-orgid";

/// A value that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<secret>")
    }
}

/// What to do with batches a receiver refuses with 401, 403, 404 and the like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnClientError {
    /// Keep them and try again slowly.
    Hold,
    /// Drop and count them.
    Drop,
}

/// Where and how to push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientConfig {
    /// The push endpoint.
    pub url: String,
    /// Sent as `X-Scope-OrgID`.
    pub tenant_id: Option<String>,
    /// Age of the oldest line at which a batch is closed.
    pub batchwait: Duration,
    /// Bytes of lines and labels at which a batch is closed.
    pub batchsize: usize,
    /// Of a whole request.
    pub timeout: Duration,
    pub backoff: BackoffBounds,
    pub headers: BTreeMap<String, String>,
    /// Names its positions where there are several clients.
    pub name: Option<String>,
    /// Labels added to every stream that goes there; of a `promtail.yaml` its stages add them.
    pub external_labels: BTreeMap<String, String>,
    pub basic_auth: Option<(String, Secret)>,
    /// The password, read before every request.
    pub password_file: Option<PathBuf>,
    pub bearer_token: Option<Secret>,
    /// Read before every request, so that a new token is used at once.
    pub bearer_token_file: Option<PathBuf>,
    /// The scheme of `Authorization` before a token, where it is not `Bearer`.
    pub token_scheme: Option<String>,
    pub oauth2: Option<OAuth2>,
    pub on_4xx: OnClientError,
    /// Entries answered with 429 are dropped and counted instead of tried again.
    pub drops_rate_limited: bool,
    pub tls: TlsFiles,
    pub proxy_url: Option<String>,
    /// Redirects on the same host are followed.
    pub follows_redirects: bool,
}

impl ClientConfig {
    /// Pushes to `url`, everything else by default.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            tenant_id: None,
            batchwait: Duration::from_millis(100),
            batchsize: 1 << 20,
            timeout: Duration::from_secs(30),
            backoff: BackoffBounds::default(),
            headers: BTreeMap::new(),
            name: None,
            external_labels: BTreeMap::new(),
            basic_auth: None,
            password_file: None,
            bearer_token: None,
            bearer_token_file: None,
            token_scheme: None,
            oauth2: None,
            on_4xx: OnClientError::Hold,
            drops_rate_limited: false,
            tls: TlsFiles::default(),
            proxy_url: None,
            follows_redirects: true,
        }
    }
}

/// Why a receiver cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum ReceiverError {
    #[error("`clients[0].url` is `{url}`, which is no http(s) URL; give one like `http://tailwater:3100/loki/api/v1/push`")]
    Url { url: String },
    #[error("header `{name}` cannot be sent; correct `clients[0].headers`")]
    Header { name: String },
    #[error("cannot use `{path}`: {what}; give a readable PEM file")]
    Tls { path: PathBuf, what: String },
    #[error("`tls_config.server_name` is `{name}`; give a host name")]
    ServerName { name: String },
    #[error("cannot use the proxy `{url}`; give a URL like `http://proxy:3128`")]
    Proxy { url: String },
    #[error("cannot make an HTTP client")]
    Client(#[source] reqwest::Error),
}

/// An answer, or none.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    /// The beginning of the body; only of answers that are not 2xx.
    pub(crate) body: String,
}

#[derive(Debug, Clone)]
pub(crate) struct Receiver {
    http: Arc<Renewed<Client>>,
    /// Which of the clients it is.
    pub(crate) client: usize,
    pub(crate) url: Url,
    tokens: Option<Arc<TokenSource>>,
    pub(crate) config: Arc<ClientConfig>,
    /// Names it in metrics.
    pub(crate) labels: ClientLabels,
    /// Entries are printed and nothing is sent.
    pub(crate) prints: bool,
    /// Of all that is sent there.
    pub(crate) gate: Arc<Gate>,
    pub(crate) limited: Arc<LimitedTenants>,
}

impl Receiver {
    pub(crate) fn new(config: ClientConfig) -> Result<Self, ReceiverError> {
        let wrong_url = || ReceiverError::Url { url: config.url.clone() };
        let mut url: Url = config.url.parse().map_err(|_| wrong_url())?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(wrong_url());
        }
        let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
        let labelled = format!("{}{port}", url.host_str().unwrap_or_default());
        let files = config.tls.files();
        let config = Arc::new(config);
        let client = Renewed::new(client_maker(Arc::clone(&config), url.clone()), files, CONNECTION_LIFE, Instant::now())?;
        let tokens = config.oauth2.clone().map(|oauth2| TokenSource::new(oauth2, config.timeout)).transpose()?.map(Arc::new);
        if let Some(name) = config.tls.other_name(&url) {
            url.set_host(Some(name)).map_err(|_| ReceiverError::ServerName { name: name.to_owned() })?;
        }
        let labels = ClientLabels { host: labelled, tenant: config.tenant_id.clone().unwrap_or_default() };
        let gate = Arc::new(Gate::new(CONCURRENCY, config.backoff.min_period / 4));
        Ok(Self { http: Arc::new(client), client: 0, url, tokens, config, labels, prints: false, gate, limited: Arc::default() })
    }

    fn client(&self) -> Client {
        self.http.get(Instant::now())
    }

    /// Sends one request. An error means that no answer came.
    pub(crate) async fn push(&self, body: Bytes, tenant: Option<&str>) -> Result<Answer, reqwest::Error> {
        if self.prints {
            return Ok(printed(&body, tenant));
        }
        // A tenant that lines name comes before the client's own. One that no header can hold is sent as far as it can.
        let visible = tenant.map(|tenant| tenant.chars().filter(|character| !character.is_control()).collect::<String>());
        let tenant = visible.and_then(|tenant| HeaderValue::from_bytes(tenant.as_bytes()).ok());
        let post = |url: Url| {
            let request = self.client().post(url).header(CONTENT_TYPE, "application/x-protobuf").body(body.clone());
            tenant.iter().fold(request, |request, tenant| request.header(TENANT_HEADER, tenant))
        };
        let (mut response, status) = match self.follow(self.url.clone(), post).await? {
            Ok(answered) => answered,
            Err(error) => return Ok(Answer { status: error.status(), retry_after: None, body: error.to_string() }),
        };
        if status == 401
            && let Some(tokens) = &self.tokens
        {
            tokens.forget().await;
        }
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let now = jiff::Timestamp::from_nanosecond(clock::now().into()).unwrap_or_default();
        let retry_after = header(RETRY_AFTER).and_then(|wait| answer::retry_after(wait, header(DATE), now));
        let mut body = Vec::new();
        // Read to its end, so that the connection is used again.
        while let Ok(Some(chunk)) = response.chunk().await {
            let room = ANSWER_BYTES.saturating_sub(body.len());
            if room == 0 {
                break;
            }
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        }
        Ok(Answer { status, retry_after, body: String::from_utf8_lossy(&body).into_owned() })
    }

    /// Asks `GET /ready`. Returns the status, and whether the receiver announces itself as tailwater.
    pub(crate) async fn ask_ready(&self) -> Result<(u16, bool), reqwest::Error> {
        let (status, headers) = self.get("/ready").await?;
        Ok((status, headers.contains_key("x-tailwater-version")))
    }

    /// Asks for another path of the receiver. Returns the status and its `Date`.
    pub(crate) async fn look(&self, path: &str) -> Result<(u16, Option<String>), reqwest::Error> {
        let (status, headers) = self.get(path).await?;
        Ok((status, headers.get(DATE).and_then(|date| date.to_str().ok()).map(str::to_owned)))
    }

    /// The status and headers of another path; without a token that is needed, the status that the lack of it stands for.
    async fn get(&self, path: &str) -> Result<(u16, HeaderMap), reqwest::Error> {
        let mut url = self.url.clone();
        url.set_path(path);
        url.set_query(None);
        Ok(match self.follow(url, |url| self.client().get(url)).await? {
            Ok((mut response, status)) => (status, std::mem::take(response.headers_mut())),
            Err(error) => (error.status(), HeaderMap::new()),
        })
    }

    /// Sends what `request` makes for a URL, and the same again to where answers redirect it. Returns the last answer with what its status means.
    async fn follow(
        &self,
        mut url: Url,
        request: impl Fn(Url) -> RequestBuilder,
    ) -> Result<Result<(Response, u16), TokenError>, reqwest::Error> {
        let mut redirected_by = None;
        let mut left = MAX_REDIRECTS;
        loop {
            let response = match self.authorize(request(url.clone())).await {
                Ok(request) => request.send().await?,
                Err(error) => return Ok(Err(error)),
            };
            let status = response.status().as_u16();
            let Some(there) = self.elsewhere(&url, &response).filter(|_| left > 0) else {
                // A page where somebody is to log in has taken nothing, however well it went.
                let meant = redirected_by.filter(|_| is_page(&response)).unwrap_or(status);
                return Ok(Ok((response, meant)));
            };
            (url, redirected_by) = (there, Some(status));
            left -= 1;
        }
    }

    /// Where an answer sends a request, if it may go there as it is: to another place of the same host, and not out of TLS. Others ask for something else
    /// (303), or lead to strangers.
    fn elsewhere(&self, from: &Url, response: &Response) -> Option<Url> {
        let is_the_same_request = matches!(response.status().as_u16(), 301 | 302 | 307 | 308);
        let location = response.headers().get(LOCATION).filter(|_| is_the_same_request && self.config.follows_redirects)?;
        let there = from.join(location.to_str().ok()?).ok()?;
        let is_safe = there.scheme() == "https" || there.scheme() == from.scheme();
        (is_safe && there.host_str() == from.host_str()).then_some(there)
    }

    /// Shows who we are. An error means that a token is needed and there is none.
    async fn authorize(&self, request: RequestBuilder) -> Result<RequestBuilder, TokenError> {
        if let Some((user, password)) = &self.config.basic_auth {
            let of_file = match &self.config.password_file {
                Some(path) => secret_of(path).await,
                None => None,
            };
            return Ok(request.basic_auth(user, Some(of_file.as_deref().unwrap_or(&password.0))));
        }
        let of_server = match &self.tokens {
            Some(tokens) => Some(tokens.authorization().await?),
            None => None,
        };
        let token = match &self.config.bearer_token_file {
            Some(path) => secret_of(path).await,
            None => self.config.bearer_token.as_ref().map(|token| token.0.clone()),
        };
        let scheme = self.config.token_scheme.as_deref().unwrap_or("Bearer");
        let shown = of_server.or_else(|| token.map(|token| format!("{scheme} {token}")));
        Ok(match shown.and_then(|shown| HeaderValue::try_from(shown).ok()) {
            Some(mut value) => {
                value.set_sensitive(true);
                request.header(AUTHORIZATION, value)
            }
            None => request,
        })
    }
}

fn is_page(response: &Response) -> bool {
    response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"))
}

/// How an HTTP client for requests to `url` is made.
fn client_maker(config: Arc<ClientConfig>, url: Url) -> impl Fn() -> Result<Client, ReceiverError> {
    move || {
        let (mut url, mut headers) = (url.clone(), headers(&config)?);
        let builder = config.tls.secure(Client::builder(), config.proxy_url.as_deref())?;
        let builder = config.tls.rename(&mut url, &mut headers, builder)?;
        builder
            .default_headers(headers)
            .timeout(config.timeout)
            // It would make a GET without body of a push.
            .redirect(redirect::Policy::none())
            .pool_idle_timeout(CONNECTION_LIFE)
            .tcp_nodelay(true)
            .build()
            .map_err(ReceiverError::Client)
    }
}

/// What a file holds now; a new one is used at once.
async fn secret_of(path: &std::path::Path) -> Option<String> {
    match tokio::fs::read_to_string(path).await {
        Ok(secret) => Some(secret.trim().to_owned()),
        Err(error) => {
            tracing::warn!(path = %path.display(), error = %error, "cannot read a password or token");
            None
        }
    }
}

/// Prints the entries of a request, and takes them as delivered.
fn printed(body: &[u8], tenant: Option<&str>) -> Answer {
    use std::io::Write;
    match print::render(body, tenant) {
        // Nobody reading any more is no reason to end.
        Ok(text) => drop(std::io::stdout().lock().write_all(text.as_bytes())),
        Err(error) => tracing::error!(error = %error, "a request cannot be shown"),
    }
    Answer { status: 204, retry_after: None, body: String::new() }
}

fn headers(config: &ClientConfig) -> Result<HeaderMap, ReceiverError> {
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("tailwater-agent/", env!("CARGO_PKG_VERSION"))));
    let tenant = config.tenant_id.as_ref().map(|tenant| (TENANT_HEADER, tenant.as_str()));
    let own = config.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in own.chain(tenant) {
        let wrong = || ReceiverError::Header { name: name.to_owned() };
        let header = HeaderName::try_from(name).map_err(|_| wrong())?;
        headers.insert(header, HeaderValue::try_from(value).map_err(|_| wrong())?);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let mut config = ClientConfig::new("http://h/push");
        config.basic_auth = Some(("user".to_owned(), Secret("hunter2".to_owned())));
        config.bearer_token = Some(Secret("token-x".to_owned()));
        let shown = format!("{config:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("token-x"), "{shown}");
    }
}
