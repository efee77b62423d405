//! How long replaced objects stay, beside how long queries may take: limits change while the process runs.

use std::time::Duration;

use tailwater_storage::manifest::RetireDelays;

use crate::limits::TenantLimits;

/// The configured delays, held to twice the longest query timeout.
#[derive(Debug)]
pub(super) struct RetireAfter {
    configured: RetireDelays,
    limits: TenantLimits,
    /// The timeout with which it was told last that they do not fit.
    told: Option<Duration>,
}

impl RetireAfter {
    pub(super) fn new(configured: RetireDelays, limits: TenantLimits) -> Self {
        Self { configured, limits, told: None }
    }

    /// What holds now. A delay that does not fit the timeouts is told once.
    pub(super) fn delays(&mut self) -> RetireDelays {
        let longest = self.limits.longest_query_timeout();
        let held = self.configured.held_to_query_timeout(longest);
        if self.configured.compacted >= longest * 2 {
            self.told = None;
        } else if self.told.replace(longest) != Some(longest) {
            let (configured, query_timeout) = (self.configured.compacted, longest);
            if held.compacted > configured {
                tracing::warn!(?configured, ?query_timeout, held = ?held.compacted, "compaction.retire_after is raised to twice the longest limits.query_timeout");
            } else {
                tracing::warn!(
                    ?configured,
                    ?query_timeout,
                    "compaction.retire_after is shorter than twice the longest limits.query_timeout: queries may have to be begun again"
                );
            }
        }
        held
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::span::Span;
    use crate::limits::Limits;

    #[test]
    fn replaced_objects_stay_for_twice_the_longest_query() {
        let limits = |minutes: i64| Limits { query_timeout: Span::minutes(minutes), ..Limits::default() };
        let of_all = TenantLimits::new(limits(1), BTreeMap::new(), false, true);
        let minutes = |count: u64| Duration::from_secs(60 * count);
        let configured = |compacted| RetireDelays { compacted, ..RetireDelays::for_query_timeout(Duration::ZERO) };
        let mut usual = RetireAfter::new(configured(minutes(5)), of_all.clone());
        // Chosen for a store that nobody reads meanwhile.
        let mut short = RetireAfter::new(configured(Duration::from_secs(1)), of_all.clone());
        assert_eq!((usual.delays().compacted, usual.told), (minutes(5), None));
        assert_eq!((short.delays().compacted, short.told), (Duration::from_secs(1), Some(minutes(1))));
        of_all.replace(limits(1), BTreeMap::from([("slow".to_owned(), limits(10))]));
        assert_eq!((usual.delays().compacted, usual.told), (minutes(20), Some(minutes(10))));
        assert_eq!(short.delays().compacted, Duration::from_secs(1));
        of_all.replace(limits(2), BTreeMap::new());
        assert_eq!((usual.delays().compacted, usual.told), (minutes(5), None));
    }
}
