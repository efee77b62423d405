//! Which Kubernetes API is asked, and as whom: the cluster this runs in, a kubeconfig, or a server with credentials of its own.

use std::path::PathBuf;

use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Map, Value, json};

use super::kubernetes::ConnectError;
use crate::config::{Secret, TlsFiles};

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum ApiAccess {
    /// By the service account of the pod this runs in.
    #[default]
    InCluster,
    Kubeconfig(PathBuf),
    Server(Box<ApiServer>),
}

/// A server as a `promtail.yaml` names it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ApiServer {
    pub(crate) url: String,
    pub(crate) basic_auth: Option<(String, Secret)>,
    pub(crate) token: Option<Secret>,
    /// Read again while it is used.
    pub(crate) token_file: Option<PathBuf>,
    /// As files alone.
    pub(crate) tls: TlsFiles,
    pub(crate) proxy_url: Option<String>,
}

impl From<Option<PathBuf>> for ApiAccess {
    fn from(kubeconfig: Option<PathBuf>) -> Self {
        kubeconfig.map_or(Self::InCluster, Self::Kubeconfig)
    }
}

impl ApiAccess {
    pub(super) async fn config(self) -> Result<kube::Config, ConnectError> {
        match self {
            Self::InCluster => kube::Config::incluster().map_err(ConnectError::InCluster),
            Self::Kubeconfig(path) => {
                let fail = |source| ConnectError::Kubeconfig { path: path.clone(), source: Box::new(source) };
                let read = Kubeconfig::read_from(&path).map_err(fail)?;
                kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await.map_err(fail)
            }
            Self::Server(server) => {
                let fail = |what: String| ConnectError::Server { url: server.url.clone(), what };
                let kubeconfig = server.kubeconfig().map_err(|error| fail(error.to_string()))?;
                let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
                config.map_err(|error| fail(error.to_string()))
            }
        }
    }
}

impl ApiServer {
    fn kubeconfig(&self) -> Result<Kubeconfig, serde_json::Error> {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let mut cluster = given([
            ("server", Some(self.url.clone())),
            ("certificate-authority", path(&self.tls.ca_file)),
            ("tls-server-name", self.tls.server_name.clone()),
            ("proxy-url", self.proxy_url.clone()),
        ]);
        cluster.insert("insecure-skip-tls-verify".to_owned(), self.tls.skips_verification.into());
        let user = given([
            ("username", self.basic_auth.as_ref().map(|(user, _)| user.clone())),
            ("password", self.basic_auth.as_ref().map(|(_, password)| password.0.clone())),
            ("token", self.token.as_ref().map(|token| token.0.clone())),
            ("tokenFile", path(&self.token_file)),
            ("client-certificate", path(&self.tls.cert_file)),
            ("client-key", path(&self.tls.key_file)),
        ]);
        serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "api",
            "clusters": [{"name": "api", "cluster": cluster}],
            "users": [{"name": "api", "user": user}],
            "contexts": [{"name": "api", "context": {"cluster": "api", "user": "api"}}],
        }))
    }
}

fn given<const N: usize>(fields: [(&str, Option<String>); N]) -> Map<String, Value> {
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_with_credentials_becomes_a_client_configuration() {
        crate::starting::install_crypto();
        let server = ApiServer {
            url: "https://api.example:6443".to_owned(),
            token: Some(Secret("t".to_owned())),
            tls: TlsFiles { skips_verification: true, server_name: Some("kubernetes".to_owned()), ..TlsFiles::default() },
            ..ApiServer::default()
        };
        let config = ApiAccess::Server(Box::new(server)).config().await.unwrap();
        assert_eq!(config.cluster_url.to_string(), "https://api.example:6443/");
        assert!(config.accept_invalid_certs && config.auth_info.token.is_some());
        assert_eq!(config.tls_server_name.as_deref(), Some("kubernetes"));
    }
}
