//! Expressions that are a number, whatever the logs say.

use tailwater_logql::ast::MetricExpr;
use tailwater_logql::labels::LabelSet;

use crate::answer::{MetricValue, Point, Series};
use crate::operators::grid::StepGrid;

/// The answer of an expression that is a number: that number, or a series of it at every step.
pub(crate) fn constant_answer(expr: &MetricExpr, grid: StepGrid, is_instant: bool) -> Option<MetricValue> {
    let value = constant(expr)?;
    if is_instant {
        return Some(MetricValue::Scalar(value));
    }
    let points = (0..grid.count).map(|step| Point { timestamp: grid.time(step), value }).collect();
    Some(MetricValue::Series(vec![Series { labels: LabelSet::default(), points }]))
}

/// The value of a literal; the parser has folded operations of literals into one. `None` for anything else.
fn constant(expr: &MetricExpr) -> Option<f64> {
    match expr {
        MetricExpr::Literal(value) => Some(*value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tailwater_logql::ast::Expr;

    fn evaluate(query: &str) -> Option<f64> {
        match tailwater_logql::parse(query).expect("parses") {
            Expr::Metric(expr) => constant(&expr),
            Expr::Log(_) => None,
        }
    }

    #[test]
    fn operations_of_literals_are_one_number() {
        assert_eq!(evaluate("1+2*3"), Some(7.0));
        assert_eq!(evaluate("2 ^ 3 ^ 2 > bool 511"), Some(1.0));
        assert!(evaluate("1 / 0").is_some_and(f64::is_nan));
        assert_eq!(evaluate("vector(1)"), None);
        assert_eq!(evaluate("vector(1) + 1"), None);
    }
}
