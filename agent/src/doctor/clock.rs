//! Whether this machine's clock agrees with another's, by the `Date` of its answer. The aggregator's doctor asks the same.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::finding::Finding;

const CHECK: &str = "clock";
/// Seconds.
const NOTABLE: i64 = 5;

/// What a difference is worth.
#[derive(Debug, Clone, Copy)]
pub struct Tolerance {
    /// Whose clock the other one is.
    pub whose: &'static str,
    /// From here on something fails: with this clock ahead, and with it behind. `None`: nothing does.
    pub ahead: Option<Duration>,
    pub behind: Option<Duration>,
    /// What fails then.
    pub because: &'static str,
}

/// `date`: the `Date` header of an answer; `asked` and `answered`: when this clock saw it asked for and there. The other clock was read at some
/// moment between, so waiting is no difference. `None`: there is no such date.
pub fn examine(date: &str, asked: SystemTime, answered: SystemTime, tolerance: Tolerance) -> Option<Finding> {
    let there = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date).ok()?.as_second();
    let ahead = (seconds(asked)? - there).max(0) + (seconds(answered)? - there).min(0);
    let whose = tolerance.whose;
    let size = Duration::from_secs(ahead.unsigned_abs());
    let (side, most) = if ahead > 0 { ("ahead of", tolerance.ahead) } else { ("behind", tolerance.behind) };
    let evidence = format!("this clock is {} {side} that of {whose}", humantime::format_duration(size));
    let advice = "set both clocks by NTP (chrony, systemd-timesyncd)";
    Some(match most {
        _ if ahead.abs() <= NOTABLE => Finding::fine(CHECK, format!("this clock and that of {whose} agree")),
        Some(most) if size >= most => Finding::problem(CHECK, format!("{evidence}: {}", tolerance.because), advice),
        _ => Finding::warning(CHECK, evidence, advice),
    })
}

/// Since the epoch.
fn seconds(time: SystemTime) -> Option<i64> {
    i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    const DATE: &str = "Sun, 01 Mar 2026 10:00:00 GMT";
    const REFUSED: Tolerance = Tolerance {
        whose: "the receiver",
        ahead: Some(Duration::from_secs(600)),
        behind: None,
        because: "lines of the future are refused",
    };

    fn at(seconds: i64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(u64::try_from(1_772_359_200 + seconds).unwrap())
    }

    #[test]
    fn a_difference_is_as_bad_as_what_fails_by_it() {
        let both = Tolerance { behind: REFUSED.ahead, ..REFUSED };
        for (seconds, tolerance, expected, part) in [
            (2, REFUSED, Verdict::Fine, "agree"),
            (-4, REFUSED, Verdict::Fine, "agree"),
            (60, REFUSED, Verdict::Warning, "1m ahead of that of the receiver"),
            (900, REFUSED, Verdict::Problem, "15m ahead of that of the receiver: lines of the future"),
            (-900, REFUSED, Verdict::Warning, "15m behind"),
            (-900, both, Verdict::Problem, "15m behind"),
        ] {
            let finding = examine(DATE, at(seconds), at(seconds), tolerance).unwrap();
            assert!(finding.verdict == expected && finding.evidence.contains(part), "{finding}");
        }
        assert_eq!(examine("yesterday", at(0), at(0), REFUSED), None);
    }

    #[test]
    fn an_answer_that_was_waited_for_shows_no_difference() {
        let finding = |asked, answered| examine(DATE, at(asked), at(answered), REFUSED).unwrap();
        assert_eq!(finding(-30, 0).verdict, Verdict::Fine);
        assert_eq!(finding(0, 30).verdict, Verdict::Fine);
        assert!(finding(40, 90).evidence.contains("40s ahead"));
        assert!(finding(-90, -40).evidence.contains("40s behind"));
    }
}
