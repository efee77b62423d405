//! Expressions that are a number, whatever the logs say.

use tailwater_logql::ast::MetricExpr;

/// The value of a literal; the parser has folded operations of literals into one. `None` for anything else.
pub(crate) fn constant(expr: &MetricExpr) -> Option<f64> {
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
