//! Where labels come from, and how they are shown.

use super::*;

#[test]
fn metadata_and_stream_labels_push_parsed_names_aside() {
    let metadata = [("trace_id", "m"), ("app", "metaapp")];
    assert_eq!(
        run_with(&[logfmt()], "trace_id=t app=x free=1", &metadata).as_deref(),
        Some(r#"{app_extracted="x", free="1", trace_id="m", trace_id_extracted="t"}"#)
    );
    assert_eq!(run_with(&[], "x", &metadata).as_deref(), Some(r#"{app_extracted="metaapp", trace_id="m"}"#));
    // The next entry has no metadata: the names are free again.
    let pipeline = pipeline(&[logfmt()]);
    let stream = stream();
    let mut pipeline = pipeline.for_stream(&stream);
    assert_eq!(pipeline.process(0, b"trace_id=t", &metadata).unwrap().labels().get("trace_id_extracted"), Some("t"));
    assert_eq!(pipeline.process(0, b"trace_id=t", &[]).unwrap().labels().get("trace_id"), Some("t"));
}

#[test]
fn labels_are_told_apart_by_where_they_come_from() {
    let pipeline = pipeline(&[logfmt(), Ast::Drop { targets: vec![NameOrMatcher::Name("pod".into())] }]);
    let stream = stream();
    let mut pipeline = pipeline.for_stream(&stream);
    let processed = pipeline.process(0, b"x=1", &[("trace", "t")]).unwrap();
    let expected = CategorizedLabels {
        stream: LabelSet::from_pairs([("app", "a")]),
        structured_metadata: LabelSet::from_pairs([("trace", "t")]),
        parsed: LabelSet::from_pairs([("x", "1")]),
    };
    assert_eq!(processed.categorized(), expected);
}

#[test]
fn labels_are_dropped_and_kept() {
    let name = |name: &str| NameOrMatcher::Name(name.into());
    let equal = |label: &str, value: &str| NameOrMatcher::Matcher(matcher(label, MatchOp::Equal, value));
    let run_all = |stages: &[Ast], line: &str| {
        let pipeline = pipeline(stages);
        let stream = stream();
        let mut pipeline = pipeline.for_stream(&stream);
        pipeline.process(0, line.as_bytes(), &[("m", "1")]).unwrap().labels().to_string()
    };
    let drop = |targets| [logfmt(), Ast::Drop { targets }];
    let keep = |targets| [logfmt(), Ast::Keep { targets }];
    assert_eq!(run_all(&drop(vec![name("app"), name("m"), equal("x", "1")]), "x=1 y=2"), r#"{pod="p", y="2"}"#);
    assert_eq!(run_all(&drop(vec![equal("x", "2")]), "x=1"), r#"{app="a", m="1", pod="p", x="1"}"#);
    assert_eq!(run_all(&keep(vec![name("pod"), equal("x", "1")]), "x=1 y=2"), r#"{pod="p", x="1"}"#);
    assert_eq!(run_all(&keep(vec![equal("x", "2")]), "x=1 y=2"), "{}");
    let errors = vec![name("__error__"), name("__error_details__")];
    assert_eq!(run(&[json(), Ast::Drop { targets: errors }], "x").as_deref(), Some("{}"));
    assert_eq!(run_all(&[json(), Ast::Keep { targets: vec![name("x")] }], "x"), NO_OBJECT);
    assert_eq!(
        run(&[json(), Ast::Keep { targets: vec![name("b")] }], r#"{"__error__":"mine","x":1}"#).as_deref(),
        Some(r#"{__error__="mine"}"#)
    );
}

#[test]
fn metadata_can_bring_an_error() {
    let pipeline = pipeline(&[]);
    let mut pipeline = pipeline.for_stream(&LabelSet::default());
    let metadata = [("__error__", "bad"), ("__error_details__", "why"), ("a", "1")];
    let processed = pipeline.process(0, b"x", &metadata).unwrap();
    assert_eq!(processed.error(), Some("bad"));
    assert_eq!(processed.labels().to_string(), r#"{__error__="bad", __error_details__="why", a="1"}"#);
}

#[test]
fn a_flood_of_names_is_forgotten_between_entries() {
    let pipeline = pipeline(&[logfmt()]);
    let stream = stream();
    let mut pipeline = pipeline.for_stream(&stream);
    for number in 0..40_000 {
        let line = format!("key{number}=1 app=x same=2");
        let metadata = [("m", "1")];
        let processed = pipeline.process(0, line.as_bytes(), &metadata).unwrap();
        assert_eq!(processed.labels().len(), 6);
        assert_eq!(processed.labels().get(&format!("key{number}")), Some("1"));
        assert_eq!(processed.labels().get("app_extracted"), Some("x"));
    }
    assert!(pipeline.labels.names.len() <= 17_000);
}

#[test]
fn a_noop_says_so() {
    assert!(pipeline(&[]).is_noop() && !pipeline(&[]).reads_line());
    assert!(pipeline(&[json()]).reads_line());
    assert!(!pipeline(&[text_filter("a", MatchOp::Equal, "b")]).reads_line());
    let skipped = Pipeline::compile(&[json()], None, &NeededLabels::None, &PipelineOptions::default()).unwrap();
    assert!(skipped.is_noop() && !skipped.reads_metadata());
}
