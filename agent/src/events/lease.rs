//! Which agent of the cluster sends the events: the holder of a Lease.
//!
//! A Lease is taken when it has no holder, or when its holder did not renew it for as long as it says, by this agent's own clock. Every change names the
//! version it is based on, so of two that try one succeeds. A holder that could not renew for two thirds of that time stops before another may begin.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt};
use tokio_util::sync::CancellationToken;

use super::resume::ResumePoint;
use crate::metrics::Metrics;

const NAME: &str = "tailwater-agent-events";
/// How far events are acknowledged.
const RESUME: &str = "tailwater.io/events-acknowledged";
pub(super) struct Leadership {
    api: Api<Lease>,
    identity: String,
    metrics: Arc<Metrics>,
    /// How long it holds after it was renewed.
    duration: Duration,
    /// The renewal last seen, and when this agent saw it first.
    seen: Option<(Option<MicroTime>, Instant)>,
    /// As the server last confirmed it.
    held: Option<Lease>,
}

impl Leadership {
    pub(super) fn new(client: Client, identity: String, duration: Duration, metrics: Arc<Metrics>) -> Self {
        Self { api: Api::default_namespaced(client), identity, metrics, duration, seen: None, held: None }
    }

    /// Waits until this agent holds the Lease; returns how far events are acknowledged. `None` at the end.
    pub(super) async fn acquire(&mut self, stop: &CancellationToken) -> Option<ResumePoint> {
        while !stop.is_cancelled() {
            match self.try_to_take().await {
                Ok(Some(point)) => {
                    tracing::info!(lease = NAME, "this agent sends the kubernetes events");
                    return Some(point);
                }
                Ok(None) => {}
                Err(error) => {
                    self.metrics.kube_watch_errors.inc();
                    tracing::warn!(lease = NAME, error = %error, "cannot ask for the lease of the kubernetes events; trying again");
                }
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(self.try_every()) => {}
            }
        }
        None
    }

    async fn try_to_take(&mut self) -> kube::Result<Option<ResumePoint>> {
        let Some(lease) = self.api.get_opt(NAME).await? else {
            let mut lease = Lease::default();
            lease.metadata.name = Some(NAME.to_owned());
            lease.spec = Some(self.spec(0));
            return self.settle(self.api.create(&PostParams::default(), &lease).await);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.unwrap_or_default();
        if !holder.is_empty() && holder != self.identity && !self.has_expired(spec.renew_time, spec.lease_duration_seconds) {
            return Ok(None);
        }
        let mut taken = lease;
        taken.spec = Some(self.spec(spec.lease_transitions.unwrap_or(0) + 1));
        let replaced = self.api.replace(NAME, &PostParams::default(), &taken).await;
        self.settle(replaced)
    }

    /// Somebody who was faster is no error.
    fn settle(&mut self, changed: kube::Result<Lease>) -> kube::Result<Option<ResumePoint>> {
        match changed {
            Ok(lease) => {
                let point = lease.annotations().get(RESUME).map(|text| ResumePoint::parse(text)).unwrap_or_default();
                self.held = Some(lease);
                Ok(Some(point))
            }
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether nobody renewed it while this agent looked.
    fn has_expired(&mut self, renewed: Option<MicroTime>, seconds: Option<i32>) -> bool {
        let duration = seconds.and_then(|seconds| u64::try_from(seconds).ok()).map_or(self.duration, Duration::from_secs);
        let since = match &self.seen {
            Some((known, since)) if *known == renewed => *since,
            _ => {
                self.seen = Some((renewed, Instant::now()));
                return false;
            }
        };
        since.elapsed() > duration
    }

    /// Renews the Lease until that fails for too long.
    pub(super) async fn keep(&mut self, acknowledged: &impl Fn() -> ResumePoint) {
        let mut renewed = Instant::now();
        let (renew_every, give_up_after) = (self.duration / 3, self.duration * 2 / 3);
        let mut wait = renew_every;
        loop {
            tokio::time::sleep(wait).await;
            // A request that hangs must not hold up the decision to stop.
            let left = give_up_after.saturating_sub(renewed.elapsed());
            match tokio::time::timeout(left, self.renew(Some(self.identity.clone()), acknowledged)).await {
                Ok(Ok(())) => (renewed, wait) = (Instant::now(), renew_every),
                Ok(Err(kube::Error::Api(status))) if status.code == 409 => return,
                Ok(Err(error)) => {
                    self.metrics.kube_watch_errors.inc();
                    tracing::warn!(lease = NAME, error = %error, "cannot renew the lease of the kubernetes events");
                    wait = self.try_every();
                }
                Err(_) => return,
            }
            if renewed.elapsed() >= give_up_after {
                return;
            }
        }
    }

    /// Lets another agent take over at once.
    pub(super) async fn release(&mut self, acknowledged: &impl Fn() -> ResumePoint) {
        let released = tokio::time::timeout(self.try_every(), self.renew(None, acknowledged)).await;
        tracing::debug!(lease = NAME, ?released, "the lease of the kubernetes events is given up");
    }

    async fn renew(&mut self, holder: Option<String>, acknowledged: &impl Fn() -> ResumePoint) -> kube::Result<()> {
        let Some(mut lease) = self.held.clone() else { return Ok(()) };
        lease.annotations_mut().insert(RESUME.to_owned(), acknowledged().text());
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = Some(holder.unwrap_or_default());
            spec.renew_time = Some(MicroTime(Timestamp::now()));
        }
        self.held = Some(self.api.replace(NAME, &PostParams::default(), &lease).await?);
        Ok(())
    }

    /// Between two attempts to take or renew it.
    fn try_every(&self) -> Duration {
        self.duration / 8
    }

    fn spec(&self, transitions: i32) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.duration.as_secs().max(1)).ok(),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }
}
