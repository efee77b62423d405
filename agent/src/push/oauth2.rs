//! Tokens by OAuth 2's client credentials, as Prometheus' HTTP clients get them.
//!
//! A token is asked for before the first request and kept until shortly before it expires. The client shows who it is in a header; a server that refuses that
//! is asked with the credentials in the body. Without a token no request is made: the lane sees it as an answer and tries again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use reqwest::Client;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use tokio::sync::Mutex;

use super::receiver::{ReceiverError, Secret};
use super::tls::TlsFiles;

/// A token is not used in its last moments.
const EXPIRES_EARLY: Duration = Duration::from_secs(10);

/// Who asks whom for tokens.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OAuth2 {
    pub client_id: String,
    pub client_secret: Option<Secret>,
    /// Read whenever a token is asked for.
    pub client_secret_file: Option<PathBuf>,
    pub scopes: Vec<String>,
    pub token_url: String,
    pub endpoint_params: BTreeMap<String, String>,
    pub tls: TlsFiles,
    pub proxy_url: Option<String>,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("cannot read `client_secret_file`: {0}")]
    Secret(#[from] std::io::Error),
    #[error("no answer of `token_url`: {0}")]
    NoAnswer(#[from] reqwest::Error),
    #[error("`token_url` answers {status}: {body}")]
    Refused { status: u16, body: String },
    #[error("`token_url` answers without an `access_token`")]
    NoToken,
}

impl TokenError {
    /// As an answer of the receiver it would mean the same.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Refused { status: 400..=403, .. } | Self::NoToken | Self::Secret(_) => 401,
            Self::Refused { .. } | Self::NoAnswer(_) => 503,
        }
    }
}

#[derive(Debug, Clone)]
struct Token {
    /// With its type, as the header has it.
    value: String,
    expires: Option<Instant>,
}

#[derive(serde::Deserialize)]
struct Answer {
    #[serde(default)]
    access_token: String,
    #[serde(default)]
    token_type: String,
    expires_in: Option<serde_json::Value>,
}

impl Answer {
    fn token(self, now: Instant) -> Result<Token, TokenError> {
        if self.access_token.is_empty() {
            return Err(TokenError::NoToken);
        }
        let kind = match self.token_type.as_str() {
            "" => "Bearer",
            kind if kind.eq_ignore_ascii_case("bearer") => "Bearer",
            kind => kind,
        };
        let seconds =
            self.expires_in.and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok())).filter(|seconds| *seconds > 0);
        let expires = seconds.map(|seconds| now + Duration::from_secs(seconds).saturating_sub(EXPIRES_EARLY));
        Ok(Token { value: format!("{kind} {}", self.access_token), expires })
    }
}

#[derive(Debug)]
pub(crate) struct TokenSource {
    config: OAuth2,
    client: Client,
    /// The last token, and whether the credentials go into the body.
    state: Mutex<(Option<Token>, bool)>,
}

impl TokenSource {
    pub(crate) fn new(config: OAuth2, timeout: Duration) -> Result<Self, ReceiverError> {
        let builder = config.tls.secure(Client::builder().timeout(timeout), config.proxy_url.as_deref())?;
        let client = builder.build().map_err(ReceiverError::Client)?;
        Ok(Self { config, client, state: Mutex::default() })
    }

    /// The value of `Authorization`.
    pub(crate) async fn authorization(&self) -> Result<String, TokenError> {
        let mut state = self.state.lock().await;
        if let Some(token) = state.0.as_ref().filter(|token| token.expires.is_none_or(|expires| Instant::now() < expires)) {
            return Ok(token.value.clone());
        }
        let answer = match self.ask(state.1).await {
            // Some servers want the credentials in the other place.
            Err(TokenError::Refused { .. }) => {
                let answer = self.ask(!state.1).await;
                state.1 ^= answer.is_ok();
                answer
            }
            answer => answer,
        };
        let token = answer?;
        state.0 = Some(token.clone());
        Ok(token.value)
    }

    /// The token was refused: the next request asks for another.
    pub(crate) async fn forget(&self) {
        self.state.lock().await.0 = None;
    }

