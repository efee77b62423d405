//! What filters keep, and where they stand.

use super::*;

#[test]
fn string_filters_read_missing_labels_as_empty() {
    let keeps = |op, value| run(&[logfmt(), text_filter("n", op, value)], "n=10 m=2").is_some();
    assert!(keeps(MatchOp::Equal, "10") && !keeps(MatchOp::Equal, "1"));
    assert!(keeps(MatchOp::Regex, "1.") && !keeps(MatchOp::Regex, "1") && keeps(MatchOp::NotRegex, "1"));
    let keeps = |op, value| run(&[text_filter("n", op, value)], "n=10").is_some();
    assert!(keeps(MatchOp::Equal, "") && keeps(MatchOp::NotEqual, "x") && keeps(MatchOp::Regex, ".*"));
    assert!(!keeps(MatchOp::NotEqual, "") && !keeps(MatchOp::Regex, ".+"));
}

#[test]
fn a_value_that_is_no_number_keeps_the_entry_and_marks_it() {
    let stages = [logfmt(), Ast::LabelFilter(greater("n", FilterValue::Number(1.0)))];
    let marked = r#"{__error__="LabelFilterErr", __error_details__="strconv.ParseFloat: parsing \"x\": invalid syntax", n="x"}"#;
    assert_eq!(run(&stages, "n=x").as_deref(), Some(marked));
    assert_eq!(run(&stages, "n=2").as_deref(), Some(r#"{n="2"}"#));
    assert_eq!(run(&stages, "n=1"), None);
    assert_eq!(run(&stages, "m=1"), None);
    let durations = [logfmt(), Ast::LabelFilter(greater("n", FilterValue::Duration(1_000_000_000)))];
    assert_eq!(run(&durations, "n=1.5s").as_deref(), Some(r#"{n="1.5s"}"#));
    assert!(run(&durations, "n=0B").unwrap().contains(r#"time: unknown unit \"B\" in duration \"0B\""#));
    let sizes = [logfmt(), Ast::LabelFilter(greater("n", FilterValue::Bytes(1000)))];
    assert_eq!(run(&sizes, "n=1KiB").as_deref(), Some(r#"{n="1KiB"}"#));
    assert!(run(&sizes, "n=1m30s").unwrap().contains("unhandled size name: m30s"));
}

#[test]
fn only_string_filters_drop_for_an_error() {
    let number = Ast::LabelFilter(greater("n", FilterValue::Number(1.0)));
    assert!(run(&[json(), number.clone()], "no json").is_none());
    assert!(run(&[json(), number.clone()], r#"{"n":2,"#).is_some());
    assert!(run(&[json(), number], r#"{"n":1,"#).is_none());
    assert!(run(&[json(), text_filter("__error__", MatchOp::Equal, "")], "no json").is_none());
    assert!(run(&[json(), text_filter("__error__", MatchOp::Equal, "JSONParserErr")], "no json").is_some());
    assert!(run(&[json(), text_filter("__error_details__", MatchOp::NotEqual, "")], "no json").is_none());
    // A label of that name is not the pipeline's own error.
    assert!(run(&[json(), text_filter("__error__", MatchOp::Equal, "")], r#"{"__error__":"mine"}"#).is_some());
}

#[test]
fn and_looks_at_both_sides_and_or_stops() {
    let bad = || Box::new(greater("bad", FilterValue::Number(1.0)));
    let good = || Box::new(greater("good", FilterValue::Number(1.0)));
    let or = |left, right| [logfmt(), Ast::LabelFilter(ast::LabelFilter::Or { left, right })];
    let and = |left, right| [logfmt(), Ast::LabelFilter(ast::LabelFilter::And { left, right })];
    assert_eq!(run(&or(good(), bad()), "good=2 bad=x").as_deref(), Some(r#"{bad="x", good="2"}"#));
    assert!(run(&or(bad(), good()), "good=0 bad=x").unwrap().contains("LabelFilterErr"));
    assert!(run(&and(good(), bad()), "good=2 bad=x").unwrap().contains("LabelFilterErr"));
    assert_eq!(run(&and(good(), bad()), "good=0 bad=x"), None);
}

#[test]
fn addresses_in_labels_are_tested() {
    let stage = |negated| [logfmt(), Ast::LabelFilter(ast::LabelFilter::Ip { name: "ip".into(), negated, pattern: "10.0.0.0/8".into() })];
    assert!(run(&stage(false), "ip=10.1.2.3").is_some() && run(&stage(true), "ip=10.1.2.3").is_none());
    assert!(run(&stage(false), "ip=nope").is_none() && run(&stage(true), "ip=nope").is_some());
    assert!(run(&stage(false), "x=1").is_none() && run(&stage(true), "x=1").is_none());
    let empty = Ast::Json { extractions: extractions(&[("ip", "none")]) };
    let filter = |negated| Ast::LabelFilter(ast::LabelFilter::Ip { name: "ip".into(), negated, pattern: "10.0.0.0/8".into() });
    assert!(run(&[empty.clone(), filter(true)], "{}").is_some(), "an empty label is there, and holds no address");
    assert!(run(&[empty, filter(false)], "{}").is_none());
    assert!(run(&[json(), filter(false)], "no object").is_some(), "an entry with an error stays, even without the label");
}

#[test]
fn a_filter_sees_what_a_parser_found_even_if_it_is_dropped_before() {
    let drop = Ast::Drop { targets: vec![NameOrMatcher::Name("level".into())] };
    let empty = text_filter("level", MatchOp::Equal, "");
    assert_eq!(run(&[logfmt(), drop.clone(), empty.clone()], "level=info"), None);
    assert_eq!(run(&[logfmt(), drop, empty], "x=1").as_deref(), Some(r#"{x="1"}"#));
    // What an expression overwrites is tested only in its place.
    let expression = Ast::Logfmt { strict: false, keep_empty: false, extractions: extractions(&[("a", "b")]) };
    let filter = text_filter("a", MatchOp::Equal, "2");
    assert_eq!(run(&[logfmt(), expression, filter], "a=1 b=2").as_deref(), Some(r#"{a="2", b="2"}"#));
}

#[test]
fn a_filter_stands_where_it_is_written_once_samples_are_grouped_by_labels() {
    let keeps = |between: Ast, filter: Ast, grouping: Option<Grouping>| {
        let stages = [logfmt(), between, filter];
        let pipeline = Pipeline::compile(&stages, None, &NeededLabels::All, &PipelineOptions::default()).unwrap();
        let pipeline = pipeline.with_grouping(grouping.as_ref());
        pipeline.for_stream(&stream()).process(0, b"level=info", &[]).is_some()
    };
    let drop = || Ast::Drop { targets: vec![NameOrMatcher::Name("level".into())] };
    let keep = || Ast::Keep { targets: vec![NameOrMatcher::Name("app".into())] };
    for between in [drop, keep] {
        let empty = || text_filter("level", MatchOp::Equal, "");
        assert!(keeps(between(), empty(), Some(by(&["app"]))));
        assert!(!keeps(between(), empty(), Some(by(&[]))) && !keeps(between(), empty(), None));
    }
}

#[test]
fn line_filters_move_ahead_of_decolorize_up_to_a_label_filter() {
    let filter = |text: &str| {
        let alternatives = vec![ast::LineFilterArg::Text(text.into())];
        Ast::LineFilter(ast::LineFilter { op: LineFilterOp::Contains, alternatives })
    };
    let line = "\u{1b}[31mred\u{1b}[0m text";
    assert_eq!(run(&[Ast::Decolorize, filter("red text")], line), None);
    let label_filter = text_filter("app", MatchOp::Equal, "a");
    assert!(run(&[Ast::Decolorize, label_filter, filter("red text")], line).is_some());
}

#[test]
fn line_filters_before_the_line_changes_run_first() {
    let filter = |text: &str| {
        let alternatives = vec![ast::LineFilterArg::Text(text.into())];
        Ast::LineFilter(ast::LineFilter { op: LineFilterOp::Contains, alternatives })
    };
    let pipeline = pipeline(&[json(), filter("a"), Ast::Unpack, filter("plain")]);
    assert_eq!(pipeline.line_filters().len(), 1);
    assert_eq!(pipeline.line_filters()[0].required_literal(), Some(&b"a"[..]));
    let stream = stream();
    let mut stream_pipeline = pipeline.for_stream(&stream);
    assert!(stream_pipeline.process(0, br#"{"_entry":"plain","a":"1"}"#, &[]).is_some());
    assert!(stream_pipeline.process(0, br#"{"_entry":"other","a":"plain"}"#, &[]).is_none());
    assert!(stream_pipeline.process(0, b"other", &[]).is_none());
}
