//! Whose data a query is about: one tenant, or several that are told apart by `__tenant_id__`.
//!
//! Each tenant comes with an [`Access`] of its own; nothing reaches data but through one. Of several tenants every stream and series
//! carries the label, also if only one of them has data; matchers of that label choose among the tenants and are not looked for in
//! streams. What is stored under the name itself is shown, and matched, as `original___tenant_id__`.

use std::borrow::Cow;
use std::sync::Arc;

use tailwater_logql::ast::{Matcher, Selector};
use tailwater_logql::labels::LabelSet;
use tailwater_logql::matcher::StreamMatcher;
use tailwater_logql::validate::check_selector;
use tailwater_storage::store::ReadShare;
use tailwater_storage::tolerance::Tolerance;

use crate::access::Access;
use crate::error::QueryError;

/// The label that tells tenants apart.
pub const TENANT_LABEL: &str = "__tenant_id__";
/// A stored label of that name.
const ORIGINAL_LABEL: &str = "original___tenant_id__";

/// The accesses of a query, whether it may be answered without what is damaged, and its share of reads. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Scope {
    accesses: Arc<[Access]>,
    tolerance: Tolerance,
    reads: ReadShare,
}

impl Scope {
    /// Of several tenants; in the order of their names, each once. Of one it is the same as its access.
    pub fn of_all(accesses: impl IntoIterator<Item = Access>) -> Self {
        let mut accesses: Vec<Access> = accesses.into_iter().collect();
        accesses.sort_by(|left, right| left.tenant().cmp(right.tenant()));
        accesses.dedup_by(|left, right| left.tenant() == right.tenant());
        Self { accesses: accesses.into(), tolerance: Tolerance::default(), reads: ReadShare::default() }
    }

    /// The same for a reader who takes damage so; it remembers what was passed over.
    #[must_use]
    pub fn tolerating(self, tolerance: Tolerance) -> Self {
        Self { tolerance, ..self }
    }

    pub(crate) fn tolerance(&self) -> &Tolerance {
        &self.tolerance
    }

    /// What the query has of the replica's reads.
    pub(crate) fn reads(&self) -> &ReadShare {
        &self.reads
    }

    pub fn accesses(&self) -> &[Access] {
        &self.accesses
    }

    /// Whether streams carry the name of their tenant.
    pub fn tells_tenants_apart(&self) -> bool {
        self.accesses.len() > 1
    }

    /// The accesses to the tenants that a selector names, and what is left of it for their streams.
    pub(crate) fn narrowed(&self, selector: &Selector) -> Result<(Vec<&Access>, Selector), QueryError> {
        if !self.tells_tenants_apart() {
            return Ok((self.accesses.iter().collect(), selector.clone()));
        }
        let (of_tenant, of_stream): (Vec<Matcher>, Vec<Matcher>) =
            selector.matchers.iter().cloned().partition(|matcher| matcher.name == TENANT_LABEL);
        let of_tenant = of_tenant.iter().map(StreamMatcher::new).collect::<Result<Vec<_>, _>>()?;
        let is_chosen = |access: &&Access| of_tenant.iter().all(|matcher| matcher.matches(access.tenant().as_str()));
        let stored = |matcher: Matcher| match matcher.name.as_str() {
            ORIGINAL_LABEL => Matcher { name: TENANT_LABEL.to_owned(), ..matcher },
            _ => matcher,
        };
        let of_stream = Selector { matchers: of_stream.into_iter().map(stored).collect() };
        Ok((self.accesses.iter().filter(is_chosen).collect(), of_stream))
    }

    /// The same for a query, which needs a selector of streams besides.
    pub(crate) fn narrowed_query(&self, selector: &Selector) -> Result<(Vec<&Access>, Selector), QueryError> {
        let (accesses, of_stream) = self.narrowed(selector)?;
        if of_stream.matchers.len() < selector.matchers.len() {
            check_selector(&of_stream).map_err(QueryError::SelectorOfTenants)?;
        }
        Ok((accesses, of_stream))
    }

