//! Who asks, and what they may see: the mandatory predicate of every plan.
//!
//! There is no default and no way to leave it out: every entry point of the engine takes an [`Access`], and the scan leaf
//! resolves streams only through it. It decides in three steps, each of which only takes away:
//!
//! ```text
//! stream: its namespace is allowed, its pod too, every label policy has a selector that it matches      (labels alone)
//! span:   which of its rows carry a `namespace_uid` that may be seen                                  (stream tables)
//! row:    where rows of several incarnations of a namespace lie in one span                           (metadata, stamp)
//! ```

mod grant;
mod incarnation;
mod policy;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use tailwater_storage::compact::{Erasure, NothingErased};
use tailwater_storage::entry::TenantId;
use tailwater_storage::pairs::Pairs;

pub use grant::{AllowedPods, Grant};
pub(crate) use incarnation::SpanView;
pub use incarnation::{Incarnations, SpanSight};
pub use policy::LabelPolicy;

/// Labels that name the namespace of a stream: the first one that it has counts.
pub const NAMESPACE_LABELS: [&str; 2] = ["namespace", "k8s_namespace_name"];
/// The same of its pod.
pub const POD_LABELS: [&str; 2] = ["pod", "k8s_pod_name"];

/// One tenant, the namespaces of it that may be read, and what of their streams may be seen.
#[derive(Clone)]
pub struct Access {
    tenant: TenantId,
    namespaces: AllowedNamespaces,
    policies: Vec<LabelPolicy>,
    erasure: Arc<dyn Erasure>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AllowedNamespaces {
    /// Also streams that have no namespace.
    All,
    /// Only streams whose namespace (label `namespace`, else `k8s_namespace_name`) is one of these, and of them what is granted.
    Only(BTreeMap<String, Grant>),
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("tenant", &self.tenant)
            .field("namespaces", &self.namespaces)
            .field("policies", &self.policies)
            .finish_non_exhaustive()
    }
}

impl Access {
    /// Access to everything that is stored of these namespaces.
    pub fn new(tenant: TenantId, namespaces: AllowedNamespaces) -> Self {
        Self { tenant, namespaces, policies: Vec::new(), erasure: Arc::new(NothingErased { as_of: 0 }) }
    }

    /// The same, but for what is past its retention or deleted.
    pub fn without(self, erasure: Arc<dyn Erasure>) -> Self {
        Self { erasure, ..self }
    }

    /// The same, but for streams that a policy does not match; every one of them counts.
    pub fn under(self, policies: Vec<LabelPolicy>) -> Self {
        Self { policies, ..self }
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

    /// Whether nothing but the tenant (and what is erased) is hidden.
    pub fn is_unrestricted(&self) -> bool {
        self.namespaces == AllowedNamespaces::All && self.policies.is_empty()
    }

    /// Which rows of a stream with these stored labels may be seen; `None`: none, and nobody is told that it is there.
    pub fn of_stream(&self, labels: &Pairs) -> Option<Incarnations> {
        #[cfg(feature = "planted-faults")]
        if tailwater_planted::Fault::AccessOff.is_planted() {
            return Some(Incarnations::Every);
        }
        if !self.policies.iter().all(|policy| policy.matches(labels)) {
            return None;
        }
        match &self.namespaces {
            AllowedNamespaces::All => Some(Incarnations::Every),
            AllowedNamespaces::Only(allowed) => allowed.get(first_of(NAMESPACE_LABELS, labels)?)?.of_stream(labels),
        }
    }

    /// Everything that an answer depends on here, as text.
    pub(crate) fn identity(&self) -> String {
        format!("{:?} {:?}", self.namespaces, self.policies)
    }
}

/// The value of the first of these labels that a stream has.
fn first_of<'l>(names: [&str; 2], labels: &'l Pairs) -> Option<&'l str> {
    names.into_iter().find_map(|name| labels.get(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn of_stream(access: &Access, labels: &[(&str, &str)]) -> Option<Incarnations> {
        access.of_stream(&Pairs::from_pairs(labels.iter().copied()))
    }

    fn access(grants: impl IntoIterator<Item = (&'static str, Grant)>) -> Access {
        let grants = grants.into_iter().map(|(name, grant)| (name.to_owned(), grant)).collect();
        Access::new(TenantId::new("t"), AllowedNamespaces::Only(grants))
    }

    #[test]
    fn a_stream_belongs_to_the_namespace_of_its_label() {
        let access = access([("a", Grant::whole())]);
        for (labels, is_seen) in [
            (&[("namespace", "a")][..], true),
            (&[("namespace", "b")], false),
            (&[("namespace", "b"), ("k8s_namespace_name", "a")], false),
            (&[("k8s_namespace_name", "a")], true),
            (&[("app", "a")], false),
            (&[], false),
        ] {
            assert_eq!(of_stream(&access, labels).is_some(), is_seen, "{labels:?}");
        }
        let all = Access::new(TenantId::new("t"), AllowedNamespaces::All);
        assert!(all.is_unrestricted() && of_stream(&all, &[]).is_some());
    }

    #[test]
    fn pods_may_be_granted_one_by_one() {
        let pods = AllowedPods::Only(BTreeSet::from(["web-1".to_owned()]));
        let access = access([("a", Grant { pods, ..Grant::whole() })]);
        for (labels, is_seen) in [
            (&[("namespace", "a"), ("pod", "web-1")][..], true),
            (&[("namespace", "a"), ("k8s_pod_name", "web-1")], true),
            (&[("namespace", "a"), ("pod", "web-2")], false),
            (&[("namespace", "a")], false),
        ] {
            assert_eq!(of_stream(&access, labels).is_some(), is_seen, "{labels:?}");
        }
    }

    #[test]
    fn policies_take_away_from_whoever_asks() {
        let policy = |selectors: &[&str]| {
            let selectors = selectors.iter().map(|selector| tailwater_logql::parse_any_selector(selector).expect("parses")).collect();
            LabelPolicy::new(selectors).expect("compiles")
        };
        let all = Access::new(TenantId::new("t"), AllowedNamespaces::All);
        let access = all.under(vec![policy(&[r#"{team="x"}"#, r#"{team="y"}"#]), policy(&[r#"{secret!="true"}"#])]);
        assert!(!access.is_unrestricted());
        for (labels, is_seen) in [
            (&[("team", "x")][..], true),
            (&[("team", "y")], true),
            (&[("team", "z")], false),
            (&[("team", "x"), ("secret", "true")], false),
        ] {
            assert_eq!(of_stream(&access, labels).is_some(), is_seen, "{labels:?}");
        }
    }
}
