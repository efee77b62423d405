//! `tailwater_access_reviews_total{outcome}`: what the Kubernetes API was asked and said. Answers from memory are not counted.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use crate::metrics::Metrics;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReviewOutcome {
    Allowed,
    Denied,
    /// No answer, which denies.
    Error,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

impl ReviewOutcome {
    const ALL: [Self; 3] = [Self::Allowed, Self::Denied, Self::Error];

    fn labels(self) -> OutcomeLabels {
        let outcome = match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Error => "error",
        };
        OutcomeLabels { outcome }
    }
}

/// Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct ReviewMetrics {
    reviews: Family<OutcomeLabels, Counter>,
}

impl ReviewMetrics {
    /// Every outcome is shown from the start, so that a share can be reckoned.
    pub fn register(&self, metrics: &Metrics) {
        ReviewOutcome::ALL.iter().for_each(|outcome| drop(self.reviews.get_or_create(&outcome.labels())));
        metrics.register(
            "tailwater_access_reviews",
            "Reviews by the Kubernetes API of who asks and what they may read",
            self.reviews.clone(),
        );
    }

    pub(super) fn count(&self, outcome: ReviewOutcome) {
        self.reviews.get_or_create(&outcome.labels()).inc();
    }

    #[cfg(test)]
    pub(crate) fn of(&self, outcome: ReviewOutcome) -> u64 {
        self.reviews.get_or_create(&outcome.labels()).get()
    }
}
