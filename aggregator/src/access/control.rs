//! Decides for one request: who sends it, and what they may read of what it asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue};
use tailwater_engine::access::{AllowedNamespaces, NAMESPACE_LABELS};
use tailwater_engine::{Access, Engine};

use crate::access::authorizer::Authorizer;
use crate::access::error::AccessRefused;
use crate::access::identity::{Identity, bearer_token};
use crate::access::policy::RequestPolicies;
use crate::access::question::Question;
use crate::access::rights::Rights;
use crate::access::routes::RouteNeeds;
use crate::access::signature::{AccessSigner, Claim};
use crate::clock::Clock;
use crate::config::Tenancy;

/// What the decision is made with. Cheap to clone.
#[derive(Clone)]
pub struct AccessControl {
    pub signer: AccessSigner,
    /// With `auth.mode: kubernetes`.
    pub authorizer: Option<Authorizer>,
    pub index: LabelIndex,
    pub clock: Arc<dyn Clock>,
}

/// Tells which namespaces have streams that a question selects.
#[derive(Clone)]
pub struct LabelIndex {
    pub engine: Engine,
    pub tenancy: Arc<Tenancy>,
}

/// Who sends a request.
#[derive(Debug, Clone)]
pub enum Reader {
    /// Nobody is told apart.
    Anybody,
    Person(Arc<Identity>),
    /// Somebody whose rights were found out before.
    Known(AllowedNamespaces),
}

impl AccessControl {
    /// Who sends a request with these headers. What is signed counts before a token; without both, only where nobody is told apart.
    pub async fn reader(&self, headers: &HeaderMap) -> Result<Reader, AccessRefused> {
        match self.signer.claim(headers, self.clock.now())? {
            Some(Claim::Person(identity)) => return Ok(Reader::Person(Arc::new(identity))),
            Some(Claim::Allowed(allowed)) => return Ok(Reader::Known(allowed.into())),
            None => {}
        }
        let Some(authorizer) = &self.authorizer else { return Ok(Reader::Anybody) };
        let token = bearer_token(headers).ok_or(AccessRefused::Unauthenticated)?;
        authorizer.authenticate(token).await.map(Reader::Person)
    }

    /// The header for whoever a bearer token names.
    pub async fn signed(&self, headers: &HeaderMap) -> Result<HeaderValue, AccessRefused> {
        let authorizer = self.authorizer.as_ref().ok_or(AccessRefused::Unauthenticated)?;
        let token = bearer_token(headers).ok_or(AccessRefused::Unauthenticated)?;
        let identity = authorizer.authenticate(token).await?;
        Ok(self.signer.sign(Claim::Person(identity.as_ref().clone()), self.clock.now()))
    }

    /// The rights of a reader on a route. `question`: what the request asks for, if its endpoint can make sense of it.
    pub async fn rights(
        &self,
        needs: RouteNeeds,
        reader: Reader,
        headers: &HeaderMap,
        question: Option<Question>,
    ) -> Result<Rights, AccessRefused> {
        let policies = RequestPolicies::of(headers)?;
        let identity = match reader {
            Reader::Anybody => return Ok(Rights::new(AllowedNamespaces::All, policies)),
            Reader::Known(allowed) if needs == RouteNeeds::Everything && allowed != AllowedNamespaces::All => {
                return Err(AccessRefused::NotClusterWide { user: "the caller".to_owned() });
            }
            Reader::Known(allowed) => return Ok(Rights::new(allowed, policies)),
            Reader::Person(identity) => identity,
        };
        // Somebody is named, and nobody here could ask for their rights.
        let authorizer = self.authorizer.as_ref().ok_or(AccessRefused::Unauthenticated)?;
        let none = || AllowedNamespaces::Only(BTreeMap::new());
        match (needs, question) {
            (RouteNeeds::Everything, _) => match authorizer.may_read_everything(&identity).await {
                true => Ok(Rights::new(AllowedNamespaces::All, policies)),
                false => Err(AccessRefused::NotClusterWide { user: identity.user.clone() }),
            },
            (RouteNeeds::Logs, Some(question)) => {
                let index = self.index.of(headers);
                let allowed = authorizer.allowed(&identity, &question, index.as_ref()).await?;
                // An export may last.
                Ok(Rights::new(allowed, policies).leased(authorizer.clone(), identity, question))
            }
            (RouteNeeds::LiveLogs, Some(question)) => {
                let allowed = authorizer.allowed(&identity, &question, None).await?;
                Ok(Rights::new(allowed, policies).leased(authorizer.clone(), identity, question))
            }
            // The endpoint has its own words for a request that it cannot make sense of.
            (RouteNeeds::Logs | RouteNeeds::LiveLogs, None) => Ok(Rights::new(none(), policies)),
            (RouteNeeds::Nothing | RouteNeeds::Identity, _) => Ok(Rights::new(none(), policies)),
        }
    }
}

/// The streams of a request's tenants.
#[derive(Debug)]
pub struct TenantIndex {
    engine: Engine,
    accesses: Vec<Access>,
}

impl LabelIndex {
    /// `None` for a request without a tenant, which its endpoint refuses.
    fn of(&self, headers: &HeaderMap) -> Option<TenantIndex> {
        let tenants = self.tenancy.readers(headers).ok()?;
        let accesses = tenants.into_iter().map(|tenant| Access::new(tenant, AllowedNamespaces::All)).collect();
        Some(TenantIndex { engine: self.engine.clone(), accesses })
    }
}

impl TenantIndex {
    /// The namespaces with streams that a question selects; `None` if it cannot be told.
    pub(super) async fn touched(&self, question: &Question) -> Option<BTreeSet<String>> {
        let mut touched = BTreeSet::new();
        for access in &self.accesses {
            for selector in question.selectors() {
                for label in NAMESPACE_LABELS {
                    touched.extend(self.engine.label_values(access, label, Some(selector), question.range).await.ok()?);
                }
            }
        }
        Some(touched)
    }
}