    /// Labels as they are shown for a stream of this access.
    pub(crate) fn shown(&self, access: &Access, labels: LabelSet) -> LabelSet {
        if self.tells_tenants_apart() { with_tenant(access.tenant().as_str(), &labels) } else { labels }
    }
}

impl From<Access> for Scope {
    fn from(access: Access) -> Self {
        Self { accesses: Arc::new([access]), tolerance: Tolerance::default(), reads: ReadShare::default() }
    }
}

impl From<&Access> for Scope {
    fn from(access: &Access) -> Self {
        access.clone().into()
    }
}

impl From<&Scope> for Scope {
    fn from(scope: &Scope) -> Self {
        scope.clone()
    }
}

/// Labels with the name of the tenant among them.
pub(crate) fn with_tenant(tenant: &str, labels: &LabelSet) -> LabelSet {
    let renamed = |name| if name == TENANT_LABEL { ORIGINAL_LABEL } else { name };
    let pairs = labels.iter().map(|(name, value)| (Cow::Borrowed(renamed(name)), value));
    LabelSet::from_pairs(pairs.chain([(Cow::Borrowed(TENANT_LABEL), tenant)]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::AllowedNamespaces;
    use tailwater_logql::parse_any_selector;
    use tailwater_storage::entry::TenantId;

    fn scope(tenants: &[&str]) -> Scope {
        Scope::of_all(tenants.iter().map(|tenant| Access::new(TenantId::new(tenant), AllowedNamespaces::All)))
    }

    fn narrowed(tenants: &[&str], selector: &str) -> Result<(Vec<String>, String), String> {
        let scope = scope(tenants);
        let selector = parse_any_selector(selector).expect(selector);
        let (accesses, left) = scope.narrowed_query(&selector).map_err(|error| error.to_string())?;
        let matcher = |matcher: &Matcher| format!("{}{}{}", matcher.name, matcher.op.name(), matcher.value);
        let left: Vec<String> = left.matchers.iter().map(matcher).collect();
        Ok((accesses.iter().map(|access| access.tenant().to_string()).collect(), left.join(",")))
    }

    #[test]
    fn matchers_of_the_tenant_choose_among_several() {
        let of =
            |tenants: &[&str], left: &str| Ok((tenants.iter().map(|tenant| (*tenant).to_owned()).collect::<Vec<_>>(), left.to_owned()));
        assert_eq!(narrowed(&["b", "a", "b"], r#"{app="x"}"#), of(&["a", "b"], "app=x"));
        assert_eq!(narrowed(&["a", "b"], r#"{app="x", __tenant_id__!="a"}"#), of(&["b"], "app=x"));
        assert_eq!(narrowed(&["a", "b"], r#"{app="x", __tenant_id__=~"c.*"}"#), of(&[], "app=x"));
        assert_eq!(narrowed(&["a", "b"], r#"{original___tenant_id__="x"}"#), of(&["a", "b"], "__tenant_id__=x"));
        assert_eq!(narrowed(&["a", "a"], r#"{__tenant_id__="a"}"#), of(&["a"], "__tenant_id__=a"), "one tenant is not told apart");
        assert_eq!(
            narrowed(&["a", "b"], r#"{__tenant_id__="a"}"#),
            Err(
                "log selector is invalid after matcher update: parse error : queries require at least one regexp or equality matcher that \
                 does not have an empty-compatible value. For instance, app=~\".*\" does not meet this requirement, but app=~\".+\" will"
                    .to_owned()
            )
        );
    }

    #[test]
    fn a_stored_label_of_the_name_is_moved() {
        let labels = LabelSet::from_pairs([("__tenant_id__", "mine"), ("app", "x")]);
        assert_eq!(with_tenant("t", &labels).to_string(), r#"{__tenant_id__="t", app="x", original___tenant_id__="mine"}"#);
    }
}
