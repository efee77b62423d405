//! What somebody may read, found out by asking the Kubernetes API: everything, else namespaces one by one, else one pod by its name.
//!
//! Invariants: no answer is no permission; a permission is used half a minute at most after it was asked for, a denial shorter
//! ([`Lifetimes`]). Right for a namespace is right for the one that there is now. Whether data exists never decides between an
//! answer and a refusal.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use sha2::{Digest, Sha256};
use tailwater_engine::access::{AllowedNamespaces, AllowedPods, Grant, Incarnations};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::access::control::TenantIndex;
use crate::access::error::AccessRefused;
use crate::access::expiring::{Expiring, Lifetimes};
use crate::access::identity::Identity;
use crate::access::question::Question;
use crate::access::review::{LogsOf, ReviewFailed, Reviewer};

/// Namespaces that are asked about for one query.
pub const MAX_NAMESPACES: usize = 1000;
/// Reviews of one query that are under way.
const AT_ONCE: usize = 16;

type Namespaces = Arc<BTreeMap<String, Incarnations>>;

/// Asks, and remembers for a while. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Authorizer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    reviewer: Reviewer,
    lifetimes: Lifetimes,
    /// By a hash of the token.
    identities: Expiring<[u8; 32], Arc<Identity>>,
    rights: Expiring<(Arc<Identity>, LogsOf), ()>,
    /// Asked for by one request at a time; used as long as a denial, since a new namespace may be in none.
    namespaces: Mutex<Option<(Instant, Namespaces)>>,
}

impl Authorizer {
    pub fn new(reviewer: Reviewer, lifetimes: Lifetimes) -> Self {
        let (identities, rights) = (Expiring::new(lifetimes), Expiring::new(lifetimes));
        Self(Arc::new(Shared { reviewer, lifetimes, identities, rights, namespaces: Mutex::default() }))
    }

    /// Whose token it is.
    pub async fn authenticate(&self, token: &str) -> Result<Arc<Identity>, AccessRefused> {
        let key: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let known = self.0.identities.get(&key, self.0.lifetimes.allowed);
        let identity = match known {
            Some(identity) => identity,
            None => {
                let asked = Instant::now();
                let identity = self.0.reviewer.authenticate(token).await.map_err(|_| AccessRefused::Unknown)?.map(Arc::new);
                self.0.identities.keep(key, identity.clone(), asked);
                identity
            }
        };
        identity.ok_or(AccessRefused::Unauthenticated)
    }

    /// Whether all that is stored may be read.
    pub async fn may_read_everything(&self, identity: &Arc<Identity>) -> bool {
        self.may_read(identity, LogsOf::everything(), self.0.lifetimes.allowed).await
    }

    /// What may be read of all that a question can touch. `index`: where to begin if that is much.
    pub async fn allowed(
        &self,
        identity: &Arc<Identity>,
        question: &Question,
        index: Option<&TenantIndex>,
    ) -> Result<AllowedNamespaces, AccessRefused> {
        self.allowed_now(identity, question, index, self.0.lifetimes.allowed).await
    }

    /// The same for a connection that goes on: what is remembered is asked for anew before it runs out.
    pub async fn allowed_still(&self, identity: &Arc<Identity>, question: &Question) -> Result<AllowedNamespaces, AccessRefused> {
        self.allowed_now(identity, question, None, self.0.lifetimes.allowed * 2 / 3).await
    }

    /// `oldest`: how old answers may be that are remembered.
    async fn allowed_now(
        &self,
        identity: &Arc<Identity>,
        question: &Question,
        index: Option<&TenantIndex>,
        oldest: Duration,
    ) -> Result<AllowedNamespaces, AccessRefused> {
        if self.may_read(identity, LogsOf::everything(), oldest).await {
            return Ok(AllowedNamespaces::All);
        }
        let refused = || AccessRefused::Forbidden {
            user: identity.user.clone(),
            namespace: question.named_namespace().map(str::to_owned),
            pod: question.named_pod().map(str::to_owned),
        };
        let present = self.namespaces().await.map_err(|_| refused())?;
        let touched: Vec<&str> = present.keys().map(String::as_str).filter(|name| question.can_touch(name)).collect();
        let with_data = match index {
            Some(index) if touched.len() > AT_ONCE => index.touched(question).await,
            _ => None,
        };
        let (first, rest): (Vec<&str>, Vec<&str>) = match &with_data {
            Some(with_data) => touched.into_iter().partition(|name| with_data.contains(*name)),
            None => (touched, Vec::new()),
        };
        // A right for any of the others makes the answer an empty one instead of a refusal.
        for names in [first, rest] {
            if names.len() > MAX_NAMESPACES {
                return Err(AccessRefused::TooManyNamespaces { limit: MAX_NAMESPACES });
            }
            let grants = self.grants(identity, question, &present, names, oldest).await;
            if !grants.is_empty() {
                return Ok(AllowedNamespaces::Only(grants));
            }
        }
        Err(refused())
    }

