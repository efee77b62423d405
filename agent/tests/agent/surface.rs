//! The HTTP surface as `server` of a `promtail.yaml` asks for it: encrypted, for known clients alone, without metrics.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use tailwater_agent::Config;
use tailwater_agent::reload::{self, ReloadRequests, RunError};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::observe::config_of;
use crate::support::fronts::Authority;
use crate::support::{Agent, PATIENCE, Recorder};

/// A configuration with these keys of `server`; or what is wrong with it.
fn with_server(directory: &Path, url: &str, server: &str) -> Result<Config, String> {
    write(directory, url, &format!("http_listen_address: 127.0.0.1, http_listen_port: 0, {server}"));
    read(directory)
}

fn write(directory: &Path, url: &str, server: &str) {
    let text = format!(
        "server: {{{server}}}\nclients: [{{url: '{url}', batchwait: 20ms}}]\n\
         positions: {{filename: {0}/positions.yaml}}\nscrape_configs: [{{job_name: a, static_configs: [{{labels: {{__path__: {0}/a.log}}}}]}}]\n",
        directory.display()
    );
    std::fs::write(directory.join("promtail.yaml"), text).unwrap();
}

fn read(directory: &Path) -> Result<Config, String> {
    config_of(&directory.join("promtail.yaml"), &directory.join("data"))
}

