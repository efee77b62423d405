//! Samples: values, series, and errors that fail a query.

use super::*;

fn unwrap(label: &str) -> ast::Unwrap {
    ast::Unwrap { label: label.into(), conversion: None, post_filters: Vec::new() }
}

#[test]
fn unwrapped_labels_become_values_and_leave_the_series() {
    let options = PipelineOptions::default();
    let pipeline = Pipeline::compile(&[logfmt()], Some(&unwrap("v")), &NeededLabels::All, &options).unwrap();
    let mut pipeline = pipeline.for_stream(&LabelSet::default());
    let processed = pipeline.process(0, b"v=2.5 x=1", &[]).unwrap();
    assert_eq!((processed.value(), processed.failure()), (Some(2.5), None));
    assert_eq!(processed.series_labels().to_string(), r#"{x="1"}"#);
    assert!(pipeline.process(0, b"x=1", &[]).is_none());
    assert!(pipeline.process(0, b"v=\"\" x=1", &[]).is_none());
    let processed = pipeline.process(0, b"v=abc", &[]).unwrap();
    assert_eq!((processed.value(), processed.failure()), (Some(0.0), Some("SampleExtractionErr")));
    assert_eq!(processed.series_labels().get("v"), Some("abc"));
}

#[test]
fn filters_behind_unwrap_may_drop_its_error() {
    let filter = ast::LabelFilter::String(matcher("__error__", MatchOp::Equal, ""));
    let unwrap = ast::Unwrap { label: "v".into(), conversion: None, post_filters: vec![filter] };
    let pipeline = Pipeline::compile(&[logfmt()], Some(&unwrap), &NeededLabels::All, &PipelineOptions::default()).unwrap();
    let mut pipeline = pipeline.for_stream(&LabelSet::default());
    assert!(pipeline.process(0, b"v=abc", &[]).is_none());
    assert!(pipeline.process(0, b"v=1", &[]).is_some());
}

#[test]
fn a_label_that_was_removed_and_set_again_is_no_group_for_loki() {
    let stages = [Ast::Drop { targets: vec![NameOrMatcher::Name("app".into())] }, logfmt()];
    for (strict_loki, expected) in [(false, r#"{app="x"}"#), (true, "{}")] {
        let pipeline = Pipeline::compile(&stages, None, &NeededLabels::All, &PipelineOptions { strict_loki }).unwrap();
        let pipeline = pipeline.with_grouping(Some(&by(&["app"])));
        let stream = LabelSet::from_pairs([("namespace", "n")]);
        let mut pipeline = pipeline.for_stream(&stream);
        let processed = pipeline.process(0, b"app=x", &[]).unwrap();
        let mut key = Vec::new();
        processed.write_series_key(&mut key);
        assert_eq!((processed.series_labels().to_string().as_str(), key.is_empty()), (expected, false));
    }
}

#[test]
fn series_keys_agree_with_series_labels() {
    let groupings = [None, Some(by(&["x", "app"])), Some(by(&[])), Some(Grouping { without: true, ..by(&["y", "pod"]) })];
    let drop = Ast::Drop { targets: vec![NameOrMatcher::Matcher(matcher("z", MatchOp::Equal, "1")), NameOrMatcher::Name("z2".into())] };
    let lines = ["x=1 y=2", "x=1 y=3", "y=3 x=1", "x=2", "", "app=9", "z=1", "x=\"1\"", "y=1"];
    for grouping in groupings {
        let pipeline = pipeline(&[logfmt(), drop.clone()]).with_grouping(grouping.as_ref());
        let stream = stream();
        let mut pipeline = pipeline.for_stream(&stream);
        let mut seen: Vec<(Vec<u8>, LabelSet)> = Vec::new();
        for line in lines {
            let processed = pipeline.process(0, line.as_bytes(), &[]).unwrap();
            let mut key = Vec::new();
            processed.write_series_key(&mut key);
            let labels = processed.series_labels();
            if let Some(grouping) = &grouping {
                assert_eq!(labels, processed.grouped_by(grouping), "{line}");
            }
            if key.is_empty() {
                assert!(labels.iter().all(stream_has), "{line}: {labels}");
            }
            for (other_key, other_labels) in &seen {
                assert!(*other_key != key || *other_labels == labels, "{line}: {labels} and {other_labels}");
            }
            seen.push((key, labels));
        }
    }
}

fn stream_has((name, value): (&str, &str)) -> bool {
    stream().get(name) == Some(value)
}

#[test]
fn errors_fail_a_metric_query_unless_it_asks_for_them() {
    let run = |needed: &NeededLabels, grouping: Option<Grouping>, line: &str| {
        let pipeline = Pipeline::compile(&[json()], None, needed, &PipelineOptions::default()).unwrap();
        let pipeline = pipeline.with_grouping(grouping.as_ref());
        let mut pipeline = pipeline.for_stream(&LabelSet::default());
        let processed = pipeline.process(0, line.as_bytes(), &[]).unwrap();
        (processed.failure().map(str::to_owned), processed.series_labels().to_string())
    };
    let (failure, labels) = run(&only(&["b"]), Some(by(&["b"])), r#"{"a":1,"#);
    assert_eq!(failure.as_deref(), Some("JSONParserErr"));
    assert!(labels.starts_with(r#"{__error__="JSONParserErr""#));
    let (failure, labels) = run(&only(&["__error__"]), Some(by(&["__error__"])), "x");
    assert_eq!(failure, None);
    assert!(labels.ends_with(r#"__preserve_error__="true"}"#), "{labels}");
    let mine = r#"{"__error__":"mine"}"#;
    assert_eq!(run(&only(&["__error__"]), Some(by(&["__error__"])), mine).0.as_deref(), Some("mine"));
    assert_eq!(run(&NeededLabels::All, None, mine).0.as_deref(), Some("mine"));
    assert_eq!(run(&only(&["b"]), Some(by(&["b"])), mine).0, None);
}
