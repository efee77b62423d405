//! Where HTTP is served, and for how long.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::admin::tls::TlsListener;
use crate::admin::{self, AdminState};
use crate::config::Config;
use crate::enrich::pods::PodCache;
use crate::handle::StartError;
use crate::observe::buffer;
use crate::observe::pass::PassViews;
use crate::promtail_agent::Pods;
use crate::reload::Continuing;
use crate::sockets::Sockets;

/// A bound port, and the configuration that is shown there: of all clients.
pub(crate) struct Surface {
    listener: TcpListener,
    config: Config,
    /// Those that jobs ask for.
    pods: Pods,
}

impl Surface {
    /// `None` if nothing is to be served.
    pub(crate) fn bind(config: &Config, pods: Pods, sockets: &Sockets) -> Result<Option<Self>, StartError> {
        let listener = config.served_at().map(|address| sockets.listener(address)).transpose()?;
        Ok(listener.map(|listener| Self { listener, config: config.clone(), pods }))
    }

    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    /// Serves until `stop`, and measures what is told there.
    pub(super) fn serve(
        self,
        continuing: &Continuing,
        passes: PassViews,
        cache: Option<Arc<RwLock<PodCache>>>,
        stop: &CancellationToken,
    ) -> [JoinHandle<()>; 2] {
        let measured = tokio::spawn(buffer::watch(Arc::clone(&continuing.metrics), stop.clone()));
        let Self { listener, config, pods } = self;
        let (metrics, reload) = (Arc::clone(&continuing.metrics), continuing.reload.clone());
        let state = AdminState { config: Arc::new(config), metrics, passes, cache, pods, reload };
        let tls = state.config.promtail.as_ref().and_then(|promtail| promtail.server_tls()).cloned();
        let stop = stop.clone();
        let served = tokio::spawn(async move {
            let serving = async {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                match tls {
                    Some(tls) => axum::serve(TlsListener::new(listener, tls), admin::router(state)).await,
                    None => axum::serve(listener, admin::router(state)).await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                result = serving => if let Err(error) = result {
                    tracing::error!(error = %error, "the HTTP server ended");
                },
            }
        });
        [served, measured]
    }
}
