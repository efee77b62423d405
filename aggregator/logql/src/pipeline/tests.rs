//! Pipelines as a whole, from the syntax tree to labels.

use super::*;
use crate::ast::{CompareOp, Extraction, FilterValue, LineFilterOp, MatchOp, Matcher, NameOrMatcher, Stage as Ast};
use crate::labels::CategorizedLabels;

fn stream() -> LabelSet {
    LabelSet::from_pairs([("app", "a"), ("pod", "p")])
}

fn pipeline(stages: &[Ast]) -> Pipeline {
    Pipeline::compile(stages, None, &NeededLabels::All, &PipelineOptions::default()).unwrap()
}

fn only(names: &[&str]) -> NeededLabels {
    NeededLabels::Only(names.iter().map(|name| name.to_string()).collect())
}

/// The labels beside the stream's, as text; `None` if the line is dropped.
fn run_with(stages: &[Ast], line: &str, metadata: &[(&str, &str)]) -> Option<String> {
    let pipeline = pipeline(stages);
    let mut pipeline = pipeline.for_stream(&stream());
    let processed = pipeline.process(0, line.as_bytes(), metadata)?;
    let labels = processed.labels();
    let beside = labels.iter().filter(|(name, value)| stream().get(name) != Some(value));
    Some(LabelSet::from_pairs(beside).to_string())
}

fn run(stages: &[Ast], line: &str) -> Option<String> {
    run_with(stages, line, &[])
}

fn json() -> Ast {
    Ast::Json { extractions: Vec::new() }
}

fn logfmt() -> Ast {
    Ast::Logfmt { strict: false, keep_empty: false, extractions: Vec::new() }
}

fn extractions(pairs: &[(&str, &str)]) -> Vec<Extraction> {
    pairs.iter().map(|(name, path)| Extraction { name: name.to_string(), path: path.to_string() }).collect()
}

fn matcher(name: &str, op: MatchOp, value: &str) -> Matcher {
    Matcher { name: name.into(), op, value: value.into() }
}

fn text_filter(name: &str, op: MatchOp, value: &str) -> Ast {
    Ast::LabelFilter(ast::LabelFilter::String(matcher(name, op, value)))
}

fn greater(name: &str, value: FilterValue) -> ast::LabelFilter {
    ast::LabelFilter::Compare { name: name.into(), op: CompareOp::Greater, value }
}

fn check(stages: &[Ast], cases: &[(&str, &str)]) {
    for (line, expected) in cases {
        assert_eq!(run(stages, line).as_deref(), Some(*expected), "{line}");
    }
}

const NO_OBJECT: &str = r#"{__error__="JSONParserErr", __error_details__="Value looks like object, but can't find closing '}' symbol"}"#;

