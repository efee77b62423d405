//! The binary operators on two numbers.

use tailwater_logql::ast::BinaryOp;

/// What an operator makes of two values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Outcome {
    Value(f64),
    /// Whether a comparison holds.
    Holds(bool),
}

/// Division by zero is no number. `and`, `or` and `unless` are about series, not values: they give the left value.
pub(crate) fn apply(op: BinaryOp, left: f64, right: f64) -> Outcome {
    match op {
        BinaryOp::Add => Outcome::Value(left + right),
        BinaryOp::Sub => Outcome::Value(left - right),
        BinaryOp::Mul => Outcome::Value(left * right),
        BinaryOp::Div => Outcome::Value(if right == 0.0 { f64::NAN } else { left / right }),
        BinaryOp::Mod => Outcome::Value(if right == 0.0 { f64::NAN } else { left % right }),
        BinaryOp::Pow => Outcome::Value(left.powf(right)),
        BinaryOp::Equal => Outcome::Holds(left == right),
        BinaryOp::NotEqual => Outcome::Holds(left != right),
        BinaryOp::Greater => Outcome::Holds(left > right),
        BinaryOp::GreaterOrEqual => Outcome::Holds(left >= right),
        BinaryOp::Less => Outcome::Holds(left < right),
        BinaryOp::LessOrEqual => Outcome::Holds(left <= right),
        BinaryOp::Or | BinaryOp::And | BinaryOp::Unless => Outcome::Value(left),
    }
}

impl Outcome {
    /// The value that stays: a comparison gives 1 or 0 with `bool`, else `kept` where it holds.
    pub(crate) fn value(self, returns_bool: bool, kept: f64) -> Option<f64> {
        match self {
            Self::Value(value) => Some(value),
            Self::Holds(holds) if returns_bool => Some(f64::from(u8::from(holds))),
            Self::Holds(holds) => holds.then_some(kept),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_comparisons() {
        let value = |op, left, right| apply(op, left, right).value(false, left);
        assert_eq!(value(BinaryOp::Mod, -3.0, 2.0), Some(-1.0));
        assert_eq!(value(BinaryOp::Pow, 2.0, 0.5), Some(2.0f64.sqrt()));
        assert!(value(BinaryOp::Div, 1.0, 0.0).is_some_and(f64::is_nan) && value(BinaryOp::Mod, 1.0, 0.0).is_some_and(f64::is_nan));
        assert_eq!((value(BinaryOp::Greater, 2.0, 1.0), value(BinaryOp::Greater, 1.0, 2.0)), (Some(2.0), None));
        assert_eq!(apply(BinaryOp::Less, 1.0, 2.0).value(true, 1.0), Some(1.0));
        assert_eq!(value(BinaryOp::NotEqual, f64::NAN, f64::NAN).map(f64::is_nan), Some(true));
    }
}
