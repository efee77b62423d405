//! Log queries of the recorded conformance suite, run over single entries.
//!
//! Every recorded answer to a log query that this crate can run is compared entry by entry: line and labels, merged
//! or by category. What a store adds on push (`service_name`, `detected_level`) is taken from the answers.
//! Skipped, with a printed line, where the suite is not there.

#![allow(clippy::unwrap_used)]

mod suite;

use std::collections::BTreeMap;

use serde_json::Value;
use suite::{Stored, answered_streams, cases, levels, stored, suite, text_map};
use tailwater_logql::labels::LabelSet;
use tailwater_logql::matcher::StreamMatcher;
use tailwater_logql::needed::NeededLabels;
use tailwater_logql::parse_log;
use tailwater_logql::pipeline::{CompileError, Pipeline, PipelineOptions};

/// Time, line and labels as the answers show them; categories one after the other.
type Shown = (String, String, Vec<BTreeMap<String, String>>);

fn expected(case: &Value, is_categorized: bool) -> Vec<Shown> {
    let mut shown = Vec::new();
    for stream in answered_streams(case) {
        for entry in stream["values"].as_array().unwrap() {
            let mut labels = vec![text_map(&stream["stream"])];
            if is_categorized {
                labels.push(text_map(&entry[2]["structuredMetadata"]));
                labels.push(text_map(&entry[2]["parsed"]));
            }
            shown.push((entry[0].as_str().unwrap().into(), entry[1].as_str().unwrap().into(), labels));
        }
    }
    shown
}

/// Any time of ten digits in seconds: the recorded answers show no more of it.
const NOW: i64 = 1_768_480_000_000_000_000;

fn run(
    query: &str,
    streams: &[Stored],
    range: std::ops::Range<i64>,
    is_categorized: bool,
    strict_loki: bool,
) -> Result<Vec<Shown>, CompileError> {
    let log = parse_log(query).unwrap_or_else(|error| panic!("{query}: {error}"));
    let options = PipelineOptions { strict_loki };
    let pipeline = Pipeline::compile(&log.stages, None, &NeededLabels::All, &options)?.with_now(NOW);
    let matchers: Vec<_> = log.selector.matchers.iter().map(|matcher| StreamMatcher::new(matcher).unwrap()).collect();
    let mut shown = Vec::new();
    for stream in streams {
        if !matchers.iter().all(|matcher| matcher.matches(stream.labels.get(matcher.name()).unwrap_or_default())) {
            continue;
        }
        let mut pipeline = pipeline.for_stream(&stream.labels);
        for (time, line, metadata) in stream.entries.iter().filter(|(time, ..)| range.contains(time)) {
            let metadata: Vec<(&str, &str)> = metadata.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let Some(processed) = pipeline.process(*time, line.as_bytes(), &metadata) else {
                continue;
            };
            let maps = if is_categorized {
                let labels = processed.categorized();
                vec![labels.stream, labels.structured_metadata, labels.parsed]
            } else {
                vec![processed.labels()]
            };
            let to_map = |labels: LabelSet| labels.iter().map(|(name, value)| (name.into(), value.into())).collect();
            let line = String::from_utf8_lossy(processed.line()).into_owned();
            shown.push((time.to_string(), line, maps.into_iter().map(to_map).collect()));
        }
    }
    Ok(shown)
}

fn time(case: &Value, name: &str) -> Option<i64> {
    case["params"][name].as_str()?.parse::<i64>().ok().filter(|time| *time > 1_000_000_000_000_000_000)
}

/// Cases that are answered differently on purpose where `strict_loki` is off.
const ON_PURPOSE: [&str; 3] = ["label_filters-165", "line_filters-111", "line_filters-112"];

#[test]
fn log_queries_answer_as_recorded() {
    let failures = differing(true);
    assert!(failures.is_empty(), "{} cases differ:\n{}", failures.len(), failures.values().cloned().collect::<String>());
}

#[test]
fn what_differs_on_purpose_is_all_that_differs() {
    let failures = differing(false);
    let expected = if suite().is_some() { ON_PURPOSE.as_slice() } else { &[] };
    assert!(failures.keys().eq(expected), "{}", failures.values().cloned().collect::<String>());
}

/// Runs all cases; those that differ, with what is different.
fn differing(strict_loki: bool) -> BTreeMap<String, String> {
    let mut failures = BTreeMap::new();
    let Some(suite) = suite() else {
        return failures;
    };
    let cases = cases(&suite);
    let streams = stored(&suite, &levels(&cases));
    let mut passed: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for case in &cases {
        let (Some(query), Some(start), Some(end)) = (case["params"]["query"].as_str(), time(case, "start"), time(case, "end")) else {
            continue;
        };
        let is_answered = case["expect"]["body"]["data"]["resultType"] == "streams";
        let is_plain = case["params"].get("interval").is_none() && case.get("auth").is_none();
        // Ends of ranges are the store's business.
        let is_ours = case["category"] != "time_limits";
        if !is_ours || !is_answered || !is_plain || case["path"] != "/loki/api/v1/query_range" {
            continue;
        }
        let is_categorized = case["headers"].as_object().is_some_and(|headers| headers.values().any(|value| value == "categorize-labels"));
        let mut expected = expected(case, is_categorized);
        let mut shown = match run(query, &streams, start..end, is_categorized, strict_loki) {
            Ok(shown) => shown,
            Err(error) => panic!("{query}: {error}"),
        };
        let limit = case["params"]["limit"].as_str().and_then(|limit| limit.parse().ok()).unwrap_or(100);
        expected.sort();
        shown.sort();
        let is_cut = expected.len() == limit;
        let is_same = if is_cut { expected.iter().all(|entry| shown.contains(entry)) } else { expected == shown };
        let category = passed.entry(case["category"].as_str().unwrap()).or_default();
        category.1 += 1;
        category.0 += usize::from(is_same);
        if !is_same {
            let missing = expected.iter().find(|entry| !shown.contains(entry));
            let surplus = shown.iter().find(|entry| !expected.contains(entry));
            let id = case["id"].as_str().unwrap();
            let difference = format!("{id} {query}\n  missing {missing:?}\n  surplus {surplus:?}\n");
            failures.insert(id.to_owned(), difference);
        }
    }
    for (category, (passed, total)) in &passed {
        println!("{category}: {passed} of {total}");
    }
    assert!(passed.values().map(|(_, total)| total).sum::<usize>() > 300, "too few cases were run");
    failures
}
