//! Whether our clock agrees with another's, by the `Date` of its answer.

use std::time::{Duration, SystemTime};

use reqwest::header::{DATE, HeaderMap};
use tailwater_agent::doctor::Finding;

const NOTABLE: u64 = 5;

/// What a difference is worth.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tolerance {
    /// Whose clock the other one is.
    pub(super) whose: &'static str,
    /// From here on nothing works.
    pub(super) most: Duration,
    /// What happens then.
    pub(super) because: &'static str,
}

/// Signed requests are refused beyond.
pub(super) const OF_BUCKET: Tolerance =
    Tolerance { whose: "the bucket's server", most: Duration::from_secs(900), because: "signed requests are refused" };
/// `now` and `1h` mean another time there.
pub(super) const OF_SERVER: Tolerance =
    Tolerance { whose: "the aggregator", most: Duration::from_secs(300), because: "what `now` means here misses the newest lines there" };

/// `None`: the answer has no date.
pub(super) fn examine(headers: &HeaderMap, now: SystemTime, tolerance: Tolerance) -> Option<Finding> {
    const CHECK: &str = "clock";
    let date = headers.get(DATE)?.to_str().ok()?;
    let there = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date).ok()?.as_second();
    let here = i64::try_from(now.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs()).ok()?;
    let ahead = here - there;
    let side = if ahead > 0 { "ahead of" } else { "behind" };
    let evidence = format!("this clock is {} s {side} that of {}", ahead.abs(), tolerance.whose);
    let advice = "set both clocks by NTP (chrony, systemd-timesyncd)";
    Some(match ahead.unsigned_abs() {
        ..=NOTABLE => Finding::fine(CHECK, format!("this clock and that of {} agree", tolerance.whose)),
        size if size > tolerance.most.as_secs() => Finding::problem(CHECK, format!("{evidence}: {}", tolerance.because), advice),
        _ => Finding::warning(CHECK, evidence, advice),
    })
}

#[cfg(test)]
mod tests {
    use tailwater_agent::doctor::Verdict;

    use super::*;

    #[test]
    fn signatures_fail_a_quarter_of_an_hour_apart() {
        let headers = HeaderMap::from_iter([(DATE, "Sun, 01 Mar 2026 10:00:00 GMT".parse().expect("a value"))]);
        let at = |seconds: i64| SystemTime::UNIX_EPOCH + Duration::from_secs((1_772_359_200 + seconds) as u64);
        for (seconds, expected, part) in [
            (3, Verdict::Fine, "agree"),
            (901, Verdict::Problem, "901 s ahead of that of the bucket's server: signed requests"),
            (-901, Verdict::Problem, "behind"),
            (60, Verdict::Warning, "60 s ahead"),
        ] {
            let finding = examine(&headers, at(seconds), OF_BUCKET).expect("a date");
            assert!(finding.verdict == expected && finding.evidence.contains(part), "{finding}");
        }
        assert_eq!(examine(&HeaderMap::new(), at(0), OF_BUCKET), None);
    }
}