#[test]
fn json_flattens_objects_and_keeps_what_stands_before_an_error() {
    check(
        &[json()],
        &[
            (r#"{"a":1,"b":"two"}"#, r#"{a="1", b="two"}"#),
            (r#"{"a":1.0,"b":1e3,"c":-0.5,"d":12345678901234567890}"#, r#"{a="1.0", b="1e3", c="-0.5", d="12345678901234567890"}"#),
            (r#"{"a":true,"b":false,"c":null,"d":[1,{"x":2}],"e":{}}"#, r#"{a="true", b="false"}"#),
            (r#"{"nested":{"a":"n","b":{"c":"m"}},"nested_a":"flat"}"#, r#"{nested_a="n", nested_b_c="m"}"#),
            (r#"{"a_b":"2","a":{"b":"1"}}"#, r#"{a_b="2"}"#),
            (r#"{"a":"x\ny\u00e9\t\"q\""}"#, r#"{a="x\nyé\t\"q\""}"#),
            (r#"{"a":""}"#, r#"{a=""}"#),
            (r#"{"k":"1","k":"2"}"#, r#"{k="1"}"#),
            (r#"{"a":4} trailing"#, r#"{a="4"}"#),
            (r#" {"a":3} "#, r#"{a="3"}"#),
            (r#"{"with \"q\"":1," ":2,"":3,"1x":4}"#, r#"{_1x="4", with__q_="1"}"#),
            (r#"{"a":1,"#, r#"{__error__="JSONParserErr", __error_details__="Value is array, but can't find closing ']' symbol", a="1"}"#),
            (
                r#"{"a":1,"b":{"c":2"#,
                r#"{__error__="JSONParserErr", __error_details__="Value looks like object, but can't find closing '}' symbol", a="1"}"#,
            ),
            (
                r#"{"a":1,"b":{"c":2 x}}"#,
                r#"{__error__="JSONParserErr", __error_details__="Value looks like object, but can't find closing '}' symbol", a="1", b_c="2"}"#,
            ),
            (r#"{"a":"x"#, r#"{__error__="JSONParserErr", __error_details__="Value is string, but can't find closing '\"' symbol"}"#),
            ("not json", NO_OBJECT),
            ("[1,2,3]", NO_OBJECT),
            ("{'a':1}", NO_OBJECT),
            ("", NO_OBJECT),
        ],
    );
}

#[test]
fn bytes_that_are_no_text_become_spaces() {
    let pipeline = pipeline(&[json()]);
    let stream = stream();
    let mut pipeline = pipeline.for_stream(&stream);
    let processed = pipeline.process(0, b"{\"a\":\"x\xff\xfey\"}", &[]).unwrap();
    assert_eq!(processed.labels().get("a"), Some("x  y"));
}

#[test]
fn deep_objects_are_walked_without_recursion() {
    let deep = format!("{}1{}", "{\"a\":".repeat(50_000), "}".repeat(50_000));
    assert_eq!(run(&[json()], &deep).as_deref(), Some("{}"));
    let unclosed = "{\"a\":".repeat(50_000);
    assert_eq!(run(&[json()], &unclosed).as_deref(), Some(NO_OBJECT));
}

#[test]
fn json_paths_are_followed() {
    let stage = |pairs: &[(&str, &str)]| Ast::Json { extractions: extractions(pairs) };
    let bare_error = r#"{__error__="JSONParserErr"}"#;
    check(
        &[stage(&[("x", "a")])],
        &[
            (r#"{"a":{"b":{"c":1}}}"#, r#"{x="{\"b\":{\"c\":1}}"}"#),
            (r#"{"a":[{"b":1}, 2]}"#, r#"{x="[{\"b\":1}, 2]"}"#),
            (r#"{"a":["q\"\u00e9\n",{"b":"\\"}]}"#, r#"{x="[\"q\"é\n\",{\"b\":\"\\\"}]"}"#),
            (r#"{"a":["\q"]}"#, r#"{x=""}"#),
            (r#"{"a":{"b":"\n"}}"#, r#"{x="{\"b\":\"\\n\"}"}"#),
            (r#"{"a":null}"#, r#"{x=""}"#),
            (r#"{"b":1}"#, r#"{x=""}"#),
            (r#"{"a":1,"#, r#"{x="1"}"#),
            (r#"{"a":"1","a":"2"}"#, r#"{x="1"}"#),
            ("{'a':1}", r#"{x=""}"#),
            (r#""text""#, r#"{x=""}"#),
            ("42", bare_error),
            (r#" {"a":3} "#, bare_error),
            ("", "{}"),
            (
                r#"{"a":"broken"#,
                r#"{__error__="JSONParserErr", __error_details__="Value is string, but can't find closing '\"' symbol", x=""}"#,
            ),
        ],
    );
    check(
        &[stage(&[("x", "a[1].b"), ("y", r#"["c d"]"#)])],
        &[(r#"{"a":[{"b":1},{"b":"t\"wo"}],"c d":true}"#, r#"{x="t\"wo", y="true"}"#)],
    );
    check(&[stage(&[("x", "[0]")])], &[("[1,2,3]", r#"{x="1"}"#), ("[]", r#"{x=""}"#)]);
    check(
        &[stage(&[("x", "a"), ("x", "b")])],
        &[(r#"{"a":1,"b":2}"#, r#"{x="2"}"#), (r#"{"a":1}"#, r#"{x="1"}"#), (r#"{"b":2,"a":1}"#, r#"{x="1"}"#)],
    );
    check(&[stage(&[("app", "app")])], &[(r#"{"app":"in"}"#, r#"{app_extracted="in"}"#), ("{}", "{}")]);
    check(&[stage(&[("x", "a"), ("y", "a.b")])], &[(r#"{"a":{"b":1}}"#, r#"{x="{\"b\":1}", y="1"}"#)]);
}

#[test]
fn logfmt_takes_the_first_of_equal_names() {
    check(
        &[logfmt()],
        &[
            ("k=1 x=3 k=", r#"{k="1", x="3"}"#),
            ("k= k=2", r#"{k="2"}"#),
            ("foo.bar=1 ключ=5 @ts=9", r#"{____="5", _ts="9", foo_bar="1"}"#),
            (r#"a="esc\"aped" b="new\nline""#, r#"{a="esc\"aped", b="new\nline"}"#),
            ("app=x app_extracted=y", r#"{app_extracted="x"}"#),
            ("a b c", "{}"),
            ("", "{}"),
        ],
    );
    let keep_empty = Ast::Logfmt { strict: false, keep_empty: true, extractions: Vec::new() };
    check(&[keep_empty], &[("a= b c=3", r#"{a="", b="", c="3"}"#)]);
    let strict = Ast::Logfmt { strict: true, keep_empty: false, extractions: Vec::new() };
    check(
        &[strict],
        &[("a=1 b==2 c=3", r#"{__error__="LogfmtParserErr", __error_details__="logfmt syntax error at pos 7 : unexpected '='", a="1"}"#)],
    );
}

#[test]
fn logfmt_expressions_take_the_last() {
    let stage = |pairs: &[(&str, &str)]| [Ast::Logfmt { strict: false, keep_empty: false, extractions: extractions(pairs) }];
    check(&stage(&[("k", "k")]), &[("k=1 k=2", r#"{k="2"}"#), ("k=1 k=", r#"{k=""}"#), ("x", r#"{k=""}"#)]);
    check(&stage(&[("app", "app"), ("x", "foo_bar")]), &[("app=i foo.bar=1", r#"{app_extracted="i", x="1"}"#)]);
    check(&stage(&[("x", "k"), ("y", "k")]), &[("k=1", r#"{x="1", y="1"}"#)]);
}

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
}

#[test]
fn patterns_capture_up_to_the_first_literal() {
    let stage = |pattern: &str| [Ast::Pattern { pattern: pattern.into() }];
    check(&stage("<ip> - <user> [<_>] <rest>"), &[("10.0.0.1 - ana [now] GET /", r#"{ip="10.0.0.1", rest="GET /", user="ana"}"#)]);
    check(&stage("<a>/<b>"), &[("x/y/z", r#"{a="x", b="y/z"}"#), ("no slash", r#"{a="no slash"}"#), ("", "{}")]);
    check(&stage("user <u> "), &[("user ana x", r#"{u="ana"}"#), ("a user ana x", "{}")]);
    check(&stage("<a> <b>"), &[(" padded", r#"{a="", b="padded"}"#)]);
    check(&stage("<pod>"), &[("x", r#"{pod_extracted="x"}"#)]);
}

#[test]
fn named_groups_become_labels() {
    let stage = |pattern: &str| [Ast::Regexp { pattern: pattern.into() }];
    check(&stage(r"(?P<a>a)(?P<b>b)?"), &[("xa", r#"{a="a", b=""}"#), ("x", "{}")]);
    check(&stage(r"(?P<pod>\w+)"), &[("x", r#"{pod_extracted="x"}"#)]);
}

#[test]
fn unpacked_lines_take_their_labels_along() {
    let check_unpacked = |line: &str, labels: &str, unpacked: &str| {
        let pipeline = pipeline(&[Ast::Unpack]);
        let stream = LabelSet::from_pairs([("pod", "p")]);
        let mut pipeline = pipeline.for_stream(&stream);
        let processed = pipeline.process(0, line.as_bytes(), &[]).unwrap();
        assert_eq!(processed.categorized().parsed.to_string(), labels, "{line}");
        assert_eq!(processed.line(), unpacked.as_bytes(), "{line}");
    };
    check_unpacked(r#"{"_entry":"a \"b\"","c-d":"1","n":2,"pod":"x"}"#, r#"{c_d="1", pod_extracted="x"}"#, r#"a "b""#);
    check_unpacked(r#"{"c":"1","_entry":""}"#, r#"{c="1"}"#, "");
    check_unpacked(r#"{"c":"1"}"#, "{}", r#"{"c":"1"}"#);
    check_unpacked(r#"{"_entry":"x","c":"1","c":"2","_entry":"y"}"#, r#"{c="2"}"#, "y");
    check_unpacked("{\"_entry\":\"\u{fffd}\",\"c\":\"\u{fffd}\"}", r#"{c=" "}"#, "\u{fffd}");
    let escape = r#"{__error__="JSONParserErr", __error_details__="Encountered an invalid escape sequence in a string"}"#;
    check_unpacked(r#"{"_entry":"x","\q":[1]}"#, escape, r#"{"_entry":"x","\q":[1]}"#);
    check_unpacked("", "{}", "");
    check_unpacked("x", r#"{__error__="JSONParserErr", __error_details__="expecting json object(6), but it is not"}"#, "x");
    let broken = r#"{__error__="JSONParserErr", __error_details__="Value is string, but can't find closing '\"' symbol"}"#;
    check_unpacked(r#"{"a":"1","_entry":"broken"#, broken, r#"{"a":"1","_entry":"broken"#);
}

#[test]
fn what_is_parsed_from_a_replaced_line_stays() {
    let line = r#"{"_entry":"{\"inner\":\"json\",\"n\":5}","ctr":"z"}"#;
    assert_eq!(run(&[Ast::Unpack, json()], line).as_deref(), Some(r#"{ctr="z", inner="json", n="5"}"#));
    assert_eq!(run(&[Ast::Decolorize, logfmt()], "l=\u{1b}[31mred\u{1b}[0m").as_deref(), Some(r#"{l="red"}"#));
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

#[test]
fn only_needed_labels_are_extracted_and_parsing_ends_with_them() {
    let labels = |needed: &NeededLabels, stages: &[Ast], line: &str| {
        let pipeline = Pipeline::compile(stages, None, needed, &PipelineOptions::default()).unwrap();
        let mut pipeline = pipeline.for_stream(&LabelSet::default());
        pipeline.process(0, line.as_bytes(), &[]).unwrap().labels().to_string()
    };
    let line = r#"{"x":1,"b":{"c":2,"d":3},"y":4,broken"#;
    assert_eq!(labels(&only(&["b_c"]), &[json()], line), r#"{b_c="2"}"#);
    assert!(labels(&only(&["b_c", "z"]), &[json()], line).contains("JSONParserErr"));
    assert_eq!(labels(&NeededLabels::None, &[json(), logfmt(), Ast::Unpack], line), "{}");
    assert_eq!(labels(&only(&["b"]), &[logfmt()], "a=1 b=2 c=3"), r#"{b="2"}"#);
    assert_eq!(labels(&only(&["b"]), &[logfmt(), json()], "a=1 b=2"), r#"{b="2"}"#);
}

#[test]
fn a_skipped_parser_is_still_checked() {
    let stage = Ast::Regexp { pattern: "no group".into() };
    let error = Pipeline::compile(&[stage], None, &NeededLabels::None, &PipelineOptions::default()).unwrap_err();
    assert_eq!(error.to_string(), "parse error : invalid regexp parser: at least one named capture must be supplied");
}

fn line_format(template: &str) -> Ast {
    Ast::LineFormat { template: template.into() }
}

/// `name=label`, or `name="template"` where it has braces.
fn label_format(formats: &[(&str, &str)]) -> Ast {
    let format = |(target, source): &(&str, &str)| ast::LabelFormat {
        target: target.to_string(),
        source: match source.contains('{') || source.is_empty() {
            true => ast::LabelFormatSource::Template(source.to_string()),
            false => ast::LabelFormatSource::Label(source.to_string()),
        },
    };
    Ast::LabelFormat { formats: formats.iter().map(format).collect() }
}

/// The line after the stages.
fn line_of(stages: &[Ast], line: &str) -> String {
    let pipeline = pipeline(stages).with_now(1_768_480_000_000_000_000);
    let mut pipeline = pipeline.for_stream(&stream());
    let processed = pipeline.process(1_500_000_000, line.as_bytes(), &[("user", "u1")]).unwrap();
    String::from_utf8(processed.line().to_vec()).unwrap()
}

#[test]
fn lines_are_formatted_from_labels() {
    for (template, expected) in [
        ("{{.a}}-{{.app}}-{{.user}}-{{.missing}}", "1-a-u1-"),
        ("{{.a}}", "1"),
        ("{{.missing}}", ""),
        ("{{__line__ | upper}} {{__timestamp__ | unixEpochMillis}} {{now | unixEpoch}}", "A=1 B= 1500 1768480000"),
        ("{{.}}", "map[a:1 app:a pod:p user:u1]"),
        ("{{div 1 0}}", "a=1 b="),
        ("", ""),
    ] {
        assert_eq!(line_of(&[logfmt(), line_format(template)], "a=1 b="), expected, "{template}");
    }
    assert_eq!(line_of(&[line_format("{{.pod}}"), line_format("{{__line__}}!")], "x"), "p!");
    assert_eq!(run(&[line_format("b=2"), logfmt()], "a=1").as_deref(), Some(r#"{b="2"}"#));
    let filter = |text: &str| {
        Ast::LineFilter(ast::LineFilter { op: LineFilterOp::Contains, alternatives: vec![ast::LineFilterArg::Text(text.into())] })
    };
    assert_eq!(run(&[line_format("new"), filter("new")], "old").as_deref(), Some("{}"));
    assert_eq!(run(&[line_format("new"), filter("old")], "old"), None);
}

#[test]
fn templates_see_errors_and_make_them() {
    assert_eq!(line_of(&[json(), line_format("<{{.__error__}}>")], "no"), "<JSONParserErr>");
    assert_eq!(line_of(&[json(), line_format("{{.__error__}}")], "no"), "");
    assert_eq!(
        run(&[line_format("{{div 1 0}}")], "x").as_deref(),
        Some(
            r#"{__error__="TemplateFormatErr", __error_details__="template: line:1:2: executing \"line\" at <div 1 0>: error calling div: runtime error: integer divide by zero"}"#
        )
    );
    assert!(run(&[label_format(&[("x", "{{div 1 0}}")])], "x").unwrap().contains("template: label:1:2"));
}

#[test]
fn what_a_stage_has_set_no_parser_sets_again() {
    let labels = |stages: &[Ast], line: &str| {
        let (pipeline, stream) = (pipeline(stages), LabelSet::default());
        pipeline.for_stream(&stream).process(0, line.as_bytes(), &[]).unwrap().labels().to_string()
    };
    assert_eq!(labels(&[label_format(&[("a", "{{ `x` }}")]), logfmt()], "a=1 b=2"), r#"{a="x", b="2"}"#);
    let path = Ast::Json { extractions: extractions(&[("a", "b"), ("c", "missing")]) };
    assert_eq!(labels(&[path, json()], r#"{"a":"1","b":"2","c":"3"}"#), r#"{a="2", b="2", c=""}"#);
}

#[test]
fn labels_are_renamed_and_formatted() {
    for (formats, expected) in [
        (&[("x", "a")][..], r#"{b="2", x="1"}"#),
        (&[("x", "{{.a}}{{.b}}")], r#"{a="1", b="2", x="12"}"#),
        (&[("x", "missing")], r#"{a="1", b="2"}"#),
        (&[("x", "{{.missing}}")], r#"{a="1", b="2", x=""}"#),
        (&[("x", "a"), ("a", "b")], r#"{a="2", x="1"}"#),
        (&[("a", "{{.b}}"), ("b", "{{.a}}")], r#"{a="2", b="1"}"#),
        (&[("x", "{{.a}}"), ("y", "{{.x}}")], r#"{a="1", b="2", x="1", y=""}"#),
        (&[("x", "a"), ("y", "{{.x}}")], r#"{b="2", x="1", y="1"}"#),
        (&[("x", "{{.a}}"), ("y", "a"), ("z", "{{.a}}")], r#"{b="2", x="1", y="1", z="1"}"#),
        (&[("app", "{{.a}}")], r#"{a="1", app="1", b="2"}"#),
        (&[("x", "pod")], r#"{a="1", b="2", x="p"}"#),
    ] {
        assert_eq!(run(&[logfmt(), label_format(formats)], "a=1 b=2").as_deref(), Some(expected), "{formats:?}");
    }
}

#[test]
fn texts_that_grow_and_grow_become_an_error() {
    let details = |stages: &[Ast]| {
        let pipeline = pipeline(stages);
        let mut pipeline = pipeline.for_stream(&stream());
        let labels = pipeline.process(0, b"x", &[]).unwrap().labels();
        labels.get("__error_details__").unwrap().to_owned()
    };
    let first = label_format(&[("a", "{{repeat 500000 \"x\"}}")]);
    let doubled = |_| label_format(&[("a", "{{.a}}{{.a}}")]);
    let stages: Vec<Ast> = std::iter::once(first.clone()).chain((0..8).map(doubled)).collect();
    assert!(details(&stages).ends_with("more than 2097152 bytes of text"));
    let copies: Vec<String> = (0..80).map(|index| format!("a{index}")).collect();
    let copies: Vec<(&str, &str)> = copies.iter().map(|name| (name.as_str(), "{{.a}}")).collect();
    assert_eq!(details(&[first, label_format(&copies)]), "labels of more than 4194304 bytes");
}

#[test]
fn broken_templates_are_refused_with_their_stage() {
    let refused = |stage: Ast| Pipeline::compile(&[stage], None, &NeededLabels::All, &PipelineOptions::default()).unwrap_err().to_string();
    assert_eq!(
        refused(line_format("{{")),
        "parse error : stage '| line_format \"{{\"' : invalid line template: template: line:1: unclosed action"
    );
    assert_eq!(
        refused(label_format(&[("x", "{{end}}")])),
        "parse error : stage '| label_format x=\"{{end}}\"' : invalid template for label 'x': template: label:1: unexpected {{end}}"
    );
}

#[test]
fn only_what_reads_the_line_asks_for_it() {
    let reads = |formats: &[(&str, &str)]| pipeline(&[label_format(formats)]).reads_line();
    assert!(reads(&[("x", "{{__line__}}")]) && !reads(&[("x", "{{.a}}"), ("y", "b")]));
}

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

fn by(labels: &[&str]) -> Grouping {
    Grouping { without: false, labels: labels.iter().map(|label| label.to_string()).collect() }
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
