//! Whom the cluster's API server is known by when it passes requests on: a client certificate, and the headers that it puts the user in.
//!
//! Both are told in ConfigMap `kube-system/extension-apiserver-authentication`, which is watched. A ConfigMap that makes no sense changes
//! nothing; before the first that does, nobody's headers are believed.

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::watch_object;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::tls::KnownClients;

const NAMESPACE: &str = "kube-system";
const NAME: &str = "extension-apiserver-authentication";

/// What is believed, and of whom.
#[derive(Debug, Clone)]
pub(super) struct FrontProxy {
    /// By which certificates it is known.
    pub(super) clients: KnownClients,
    pub(super) user_headers: Vec<String>,
    pub(super) uid_headers: Vec<String>,
    pub(super) group_headers: Vec<String>,
    pub(super) extra_prefixes: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrontProxyError {
    #[error("key `{key}` is missing")]
    Missing { key: &'static str },
    #[error("key `{key}` is no list of texts")]
    List { key: &'static str },
    #[error("key `requestheader-client-ca-file` holds no certificate that can be used: {0}")]
    Certificates(String),
}

impl FrontProxy {
    pub(super) fn of(map: &ConfigMap) -> Result<Self, FrontProxyError> {
        let text = |key: &'static str| map.data.as_ref().and_then(|data| data.get(key)).ok_or(FrontProxyError::Missing { key });
        let list = |key: &'static str| serde_json::from_str::<Vec<String>>(text(key)?).map_err(|_| FrontProxyError::List { key });
        let authorities = text("requestheader-client-ca-file")?.as_bytes();
        let clients = KnownClients::of_pem(authorities, list("requestheader-allowed-names")?).map_err(FrontProxyError::Certificates)?;
        let lowercase = |names: Vec<String>| names.into_iter().map(|name| name.to_ascii_lowercase()).collect::<Vec<_>>();
        Ok(Self {
            clients,
            user_headers: lowercase(list("requestheader-username-headers")?),
            // Clusters before 1.32 do not tell of it.
            uid_headers: lowercase(list("requestheader-uid-headers").unwrap_or_else(|_| vec!["x-remote-uid".to_owned()])),
            group_headers: lowercase(list("requestheader-group-headers")?),
            extra_prefixes: lowercase(list("requestheader-extra-headers-prefix")?),
        })
    }
}

/// Follows the ConfigMap until it is stopped.
pub(super) async fn keep_watching(client: Client, out: watch::Sender<Option<FrontProxy>>, stopping: CancellationToken) {
    let api: Api<ConfigMap> = Api::namespaced(client, NAMESPACE);
    let mut maps = std::pin::pin!(watch_object(api, NAME).default_backoff());
    loop {
        let seen = tokio::select! {
            () = stopping.cancelled() => return,
            seen = maps.next() => seen,
        };
        match seen {
            Some(Ok(Some(map))) => match FrontProxy::of(&map) {
                Ok(front_proxy) => drop(out.send_replace(Some(front_proxy))),
                Err(error) => tracing::warn!(%error, "the ConfigMap {NAMESPACE}/{NAME} cannot be used, what was known stays"),
            },
            Some(Ok(None)) => tracing::warn!("there is no ConfigMap {NAMESPACE}/{NAME}, what was known stays"),
            Some(Err(error)) => tracing::warn!(%error, "the ConfigMap {NAMESPACE}/{NAME} cannot be watched, what was known stays"),
            None => return,
        }
    }
}