    async fn grants(
        &self,
        identity: &Arc<Identity>,
        question: &Question,
        present: &Namespaces,
        names: Vec<&str>,
        oldest: Duration,
    ) -> BTreeMap<String, Grant> {
        let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        let pod = question.named_pod();
        let reviewed = stream::iter(names).map(|name| async move {
            let pods = self.pods(identity, &name, pod, oldest).await?;
            let incarnations = present.get(&name)?.clone();
            Some((name, Grant { incarnations, pods }))
        });
        reviewed.buffer_unordered(AT_ONCE).filter_map(|granted| async move { granted }).collect().await
    }

    /// The pods of a namespace that may be read: all, or the one that is asked for.
    async fn pods(&self, identity: &Arc<Identity>, namespace: &str, pod: Option<&str>, oldest: Duration) -> Option<AllowedPods> {
        if self.may_read(identity, LogsOf::namespace(namespace), oldest).await {
            return Some(AllowedPods::Every);
        }
        let pod = pod?;
        let may_read = self.may_read(identity, LogsOf::pod(namespace, pod), oldest).await;
        may_read.then(|| AllowedPods::Only(BTreeSet::from([pod.to_owned()])))
    }

    /// What may be read of one namespace: with the right to everything also what former ones of its name wrote.
    pub async fn allowed_within(
        &self,
        identity: &Arc<Identity>,
        namespace: &str,
        pod: Option<&str>,
    ) -> Result<AllowedNamespaces, AccessRefused> {
        self.allowed_within_now(identity, namespace, pod, self.0.lifetimes.allowed).await
    }

    /// The same for a connection that goes on.
    pub async fn allowed_within_still(
        &self,
        identity: &Arc<Identity>,
        namespace: &str,
        pod: Option<&str>,
    ) -> Result<AllowedNamespaces, AccessRefused> {
        self.allowed_within_now(identity, namespace, pod, self.0.lifetimes.allowed * 2 / 3).await
    }

    async fn allowed_within_now(
        &self,
        identity: &Arc<Identity>,
        namespace: &str,
        pod: Option<&str>,
        oldest: Duration,
    ) -> Result<AllowedNamespaces, AccessRefused> {
        let only = |grant: Grant| AllowedNamespaces::Only(BTreeMap::from([(namespace.to_owned(), grant)]));
        if self.may_read(identity, LogsOf::everything(), oldest).await {
            return Ok(only(Grant::whole()));
        }
        let refused =
            || AccessRefused::Forbidden { user: identity.user.clone(), namespace: Some(namespace.to_owned()), pod: pod.map(str::to_owned) };
        let present = self.namespaces().await.map_err(|_| refused())?;
        let incarnations = present.get(namespace).cloned().ok_or_else(refused)?;
        let pods = self.pods(identity, namespace, pod, oldest).await.ok_or_else(refused)?;
        Ok(only(Grant { incarnations, pods }))
    }

    async fn may_read(&self, identity: &Arc<Identity>, of: LogsOf, oldest: Duration) -> bool {
        let key = (identity.clone(), of);
        if let Some(known) = self.0.rights.get(&key, oldest) {
            return known.is_some();
        }
        let asked = Instant::now();
        // A failure is not remembered: the next request asks again.
        let Ok(may_read) = self.0.reviewer.may_read(identity, &key.1).await else { return false };
        self.0.rights.keep(key, may_read.then_some(()), asked);
        may_read
    }

    async fn namespaces(&self) -> Result<Namespaces, ReviewFailed> {
        let mut listed = self.0.namespaces.lock().await;
        if let Some((asked, namespaces)) = listed.as_ref()
            && asked.elapsed() < self.0.lifetimes.denied
        {
            return Ok(namespaces.clone());
        }
        let asked = Instant::now();
        let refused = |error: &ReviewFailed| tracing::warn!(%error, "namespaces cannot be listed, access is denied");
        let namespaces = self.0.reviewer.namespaces().await.inspect_err(refused)?;
        let namespaces = Arc::new(namespaces);
        *listed = Some((asked, namespaces.clone()));
        Ok(namespaces)
    }
}

/// Whether all that was allowed then is allowed now.
pub fn covers(now: &AllowedNamespaces, then: &AllowedNamespaces) -> bool {
    match (now, then) {
        (AllowedNamespaces::All, _) => true,
        (AllowedNamespaces::Only(_), AllowedNamespaces::All) => false,
        (AllowedNamespaces::Only(now), AllowedNamespaces::Only(then)) => then.iter().all(|(name, grant)| now.get(name) == Some(grant)),
    }
}
