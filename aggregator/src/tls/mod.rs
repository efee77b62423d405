//! TLS of our servers: files that are read anew, connections that know their client's certificate, and until when our own is valid.

mod certificate;
mod files;
mod guard;
mod listener;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

pub(crate) use files::TlsMetrics;
pub use files::{TlsError, TlsFiles};
pub(crate) use guard::known_only;
pub(crate) use listener::{Greeting, Peer, TlsListener};

/// What clients of others encrypt with; to be called before one is made.
pub(crate) fn install_provider() {
    // An error means that a provider is installed already.
    drop(rustls::crypto::ring::default_provider().install_default());
}

/// Who signs certificates of servers, of a PEM file.
pub(crate) fn authorities_of(path: &Path) -> Result<Vec<reqwest::Certificate>, TlsError> {
    let unusable = |reason: String| TlsError::File { what: "certificate of an authority", path: path.to_owned(), reason };
    let text = fs::read(path).map_err(|error| unusable(error.to_string()))?;
    let certificates = reqwest::Certificate::from_pem_bundle(&text).map_err(|error| unusable(error.to_string()))?;
    if certificates.is_empty() { Err(unusable("it has none".to_owned())) } else { Ok(certificates) }
}

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
        let authorities = fs::read(path).map_err(|error| unusable(error.to_string()))?;
        Self::of_pem(&authorities, Vec::new()).map_err(unusable)
    }

    /// The same of PEM text; only those with one of `names`, if there are any. The error says what is wrong with the text.
    pub(crate) fn of_pem(authorities: &[u8], names: Vec<String>) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(authorities) {
            let certificate = certificate.map_err(|error| error.to_string())?;
            roots.add(certificate).map_err(|error| error.to_string())?;
        }
        if roots.is_empty() {
            return Err("it has none".to_owned());
        }
        Ok(Self { roots: Arc::new(roots), names })
    }

    /// Whether a client whose certificate these roots have signed is one of them.
    fn is_named(&self, common_name: Option<&str>) -> bool {
        self.names.is_empty() || common_name.is_some_and(|common_name| self.names.iter().any(|name| name == common_name))
    }
}
