//! Faults on demand: requests that are answered late, or with an error.

use std::time::Duration;

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::request::Attributes;
use crate::status::Failure;

/// What goes wrong with which requests. Fields that are not given match everything.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fault {
    /// `get`, `list`, `watch`, `create`, …
    pub verb: Option<String>,
    /// `pods`, `pods/log`, `subjectaccessreviews`, …
    pub resource: Option<String>,
    /// The beginning of the path.
    pub path: Option<String>,
    /// Answered with this status instead.
    pub status: Option<u16>,
    /// Seconds, told with the status.
    pub retry_after: Option<u64>,
    /// Waited before the answer.
    pub delay_milliseconds: Option<u64>,
    /// So many requests, then no more; without it until faults are cleared.
    pub times: Option<u64>,
}

impl Fault {
    fn concerns(&self, asked: &Attributes) -> bool {
        self.times != Some(0)
            && self.verb.as_ref().is_none_or(|verb| *verb == asked.verb)
            && self.resource.as_ref().is_none_or(|resource| *resource == asked.combined_resource())
            && self.path.as_ref().is_none_or(|path| asked.path.starts_with(path))
    }
}

/// The faults that are in force.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Fault>);

impl Faults {
    pub(crate) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// How long this request waits, and how it fails then. Each fault that concerns it counts once.
    pub(crate) fn of(&mut self, asked: &Attributes) -> (Duration, Option<Failure>) {
        let (mut delay, mut failure) = (Duration::ZERO, None);
        for fault in self.0.iter_mut().filter(|fault| fault.concerns(asked)) {
            fault.times = fault.times.map(|times| times - 1);
            delay = delay.max(Duration::from_millis(fault.delay_milliseconds.unwrap_or_default()));
            let status = fault.status.and_then(|status| StatusCode::from_u16(status).ok());
            failure = failure.or_else(|| Some(Failure::ordered(status?, fault.retry_after)));
        }
        (delay, failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_concerns_what_it_names_as_often_as_it_says() {
        let mut faults = Faults::default();
        faults.add(Fault {
            resource: Some("pods".to_owned()),
            status: Some(429),
            retry_after: Some(1),
            times: Some(2),
            ..Fault::default()
        });
        faults.add(Fault { verb: Some("list".to_owned()), delay_milliseconds: Some(5000), ..Fault::default() });
        let mut of = |verb: &str, resource: &str| {
            let asked = Attributes { verb: verb.to_owned(), resource: resource.to_owned(), ..Attributes::default() };
            let (delay, failure) = faults.of(&asked);
            (delay.as_secs(), failure.map(|failure| failure.status.as_u16()))
        };
        assert_eq!(of("watch", "pods"), (0, Some(429)));
        assert_eq!(of("list", "nodes"), (5, None));
        assert_eq!(of("list", "pods"), (5, Some(429)));
        assert_eq!(of("list", "pods"), (5, None), "twice only");
    }
}
