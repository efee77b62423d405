//! What stands before a receiver: a door that is open or shut, and TLS with one certificate or another.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// Both ways, until one side ends.
pub(crate) async fn pass_on(mut client: impl AsyncRead + AsyncWrite + Unpin, upstream: SocketAddr) {
    if let Ok(mut server) = TcpStream::connect(upstream).await {
        tokio::io::copy_bidirectional(&mut client, &mut server).await.ok();
    }
}

/// Before a receiver: lets through whoever connects, or is not there.
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    upstream: SocketAddr,
    open: Option<JoinHandle<()>>,
}

impl Door {
    pub(crate) async fn open_to(upstream: SocketAddr) -> Self {
        let mut door = Self { address: SocketAddr::from(([127, 0, 0, 1], 0)), upstream, open: None };
        door.open().await;
        door
    }

    pub(crate) async fn open(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.address = listener.local_addr().unwrap();
        let upstream = self.upstream;
        self.open = Some(tokio::spawn(async move {
            // Connections end with it.
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(pass_on(client, upstream));
            }
        }));
    }

    /// From now on connections are refused.
    pub(crate) async fn shut(&mut self) {
        if let Some(open) = self.open.take() {
            open.abort();
            open.await.unwrap_err();
        }
    }
}

/// Signs certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate.
    pub(crate) pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let pem = parameters.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(parameters, key), pem }
    }

    /// A certificate of this name or address and its key, as PEM.
    pub(crate) fn pair(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let signed = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        (signed.pem(), key.serialize_pem())
    }

    /// A server of this name or address, with a certificate that holds until the end of that year.
    pub(crate) fn server(&self, name: &str, until: i32) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new([name.to_owned()]).unwrap();
        parameters.not_before = date_time_ymd(2000, 1, 1);
        parameters.not_after = date_time_ymd(until, 12, 31);
        let signed = parameters.signed_by(&key, &self.issuer).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        Arc::new(builder.with_no_client_auth().with_single_cert(vec![signed.der().clone()], key).unwrap())
    }
}

/// Passes on to a receiver what comes over TLS.
pub(crate) struct TlsFront {
    pub(crate) address: SocketAddr,
    shown: Arc<Mutex<Arc<ServerConfig>>>,
}

impl TlsFront {
    pub(crate) async fn start(upstream: SocketAddr, server: Arc<ServerConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let front = Self { address: listener.local_addr().unwrap(), shown: Arc::new(Mutex::new(server)) };
        let shown = Arc::clone(&front.shown);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let acceptor = TlsAcceptor::from(Arc::clone(&shown.lock()));
                tokio::spawn(async move {
                    if let Ok(client) = acceptor.accept(client).await {
                        pass_on(client, upstream).await;
                    }
                });
            }
        });
        front
    }

    /// To those who connect from now on.
    pub(crate) fn show(&self, server: Arc<ServerConfig>) {
        *self.shown.lock() = server;
    }
}
