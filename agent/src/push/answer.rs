//! What a receiver's answer means for the batch: one table for all statuses.

use std::time::Duration;

/// What to do after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All entries are stored.
    Acknowledged,
    /// The same entries again, later.
    Retry,
    /// Too large as a whole: again in halves.
    TooLarge,
    /// Some entries are refused for good, the others stand.
    Refused,
    /// Configuration or access is wrong: hold everything, try again slowly.
    Blocked,
}

/// The verdict of a status. Redirects were followed before, as far as they are allowed.
pub(crate) fn verdict(status: u16) -> Verdict {
    match status {
        200..=299 => Verdict::Acknowledged,
        408 | 429 | 500 | 502 | 503 | 504 | 507 => Verdict::Retry,
        413 => Verdict::TooLarge,
        400 | 422 => Verdict::Refused,
        500..=599 => Verdict::Retry,
        _ => Verdict::Blocked,
    }
}

/// How many entries a refusal names: the sum of every `total ignored: i out of n`. `None` if it names no count.
pub(crate) fn ignored_entries(body: &str) -> Option<u64> {
    let counts = body.split("total ignored: ").skip(1).filter_map(|rest| {
        let digits = rest.split(|character: char| !character.is_ascii_digit()).next()?;
        digits.parse::<u64>().ok()
    });
    counts.reduce(|sum, count| sum.saturating_add(count))
}

/// Whether an answer says that nothing of the request is stored.
pub(crate) fn says_untaken(status: u16) -> bool {
    (300..500).contains(&status) && !matches!(status, 400 | 408 | 422)
}

/// The most bytes that a request or an entry may have, as an answer to a larger one tells: the least of the numbers that it names as bytes, or behind `vs.`.
pub(crate) fn limit_told(body: &str) -> Option<usize> {
    let words: Vec<&str> = body.split_whitespace().collect();
    let number = |word: &str| word.trim_matches(|character: char| !character.is_ascii_digit()).parse::<usize>().ok();
    let of_bytes = words.windows(2).filter(|pair| pair[1].starts_with("bytes")).filter_map(|pair| number(pair[0]));
    let of_pair = words.windows(2).filter(|pair| pair[0] == "vs.").filter_map(|pair| number(pair[1]));
    of_bytes.chain(of_pair).min()
}

/// The wait a receiver asks for in its `Retry-After`: whole seconds, or a time, which is by its own clock where `date` tells that, else by ours.
pub(crate) fn retry_after(header: &str, date: Option<&str>, now: jiff::Timestamp) -> Option<Duration> {
    if let Ok(seconds) = header.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let time = |text: &str| jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text.trim()).ok();
    let until = time(header)?.duration_since(date.and_then(time).unwrap_or(now));
    Some(Duration::try_from(until).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_of_statuses() {
        for (statuses, expected) in [
            (&[200, 204, 202][..], Verdict::Acknowledged),
            (&[408, 429, 500, 502, 503, 504, 507, 599][..], Verdict::Retry),
            (&[413][..], Verdict::TooLarge),
            (&[400, 422][..], Verdict::Refused),
            (&[401, 403, 404, 405, 415, 301, 302][..], Verdict::Blocked),
        ] {
            for status in statuses {
                assert_eq!(verdict(*status), expected, "{status}");
            }
        }
    }

    #[test]
    fn counts_are_taken_from_the_text() {
        let body = "entry with timestamp 1 ignored, reason: 'x',\nuser 'T', total ignored: 3 out of 10 for stream: {a=\"b\"}\n\
            user 'T', total ignored: 1 out of 1 for stream: {a=\"c\"}";
        assert_eq!(ignored_entries(body), Some(4));
        assert_eq!(ignored_entries("couldn't parse labels"), None);
    }

    #[test]
    fn limits_are_taken_from_the_text() {
        for (body, expected) in [
            ("request body too large: more than 16777216 bytes received, send smaller batches", Some(16_777_216)),
            ("rpc error: code = ResourceExhausted desc = grpc: received message larger than max (5000000 vs. 4194304)", Some(4_194_304)),
            (
                "Max entry size '262144' bytes exceeded for stream '{a=\"b\"}' while adding an entry with length '300000' bytes",
                Some(262_144),
            ),
            ("<html><title>413 Request Entity Too Large</title></html>", None),
            ("request body too large: it expands more than 100 times", None),
        ] {
            assert_eq!(limit_told(body), expected, "{body}");
        }
    }

    #[test]
    fn only_clear_refusals_say_that_nothing_is_stored() {
        assert!([301, 401, 403, 404, 413, 429].into_iter().all(says_untaken));
        assert!(![200, 204, 400, 408, 422, 500, 502, 503, 504].into_iter().any(says_untaken));
    }

    #[test]
    fn retry_after_in_seconds_or_until_a_time() {
        let now = "2026-10-21T07:00:00Z".parse().unwrap();
        let seconds = |header, date| retry_after(header, date, now).map(|wait| wait.as_secs());
        let time = "Wed, 21 Oct 2026 07:28:00 GMT";
        assert_eq!(seconds(" 7 ", None), Some(7));
        assert_eq!(seconds(time, None), Some(28 * 60));
        assert_eq!(seconds(time, Some("Wed, 21 Oct 2026 07:27:30 GMT")), Some(30), "its clock and ours differ");
        assert_eq!(seconds(time, Some("Wed, 21 Oct 2026 08:00:00 GMT")), Some(0), "it has passed");
        assert_eq!(seconds("soon", None), None);
    }
}
