//! Times of the wall clock as stamps: nanoseconds since the epoch.
//!
//! A time before the epoch is the epoch, one beyond the year 2262 is the last that fits.

use std::time::SystemTime;

/// A time as a stamp.
pub(crate) fn nanoseconds(time: SystemTime) -> i64 {
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX)
}

/// The time now, as a stamp.
pub(crate) fn now() -> i64 {
    nanoseconds(SystemTime::now())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_that_do_not_fit_are_the_first_and_the_last() {
        let after = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(nanoseconds(after(3)), 3_000_000_000);
        assert_eq!(nanoseconds(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), 0);
        assert_eq!(nanoseconds(after(u64::from(u32::MAX) * 4)), i64::MAX);
    }
}
