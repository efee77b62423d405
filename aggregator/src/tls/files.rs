//! The server's certificate and key: PEM files, read for each connection, so that they can be renewed while running.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use prometheus_client::metrics::gauge::Gauge;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;

use crate::metrics::Metrics;
use crate::tls::KnownClients;
use crate::tls::certificate::not_after;

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
    #[error("the authority of clients cannot be used: {0}")]
    Authority(rustls::server::VerifierBuilderError),
}

impl TlsFiles {
    /// What a connection is made with now.
    pub(crate) fn server(&self, clients: Option<&KnownClients>, metrics: &TlsMetrics) -> Result<ServerConfig, TlsError> {
        let file = |what, path: &Path, reason: String| TlsError::File { what, path: path.to_owned(), reason };
        let chain = CertificateDer::pem_file_iter(&self.certificate).and_then(|chain| chain.collect::<Result<Vec<_>, _>>());
        let chain = chain.map_err(|error| file("certificate", &self.certificate, error.to_string()))?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| file("key", &self.key, error.to_string()))?;
        if let Some(end) = chain.first().and_then(|certificate| not_after(certificate)) {
            metrics.not_after.set(end);
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().map_err(TlsError::Pair)?;
        let builder = match clients {
            Some(clients) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(clients.roots.clone(), provider).allow_unauthenticated();
                builder.with_client_cert_verifier(verifier.build().map_err(TlsError::Authority)?)
            }
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(TlsError::Pair)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// `tailwater_tls_certificate_not_after_seconds`: until when the certificate that was read last is valid. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct TlsMetrics {
    not_after: Gauge,
}

impl TlsMetrics {
    pub(crate) fn register(&self, metrics: &Metrics) {
        let help = "Until when the server's certificate is valid, in seconds since the epoch";
        metrics.register("tailwater_tls_certificate_not_after_seconds", help, self.not_after.clone());
    }
}
