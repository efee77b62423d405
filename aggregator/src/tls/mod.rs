//! TLS of our servers: files that are read anew, connections that know their client's certificate, and until when our own is valid.

mod certificate;
mod files;
mod listener;

use std::sync::Arc;

use rustls::RootCertStore;

pub(crate) use files::TlsMetrics;
pub use files::{TlsError, TlsFiles};
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
    /// Whether a client whose certificate these roots have signed is one of them.
    fn is_named(&self, common_name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|name| name == common_name)
    }
}
