//! The aggregator behind its own certificate, which is renewed while it runs.

use std::path::Path;
use std::time::{Duration, SystemTime};

use reqwest::Client;
use tailwater_aggregator::config::{Config, Tls};
use tailwater_aggregator::logging::LogLevelControl;
use tailwater_aggregator::server::{Grace, ServeError, Server};
use tailwater_fakekube::{FakeKube, Options, Signer};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

fn config(folder: &TempDir) -> Config {
    let mut config = Config { listen: "127.0.0.1:0".parse().expect("an address"), ..Config::default() };
    config.storage.filesystem.path = folder.path().join("store");
    config.tls = Tls { certificate: folder.path().join("tls.crt"), key: folder.path().join("tls.key"), ..Tls::default() };
    config
}

fn log_level(config: &Config) -> LogLevelControl {
    LogLevelControl::new(config.log_level, |_| {})
}

/// Puts another certificate into the files; the authority that signed it.
fn renewed(kube: &FakeKube, signer: Signer, folder: &Path) -> String {
    let (certificate, authority) = kube.issue(signer, "aggregator", &["127.0.0.1", "localhost"]).expect("a certificate");
    std::fs::write(folder.join("tls.crt"), certificate.certificate).expect("written");
    std::fs::write(folder.join("tls.key"), certificate.key).expect("written");
    std::fs::write(folder.join("ca.crt"), &authority).expect("written");
    authority
}

fn client(authority: &str) -> Client {
    // An error means that a provider is installed already.
    drop(rustls::crypto::ring::default_provider().install_default());
    let trusted = reqwest::Certificate::from_pem(authority.as_bytes()).expect("a certificate");
    Client::builder().tls_certs_only([trusted]).timeout(Duration::from_secs(30)).build().expect("a client")
}

#[tokio::test]
async fn a_certificate_is_renewed_without_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let kube = FakeKube::start(Options::default()).await.expect("a cluster");
    let first = renewed(&kube, Signer::Cluster, folder.path());
    let config = config(&folder);
    let level = log_level(&config);
    let server = Server::start(config, level).await.expect("an aggregator");
    let address = server.address();
    let stop = CancellationToken::new();
    let running = tokio::spawn(server.run(stop.clone(), Grace::ALONE));
    let metrics = format!("https://{address}/metrics");
    let text = client(&first).get(&metrics).send().await.expect("an answer").text().await.expect("text");
    let line = text.lines().find(|line| line.starts_with("tailwater_tls_certificate_not_after_seconds ")).expect("the metric");
    let end: f64 = line.rsplit(' ').next().and_then(|end| end.parse().ok()).expect("a time");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs_f64();
    assert!(end > now, "{line}");
    let plain = client(&first).get(format!("http://{address}/metrics")).send().await;
    assert!(plain.is_err(), "plain HTTP is not answered");
    let second = renewed(&kube, Signer::Stranger, folder.path());
    client(&second).get(&metrics).send().await.expect("the new certificate is shown");
    client(&first).get(&metrics).send().await.expect_err("the former one is not");
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(30), running).await.expect("it ends").expect("no panic").expect("in order");
}

#[tokio::test]
async fn where_clients_are_known_nobody_else_is_answered() {
    let folder = tempfile::tempdir().expect("a folder");
    let kube = FakeKube::start(Options::default()).await.expect("a cluster");
    let authority = renewed(&kube, Signer::Cluster, folder.path());
    let mut config = config(&folder);
    config.tls.client_ca = folder.path().join("ca.crt");
    let level = log_level(&config);
    let server = Server::start(config, level).await.expect("an aggregator");
    let url = format!("https://localhost:{}", server.address().port());
    let stop = CancellationToken::new();
    let running = tokio::spawn(server.run(stop.clone(), Grace::ALONE));
    let shown = |signer| {
        let (pair, _) = kube.issue(signer, "", &["gateway"]).expect("a certificate");
        let identity = reqwest::Identity::from_pem(format!("{}{}", pair.certificate, pair.key).as_bytes()).expect("an identity");
        let trusted = reqwest::Certificate::from_pem(authority.as_bytes()).expect("a certificate");
        Client::builder().tls_certs_only([trusted]).identity(identity).build().expect("a client")
    };
    let status = async |client: &Client, path: &str| {
        let answer = client.get(format!("{url}{path}")).send().await;
        answer.map(|answer| answer.status().as_u16())
    };
    let anonymous = client(&authority);
    for path in ["/live", "/ready", "/metrics"] {
        assert_eq!(status(&anonymous, path).await.expect("an answer"), 200, "{path}");
    }
    for path in ["/loki/api/v1/labels", "/config", "/nothing", "/ready/"] {
        assert_eq!(status(&anonymous, path).await.expect("an answer"), 403, "{path}");
    }
    assert_eq!(status(&shown(Signer::Cluster), "/loki/api/v1/labels").await.expect("an answer"), 200);
    status(&shown(Signer::Stranger), "/ready").await.expect_err("another authority's certificate is no connection");
    // Another authority from now on; then none that can be read.
    let (_, other) = kube.issue(Signer::Stranger, "x", &["x"]).expect("a certificate");
    std::fs::write(folder.path().join("ca.crt"), other).expect("written");
    assert_eq!(status(&shown(Signer::Stranger), "/loki/api/v1/labels").await.expect("an answer"), 200);
    std::fs::write(folder.path().join("ca.crt"), "nothing").expect("written");
    assert_eq!(status(&shown(Signer::Stranger), "/loki/api/v1/labels").await.expect("an answer"), 403);
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(30), running).await.expect("it ends").expect("no panic").expect("in order");
}

#[tokio::test]
async fn replicas_find_each_other_by_the_name_in_their_certificates() {
    let folders = [tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder")];
    let kube = FakeKube::start(Options::default()).await.expect("a cluster");
    let authority = renewed(&kube, Signer::Cluster, folders[0].path());
    let first = config(&folders[0]);
    let mut second = config(&folders[1]);
    second.tls = Tls { ca: folders[0].path().join("ca.crt"), ..first.tls.clone() };
    let level = log_level(&first);
    let stop = CancellationToken::new();
    let server = Server::start(first, level).await.expect("an aggregator");
    second.peers = vec![format!("https://localhost:{}", server.address().port())];
    tokio::spawn(server.run(stop.clone(), Grace::ALONE));
    let level = log_level(&second);
    let server = Server::start(second, level).await.expect("an aggregator");
    let metrics = format!("https://{}/metrics", server.address());
    tokio::spawn(server.run(stop.clone(), Grace::ALONE));
    for _ in 0..600 {
        let text = client(&authority).get(&metrics).send().await.expect("an answer").text().await.expect("text");
        if text.lines().any(|line| line == "tailwater_peers 2") {
            stop.cancel();
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the other replica is not seen");
}

#[tokio::test]
async fn files_that_cannot_be_used_are_told_at_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("tls.crt"), "no certificate").expect("written");
    let config = config(&folder);
    let level = log_level(&config);
    let refused = Server::start(config, level).await.err().expect("a refusal");
    assert!(matches!(refused, ServeError::Tls(_)), "{refused}");
    assert!(refused.to_string().contains("tls.c"), "{refused}");
}

#[tokio::test]
async fn peers_that_would_be_asked_in_plain_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = config(&folder);
    config.peers = vec!["http://logs:3100".to_owned()];
    let level = log_level(&config);
    let refused = Server::start(config, level).await.err().expect("a refusal");
    assert!(matches!(refused, ServeError::PlainPeers), "{refused}");
}
