//! One line in the log for each read: who, where, what (as a hash: queries may hold secrets), how much, and what was decided.

use sha2::{Digest, Sha256};

use crate::apiserver::target::Target;

/// A read on its way.
#[derive(Debug, Clone)]
pub(super) struct Audit {
    is_on: bool,
    user: String,
    namespace: String,
    path: String,
    query: String,
}

impl Audit {
    /// `query`: the parameters as they were sent.
    pub(super) fn new(is_on: bool, target: &Target, query: &str) -> Self {
        let digest = Sha256::digest(query.as_bytes());
        let query = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let namespace = target.namespace.clone().unwrap_or_else(|| "*".to_owned());
        Self { is_on, user: String::new(), namespace, path: target.path.clone(), query }
    }

    pub(super) fn by(&mut self, user: &str) {
        user.clone_into(&mut self.user);
    }

    /// `namespaces`: those that the answer was kept within.
    pub(super) fn write(&self, decision: &str, namespaces: usize, bytes: u64) {
        if self.is_on {
            let Self { user, namespace, path, query, .. } = self;
            tracing::info!(target: "audit", %user, %namespace, %path, %query, decision, namespaces, bytes, "read");
        }
    }
}
