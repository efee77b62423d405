//! How long the streams of a tenant are kept: Loki's precedence of rules.

use std::collections::HashMap;
use std::sync::Arc;

use tailwater_logql::matcher::StreamMatcher;
use tailwater_storage::compact::RetentionEdges;
use tailwater_storage::entry::TenantId;

use crate::config::span::Span;
use crate::limits::{Limits, TenantLimits};

/// A rule that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("limits.retention_stream: {problem}")]
pub struct PolicyError {
    problem: String,
}

/// The retention of one tenant.
#[derive(Debug, Default)]
pub(super) struct RetentionPolicy {
    /// The first that matches counts.
    rules: Vec<Rule>,
    /// Nanoseconds; `None`: for ever.
    otherwise: Option<i64>,
}

#[derive(Debug)]
struct Rule {
    matchers: Vec<StreamMatcher>,
    kept: Option<i64>,
}

fn kept(period: Span) -> Option<i64> {
    (!period.is_zero()).then(|| period.nanoseconds())
}

impl RetentionPolicy {
    pub(super) fn new(limits: &Limits) -> Result<Self, PolicyError> {
        let mut sorted: Vec<_> = limits.retention_stream.iter().collect();
        sorted.sort_by_key(|rule| (std::cmp::Reverse(rule.priority), kept(rule.period).unwrap_or(i64::MAX)));
        let rule = |rule: &crate::config::retention_rule::RetentionRule| {
            let matchers = rule.matchers().map_err(|problem| PolicyError { problem })?;
            Ok(Rule { matchers, kept: kept(rule.period) })
        };
        Ok(Self { rules: sorted.into_iter().map(rule).collect::<Result<_, _>>()?, otherwise: kept(limits.retention_period) })
    }

    pub(super) fn is_for_ever(&self) -> bool {
        self.periods().all(|period| period.is_none())
    }

    fn periods(&self) -> impl Iterator<Item = Option<i64>> {
        self.rules.iter().map(|rule| rule.kept).chain([self.otherwise])
    }

    /// The shortest time (ns) that any stream is kept; `None`: all for ever.
    pub(super) fn shortest(&self) -> Option<i64> {
        self.periods().flatten().min()
    }

    /// Earlier entries of a stream are past their retention. `label`: the stream's value of a label, empty if it has none.
    pub(super) fn keep_from<'l>(&self, label: impl Fn(&str) -> &'l str, now: i64) -> i64 {
        let matches = |rule: &&Rule| rule.matchers.iter().all(|matcher| matcher.matches(label(matcher.name())));
        let kept = self.rules.iter().find(matches).map_or(self.otherwise, |rule| rule.kept);
        kept.map_or(i64::MIN, |kept| now.saturating_sub(kept))
    }

    pub(super) fn edges(&self, now: i64) -> RetentionEdges {
        let Some(shortest) = self.shortest() else { return RetentionEdges::NONE };
        let longest = self.periods().try_fold(0, |longest, period| Some(longest.max(period?)));
        RetentionEdges {
            all_dead_before: longest.map_or(i64::MIN, |longest| now.saturating_sub(longest)),
            all_kept_from: now.saturating_sub(shortest),
        }
    }
}

/// The policies of all tenants.
#[derive(Debug)]
pub(super) struct RetentionPolicies {
    common: Arc<RetentionPolicy>,
    own: HashMap<String, Arc<RetentionPolicy>>,
}

impl RetentionPolicies {
    pub(super) fn new(limits: &TenantLimits) -> Result<Self, PolicyError> {
        let table = limits.table();
        let own = table.overrides.iter().map(|(tenant, limits)| Ok((tenant.to_owned(), Arc::new(RetentionPolicy::new(limits)?))));
        Ok(Self { common: Arc::new(RetentionPolicy::new(&table.common)?), own: own.collect::<Result<_, _>>()? })
    }

    pub(super) fn of(&self, tenant: &TenantId) -> &Arc<RetentionPolicy> {
        self.own.get(tenant.as_str()).unwrap_or(&self.common)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::retention_rule::RetentionRule;

    const HOUR: i64 = 3_600_000_000_000;

    fn policy(period: i64, rules: &[(&str, i64, i64)]) -> RetentionPolicy {
        let rule = |&(selector, priority, hours): &(&str, i64, i64)| RetentionRule {
            selector: selector.to_owned(),
            priority,
            period: Span::hours(hours),
        };
        let limits =
            Limits { retention_period: Span::hours(period), retention_stream: rules.iter().map(rule).collect(), ..Limits::default() };
        RetentionPolicy::new(&limits).expect("rules")
    }

    #[test]
    fn the_highest_priority_counts_then_the_shortest_period() {
        let dev = [("{namespace=\"dev\"}", 1, 24), ("{container=\"loki\"}", 1, 12), ("{namespace=~\"d.*\", app=\"audit\"}", 2, 0)];
        for (what, period, rules, labels, hours) in [
            ("no rule, no period", 0, &[][..], &[("namespace", "dev")][..], None),
            ("no rule", 100, &[][..], &[("namespace", "dev")][..], Some(100)),
            ("a rule", 100, &dev[..], &[("namespace", "dev")][..], Some(24)),
            ("none matches", 100, &dev[..], &[("namespace", "prod")][..], Some(100)),
            ("of equal priorities the shortest", 100, &dev[..], &[("namespace", "dev"), ("container", "loki")][..], Some(12)),
            ("a higher priority, though longer", 100, &dev[..], &[("namespace", "dev"), ("app", "audit")][..], None),
            ("for ever is longest", 0, &[("{a=\"b\"}", 0, 0), ("{a=\"b\"}", 0, 5)][..], &[("a", "b")][..], Some(5)),
            ("a label that is missing is empty", 7, &[("{a=\"b\", c=\"\"}", 0, 5)][..], &[("a", "b")][..], Some(5)),
            ("negative priorities", 7, &[("{a=\"b\"}", -2, 5), ("{a=\"b\"}", -1, 6)][..], &[("a", "b")][..], Some(6)),
        ] {
            let label = |name: &str| labels.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| *value);
            let now = 1000 * HOUR;
            assert_eq!(policy(period, rules).keep_from(label, now), hours.map_or(i64::MIN, |hours| now - hours * HOUR), "{what}");
        }
    }

    #[test]
    fn edges_enclose_every_stream() {
        let at = |period: i64, rules: &[(&str, i64, i64)]| {
            let RetentionEdges { all_dead_before, all_kept_from } = policy(period, rules).edges(100 * HOUR);
            (all_dead_before, all_kept_from)
        };
        assert_eq!(at(0, &[]), (i64::MIN, i64::MIN));
        assert_eq!(at(30, &[]), (70 * HOUR, 70 * HOUR));
        assert_eq!(at(30, &[("{a=\"b\"}", 0, 40), ("{a=\"c\"}", 0, 10)]), (60 * HOUR, 90 * HOUR));
        assert_eq!(at(0, &[("{a=\"b\"}", 0, 40)]), (i64::MIN, 60 * HOUR));
        assert!(policy(0, &[("{a=\"b\"}", 0, 0)]).is_for_ever() && !policy(1, &[]).is_for_ever());
    }
}
