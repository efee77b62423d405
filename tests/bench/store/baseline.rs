//! What other systems reached with the same data on the machine the project began on, and what this one must reach.

use crate::options::DataSize;

/// Loki 3.7.6 and VictoriaLogs 1.26 (lines kept as they are), 500 MB; milliseconds where nothing else is said.
const PUBLISHED: [(&str, Option<f64>, Option<f64>); 22] = [
    ("push_and_folds", Some(75.6), Some(64.4)),
    ("push_and_background", Some(80.8), Some(77.9)),
    ("peak_ingest", Some(883.0), Some(269.0)),
    ("peak_queries", Some(1510.0), Some(159.0)),
    ("idle", Some(618.0), Some(14.0)),
    ("stored", Some(0.352), Some(0.222)),
    ("count_uuid", Some(3394.0), Some(46.0)),
    ("count_trace_id", Some(3029.0), Some(882.0)),
    ("count_address", Some(3611.0), Some(1661.0)),
    ("count_rare_word", Some(3304.0), Some(729.0)),
    ("count_piece", Some(2937.0), Some(850.0)),
    ("count_phrase", Some(2734.0), Some(12.0)),
    ("count_per_mille", Some(2509.0), Some(658.0)),
    ("count_absent", Some(3328.0), Some(11.0)),
    ("count_all", Some(8962.0), Some(2.2)),
    ("show_uuid", Some(3497.0), Some(22.0)),
    ("rate", Some(10_585.0), None),
    ("rate_error", Some(5194.0), None),
    ("json", Some(11_344.0), None),
    ("logfmt", Some(15_254.0), None),
    ("last_lines", Some(1100.0), None),
    ("volume", None, None),
];

/// Some of the 500 MB targets are a share of what Loki takes.
const SHARE_OF_LOKI: f64 = 15.0;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Target {
    AtMost(f64),
    AtLeast(f64),
    /// So many times the yardstick of the same run.
    TimesYardstick(f64),
}

impl Target {
    pub(crate) fn is_met(self, value: f64, times_yardstick: Option<f64>) -> bool {
        match self {
            Self::AtMost(limit) => value <= limit,
            Self::AtLeast(limit) => value >= limit,
            Self::TimesYardstick(limit) => times_yardstick.is_some_and(|times| times <= limit),
        }
    }
}

/// Of Loki and of VictoriaLogs. They were measured with 500 MB, so figures that grow with the data are left out for other sizes.
pub(crate) fn published(key: &str, size: &DataSize) -> (Option<f64>, Option<f64>) {
    let is_comparable = size.name == "500m" || matches!(key, "push" | "push_and_folds" | "push_and_background" | "stored");
    let found = PUBLISHED.iter().find(|(name, ..)| is_comparable && *name == key);
    found.map_or((None, None), |(_, loki, victoria_logs)| (*loki, *victoria_logs))
}

pub(crate) fn target(key: &str, size: &DataSize) -> Option<Target> {
    let is_large = size.name == "5g";
    if !size.has_targets() {
        return None;
    }
    let by_size = |small: f64, large: f64| Some(Target::AtMost(if is_large { large } else { small }));
    let small_only = |limit: f64| (!is_large).then_some(Target::AtMost(limit));
    match key {
        "push" => Some(Target::TimesYardstick(3.5)),
        "push_and_background" => Some(Target::TimesYardstick(7.0)),
        "stored" => Some(Target::AtMost(0.19)),
        "peak_ingest" => Some(Target::AtMost(200.0)),
        "idle" => Some(Target::AtMost(40.0)),
        "count_uuid" | "count_trace_id" | "count_rare_word" | "count_piece" | "count_phrase" | "count_absent" | "show_uuid" => {
            by_size(10.0, 30.0)
        }
        "count_address" => by_size(60.0, 600.0),
        "count_per_mille" => small_only(250.0),
        "count_all" | "volume" => Some(Target::AtMost(2.0)),
        "rate" => small_only(50.0),
        "rate_error" | "json" | "logfmt" => small_only((published(key, size).0? / SHARE_OF_LOKI).floor()),
        "last_lines" => Some(Target::AtMost(20.0)),
        "last_lines_read" => Some(Target::AtMost(64.0)),
        "scan_speed" => Some(Target::AtLeast(1.0)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_depend_on_the_size() {
        let (small, large, other) = (DataSize::parse("500m").unwrap(), DataSize::parse("5g").unwrap(), DataSize::parse("7m").unwrap());
        assert_eq!(target("count_uuid", &small), Some(Target::AtMost(10.0)));
        assert_eq!(target("count_uuid", &large), Some(Target::AtMost(30.0)));
        assert_eq!(target("json", &small), Some(Target::AtMost(756.0)));
        assert_eq!((target("json", &large), target("count_uuid", &other)), (None, None));
        assert_eq!(published("count_uuid", &large), (None, None));
        assert_eq!(published("stored", &large), (Some(0.352), Some(0.222)));
    }

    #[test]
    fn a_target_is_held_against_the_value_or_its_ratio() {
        assert!(Target::AtMost(2.0).is_met(2.0, None) && !Target::AtMost(2.0).is_met(2.1, Some(1.0)));
        assert!(Target::AtLeast(1.0).is_met(1.5, None) && !Target::AtLeast(1.0).is_met(0.5, None));
        let times = Target::TimesYardstick(3.5);
        assert!(times.is_met(99.0, Some(3.4)) && !times.is_met(1.0, Some(3.6)) && !times.is_met(1.0, None));
    }
}
