//! Queries asked in two ways that mean the same.

use proptest::prelude::*;
use tailwater_engine::request::Direction;
use tailwater_logql::ast::{LogExpr, MetricExpr};

use super::data::{self, SECOND};
use super::{Flat, Steps, cases, difference, engine, log_query, logs, metric_query, points, queries, run, sorted, steps};

/// Adds up the points of a step.
fn summed(points: &Flat) -> Flat {
    let mut sums: std::collections::BTreeMap<i64, f64> = std::collections::BTreeMap::new();
    for (_, timestamp, value) in points {
        *sums.entry(*timestamp).or_default() += value;
    }
    sums.into_iter().map(|(timestamp, sum)| (Default::default(), timestamp, sum)).collect()
}

fn for_each_range(expr: &mut MetricExpr, change: &mut dyn FnMut(&mut LogExpr)) {
    match expr {
        MetricExpr::Range(range) => change(&mut range.range.log),
        MetricExpr::Vector(aggregation) => for_each_range(&mut aggregation.inner, change),
        MetricExpr::LabelReplace(replace) => for_each_range(&mut replace.inner, change),
        MetricExpr::Binary(operation) => {
            for_each_range(&mut operation.left, change);
            for_each_range(&mut operation.right, change);
        }
        MetricExpr::Variants { of, .. } => change(&mut of.log),
        MetricExpr::Literal(_) | MetricExpr::VectorLiteral(_) => {}
    }
}

proptest! {
    #![proptest_config(cases(5, 0.1))]

    #[test]
    fn a_range_of_steps_is_its_parts(data in data::data(), query in queries::metric(), steps in steps(), cut in 0i64..12) {
        run(async {
            let (engine, expr) = (engine(&data).await, metric_query(&query));
            let Ok(whole) = points(&engine, &expr, steps).await else { return Ok(()) };
            let cut = cut.min(steps.count);
            let mut parts = points(&engine, &expr, Steps { count: cut, ..steps }).await.expect("answers");
            if cut < steps.count {
                let rest = Steps { start: steps.start + (cut + 1) * steps.step, count: steps.count - cut - 1, ..steps };
                parts.extend(points(&engine, &expr, rest).await.expect("answers"));
            }
            prop_assert_eq!(difference(&query, &sorted(parts), &whole), None, "{}", query);
            Ok(())
        })?;
    }

    #[test]
    fn a_range_of_entries_is_its_parts(data in data::data(), query in queries::log(), cut in 100i64..230) {
        run(async {
            let (engine, expr) = (engine(&data).await, log_query(&query));
            let between = async |start: i64, end: i64| logs(&engine, &expr, (start * SECOND, end * SECOND), 10_000, Direction::Forward).await;
            let mut parts = between(90, cut).await.expect("answers");
            parts.extend(between(cut, 240).await.expect("answers"));
            parts.sort();
            prop_assert_eq!(parts, between(90, 240).await.expect("answers"), "{}", query);
            Ok(())
        })?;
    }

    #[test]
    fn filters_that_are_always_true_change_nothing(data in data::data(), query in queries::metric(), steps in steps()) {
        run(async {
            let engine = engine(&data).await;
            let Ok(whole) = points(&engine, &metric_query(&query), steps).await else { return Ok(()) };
            for filter in [r#"|= """#, r#"|~ ".*""#, r#"!= "not in any line""#, r#"| app=~".+" or app="""#] {
                let mut filtered = metric_query(&query);
                let stages = log_query(&format!(r#"{{a="b"}} {filter}"#)).stages;
                for_each_range(&mut filtered, &mut |log| drop(log.stages.splice(0..0, stages.clone())));
                let found = match points(&engine, &filtered, steps).await {
                    Ok(found) => found,
                    // A filter on a label has parsers run that nothing else needed, and they may fail.
                    Err(_) if filter.starts_with("| ") => continue,
                    Err(error) => return Err(TestCaseError::fail(format!("{filter} in {query}: {error}"))),
                };
                prop_assert_eq!(difference(&query, &found, &whole), None, "{} in {}", filter, query);
            }
            Ok(())
        })?;
    }

    #[test]
    fn line_filters_commute(
        data in data::data(), selector in queries::selector(), filters in proptest::collection::vec(queries::line_filter(), 2..5), stages in queries::stages(),
    ) {
        run(async {
            let engine = engine(&data).await;
            let asked = async |filters: Vec<&str>| {
                let query = format!("{selector} {}{stages}", filters.join(" "));
                logs(&engine, &log_query(&query), (0, 1_000 * SECOND), 10_000, Direction::Backward).await.expect("answers")
            };
            let forward = asked(filters.iter().map(String::as_str).collect()).await;
            let backward = asked(filters.iter().rev().map(String::as_str).collect()).await;
            prop_assert_eq!(forward, backward, "{:?}", filters);
            Ok(())
        })?;
    }

    #[test]
    fn a_selection_is_the_sum_of_its_streams(data in data::data(), stages in queries::stages(), steps in steps()) {
        run(async {
            let engine = engine(&data).await;
            let asked = async |selector: &str| {
                let query = format!(r#"count_over_time({selector}{stages} | drop __error__, __error_details__ [20s])"#);
                points(&engine, &metric_query(&query), steps).await.expect("answers")
            };
            let mut parts = Flat::new();
            for selector in [r#"{app="x"}"#, r#"{app=~"y|w"}"#, r#"{app!="x", app!~"y.*", app=~".+"}"#] {
                parts.extend(asked(selector).await);
            }
            let whole = asked(r#"{app=~".+"}"#).await;
            prop_assert_eq!(difference("", &summed(&parts), &summed(&whole)), None, "{}", stages);
            let query = format!(r#"sum(count_over_time({{app=~".+"}}{stages} | drop __error__, __error_details__ [20s]))"#);
            let at_once = points(&engine, &metric_query(&query), steps).await.expect("answers");
            prop_assert_eq!(difference("", &at_once, &summed(&whole)), None, "{}", query);
            Ok(())
        })?;
    }
}
