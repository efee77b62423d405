//! Who asks, and what they may see: the mandatory predicate of every plan.
//!
//! There is no default and no way to leave it out: every entry point of the engine takes an [`Access`], and the scan leaf
//! resolves streams only through it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use tailwater_storage::compact::{Erasure, NothingErased};
use tailwater_storage::entry::TenantId;

/// One tenant, the namespaces of it that may be read, and what of their streams may be seen.
#[derive(Clone)]
pub struct Access {
    tenant: TenantId,
    namespaces: AllowedNamespaces,
    erasure: Arc<dyn Erasure>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AllowedNamespaces {
    /// Also streams that have no namespace.
    All,
    /// Only streams whose namespace (label `namespace`, else `k8s_namespace_name`) is one of these.
    Only(BTreeSet<String>),
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("tenant", &self.tenant).field("namespaces", &self.namespaces).finish_non_exhaustive()
    }
}

impl Access {
    /// Access to everything that is stored of these namespaces.
    pub fn new(tenant: TenantId, namespaces: AllowedNamespaces) -> Self {
        Self { tenant, namespaces, erasure: Arc::new(NothingErased { as_of: 0 }) }
    }

    /// The same, but for what is past its retention or deleted.
    pub fn without(self, erasure: Arc<dyn Erasure>) -> Self {
        Self { erasure, ..self }
    }

    /// What is hidden although it may still be stored.
    pub fn erasure(&self) -> &dyn Erasure {
        self.erasure.as_ref()
    }

    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    pub fn namespaces(&self) -> &AllowedNamespaces {
        &self.namespaces
    }

    /// May a stream of this namespace be seen? `None`: the stream has none.
    pub fn allows(&self, namespace: Option<&str>) -> bool {
        #[cfg(feature = "planted-faults")]
        if tailwater_planted::Fault::AccessOff.is_planted() {
            return true;
        }
        match (&self.namespaces, namespace) {
            (AllowedNamespaces::All, _) => true,
            (AllowedNamespaces::Only(allowed), Some(namespace)) => allowed.contains(namespace),
            (AllowedNamespaces::Only(_), None) => false,
        }
    }
}
