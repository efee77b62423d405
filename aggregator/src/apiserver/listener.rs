//! TLS connections, each with what its client certificate proves.
//!
//! A certificate is asked for and need not be shown; one that is shown has to be signed as the front proxy's is, or there is no connection.
//! The server's own files and the front proxy's authority are taken as they are when a connection comes, so that both may be renewed while
//! running. Handshakes run aside, so many at once and no longer than [`PATIENCE`]; a client that is slow to greet delays nobody.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::apiserver::common_name::common_name;
use crate::apiserver::front_proxy::FrontProxy;

const PATIENCE: Duration = Duration::from_secs(10);
const HANDSHAKES: usize = 64;

/// The server's certificate chain and key, PEM files.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read a {what} from `{path}`: {reason}")]
    File { what: &'static str, path: PathBuf, reason: String },
    #[error("the certificate and the key cannot be used together: {0}")]
    Pair(rustls::Error),
    #[error("the front proxy's authority cannot be used: {0}")]
    Authority(rustls::server::VerifierBuilderError),
}

impl TlsFiles {
    /// What a connection is made with now.
    pub(super) fn server(&self, front_proxy: Option<&FrontProxy>) -> Result<ServerConfig, TlsError> {
        let file = |what, path: &Path, reason: String| TlsError::File { what, path: path.to_owned(), reason };
        let chain = CertificateDer::pem_file_iter(&self.certificate).and_then(|chain| chain.collect::<Result<Vec<_>, _>>());
        let chain = chain.map_err(|error| file("certificate", &self.certificate, error.to_string()))?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| file("key", &self.key, error.to_string()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().map_err(TlsError::Pair)?;
        let builder = match front_proxy {
            Some(front_proxy) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(front_proxy.roots.clone(), provider).allow_unauthenticated();
                builder.with_client_cert_verifier(verifier.build().map_err(TlsError::Authority)?)
            }
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(TlsError::Pair)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// What is known of the other end of a connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Peer {
    /// It is the cluster's API server, which tells who asks.
    pub(super) is_front_proxy: bool,
}

/// A connection after its handshake.
pub(super) struct Connection {
    stream: TlsStream<TcpStream>,
    address: SocketAddr,
    peer: Peer,
}

/// Connections in the order in which they greeted.
pub(super) struct TlsListener {
    ready: mpsc::Receiver<Connection>,
    address: SocketAddr,
}

impl TlsListener {
    /// Accepts connections until it is dropped.
    pub(super) fn start(listener: TcpListener, files: TlsFiles, front_proxy: watch::Receiver<Option<FrontProxy>>) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let (out, ready) = mpsc::channel(HANDSHAKES);
        tokio::spawn(accept(listener, files, front_proxy, out));
        Ok(Self { ready, address })
    }
}

async fn accept(listener: TcpListener, files: TlsFiles, front_proxy: watch::Receiver<Option<FrontProxy>>, out: mpsc::Sender<Connection>) {
    let slots = Arc::new(Semaphore::new(HANDSHAKES));
    while !out.is_closed() {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            () = out.closed() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Such as no descriptor being left: trying again at once would spin.
                tracing::warn!(%error, "a connection cannot be accepted");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (files, front_proxy, out) = (files.clone(), front_proxy.borrow().clone(), out.clone());
        tokio::spawn(async move {
            let greeted = timeout(PATIENCE, greet(stream, address, &files, front_proxy.as_ref())).await;
            drop(slot);
            match greeted {
                Ok(Ok(connection)) => drop(out.send(connection).await),
                Ok(Err(error)) => tracing::debug!(%error, %address, "a connection failed"),
                Err(_) => tracing::debug!(%address, "a client did not greet in time"),
            }
        });
    }
}

async fn greet(stream: TcpStream, address: SocketAddr, files: &TlsFiles, front_proxy: Option<&FrontProxy>) -> std::io::Result<Connection> {
    stream.set_nodelay(true)?;
    let config =
        files.server(front_proxy).inspect_err(|error| tracing::warn!(%error, "connections fail")).map_err(std::io::Error::other)?;
    let stream = TlsAcceptor::from(Arc::new(config)).accept(stream).await?;
    // TLS has verified the first certificate; without one, nothing is proved.
    let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let name = shown.and_then(|certificate| common_name(certificate));
    let is_front_proxy = front_proxy.zip(name).is_some_and(|(front_proxy, name)| front_proxy.is_named(&name));
    Ok(Connection { stream, address, peer: Peer { is_front_proxy } })
}

/// A stream that knows its peer.
pub(super) struct PeerStream {
    stream: TlsStream<TcpStream>,
    peer: Peer,
}

impl tokio::io::AsyncRead for PeerStream {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

impl tokio::io::AsyncWrite for PeerStream {
    fn poll_write(
        self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        std::pin::Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: std::pin::Pin<&mut Self>, context: &mut std::task::Context<'_>) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: std::pin::Pin<&mut Self>, context: &mut std::task::Context<'_>) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

impl Listener for TlsListener {
    type Io = PeerStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (PeerStream, SocketAddr) {
        match self.ready.recv().await {
            Some(Connection { stream, address, peer }) => (PeerStream { stream, peer }, address),
            // The task that accepts ends with the receiver only.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(self.address)
    }
}

impl Connected<IncomingStream<'_, TlsListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, TlsListener>) -> Self {
        stream.io().peer.clone()
    }
}
