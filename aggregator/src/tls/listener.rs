//! TLS connections, each with what its client certificate proves.
//!
//! Where clients are known by certificates, one is asked for and need not be shown; one that is shown has to be signed by their authority, or there
//! is no connection. The server's own files and that authority are taken as they are when a connection comes, so that both may be renewed while
//! running. Handshakes run aside, so many at once and no longer than [`PATIENCE`]; a client that is slow to greet delays nobody.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::tls::certificate::common_name;
use crate::tls::{KnownClients, TlsFiles, TlsMetrics};

const PATIENCE: Duration = Duration::from_secs(10);
const HANDSHAKES: usize = 64;

/// What is known of the other end of a connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Peer {
    /// It has shown the certificate of a known client.
    pub(crate) is_known: bool,
}

/// A connection after its handshake.
pub(crate) struct Connection {
    stream: TlsStream<TcpStream>,
    address: SocketAddr,
    peer: Peer,
}

/// Connections in the order in which they greeted.
pub(crate) struct TlsListener {
    ready: mpsc::Receiver<Connection>,
    address: SocketAddr,
}

impl TlsListener {
    /// Accepts connections until it is dropped.
    pub(crate) fn start(listener: TcpListener, greeting: Greeting) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let (out, ready) = mpsc::channel(HANDSHAKES);
        tokio::spawn(accept(listener, greeting, out));
        Ok(Self { ready, address })
    }
}

async fn accept(listener: TcpListener, greeting: Greeting, out: mpsc::Sender<Connection>) {
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
        let (greeting, out) = (greeting.clone(), out.clone());
        tokio::spawn(async move {
            let greeted = timeout(PATIENCE, greeting.greet(stream, address)).await;
            drop(slot);
            match greeted {
                Ok(Ok(connection)) => drop(out.send(connection).await),
                Ok(Err(error)) => tracing::debug!(%error, %address, "a connection failed"),
                Err(_) => tracing::debug!(%address, "a client did not greet in time"),
            }
        });
    }
}

/// What connections are made with. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Greeting {
    pub(crate) files: TlsFiles,
    /// Who is known when a connection comes; `None`: no certificate is asked for.
    pub(crate) clients: Arc<dyn Fn() -> Option<KnownClients> + Send + Sync>,
    pub(crate) metrics: TlsMetrics,
}

impl Greeting {
    async fn greet(&self, stream: TcpStream, address: SocketAddr) -> std::io::Result<Connection> {
        stream.set_nodelay(true)?;
        let clients = (self.clients)();
        let config = self.files.server(clients.as_ref(), &self.metrics);
        let config = config.inspect_err(|error| tracing::warn!(%error, "connections fail")).map_err(std::io::Error::other)?;
        let stream = TlsAcceptor::from(Arc::new(config)).accept(stream).await?;
        // TLS has verified the first certificate; without one, nothing is proved.
        let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let is_known = clients.zip(shown).is_some_and(|(clients, certificate)| clients.is_named(common_name(certificate).as_deref()));
        Ok(Connection { stream, address, peer: Peer { is_known } })
    }
}

/// A stream that knows its peer.
pub(crate) struct PeerStream {
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
