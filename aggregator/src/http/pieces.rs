//! Which metric queries at one time Loki reads in pieces of an hour, so that no piece is longer than a query may be. Pure.
//!
//! We read no pieces; what is told here only keeps queries over long ranges from being refused where Loki answers them. A query is
//! read in pieces as a whole or not at all: one leg of an operation that cannot be taken apart keeps the other whole.

use tailwater_logql::ast::{BinaryOperation, MetricExpr, RangeAggregation, RangeOp, Stage, VectorOp};

/// The length of a piece, in nanoseconds.
pub(crate) const PIECE: i64 = 3_600_000_000_000;

/// Whether every range of the query that is longer than a piece is read in pieces.
pub(crate) fn is_read_in_pieces(metric: &MetricExpr) -> bool {
    has_parts(metric) && is_taken_apart(metric, None)
}

/// Whether its functions are such that parts of a range can be put together.
fn has_parts(metric: &MetricExpr) -> bool {
    match metric {
        MetricExpr::Vector(aggregation) => {
            let is_known = !matches!(aggregation.op, VectorOp::Stddev | VectorOp::Stdvar | VectorOp::Bottomk | VectorOp::ApproxTopk);
            is_known && has_parts(&aggregation.inner)
        }
        MetricExpr::Range(aggregation) => is_additive(aggregation.op),
        MetricExpr::Binary(operation) => {
            let BinaryOperation { left, right, .. } = operation;
            has_parts(left) || is_literal(left) && has_parts(right) || is_literal(right)
        }
        MetricExpr::LabelReplace(replace) => has_parts(&replace.inner),
        MetricExpr::Literal(_) | MetricExpr::VectorLiteral(_) | MetricExpr::Variants { .. } => false,
    }
}

/// `above`: the aggregation of the parts that can be done for each part.
fn is_taken_apart(metric: &MetricExpr, above: Option<VectorOp>) -> bool {
    match metric {
        MetricExpr::Vector(aggregation) => {
            let waits = matches!(aggregation.op, VectorOp::Count | VectorOp::Topk | VectorOp::Sort | VectorOp::SortDesc);
            let above = (!waits && !matches!(*aggregation.inner, MetricExpr::Binary(_))).then_some(aggregation.op);
            is_taken_apart(&aggregation.inner, above)
        }
        MetricExpr::Range(aggregation) => is_range_taken_apart(aggregation, above),
        MetricExpr::Binary(BinaryOperation { left, right, .. }) => {
            let is_fine = |leg: &MetricExpr| is_literal(leg) || is_taken_apart(leg, above);
            is_fine(left) && is_fine(right)
        }
        MetricExpr::LabelReplace(replace) => is_taken_apart(&replace.inner, above),
        MetricExpr::Literal(_) | MetricExpr::VectorLiteral(_) | MetricExpr::Variants { .. } => false,
    }
}

fn is_range_taken_apart(aggregation: &RangeAggregation, above: Option<VectorOp>) -> bool {
    let RangeAggregation { op, range, grouping, .. } = aggregation;
    if range.range <= PIECE || !is_additive(*op) {
        return false;
    }
    // Each part could have as many series as there are lines.
    let finds_any_label = range.log.stages.iter().any(|stage| match stage {
        Stage::Json { extractions } | Stage::Logfmt { extractions, .. } => extractions.is_empty(),
        _ => false,
    });
    match op {
        _ if !finds_any_label => true,
        RangeOp::Rate | RangeOp::BytesRate => above == Some(VectorOp::Sum),
        _ => above.is_some() || grouping.is_some(),
    }
}

fn is_additive(op: RangeOp) -> bool {
    use RangeOp::{BytesOverTime, BytesRate, CountOverTime, MaxOverTime, MinOverTime, Rate, SumOverTime};
    matches!(op, Rate | BytesRate | BytesOverTime | CountOverTime | SumOverTime | MaxOverTime | MinOverTime)
}

fn is_literal(metric: &MetricExpr) -> bool {
    matches!(metric, MetricExpr::Literal(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tailwater_logql::ast::Expr;

    #[test]
    fn queries_are_read_in_pieces_where_loki_takes_them_apart() {
        for (query, expected) in [
            (r#"count_over_time({a="b"}[31d])"#, true),
            (r#"count_over_time({a="b"}[1h])"#, false),
            (r#"sum by (x) (rate({a="b"} | json [2h]))"#, true),
            (r#"max by (x) (rate({a="b"} | json [2h]))"#, false),
            (r#"count_over_time({a="b"} | logfmt [2h])"#, false),
            (r#"count_over_time({a="b"} | logfmt x="y" [2h])"#, true),
            (r#"max_over_time({a="b"} | logfmt | unwrap x [2h]) by (y)"#, true),
            (r#"max(count_over_time({a="b"} | logfmt [2h]))"#, true),
            (r#"count(count_over_time({a="b"} | logfmt [2h]))"#, false),
            (r#"topk(3, sum by (x) (rate({a="b"}[2h])))"#, true),
            (r#"bottomk(3, sum by (x) (rate({a="b"}[2h])))"#, false),
            (r#"avg_over_time({a="b"} | unwrap x [2h])"#, false),
            (r#"quantile_over_time(0.5, {a="b"} | unwrap x [2h])"#, false),
            (r#"sum(rate({a="b"}[2h])) * 100"#, true),
            (r#"sum(rate({a="b"}[2h])) / sum(rate({a="c"}[2h]))"#, true),
            (r#"sum(rate({a="b"}[2h])) / sum(rate({a="c"}[5m]))"#, false),
            (r#"sum(rate({a="b"}[2h])) / sum(rate_counter({a="c"} | unwrap x [2h]))"#, false),
            (r#"label_replace(rate({a="b"}[2h]), "x", "$1", "a", "(.*)")"#, true),
            ("vector(1)", false),
        ] {
            let Ok(Expr::Metric(metric)) = tailwater_logql::parse(query) else { panic!("{query} is a metric query") };
            assert_eq!(is_read_in_pieces(&metric), expected, "{query}");
        }
    }
}