fn client(authority: &Authority, identity: Option<(String, String)>) -> reqwest::Client {
    let mut builder = reqwest::Client::builder().add_root_certificate(reqwest::Certificate::from_pem(authority.pem.as_bytes()).unwrap());
    if let Some((certificate, key)) = identity {
        builder = builder.identity(reqwest::Identity::from_pem(format!("{certificate}\n{key}").as_bytes()).unwrap());
    }
    builder.build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_surface_is_encrypted_and_shows_itself_to_known_clients() {
    let (directory, recorder, authority) = (tempfile::tempdir().unwrap(), Recorder::start(false).await, Authority::new());
    rustls::crypto::ring::default_provider().install_default().ok();
    let path = |name: &str| directory.path().join(name);
    let renew = || {
        let (certificate, key) = authority.pair("127.0.0.1");
        std::fs::write(path("cert.pem"), certificate).unwrap();
        std::fs::write(path("key.pem"), key).unwrap();
    };
    renew();
    std::fs::write(path("ca.pem"), &authority.pem).unwrap();
    let files = format!("cert_file: {}, key_file: {}", path("cert.pem").display(), path("key.pem").display());
    let known = format!("client_ca_file: {}, client_auth_type: RequireAndVerifyClientCert", path("ca.pem").display());
    for (keys, asks_for_certificate) in [(files.clone(), false), (format!("{files}, {known}"), true)] {
        let config = with_server(directory.path(), &recorder.url(), &format!("http_tls_config: {{{keys}}}")).unwrap();
        let agent = Agent::start(config).await;
        let address = agent.handle.listen_address().unwrap();
        for _ in 0..2 {
            let with = |identity| client(&authority, identity).get(format!("https://{address}/live")).send();
            assert_eq!(with(Some(authority.pair("me"))).await.unwrap().status(), 200);
            assert_eq!(with(None).await.is_ok(), !asks_for_certificate);
            assert!(with(Some(Authority::new().pair("me"))).await.is_err() || !asks_for_certificate, "of another authority");
            assert!(reqwest::get(format!("http://{address}/live")).await.is_err(), "not in the clear");
            assert!(client(&Authority::new(), None).get(format!("https://{address}/live")).send().await.is_err(), "it proves who it is");
            // As a renewal does, while it runs.
            renew();
        }
        agent.stop().await;
    }
}

/// An agent that takes new configurations, of the `promtail.yaml` there.
struct Reloaded {
    requests: ReloadRequests,
    stop: CancellationToken,
    running: JoinHandle<Result<(), RunError>>,
}

impl Reloaded {
    fn start(directory: &Path) -> Self {
        let (requests, incoming) = reload::channel();
        let (stop, directory) = (CancellationToken::new(), directory.to_owned());
        let config = read(&directory).unwrap();
        let running = tokio::spawn(reload::run(config, move || read(&directory), (requests.clone(), incoming), stop.clone()));
        Self { requests, stop, running }
    }

    async fn reload(&self) -> Result<(), String> {
        reload::request(&self.requests).await
    }

    async fn stop(self) {
        self.stop.cancel();
        self.running.await.unwrap().unwrap();
    }
}

async fn wait_until_live(client: &reqwest::Client, url: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match client.get(url).timeout(Duration::from_secs(5)).send().await {
            Ok(answer) => return assert_eq!(answer.status(), 200),
            Err(error) => assert!(Instant::now() < deadline, "{url}: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Somebody's socket at a port of its own.
fn taken() -> (TcpListener, u16) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_never_greet_hold_up_nobody() {
    let (directory, recorder, authority) = (tempfile::tempdir().unwrap(), Recorder::start(false).await, Authority::new());
    rustls::crypto::ring::default_provider().install_default().ok();
    let path = |name: &str| directory.path().join(name);
    let (certificate, key) = authority.pair("127.0.0.1");
    std::fs::write(path("cert.pem"), certificate).unwrap();
    std::fs::write(path("key.pem"), key).unwrap();
    let (listener, port) = taken();
    drop(listener);
    let files = format!("cert_file: {}, key_file: {}", path("cert.pem").display(), path("key.pem").display());
    let server = format!("http_listen_address: 127.0.0.1, http_listen_port: {port}, http_tls_config: {{{files}}}");
    write(directory.path(), &recorder.url(), &server);
    let agent = Reloaded::start(directory.path());
    let (client, url) = (client(&authority, None), format!("https://127.0.0.1:{port}/live"));
    wait_until_live(&client, &url).await;
    // If each were waited for, their turns would take minutes.
    let silent: Vec<TcpStream> = (0..400).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    let other = reqwest::Client::builder().danger_accept_invalid_certs(true).timeout(PATIENCE).build().unwrap();
    assert_eq!(other.get(&url).send().await.unwrap().status(), 200);
    agent.reload().await.unwrap();
    wait_until_live(&client, &url).await;
    drop(silent);
    agent.stop().await;
}

/// It says so, and neither ends nor serves any less.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_somebody_else_has_leaves_the_old_configuration_as_it_is() {
    let (directory, recorder) = (tempfile::tempdir().unwrap(), Recorder::start(false).await);
    rustls::crypto::ring::default_provider().install_default().ok();
    let (listener, old) = taken();
    let (other, new) = taken();
    drop(listener);
    let configure = |address: &str, port: u16| {
        write(directory.path(), &recorder.url(), &format!("http_listen_address: {address}, http_listen_port: {port}"));
    };
    configure("127.0.0.1", old);
    let agent = Reloaded::start(directory.path());
    let (client, url) = (reqwest::Client::new(), |port: u16| format!("http://127.0.0.1:{port}/live"));
    wait_until_live(&client, &url(old)).await;
    configure("127.0.0.1", new);
    let told = agent.reload().await.unwrap_err();
    assert!(told.contains(&format!("cannot listen on `127.0.0.1:{new}`")), "{told}");
    wait_until_live(&client, &url(old)).await;
    std::fs::write(directory.path().join("a.log"), "one\n").unwrap();
    recorder.wait_for(1).await;
    drop(other);
    agent.reload().await.unwrap();
    wait_until_live(&client, &url(new)).await;
    assert!(TcpListener::bind(("127.0.0.1", old)).is_ok(), "the old one is closed");
    // What only its own socket is in the way of.
    configure("0.0.0.0", new);
    agent.reload().await.unwrap();
    wait_until_live(&client, &url(new)).await;
    assert!(TcpListener::bind(("127.0.0.2", new)).is_err(), "of every address");
    agent.stop().await;
}

#[test]
fn what_cannot_be_used_for_it_is_told_before_the_start() {
    let (directory, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let path = |name: &str| directory.path().join(name).display().to_string();
    for (name, (certificate, key)) in [("a", authority.pair("a")), ("b", authority.pair("b"))] {
        std::fs::write(path(&format!("{name}.crt")), certificate).unwrap();
        std::fs::write(path(&format!("{name}.key")), key).unwrap();
    }
    let pair = format!("cert_file: {}, key_file: {}", path("a.crt"), path("a.key"));
    for (keys, told) in [
        (format!("cert_file: {}", path("a.crt")), "a certificate needs its key"),
        (format!("cert_file: {}, key_file: {}", path("a.crt"), path("none")), "cannot read `"),
        (format!("cert_file: {}, key_file: {}", path("a.crt"), path("b.key")), "certificate and key do not fit"),
        (format!("{pair}, cert: text"), "give one of `cert` and `cert_file`"),
        (format!("{pair}, client_auth_type: RequireAndVerifyClientCert"), "needs a `client_ca_file`"),
        (format!("{pair}, client_ca_file: {}", path("a.crt")), "needs a `client_auth_type`"),
        (format!("{pair}, client_auth_type: RequireAnyClientCert"), "it can be NoClientCert"),
        (format!("{pair}, certificate: x"), "unknown key `certificate`"),
    ] {
        let found = with_server(directory.path(), "http://h/push", &format!("http_tls_config: {{{keys}}}")).unwrap_err();
        assert!(found.contains("line 1") && found.contains(told), "{keys}: {found}");
    }
    assert!(with_server(directory.path(), "http://h/push", &format!("http_tls_config: {{{pair}}}, tls_min_version: VersionTLS13")).is_ok());
    assert!(with_server(directory.path(), "http://h/push", "http_tls_config: {}").is_ok(), "no certificate, no TLS");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_there_unless_they_are_switched_off() {
    let (directory, recorder) = (tempfile::tempdir().unwrap(), Recorder::start(false).await);
    for (shown, status) in [(true, 200), (false, 404)] {
        let config = with_server(directory.path(), &recorder.url(), &format!("register_instrumentation: {shown}")).unwrap();
        let agent = Agent::start(config).await;
        let address = agent.handle.listen_address().unwrap();
        for (path, expected) in [("metrics", status), ("live", 200)] {
            assert_eq!(reqwest::get(format!("http://{address}/{path}")).await.unwrap().status(), expected, "{path}");
        }
        agent.stop().await;
    }
}
