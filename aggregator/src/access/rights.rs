//! What a request's answer is kept within, and the request's headers along with it.

use std::convert::Infallible;
use std::ops::Deref;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use tailwater_engine::Access;
use tailwater_engine::access::AllowedNamespaces;
use tailwater_storage::entry::TenantId;
use tailwater_storage::tolerance::Tolerance;

use crate::access::authorizer::{Authorizer, covers};
use crate::access::identity::Identity;
use crate::access::policy::RequestPolicies;
use crate::access::question::Question;

/// What may be read. Made by the layer around all routes, and by nothing else.
#[derive(Debug, Clone)]
pub struct Rights {
    namespaces: AllowedNamespaces,
    policies: RequestPolicies,
    lease: Option<Arc<Lease>>,
}

/// Whom a connection's rights were given to.
#[derive(Debug)]
struct Lease {
    authorizer: Authorizer,
    identity: Arc<Identity>,
    question: Question,
}

impl Rights {
    pub(super) fn new(namespaces: AllowedNamespaces, policies: RequestPolicies) -> Self {
        Self { namespaces, policies, lease: None }
    }

    /// The same for a connection that lasts: they can be asked about again.
    pub(super) fn leased(self, authorizer: Authorizer, identity: Arc<Identity>, question: Question) -> Self {
        Self { lease: Some(Arc::new(Lease { authorizer, identity, question })), ..self }
    }

    /// The rights of somebody of whom nothing is known: none.
    fn none() -> Self {
        Self::new(AllowedNamespaces::Only(Default::default()), RequestPolicies::default())
    }

    /// Access to a tenant's data within these rights.
    pub fn access(&self, tenant: &TenantId) -> Access {
        Access::new(tenant.clone(), self.namespaces.clone()).under(self.policies.of_tenant(tenant))
    }

    /// Whether all of it may still be read. Asks the Kubernetes API if what is remembered is old.
    pub async fn still_hold(&self) -> bool {
        let Some(lease) = &self.lease else { return true };
        let now = lease.authorizer.allowed_still(&lease.identity, &lease.question).await;
        now.is_ok_and(|now| covers(&now, &self.namespaces))
    }
}

/// Who calls an endpoint: the headers of the request, what may be read for it, and how damage is taken.
#[derive(Debug, Clone)]
pub struct Caller {
    headers: HeaderMap,
    rights: Rights,
    tolerance: Tolerance,
}

impl Caller {
    pub fn rights(&self) -> &Rights {
        &self.rights
    }

    pub fn tolerance(&self) -> &Tolerance {
        &self.tolerance
    }
}

impl Deref for Caller {
    type Target = HeaderMap;

    fn deref(&self) -> &HeaderMap {
        &self.headers
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let rights = parts.extensions.get::<Rights>().cloned().unwrap_or_else(Rights::none);
        let tolerance = parts.extensions.get::<Tolerance>().cloned().unwrap_or_default();
        Ok(Self { headers: parts.headers.clone(), rights, tolerance })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    #[tokio::test]
    async fn a_route_without_the_layer_reads_nothing() {
        let (mut parts, ()) = Request::new(()).into_parts();
        let Ok(caller) = Caller::from_request_parts(&mut parts, &()).await;
        let access = caller.rights().access(&TenantId::new("t"));
        assert_eq!(*access.namespaces(), AllowedNamespaces::Only(Default::default()));
    }
}
