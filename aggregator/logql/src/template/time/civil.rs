//! Dates of the Gregorian calendar, extended to all years, and the seconds since 1970.

use super::layout::{MONTHS, WEEKDAYS};

/// What a clock shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Civil {
    pub(crate) year: i64,
    /// From 1.
    pub(crate) month: i64,
    /// From 1.
    pub(crate) day: i64,
    pub(crate) hour: i64,
    pub(crate) minute: i64,
    pub(crate) second: i64,
}

const DAY: i64 = 86_400;
/// Years repeat after 400.
const DAYS_OF_CYCLE: i64 = 146_097;
/// From the first of March of the year 0 to 1970.
const DAYS_TO_EPOCH: i64 = 719_468;

impl Civil {
    pub(crate) fn from_seconds(seconds: i64) -> Civil {
        let (days, second) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
        let shifted = days + DAYS_TO_EPOCH;
        let (cycle, day_of_cycle) = (shifted.div_euclid(DAYS_OF_CYCLE), shifted.rem_euclid(DAYS_OF_CYCLE));
        // Years that begin in March have their leap day at the end.
        let year_of_cycle = (day_of_cycle - day_of_cycle / 1460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
        let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        Civil {
            year: cycle * 400 + year_of_cycle + i64::from(month <= 2),
            month,
            day: day_of_year - (153 * month_from_march + 2) / 5 + 1,
            hour: second / 3600,
            minute: second / 60 % 60,
            second: second % 60,
        }
    }

    pub(crate) fn to_seconds(self) -> i64 {
        let year = self.year - i64::from(self.month <= 2);
        let (cycle, year_of_cycle) = (year.div_euclid(400), year.rem_euclid(400));
        let month_from_march = (self.month + 9) % 12;
        let day_of_year = (153 * month_from_march + 2) / 5 + self.day - 1;
        let days = cycle * DAYS_OF_CYCLE + 365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100 + day_of_year - DAYS_TO_EPOCH;
        days * DAY + self.hour * 3600 + self.minute * 60 + self.second
    }

    /// From 1.
    pub(crate) fn day_of_year(self) -> i64 {
        let first = Civil { month: 1, day: 1, ..self };
        (self.to_seconds() - first.to_seconds()) / DAY + 1
    }

    /// The English name; a number that is no month is named by its number.
    pub(crate) fn month_name(month: i64) -> String {
        let name = usize::try_from(month - 1).ok().and_then(|index| MONTHS.get(index));
        name.map_or_else(|| format!("%!Month({month})"), ToString::to_string)
    }

    pub(crate) fn weekday_name(weekday: i64) -> String {
        let name = usize::try_from(weekday).ok().and_then(|index| WEEKDAYS.get(index));
        name.map_or_else(|| format!("%!Weekday({weekday})"), ToString::to_string)
    }

    /// Sunday is 0.
    pub(crate) fn weekday(self) -> i64 {
        (self.to_seconds().div_euclid(DAY) + 4).rem_euclid(7)
    }
}

pub(super) fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

pub(super) fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_days() {
        let date = |year, month, day| Civil { year, month, day, hour: 0, minute: 0, second: 0 };
        for (civil, seconds) in [(date(1970, 1, 1), 0), (date(2000, 2, 29), 951_782_400), (date(1, 1, 1), -62_135_596_800)] {
            assert_eq!(civil.to_seconds(), seconds);
            assert_eq!(Civil::from_seconds(seconds), civil);
        }
        assert_eq!(date(2026, 1, 15).weekday(), 4);
        assert_eq!(date(2024, 12, 31).day_of_year(), 366);
    }

    proptest! {
        #[test]
        fn there_and_back(seconds in -1_000_000_000_000i64..1_000_000_000_000) {
            let civil = Civil::from_seconds(seconds);
            prop_assert_eq!(civil.to_seconds(), seconds);
            prop_assert!(civil.day >= 1 && civil.day <= days_of_month(civil.year, civil.month));
        }
    }
}
