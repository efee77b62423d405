//! Zones: UTC, fixed offsets, and those with rules.

use std::sync::LazyLock;

use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};

static DATABASE: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// Where a clock hangs.
#[derive(Debug, Clone, PartialEq)]
pub enum Zone {
    Utc,
    /// Seconds east of UTC; the name may be empty.
    Fixed {
        offset: i32,
        name: Box<str>,
    },
    /// Offsets that change over the year and the years.
    Rules(TimeZone),
}

impl Zone {
    /// A zone by its name in the database; the empty name, `UTC` and `Local` are UTC. `None` for an unknown one.
    pub fn load(name: &str) -> Option<Zone> {
        if matches!(name, "" | "UTC" | "Local") {
            return Some(Zone::Utc);
        }
        let zone = DATABASE.get(name).ok()?;
        // The database ignores case, file systems do not.
        (zone.iana_name() == Some(name)).then_some(Zone::Rules(zone))
    }

    /// The offset in seconds and the abbreviation at a moment.
    pub(crate) fn at(&self, seconds: i64) -> (i32, String) {
        match self {
            Zone::Utc => (0, "UTC".to_owned()),
            Zone::Fixed { offset, name } => (*offset, name.to_string()),
            Zone::Rules(zone) => {
                let clamped = seconds.clamp(Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
                let moment = Timestamp::from_second(clamped).unwrap_or(Timestamp::UNIX_EPOCH);
                let info = zone.to_offset_info(moment);
                (info.offset().seconds(), info.abbreviation().to_owned())
            }
        }
    }

    /// The moment at which the clock shows these seconds.
    pub(crate) fn to_utc(&self, shown: i64) -> i64 {
        let first = i64::from(self.at(shown).0);
        if first == 0 {
            return shown;
        }
        shown - i64::from(self.at(shown - first).0)
    }
}
