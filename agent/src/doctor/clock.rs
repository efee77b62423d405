//! Whether this node's clock agrees with the receiver's.

use std::time::{Duration, SystemTime};

use super::finding::Finding;

const CHECK: &str = "clock";
/// Receivers refuse lines further ahead than this.
const REFUSED_AHEAD: i64 = 600;
const NOTABLE: i64 = 5;

/// Compares `date`, the receiver's `Date` header, with `now`.
pub(super) fn examine(date: &str, now: SystemTime) -> Option<Finding> {
    let there = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date).ok()?.as_second();
    let here = i64::try_from(now.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs()).ok()?;
    let ahead = here - there;
    let size = humantime::format_duration(Duration::from_secs(ahead.unsigned_abs()));
    let side = if ahead > 0 { "ahead of" } else { "behind" };
    let evidence = format!("this node's clock is {size} {side} the receiver's");
    let advice = "set both clocks by NTP (chrony, systemd-timesyncd)";
    Some(match ahead {
        _ if ahead.abs() <= NOTABLE => Finding::fine(CHECK, "this node and the receiver agree"),
        REFUSED_AHEAD.. => Finding::problem(CHECK, format!("{evidence}; lines of the future are refused"), advice),
        _ => Finding::warning(CHECK, evidence, advice),
    })
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    #[test]
    fn a_clock_that_is_ahead_is_a_problem_and_one_behind_a_warning() {
        let date = "Sun, 01 Mar 2026 10:00:00 GMT";
        let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(1_772_359_200 + seconds - 1000);
        for (seconds, expected, part) in [
            (1002, Verdict::Fine, "agree"),
            (1900, Verdict::Problem, "15m ahead of"),
            (1060, Verdict::Warning, "1m ahead of"),
            (100, Verdict::Warning, "15m behind"),
        ] {
            let finding = examine(date, at(seconds)).unwrap();
            assert!(finding.verdict == expected && finding.evidence.contains(part), "{finding}");
        }
        assert_eq!(examine("yesterday", at(0)), None);
    }
}
