//! Who asks, and what they may see: the mandatory predicate of every plan.
//!
//! There is no default and no way to leave it out: every entry point of the engine takes an [`Access`], and the scan leaf
//! resolves streams only through it.

use std::collections::BTreeSet;

use tailwater_storage::entry::TenantId;

/// One tenant and the namespaces of it that may be read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Access {
    tenant: TenantId,
    namespaces: AllowedNamespaces,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AllowedNamespaces {
    /// Also streams that have no namespace.
    All,
    /// Only streams whose namespace (label `namespace`, else `k8s_namespace_name`) is one of these.
    Only(BTreeSet<String>),
}

impl Access {
    pub fn new(tenant: TenantId, namespaces: AllowedNamespaces) -> Self {
        Self { tenant, namespaces }
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
