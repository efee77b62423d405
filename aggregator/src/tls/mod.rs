//! TLS of our servers: files that are read anew, connections that know their client's certificate, and until when our own is valid.

mod certificate;
mod files;
mod guard;
mod listener;

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

pub(crate) use files::TlsMetrics;
pub use files::{TlsError, TlsFiles};
pub(crate) use guard::known_only;
pub(crate) use listener::{Greeting, Peer, TlsListener};

/// Clients that are known by their certificates.
#[derive(Debug, Clone)]
pub(crate) struct KnownClients {
    /// Who signs them.
    pub(crate) roots: Arc<RootCertStore>,
    /// Common names; empty: any.
    pub(crate) names: Vec<String>,
}

impl KnownClients {
    /// All whose certificates authorities have signed that are in a PEM file.
    pub(crate) fn of_file(path: &Path) -> Result<Self, TlsError> {
        let unusable = |reason: String| TlsError::File { what: "certificate of an authority", path: path.to_owned(), reason };
        let certificates = CertificateDer::pem_file_iter(path).map_err(|error| unusable(error.to_string()))?;
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
            roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(unusable("it has none".to_owned()));
        }
        Ok(Self { roots: Arc::new(roots), names: Vec::new() })
    }

    /// Whether a client whose certificate these roots have signed is one of them.
    fn is_named(&self, common_name: Option<&str>) -> bool {
        self.names.is_empty() || common_name.is_some_and(|common_name| self.names.iter().any(|name| name == common_name))
    }
}
