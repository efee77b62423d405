//! Expressions that read no logs: `1`, `vector(1)+vector(1)`.

use tailwater_logql::ast::{BinaryOp, BinaryOperation, MetricExpr};

/// A value that is the same at every step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Constant {
    Scalar(f64),
    /// One sample without labels; `None` where a comparison filtered it out.
    Vector(Option<f64>),
}

/// Evaluates an expression of literals and `vector(…)`; `None` if it is anything else.
pub(crate) fn constant(expr: &MetricExpr) -> Option<Constant> {
    match expr {
        MetricExpr::Literal(value) => Some(Constant::Scalar(*value)),
        MetricExpr::VectorLiteral(value) => Some(Constant::Vector(Some(*value))),
        MetricExpr::Binary(operation) => binary(operation, constant(&operation.left)?, constant(&operation.right)?),
        _ => None,
    }
}

fn binary(operation: &BinaryOperation, left: Constant, right: Constant) -> Option<Constant> {
    let compare = |holds: bool, left: f64| match operation.return_bool {
        true => Some(f64::from(u8::from(holds))),
        false => holds.then_some(left),
    };
    let apply = |left: f64, right: f64| -> Option<Option<f64>> {
        Some(match operation.op {
            BinaryOp::Add => Some(left + right),
            BinaryOp::Sub => Some(left - right),
            BinaryOp::Mul => Some(left * right),
            BinaryOp::Div => Some(if right == 0.0 { f64::NAN } else { left / right }),
            BinaryOp::Mod => Some(if right == 0.0 { f64::NAN } else { left % right }),
            BinaryOp::Pow => Some(left.powf(right)),
            BinaryOp::Equal => compare(left == right, left),
            BinaryOp::NotEqual => compare(left != right, left),
            BinaryOp::Greater => compare(left > right, left),
            BinaryOp::GreaterOrEqual => compare(left >= right, left),
            BinaryOp::Less => compare(left < right, left),
            BinaryOp::LessOrEqual => compare(left <= right, left),
            BinaryOp::Or | BinaryOp::And | BinaryOp::Unless => return None,
        })
    };
    match (left, right) {
        // The parser folds operations of two literals.
        (Constant::Scalar(left), Constant::Scalar(right)) => Some(Constant::Scalar(apply(left, right)??)),
        (Constant::Scalar(left), Constant::Vector(right)) | (Constant::Vector(Some(left)), Constant::Vector(right)) => {
            Some(Constant::Vector(match right {
                Some(right) => apply(left, right)?,
                None => None,
            }))
        }
        (Constant::Vector(left), Constant::Scalar(right)) => Some(Constant::Vector(match left {
            Some(left) => apply(left, right)?,
            None => None,
        })),
        (Constant::Vector(None), Constant::Vector(_)) => {
            apply(0.0, 0.0)?;
            Some(Constant::Vector(None))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tailwater_logql::ast::Expr;

    fn evaluate(query: &str) -> Option<Constant> {
        match tailwater_logql::parse(query).expect("parses") {
            Expr::Metric(expr) => constant(&expr),
            Expr::Log(_) => None,
        }
    }

    #[test]
    fn vectors_of_one_sample_are_computed() {
        assert_eq!(evaluate("vector(1)+vector(1)"), Some(Constant::Vector(Some(2.0))));
        assert_eq!(evaluate("1+2*3"), Some(Constant::Scalar(7.0)));
        assert_eq!(evaluate("vector(1) > 2"), Some(Constant::Vector(None)));
        assert_eq!(evaluate("vector(1) > bool 2"), Some(Constant::Vector(Some(0.0))));
        assert_eq!(evaluate("(vector(1) > 2) + vector(1)"), Some(Constant::Vector(None)));
        assert!(matches!(evaluate("vector(1) / 0"), Some(Constant::Vector(Some(value))) if value.is_nan()));
        assert_eq!(evaluate("vector(1) or vector(2)"), None);
        assert_eq!(evaluate(r#"count_over_time({app="a"}[1m]) + 1"#), None);
    }
}
