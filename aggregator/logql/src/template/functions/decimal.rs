//! Exact decimal numbers: what a floating point number says in its shortest digits.

use num_bigint::BigInt;

/// Digits behind the point that a division gives.
const DIVISION_DIGITS: i64 = 16;

/// `digits × 10^exponent`
#[derive(Debug, Clone)]
pub(super) struct Decimal {
    digits: BigInt,
    exponent: i64,
}

impl Decimal {
    pub(super) fn zero() -> Decimal {
        Decimal { digits: BigInt::ZERO, exponent: 0 }
    }

    /// `None` for infinities and NaN.
    pub(super) fn new(number: f64) -> Option<Decimal> {
        let text = format!("{number:e}");
        let (mantissa, exponent) = text.split_once('e')?;
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{whole}{fraction}").parse().ok()?;
        Some(Decimal { digits, exponent: exponent.parse::<i64>().ok()? - fraction.len() as i64 })
    }

    /// The nearest floating point number.
    pub(super) fn to_float(&self) -> f64 {
        format!("{}e{}", self.digits, self.exponent).parse().unwrap_or(0.0)
    }

    pub(super) fn add(&self, other: &Decimal) -> Decimal {
        let exponent = self.exponent.min(other.exponent);
        Decimal { digits: self.digits_at(exponent) + other.digits_at(exponent), exponent }
    }

    pub(super) fn subtract(&self, other: &Decimal) -> Decimal {
        let exponent = self.exponent.min(other.exponent);
        Decimal { digits: self.digits_at(exponent) - other.digits_at(exponent), exponent }
    }

    pub(super) fn multiply(&self, other: &Decimal) -> Decimal {
        Decimal { digits: &self.digits * &other.digits, exponent: self.exponent + other.exponent }
    }

    /// Rounded half away from zero to [`DIVISION_DIGITS`] digits; `None` for a divisor of 0.
    pub(super) fn divide(&self, other: &Decimal) -> Option<Decimal> {
        if other.digits == BigInt::ZERO {
            return None;
        }
        let shift = self.exponent - other.exponent + DIVISION_DIGITS;
        let ten = |power: i64| BigInt::from(10).pow(u32::try_from(power).unwrap_or(0));
        let (dividend, divisor) = (&self.digits * ten(shift.max(0)), &other.digits * ten((-shift).max(0)));
        let (mut quotient, remainder) = (&dividend / &divisor, &dividend % &divisor);
        let is_half = remainder.magnitude() * 2u32 >= *divisor.magnitude();
        if is_half {
            let is_negative = (dividend < BigInt::ZERO) != (divisor < BigInt::ZERO);
            quotient += if is_negative { -1 } else { 1 };
        }
        Some(Decimal { digits: quotient, exponent: -DIVISION_DIGITS })
    }

    /// The digits at an exponent that is not above the own one.
    fn digits_at(&self, exponent: i64) -> BigInt {
        &self.digits * BigInt::from(10).pow(u32::try_from(self.exponent - exponent).unwrap_or(0))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact() {
        let decimal = |number| Decimal::new(number).unwrap();
        assert_eq!(decimal(0.1).add(&decimal(0.2)).to_float(), 0.3);
        assert_eq!(decimal(1.1).multiply(&decimal(1.1)).to_float(), 1.21);
        assert_eq!(decimal(1.0).subtract(&decimal(0.9)).to_float(), 0.1);
        assert_eq!(decimal(1.0).divide(&decimal(3.0)).unwrap().to_float(), 0.3333333333333333);
        assert_eq!(decimal(-2.0).divide(&decimal(3.0)).unwrap().to_float(), -0.6666666666666667);
        assert_eq!(decimal(1e308).add(&decimal(1e-308)).to_float(), 1e308);
        assert_eq!(decimal(1e308).divide(&decimal(1e-308)).unwrap().to_float(), f64::INFINITY);
        assert_eq!(decimal(5e-324).divide(&decimal(1e308)).unwrap().to_float(), 0.0);
        assert!(decimal(1.0).divide(&decimal(-0.0)).is_none());
        assert!(Decimal::new(f64::NAN).is_none() && Decimal::new(f64::INFINITY).is_none());
    }
}
