//! What parsers find in a line.

use super::*;

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
fn json_paths_are_followed_through_what_is_no_json() {
    let stage = |pairs: &[(&str, &str)]| Ast::Json { extractions: extractions(pairs) };
    let malformed = |labels: &str| format!(r#"{{__error__="JSONParserErr", __error_details__="Malformed JSON error", {labels}}}"#);
    let unknown = |labels: &str| format!(r#"{{__error__="JSONParserErr", __error_details__="Unknown value type", {labels}}}"#);
    let cases = [
        (r#"{"a":tru,"b":1}"#, unknown(r#"x="", y="1""#)),
        (r#"{"a":1,"b":tru}"#, unknown(r#"x="1", y="""#)),
        (r#"{"z":tru,"a":1,"b":2}"#, r#"{x="1", y="2"}"#.to_owned()),
        (r#"{"a":1 "b":2}"#, r#"{x="1", y="2"}"#.to_owned()),
        (r#"{"a":1}{"b":2}"#, r#"{x="1", y="2"}"#.to_owned()),
        (r#"{"a":1} "b":2"#, malformed(r#"x="1", y="""#)),
        (r#""a":1"#, malformed(r#"x="", y="""#)),
        (r#"{"a":1},"z":0}"#, malformed(r#"x="1", y="""#)),
        (r#"{"a":"#, malformed(r#"x="", y="""#)),
        (r#"{"z":{"a":1},"a":2,"b":3}"#, r#"{x="2", y="3"}"#.to_owned()),
        (r#"{"z":{"a":[}]},"a":2,"b":3}"#, r#"{x="2", y="3"}"#.to_owned()),
        (r#"{"z":[{"a":1}],"a":2}"#, r#"{x="2", y=""}"#.to_owned()),
        (r#"{"z":["a","a":2}"#, r#"{x="", y=""}"#.to_owned()),
        (r#"[{"a":1},{"b":2}]"#, r#"{x="", y=""}"#.to_owned()),
        (r#"{"\q":1,"a":2}"#, r#"{x="", y=""}"#.to_owned()),
        (r#"{"\u0061":1,"b":2}"#, r#"{x="1", y="2"}"#.to_owned()),
        (r#"{"a":{"b":7},"b":8}"#, r#"{x="{\"b\":7}", y="8"}"#.to_owned()),
    ];
    for (line, expected) in cases {
        assert_eq!(run(&[stage(&[("x", "a"), ("y", "b")])], line), Some(expected), "{line}");
    }
    check(
        &[stage(&[("x", "a[1]"), ("y", "a[0].b"), ("z", "c.d")])],
        &[
            (r#"{"a":[{"b":1},2],"c":{"d":3}}"#, r#"{x="2", y="1", z="3"}"#),
            (r#"{"a":[{"b":1}],"c":{"d":3}}"#, r#"{x="", y="1", z="3"}"#),
            (r#"{"a":[5,tru,3],"c":{"d":3}}"#, r#"{x="", y="", z="3"}"#),
            (r#"{"a":[],"c":{"x":{"d":1},"d":3}}"#, r#"{x="", y="", z="3"}"#),
            (r#"{"c":{"x":1},"a":[0,"[1]"],"c":{"d":4}}"#, r#"{x="[1]", y="", z="4"}"#),
        ],
    );
}

#[test]
fn an_error_that_says_nothing_keeps_the_details_of_the_one_before() {
    let strict = Ast::Logfmt { strict: true, keep_empty: false, extractions: Vec::new() };
    let path = Ast::Json { extractions: extractions(&[("x", "a")]) };
    let told = r#"{__error__="JSONParserErr", __error_details__="logfmt syntax error at pos 3 : unexpected '='"}"#;
    assert_eq!(run(&[strict.clone(), path.clone()], "a==b").as_deref(), Some(told));
    let told = r#"{__error__="LogfmtParserErr", __error_details__="logfmt syntax error at pos 3 : unexpected '='"}"#;
    assert_eq!(run(&[path, strict.clone()], "a==b").as_deref(), Some(told));
    let told = r#"{__error__="LogfmtParserErr", __error_details__="logfmt syntax error at pos 3 : unexpected '='"}"#;
    assert_eq!(run(&[json(), strict, Ast::LabelFilter(greater("app", FilterValue::Number(1.0)))], "a==b").as_deref(), Some(told));
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
    check(
        &stage(&[("x", "k")]),
        &[("k=1 x=2", r#"{x="2"}"#), ("x=2 k=1", r#"{x="1"}"#), ("x=2", r#"{x="2"}"#), (r#"k="q uoted" x"#, r#"{x=""}"#)],
    );
    check(&stage(&[("x", "k"), ("k", "x")]), &[("k=1 x=2", r#"{k="2", x="1"}"#)]);
    check(&stage(&[("x", r#""foo.bar""#)]), &[("foo.bar=1", r#"{x="1"}"#)]);
}

#[test]
fn logfmt_expressions_overlook_with_strict_loki_what_loki_overlooks() {
    let expression = |pairs: &[(&str, &str)]| Ast::Logfmt { strict: false, keep_empty: false, extractions: extractions(pairs) };
    let labels = |stages: &[Ast], needed: NeededLabels, strict_loki: bool, line: &str| {
        let pipeline = Pipeline::compile(stages, None, &needed, &PipelineOptions { strict_loki }).unwrap();
        let mut pipeline = pipeline.for_stream(&stream());
        let labels = pipeline.process(0, line.as_bytes(), &[]).unwrap().categorized().parsed;
        labels.to_string()
    };
    let renamed = [expression(&[("x", "k")])];
    for (stages, needed, line, strict, other) in [
        (&renamed[..], only(&["x"]), "k=1", r#"{x=""}"#, r#"{x="1"}"#),
        (&renamed[..], only(&["x"]), "x=1 x=2", r#"{x="1"}"#, r#"{x="2"}"#),
        (&renamed[..], only(&["x", "k"]), "k=1", r#"{x="1"}"#, r#"{x="1"}"#),
        (&renamed[..], NeededLabels::All, "k=1", r#"{x="1"}"#, r#"{x="1"}"#),
        (&[logfmt(), renamed[0].clone()], NeededLabels::All, "k=1", r#"{k="1", x=""}"#, r#"{k="1", x="1"}"#),
        (&[expression(&[("a", "a"), ("b", "b")])], only(&["a", "b"]), "a=1 b=2", r#"{a="1", b=""}"#, r#"{a="1", b="2"}"#),
        (
            &[expression(&[("app", "app"), ("b", "b")])],
            NeededLabels::All,
            "app=1 app=2 b=3",
            r#"{app_extracted="1", b=""}"#,
            r#"{app_extracted="2", b="3"}"#,
        ),
        (&[expression(&[("x", r#""foo.bar""#)])], NeededLabels::All, "foo.bar=1", r#"{x=""}"#, r#"{x="1"}"#),
    ] {
        assert_eq!(labels(stages, needed.clone(), true, line), strict, "{line}");
        assert_eq!(labels(stages, needed, false, line), other, "{line}");
    }
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
