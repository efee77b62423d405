//! What the Kubernetes API server is asked: whose token this is, whether they may read a namespace's logs, and which namespaces there are.
//!
//! Every question has [`PATIENCE`]; no answer in time is no permission. Nothing is repeated here: the caller's next request asks again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use tailwater_engine::access::Incarnations;

use crate::access::identity::Identity;
use crate::access::metrics::{ReviewMetrics, ReviewOutcome};

/// How long an answer may take.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// The API server did not answer, or not in time, or not with an answer.
#[derive(Debug, thiserror::Error)]
pub enum ReviewFailed {
    #[error("the Kubernetes API did not answer in time")]
    Timeout,
    #[error("the Kubernetes API refused a review: {0}")]
    Api(Box<kube::Error>),
    #[error("the Kubernetes API could not evaluate a review: {text}")]
    Evaluation { text: String },
}

/// What a right is about. `None`: all of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LogsOf {
    pub namespace: Option<String>,
    pub pod: Option<String>,
}

impl LogsOf {
    pub fn everything() -> Self {
        Self { namespace: None, pod: None }
    }

    pub fn namespace(name: &str) -> Self {
        Self { namespace: Some(name.to_owned()), pod: None }
    }

    pub fn pod(namespace: &str, pod: &str) -> Self {
        Self { namespace: Some(namespace.to_owned()), pod: Some(pod.to_owned()) }
    }
}

/// Asks the API server. Cheap to clone.
#[derive(Clone)]
pub struct Reviewer {
    client: Client,
    metrics: ReviewMetrics,
}

impl std::fmt::Debug for Reviewer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reviewer").finish_non_exhaustive()
    }
}

impl Reviewer {
    pub fn new(client: Client, metrics: ReviewMetrics) -> Self {
        Self { client, metrics }
    }

    /// Whose token it is; `None`: nobody's.
    pub async fn authenticate(&self, token: &str) -> Result<Option<Identity>, ReviewFailed> {
        let spec = TokenReviewSpec { token: token.to_owned(), ..TokenReviewSpec::default() };
        let review = TokenReview { spec, ..TokenReview::default() };
        let created = self.in_time(async { Api::<TokenReview>::all(self.client.clone()).create(&PostParams::default(), &review).await });
        let identity = created.await.map(|review| identity_of(review.status.unwrap_or_default()));
        self.count(identity.as_ref().map(Option::is_some));
        identity
    }

    /// Whether they may `get pods/log`.
    pub async fn may_read(&self, identity: &Identity, of: &LogsOf) -> Result<bool, ReviewFailed> {
        let review = SubjectAccessReview { spec: subject(identity, of), ..SubjectAccessReview::default() };
        let api = Api::<SubjectAccessReview>::all(self.client.clone());
        let reviewed = self.in_time(async { api.create(&PostParams::default(), &review).await }).await;
        let allowed = reviewed.and_then(|review| {
            let status = review.status.unwrap_or_default();
            match status.evaluation_error {
                Some(text) if !status.allowed => Err(ReviewFailed::Evaluation { text }),
                _ => Ok(status.allowed && status.denied != Some(true)),
            }
        });
        self.count(allowed.as_ref().copied());
        allowed
    }

    /// The namespaces that there are, each with its present incarnation.
    pub async fn namespaces(&self) -> Result<BTreeMap<String, Incarnations>, ReviewFailed> {
        let api = Api::<Namespace>::all(self.client.clone());
        let listed = self.in_time(async { api.list_metadata(&ListParams::default()).await }).await?;
        Ok(listed
            .items
            .into_iter()
            .filter_map(|namespace| {
                let metadata = namespace.metadata;
                let created = metadata.creation_timestamp?.0.as_nanosecond();
                let present = Incarnations::Present { uid: Arc::from(metadata.uid?), created: i64::try_from(created).ok()? };
                Some((metadata.name?, present))
            })
            .collect())
    }

    async fn in_time<T>(&self, call: impl Future<Output = kube::Result<T>>) -> Result<T, ReviewFailed> {
        match tokio::time::timeout(PATIENCE, call).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(ReviewFailed::Api(Box::new(error))),
            Err(_) => Err(ReviewFailed::Timeout),
        }
    }

    fn count(&self, outcome: Result<bool, &ReviewFailed>) {
        self.metrics.count(match outcome {
            Ok(true) => ReviewOutcome::Allowed,
            Ok(false) => ReviewOutcome::Denied,
            Err(error) => {
                tracing::warn!(%error, "a review failed, access is denied");
                ReviewOutcome::Error
            }
        });
    }
}

fn identity_of(status: k8s_openapi::api::authentication::v1::TokenReviewStatus) -> Option<Identity> {
    let UserInfo { username, uid, groups, extra } = status.user?;
    let user = username.filter(|user| !user.is_empty() && status.authenticated == Some(true))?;
    Some(Identity::new(user, uid.unwrap_or_default(), groups.unwrap_or_default(), extra.unwrap_or_default()))
}

fn subject(identity: &Identity, of: &LogsOf) -> SubjectAccessReviewSpec {
    let attributes = ResourceAttributes {
        verb: Some("get".to_owned()),
        group: Some(String::new()),
        version: Some("v1".to_owned()),
        resource: Some("pods".to_owned()),
        subresource: Some("log".to_owned()),
        namespace: of.namespace.clone(),
        name: of.pod.clone(),
        ..ResourceAttributes::default()
    };
    SubjectAccessReviewSpec {
        user: Some(identity.user.clone()),
        uid: (!identity.uid.is_empty()).then(|| identity.uid.clone()),
        groups: (!identity.groups().is_empty()).then(|| identity.groups().to_vec()),
        extra: (!identity.extra().is_empty()).then(|| identity.extra().clone()),
        resource_attributes: Some(attributes),
        non_resource_attributes: None,
    }
}
