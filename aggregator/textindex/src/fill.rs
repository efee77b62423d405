//! How full a plane may be: folding halves its size as long as the fill stays at or below the limit.

use thiserror::Error;

/// A share of bits that may be set, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FillLimit(u16);

#[derive(Debug, Clone, Copy, PartialEq, Error)]
#[error("a fill limit of {ratio} is out of range: choose from 0.001 to 0.999")]
pub struct FillRatioError {
    pub ratio: f64,
}

impl FillLimit {
    /// From a ratio, rounded to thousandths.
    pub fn from_ratio(ratio: f64) -> Result<FillLimit, FillRatioError> {
        let thousandths = (ratio * 1000.0).round();
        if (1.0..=999.0).contains(&thousandths) { Ok(FillLimit(thousandths as u16)) } else { Err(FillRatioError { ratio }) }
    }

    pub(crate) fn from_thousandths(thousandths: u16) -> Option<FillLimit> {
        (1..=999).contains(&thousandths).then_some(FillLimit(thousandths))
    }

    pub(crate) fn thousandths(self) -> u16 {
        self.0
    }

    pub(crate) fn allows(self, ones: u64, bits: u64) -> bool {
        ones * 1000 <= bits * u64::from(self.0)
    }
}

/// One limit a plane. A plane that is above its limit at full size is not stored: it is always "maybe".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FillLimits {
    pub text: FillLimit,
    pub id: FillLimit,
}

impl Default for FillLimits {
    /// 50 % for text, 80 % for ids.
    fn default() -> FillLimits {
        FillLimits { text: FillLimit(500), id: FillLimit(800) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_real_shares_are_limits() {
        assert_eq!(FillLimit::from_ratio(0.8), Ok(FillLimit(800)));
        for ratio in [0.0, 1.0, -0.5, 7.0, f64::NAN] {
            assert!(FillLimit::from_ratio(ratio).is_err(), "{ratio}");
        }
        assert_eq!(FillLimit::from_thousandths(1000), None);
    }

    #[test]
    fn the_limit_itself_is_allowed() {
        let half = FillLimits::default().text;
        assert!(half.allows(32, 64) && !half.allows(33, 64));
    }
}
