//! The running server: whether it answers, is ready, reaches its store, and what its figures say.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::{Duration, SystemTime};

use reqwest::header::{DATE, HeaderMap};
use reqwest::{Client, Url};
use tailwater_agent::causes::with_causes;
use tailwater_agent::doctor::Finding;
use tailwater_agent::doctor::clock::{self, Tolerance};
use tailwater_agent::doctor::reach::{Advice, PATIENCE, reach};

use crate::config::Config;
use crate::doctor::exposition::Exposition;
use crate::doctor::{DoctorOptions, figures};
use crate::tls::authorities_of;

const CHECK: &str = "server";
const ADVICE: Advice = Advice {
    name: "correct --url, or the cluster's DNS",
    connection: "start the aggregator (its log's last line says why it ended), or name another one by --url; look at network policies on the way",
};

const MOST_SKEW: Option<Duration> = Some(Duration::from_secs(300));
/// `now` and `1h` mean another time there.
const OF_SERVER: Tolerance = Tolerance {
    whose: "the aggregator",
    ahead: MOST_SKEW,
    behind: MOST_SKEW,
    because: "what `now` means here misses the newest lines there",
};

/// A server that is asked.
#[derive(Debug)]
pub(super) struct Server {
    client: Client,
    /// Without a slash at its end.
    url: String,
    token: Option<String>,
}

/// What a server answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl Answer {
    /// Its words, as far as they fit into a line.
    pub(super) fn words(&self) -> String {
        self.text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(200).collect()
    }
}

impl Server {
    fn new(options: &DoctorOptions, config: &Config) -> Result<Self, String> {
        let mut client = Client::builder().timeout(PATIENCE);
        let authority = options.authority.as_deref().or(config.tls.peer_authorities());
        if let Some(path) = authority {
            client = client.tls_certs_merge(authorities_of(path).map_err(|error| error.to_string())?);
        }
        if options.url.is_none() {
            // On this machine its certificate has another name.
            client = client.tls_danger_accept_invalid_certs(true);
        }
        let unreadable = |path: &Path, error: std::io::Error| format!("cannot use `{}`: {error}", path.display());
        let token = options.bearer_token_file.as_ref().map(|path| std::fs::read_to_string(path).map_err(|error| unreadable(path, error)));
        let url = options.url.clone().unwrap_or_else(|| own_url(config)).trim_end_matches('/').to_owned();
        let client = client.build().map_err(|error| error.to_string())?;
        Ok(Self { client, url, token: token.transpose()?.map(|text| text.trim().to_owned()) })
    }

    /// `path` with its query; `tenant` goes into X-Scope-OrgID.
    pub(super) async fn ask(&self, path: &str, tenant: Option<&str>) -> Result<Answer, reqwest::Error> {
        let mut request = self.client.get(format!("{}{path}", self.url));
        if let Some(tenant) = tenant {
            request = request.header("x-scope-orgid", tenant);
        }
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Ok(Answer { status, headers, text: answer.text().await? })
    }
}

/// Where a server with this configuration answers on this machine.
fn own_url(config: &Config) -> String {
    let scheme = if config.tls.is_on() { "https" } else { "http" };
    let mut address = config.listen;
    address.set_ip(match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        given => given,
    });
    format!("{scheme}://{address}")
}

/// What was seen, and the server where it answers and is ready.
pub(super) async fn examine(options: &DoctorOptions, config: &Config) -> (Vec<Finding>, Option<Server>) {
    let server = match Server::new(options, config) {
        Ok(server) => server,
        Err(reason) => return (vec![Finding::problem(CHECK, reason, "correct --ca-file, --bearer-token-file or `tls.ca`")], None),
    };
    let Ok(url) = Url::parse(&server.url) else {
        let evidence = format!("`{}` is no URL", server.url);
        return (vec![Finding::problem(CHECK, evidence, "write --url as in http://tailwater-aggregator:3100")], None);
    };
    let mut findings = match reach(&url, ADVICE).await {
        Ok(fine) => vec![fine],
        Err(problem) => return (vec![problem], None),
    };
    match readiness(&server).await {
        Ok(found) => findings.extend(found),
        Err(problem) => {
            findings.push(problem);
            return (findings, None);
        }
    }
    findings.extend(figures_of(&server).await);
    (findings, Some(server))
}

async fn readiness(server: &Server) -> Result<Vec<Finding>, Finding> {
    let url = &server.url;
    let asked = SystemTime::now();
    let answer = server.ask("/ready", None).await.map_err(|error| no_answer(url, &error))?;
    let answered = SystemTime::now();
    match answer.status {
        200..=299 => {}
        502 | 504 => {
            let evidence = format!("`{url}` is a gateway that reaches no aggregator ({})", answer.status);
            let advice = "start an aggregator, and look at the network policy between gateway and aggregators; the gateway's log names it";
            return Err(Finding::problem("gateway", evidence, advice));
        }
        503 => {
            let advice = "it stops or has not started yet: look at its log";
            return Err(Finding::problem("ready", format!("`{url}` is not ready: {}", answer.words()), advice));
        }
        status => {
            let evidence = format!("`{url}` answers {status} to /ready: {}", answer.words());
            return Err(Finding::problem(CHECK, evidence, "name an aggregator, or the gateway before it, by --url"));
        }
    }
    let mut findings = vec![Finding::fine("ready", format!("`{url}` is ready"))];
    let date = answer.headers.get(DATE).and_then(|date| date.to_str().ok());
    findings.extend(date.and_then(|date| clock::examine(date, asked, answered, OF_SERVER)));
    let strict = server.ask("/ready?strict=1", None).await.map_err(|error| no_answer(url, &error))?;
    findings.push(match strict.status {
        200..=299 => Finding::fine("store", "it has stored its last segment, and the store answers it"),
        _ => {
            let advice = "see the checks of the bucket above; if those are fine here, its pod has another way there, or other keys";
            Finding::problem("store", format!("`{url}/ready?strict=1` says {}: {}", strict.status, strict.words()), advice)
        }
    });
    Ok(findings)
}

fn no_answer(url: &str, error: &reqwest::Error) -> Finding {
    let evidence = format!("no answer from `{url}`: {}", with_causes(error));
    if url.starts_with("https://") && !error.is_timeout() {
        return Finding::problem("tls", evidence, "give its authority as --ca-file, and the name that is in its certificate by --url");
    }
    Finding::problem(CHECK, evidence, "an aggregator with `tls.certificate` is asked by https://; else look at its log")
}

async fn figures_of(server: &Server) -> Vec<Finding> {
    match server.ask("/metrics", None).await {
        Ok(answer) if answer.status == 200 => figures::judge(&Exposition::parse(&answer.text), now_seconds()),
        Ok(answer) => {
            let evidence = format!("`{}` answers {} to /metrics, so its figures are not known", server.url, answer.status);
            vec![Finding::warning("figures", evidence, "a gateway does not show them: name an aggregator by --url")]
        }
        Err(error) => vec![no_answer(&server.url, &error)],
    }
}

pub(super) fn now_seconds() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_asked_where_it_listens() {
        let mut config = Config::default();
        for (listen, url) in
            [("0.0.0.0:3100", "http://127.0.0.1:3100"), ("[::]:3100", "http://[::1]:3100"), ("10.0.0.7:80", "http://10.0.0.7:80")]
        {
            config.listen = listen.parse().expect("an address");
            assert_eq!(own_url(&config), url);
        }
        config.tls.certificate = "tls.crt".into();
        assert_eq!(own_url(&config), "https://10.0.0.7:80");
    }
}
