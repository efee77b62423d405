//! The way to the Kubernetes API: a kubeconfig, or the service account of the pod this runs in.

use std::path::{Path, PathBuf};

use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::tls::install_provider;

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("cannot read the kubeconfig `{path}`: {source}; set `auth.kubeconfig` to the path of one")]
    Kubeconfig { path: PathBuf, source: Box<kube::config::KubeconfigError> },
    #[error("cannot use the service account of this pod: {0}; set `auth.kubeconfig` outside of a cluster")]
    InCluster(#[source] kube::config::InClusterError),
    #[error("cannot make a client for the Kubernetes API: {0}")]
    Client(#[source] Box<kube::Error>),
}

/// A client by the kubeconfig; an empty path stands for the pod's service account. Nothing is sent yet.
pub async fn connect(kubeconfig: &Path) -> Result<Client, ConnectError> {
    install_provider();
    let config = if kubeconfig.as_os_str().is_empty() {
        kube::Config::incluster().map_err(ConnectError::InCluster)?
    } else {
        let fail = |source| ConnectError::Kubeconfig { path: kubeconfig.to_owned(), source: Box::new(source) };
        let read = Kubeconfig::read_from(kubeconfig).map_err(fail)?;
        kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await.map_err(fail)?
    };
    Client::try_from(config).map_err(|source| ConnectError::Client(Box::new(source)))
}