    async fn ask(&self, is_in_body: bool) -> Result<Token, TokenError> {
        let config = &self.config;
        let secret = match &config.client_secret_file {
            Some(path) => tokio::fs::read_to_string(path).await?.trim().to_owned(),
            None => config.client_secret.as_ref().map(|secret| secret.0.clone()).unwrap_or_default(),
        };
        let scopes = config.scopes.join(" ");
        let mut fields = vec![("grant_type", "client_credentials")];
        fields.extend((!scopes.is_empty()).then_some(("scope", scopes.as_str())));
        fields.extend(config.endpoint_params.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let mut request = self.client.post(&config.token_url).header(ACCEPT, "application/json");
        if is_in_body {
            fields.extend([("client_id", config.client_id.as_str()), ("client_secret", secret.as_str())]);
        } else {
            request = request.basic_auth(encoded(&config.client_id), Some(encoded(&secret)));
        }
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form(&fields));
        let response = request.send().await?;
        let status = response.status();
        let body = response.text().await?;
        if !status.is_success() {
            let body = body.chars().take(200).collect();
            return Err(TokenError::Refused { status: status.as_u16(), body });
        }
        let answer: Answer = serde_json::from_str(&body).map_err(|_| TokenError::NoToken)?;
        answer.token(Instant::now())
    }
}

/// As a form has it.
fn form(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// One value as a form has it.
fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::Router;
    use axum::http::{HeaderMap, StatusCode};
    use axum::routing::post;

    use super::*;

    #[test]
    fn forms_are_encoded() {
        assert_eq!(form(&[("a b", "c&d=e"), ("x", "ü")]), "a+b=c%26d%3De&x=%C3%BC");
        assert_eq!(encoded("p@ss w/d"), "p%40ss+w%2Fd");
    }

    /// Gives tokens to whoever shows the credentials in the body, and counts how often it is asked.
    async fn token_server() -> (String, Arc<AtomicUsize>) {
        let asked: Arc<AtomicUsize> = Arc::default();
        let counted = Arc::clone(&asked);
        let answer = move |headers: HeaderMap, body: String| {
            let number = counted.fetch_add(1, Ordering::Relaxed);
            let is_right = body == "grant_type=client_credentials&scope=a+b&audience=x&client_id=me&client_secret=s%26cret";
            async move {
                match headers.contains_key("authorization") || !is_right {
                    true => (StatusCode::UNAUTHORIZED, "not so".to_owned()),
                    false => (StatusCode::OK, format!("{{\"access_token\": \"t{number}\", \"expires_in\": 3600}}")),
                }
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, Router::new().route("/token", post(answer))).await.unwrap() });
        (url, asked)
    }

    #[tokio::test]
    async fn a_token_is_asked_for_once_and_as_the_server_wants_it() {
        crate::starting::install_crypto();
        let (token_url, asked) = token_server().await;
        let config = OAuth2 {
            client_id: "me".to_owned(),
            client_secret: Some(Secret("s&cret".to_owned())),
            scopes: vec!["a".to_owned(), "b".to_owned()],
            endpoint_params: BTreeMap::from([("audience".to_owned(), "x".to_owned())]),
            token_url,
            ..OAuth2::default()
        };
        let source = TokenSource::new(config.clone(), Duration::from_secs(30)).unwrap();
        for _ in 0..3 {
            assert_eq!(source.authorization().await.unwrap(), "Bearer t1");
        }
        assert_eq!(asked.load(Ordering::Relaxed), 2, "in the header, then in the body");
        source.forget().await;
        assert_eq!((source.authorization().await.unwrap().as_str(), asked.load(Ordering::Relaxed)), ("Bearer t2", 3));
        let wrong = OAuth2 { client_secret: Some(Secret("no".to_owned())), ..config };
        let error = TokenSource::new(wrong, Duration::from_secs(30)).unwrap().authorization().await.unwrap_err();
        assert_eq!(error.status(), 401, "{error}");
    }

    #[test]
    fn tokens_have_a_type_and_an_end() {
        let now = Instant::now();
        let token = |text: &str| serde_json::from_str::<Answer>(text).unwrap().token(now);
        let plain = token(r#"{"access_token": "t"}"#).unwrap();
        assert_eq!((plain.value.as_str(), plain.expires), ("Bearer t", None));
        let typed = token(r#"{"access_token": "t", "token_type": "bearer", "expires_in": "3600"}"#).unwrap();
        assert_eq!((typed.value.as_str(), typed.expires), ("Bearer t", Some(now + Duration::from_secs(3590))));
        assert_eq!(token(r#"{"access_token": "t", "token_type": "MAC", "expires_in": 5}"#).unwrap().expires, Some(now));
        assert!(matches!(token("{}"), Err(TokenError::NoToken)));
    }
}
