//! Asks for the canary's lines as any reader would. Files with credentials are read before every query, so that they can be renewed.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use reqwest::{Client, RequestBuilder};
use serde_json::Value;

use crate::canary::CanaryOptions;
use crate::tls::{TlsError, authorities_of, install_provider};

const PATIENCE: Duration = Duration::from_secs(10);
/// Lines are asked for from a little before the oldest: clocks of nodes differ.
const MARGIN: Duration = Duration::from_secs(60);
/// More than can be waited for and looked at; what a query may give by default.
const MOST_LINES: &str = "5000";

#[derive(Debug, thiserror::Error)]
pub enum ReaderError {
    #[error("cannot read `{path}`: {source}")]
    File { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Authority(#[from] TlsError),
    #[error("the query failed: {0}")]
    Query(reqwest::Error),
    #[error("the query was answered with {status}: {text}")]
    Refused { status: u16, text: String },
}

#[derive(Debug)]
pub(super) struct Reader {
    client: Client,
    options: CanaryOptions,
    query: String,
}

impl Reader {
    pub(super) fn new(options: &CanaryOptions, query: String) -> Result<Self, ReaderError> {
        install_provider();
        let mut client = Client::builder().timeout(PATIENCE);
        if let Some(path) = &options.authority {
            client = client.tls_certs_only(authorities_of(path)?);
        }
        Ok(Self { client: client.build().map_err(ReaderError::Query)?, options: options.clone(), query })
    }

    /// The answer of a query over the last time.
    pub(super) async fn read(&self, last: Duration) -> Result<Value, ReaderError> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (start, end) = (now.saturating_sub(last + MARGIN).as_nanos().to_string(), (now + MARGIN).as_nanos().to_string());
        let pairs = [("query", self.query.as_str()), ("start", &start), ("end", &end), ("limit", MOST_LINES), ("direction", "forward")];
        let parameters = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        let url = format!("{}/loki/api/v1/query_range?{parameters}", self.options.url.trim_end_matches('/'));
        let answer = self.authorized(self.client.get(url))?.send().await.map_err(|error| ReaderError::Query(error.without_url()))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| ReaderError::Query(error.without_url()))?;
        let refused = || ReaderError::Refused { status: status.as_u16(), text: text.chars().take(200).collect() };
        if !status.is_success() {
            return Err(refused());
        }
        serde_json::from_str(&text).map_err(|_| refused())
    }

    fn authorized(&self, mut request: RequestBuilder) -> Result<RequestBuilder, ReaderError> {
        if let Some(tenant) = &self.options.tenant {
            request = request.header("x-scope-orgid", tenant);
        }
        if let Some(path) = &self.options.bearer_token {
            request = request.bearer_auth(read(path)?.trim());
        }
        if let Some(username) = &self.options.username {
            let password = self.options.password.as_deref().map(read).transpose()?;
            request = request.basic_auth(read(username)?.trim(), password.as_deref().map(str::trim));
        }
        Ok(request)
    }
}

fn read(path: &Path) -> Result<String, ReaderError> {
    std::fs::read_to_string(path).map_err(|source| ReaderError::File { path: path.to_owned(), source })
}
