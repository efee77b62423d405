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
    config.tls = Tls { certificate: folder.path().join("tls.crt"), key: folder.path().join("tls.key") };
    config
}

fn log_level(config: &Config) -> LogLevelControl {
    LogLevelControl::new(config.log_level, |_| {})
}

/// Puts another certificate into the files; the authority that signed it.
fn renewed(kube: &FakeKube, signer: Signer, folder: &Path) -> String {
    let (certificate, authority) = kube.issue(signer, "aggregator", &["127.0.0.1"]).expect("a certificate");
    std::fs::write(folder.join("tls.crt"), certificate.certificate).expect("written");
    std::fs::write(folder.join("tls.key"), certificate.key).expect("written");
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
