//! TLS of the HTTP surface, as `server.http_tls_config` of a `promtail.yaml` asks for it.
//!
//! Certificates are taken as they are when a connection comes, so that they may be renewed while running. Handshakes run aside, so many at once and no
//! longer than [`PATIENCE`]; one more ends the oldest: clients that never greet delay nobody.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::Listener;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config::Secret;

const PATIENCE: Duration = Duration::from_secs(10);
const HANDSHAKES: usize = 16;

/// Text in the PEM form, or where it is.
#[derive(Debug, Clone)]
pub(crate) enum Pem {
    Text(Secret),
    File(PathBuf),
}

impl Pem {
    fn read(&self) -> Result<Vec<u8>, String> {
        match self {
            Self::Text(text) => Ok(text.0.as_bytes().to_vec()),
            Self::File(path) => std::fs::read(path).map_err(|error| format!("cannot read `{}`: {error}", path.display())),
        }
    }
}

/// Whether clients show certificates.
#[derive(Debug, Clone)]
pub(crate) enum ClientCertificates {
    NotAsked,
    /// Those that these authorities have signed.
    Known {
        authorities: Pem,
        is_required: bool,
    },
}

/// How the surface is encrypted.
#[derive(Debug, Clone)]
pub(crate) struct ServerTls {
    pub(crate) certificate: Pem,
    pub(crate) key: Pem,
    pub(crate) clients: ClientCertificates,
    /// Nothing older than TLS 1.3 is spoken.
    pub(crate) is_newest_only: bool,
}

impl ServerTls {
    /// What a connection is made with; the error says what is wrong with certificates or key.
    pub(crate) fn config(&self) -> Result<ServerConfig, String> {
        let certificate = self.certificate.read()?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&certificate).collect();
        let chain = chain.map_err(|error| format!("the certificate is not in the PEM form: {error}"))?;
        let key = PrivateKeyDer::from_pem_slice(&self.key.read()?).map_err(|error| format!("the key is not in the PEM form: {error}"))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = if self.is_newest_only { &[&rustls::version::TLS13][..] } else { rustls::DEFAULT_VERSIONS };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions);
        let builder = builder.map_err(|error| error.to_string())?;
        let builder = match &self.clients {
            ClientCertificates::NotAsked => builder.with_no_client_auth(),
            ClientCertificates::Known { authorities, is_required } => {
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(&authorities.read()?)?), provider);
                let verifier = if *is_required { verifier } else { verifier.allow_unauthenticated() };
                builder.with_client_cert_verifier(verifier.build().map_err(|error| error.to_string())?)
            }
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| format!("certificate and key do not fit: {error}"))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn roots(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let added = certificate.map_err(|error| error.to_string()).and_then(|found| roots.add(found).map_err(|error| error.to_string()));
        added.map_err(|error| format!("a certificate of the clients' authority is of no use: {error}"))?;
    }
    if roots.is_empty() { Err("the clients' authority has no certificate".to_owned()) } else { Ok(roots) }
}

/// Connections in the order in which they greeted. Nothing of it goes on once it is dropped: the address is free then, and whoever was greeting is gone.
pub(crate) struct TlsListener {
    listener: TcpListener,
    tls: Arc<ServerTls>,
    greeting: JoinSet<Option<Greeted>>,
    /// The same, the oldest first; some may have ended.
    oldest: VecDeque<AbortHandle>,
}

type Greeted = (TlsStream<TcpStream>, SocketAddr);

impl TlsListener {
    pub(crate) fn new(listener: TcpListener, tls: ServerTls) -> Self {
        Self { listener, tls: Arc::new(tls), greeting: JoinSet::new(), oldest: VecDeque::new() }
    }

    fn greet(&mut self, stream: TcpStream, address: SocketAddr) {
        self.oldest.retain(|greeting| !greeting.is_finished());
        if self.oldest.len() == HANDSHAKES
            && let Some(longest) = self.oldest.pop_front()
        {
            longest.abort();
        }
        self.oldest.push_back(self.greeting.spawn(greet_in_time(Arc::clone(&self.tls), stream, address)));
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> Greeted {
        loop {
            let accepted = tokio::select! {
                Some(ended) = self.greeting.join_next() => match ended {
                    Ok(Some(greeted)) => return greeted,
                    _ => continue,
                },
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, address)) => self.greet(stream, address),
                // Such as no descriptor being left: trying again at once would spin.
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

async fn greet_in_time(tls: Arc<ServerTls>, stream: TcpStream, address: SocketAddr) -> Option<Greeted> {
    match timeout(PATIENCE, greet(&tls, stream)).await {
        Ok(Ok(stream)) => return Some((stream, address)),
        Ok(Err(error)) => tracing::debug!(%error, %address, "a connection failed"),
        Err(_) => tracing::debug!(%address, "a client did not greet in time"),
    }
    None
}

async fn greet(tls: &ServerTls, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
    let config = tls.config().inspect_err(|error| tracing::warn!(error, "connections to the HTTP surface fail"));
    TlsAcceptor::from(Arc::new(config.map_err(std::io::Error::other)?)).accept(stream).await
}
