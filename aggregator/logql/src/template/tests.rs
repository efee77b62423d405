//! Templates as a whole, from text to text.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::functions::LOGQL;
use super::{Environment, Template};

/// Labels of an entry, with a line and a time.
#[derive(Debug, Default)]
pub(super) struct Labels {
    fields: Vec<String>,
    labels: BTreeMap<String, String>,
    line: String,
}

impl Environment for Labels {
    fn field(&self, index: usize) -> Option<&[u8]> {
        self.named(&self.fields[index])
    }

    fn named(&self, name: &str) -> Option<&[u8]> {
        self.labels.get(name).map(String::as_bytes)
    }

    fn pairs(&self) -> Vec<(&str, &[u8])> {
        self.labels.iter().map(|(name, text)| (name.as_str(), text.as_bytes())).collect()
    }

    fn line(&self) -> &[u8] {
        self.line.as_bytes()
    }

    fn timestamp(&self) -> i64 {
        1_768_471_509_000_000_000
    }

    fn now(&self) -> i64 {
        1_768_471_510_000_000_000
    }
}

fn run(text: &str) -> Result<String, String> {
    let template = Template::parse("line", text, &LOGQL).map_err(|error| error.to_string())?;
    let labels =
        [("num", "7"), ("flt", "2.675"), ("csv", "a,b,,c"), ("empty", ""), ("obj", r#"{"k":[1,2,{"z":"y"},null],"b":true,"s":"t"}"#)];
    let environment = Labels {
        fields: template.fields().iter().map(ToString::to_string).collect(),
        labels: labels.map(|(name, text)| (name.to_owned(), text.to_owned())).into(),
        line: "the line".to_owned(),
    };
    let mut out = b"kept".to_vec();
    let result = template.execute(&environment, &mut out);
    let written = String::from_utf8_lossy(&out).into_owned();
    let Err(error) = result else { return Ok(written.strip_prefix("kept").unwrap().to_owned()) };
    assert_eq!(written, "kept", "nothing is left behind after an error");
    Err(error.to_string())
}

fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(run(text).as_deref(), Ok(*expected), "{text}");
    }
}

fn check_errors(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(run(text).as_ref().map_err(String::as_str), Err(*expected), "{text}");
    }
}

#[test]
fn actions_print_values() {
    check(&[
        ("a {{.num}} b", "a 7 b"),
        ("{{.nosuch}}", ""),
        ("{{1}} {{1.5e3}} {{'a'}} {{true}} {{`raw`}} {{0x10}} {{1e6}}", "1 1500 97 true raw 16 1e+06"),
        ("{{.}}", r#"map[csv:a,b,,c empty: flt:2.675 num:7 obj:{"k":[1,2,{"z":"y"},null],"b":true,"s":"t"}]"#),
        ("{{fromJson .obj}}", "map[b:true k:[1 2 map[z:y] <nil>] s:t]"),
        ("{{(fromJson .obj).nope}} {{fromJson .num}} {{fromJson .csv}}", "<no value> 7 <no value>"),
        ("{{__line__}} {{__timestamp__}} {{now}}", "the line 2026-01-15 10:05:09 +0000 UTC 2026-01-15 10:05:10 +0000 UTC"),
        ("{{__timestamp__.Unix}} {{__timestamp__.Month}} {{__timestamp__.Format \"15:04\"}}", "1768471509 January 10:05"),
        ("{{(now.Sub __timestamp__).Seconds}} {{now.Sub __timestamp__}}", "1 1s"),
    ]);
}

#[test]
fn variables_have_scopes() {
    check(&[
        ("{{$x := .num}}{{$x}}{{$x = \"b\"}}{{$x}}", "7b"),
        ("{{$x := 1}}{{if true}}{{$x := 2}}{{$x}}{{end}}{{$x}}", "21"),
        ("{{$x := 1}}{{if true}}{{$x = 2}}{{end}}{{$x}}", "2"),
        ("{{with $x := .num}}{{$x}}{{.}}{{$.flt}}{{end}}", "772.675"),
        ("{{if $x := .empty}}a{{else if $y := .num}}{{$x}}{{$y}}{{end}}", "7"),
        ("{{range $i, $x := fromJson \"[5,6]\"}}{{$i}}={{$x}};{{end}}", "0=5;1=6;"),
        ("{{$s := \"\"}}{{range $x := fromJson \"[5,6]\"}}{{$s = print $s $x}}{{end}}{{$s}}", "56"),
        ("{{$.num}}", "7"),
    ]);
}

#[test]
fn blocks_choose_and_repeat() {
    check(&[
        ("{{if .empty}}a{{else if eq .num \"7\"}}b{{else}}c{{end}}", "b"),
        ("{{with .empty}}a{{else with .num}}b{{.}}{{else}}c{{end}}", "b7"),
        ("{{range fromJson \"[]\"}}a{{else}}none{{end}}", "none"),
        ("{{range .nosuch | fromJson}}a{{else}}none{{end}}", "none"),
        ("{{range fromJson \"[1,2,3,4]\"}}{{if eq . 2.0}}{{continue}}{{end}}{{if eq . 4.0}}{{break}}{{end}}{{.}}{{end}}", "13"),
        ("{{range 3}}{{.}}{{end}}{{range $i := 2}}{{$i}}{{end}}", "01201"),
        ("{{range $k, $v := fromJson .obj}}{{$k}} {{end}}", "b k s "),
        ("{{range $k, $v := .}}{{$k}},{{end}}", "csv,empty,flt,num,obj,"),
        ("{{define \"t\"}}<{{.}}>{{end}}{{template \"t\" .num}}{{template \"t\"}}", "<7><<no value>>"),
        ("{{block \"b\" .num}}[{{.}}]{{end}}", "[7]"),
        ("a {{- .num -}} \n b{{/* no */}}", "a7b"),
    ]);
}

#[test]
fn logic_compares_like_with_like() {
    check(&[
        ("{{and .num .empty}}|{{or .empty .num}}|{{not .empty}}|{{and true (eq 1 1)}}", "|7|true|true"),
        ("{{eq 1 2 1}} {{ne \"a\" \"b\"}} {{lt 1 2}} {{le 2 2}} {{gt 1.5 0.5}} {{ge \"b\" \"a\"}}", "true true true true true true"),
        ("{{eq (fromJson .csv) nil}} {{eq nil nil}}", "true true"),
        ("{{or true (div 1 0)}} {{and false (div 1 0)}}", "true false"),
        ("{{if contains \"b\" .csv}}has{{end}}", "has"),
        ("{{len .csv}} {{len (fromJson .obj)}} {{len .}}", "6 3 5"),
        ("{{index .csv 0}} {{index . \"num\"}} {{index (fromJson .obj).k 2 \"z\"}} {{slice .csv 2 3}}", "97 7 y b"),
        ("{{.num | printf \"%s-%s\" .flt}}", "2.675-7"),
        ("{{print 1 2 \"a\" \"b\" 3 nil}}|{{println 1 \"a\"}}", "1 2ab3 <nil>|1 a\n"),
    ]);
}

#[test]
fn functions_work_within_each_other() {
    check(&[
        ("{{ .csv | replace \",\" \"/\" | trimPrefix \"a/\" | upper | printf \"<%5s>\" }}", "< B//C>"),
        ("{{ add (mul (int .num) 6) (sub 10 (div 20 4)) (mod 7 4) }} {{ sub 5 2 | add 1 | mul 2 }}", "50 8"),
        ("{{ addf (mulf .flt 2) (divf 1 4) | printf \"%.3f\" }} {{ round (addf .flt 0.001) 1 }} {{ floor (subf 0 .flt) }}", "5.600 2.7 -3"),
        ("{{ range $i, $x := (fromJson .obj).k }}{{ $i }}:{{ $x | default \"-\" }};{{ end }}", "0:1;1:2;2:map[z:y];3:-;"),
        ("{{ (index (fromJson .obj).k 2).z | upper }}{{ len (index (fromJson .obj).k 2) }}", "Y1"),
        ("{{ range $k, $v := fromJson `{\"b\":2,\"a\":{\"c\":[1]}}` }}{{ $k }}={{ $v }} {{ end }}", "a=map[c:[1]] b=2 "),
        ("{{ if and (gt (int .num) 5) (hasPrefix \"a\" .csv) (not (hasSuffix \"x\" .csv)) }}yes{{ else }}no{{ end }}", "yes"),
        ("{{ if or (eq .num \"1\" \"7\") (div 1 0) }}yes{{ end }}", "yes"),
        (
            "{{ unixToTime \"1768471200\" | date \"2006-01-02 15:04\" }} {{ date \"Jan _2 15:04:05.000\" (unixToTime \"1768471200123\") }}",
            "2026-01-15 10:00 Jan 15 10:00:00.123",
        ),
        (
            "{{ toDate \"2006-01-02 15:04\" \"2026-01-15 10:05\" | unixEpochMillis }} {{ (toDate \"2006\" \"2026\").Year }}",
            "1768471500000 2026",
        ),
        (
            "{{ regexReplaceAll \"([a-z]),([a-z])\" .csv (printf \"${2}%s$1\" \"+\") }} {{ regexReplaceAll \"(?P<l>[abc])\" .csv \"${l}${l}\" }}",
            "b+a,,c aa,bb,,cc",
        ),
        (
            "{{ regexReplaceAll \"b\" .csv \"$1x\" }}{{ regexReplaceAll \"(b)\" .csv \"$1x\" }}{{ regexReplaceAll \"(b)\" .csv \"${1}x\" }}",
            "a,,,ca,,,ca,bx,,c",
        ),
        ("{{ count `[a-c]` (repeat 3 .csv) }} {{ count `\\p{Lowercase_Letter}` .csv }}", "9 3"),
        ("{{ .csv | b64enc | b64dec | urlencode | urldecode }} {{ b64enc (printf \"%s:%s\" .num .flt) }}", "a,b,,c NzoyLjY3NQ=="),
        (
            "{{ trunc 3 (trunc -4 .csv) }}|{{ substr 0 1 (upper .csv) }}|{{ alignRight 6 (trunc 2 .csv) }}|{{ alignLeft 4 .num }}|",
            "b,,|A|    a,|7   |",
        ),
        ("{{ max 1 .num 5 }} {{ min .num 9 }} {{ maxf 1.5 .flt }} {{ minf .flt \"3\" }} {{ max 2.9 1 }}", "7 7 2.675 2.675 2"),
        ("{{ bytes \"10KiB\" | int }} {{ duration \"1h30m\" | divf 3 }} {{ duration_seconds \"250ms\" }}", "10240 0.0005555555555556 0.25"),
        ("{{ $parts := fromJson `[\"a\",\"b\"]` }}{{ range $parts }}{{ . }}{{ $.num }}{{ end }}{{ len $parts }}", "a7b72"),
        ("{{ with $x := index . \"num\" }}{{ if eq $x \"7\" }}{{ $x = \"seven\" }}{{ end }}{{ $x }}{{ end }}", "seven"),
        ("{{ define \"T\" }}[{{ . | upper }}]{{ end }}{{ range fromJson `[\"a\",\"b\"]` }}{{ template \"T\" . }}{{ end }}", "[A][B]"),
        ("{{ slice (printf \"%05d\" (int .num)) 3 }}{{ index .csv 2 }}{{ len (print .num .flt) }}", "07986"),
        ("{{ __line__ | contains \"line\" }} {{ trimAll \"the \" __line__ }} {{ __line__ | replace \" \" \"\" | len }}", "true lin 7"),
        ("{{ .nosuch | upper | default (printf \"no %s\" .num) }} {{ default .num .nosuch | int | add 1 }}", "no 7 8"),
        ("{{ if .nosuch }}a{{ else if lt (float64 .flt) 3.0 }}b{{ else }}c{{ end }}{{- /* gone */ -}} d", "bd"),
        ("{{ indent 1 (nindent 2 \"a\") }}", " \n   a"),
        ("{{ eq (len .csv) 6 }} {{ ne (int .num) 7 }} {{ ge \"b\" \"a\" }} {{ le 1.5 (float64 .flt) }}", "true false true true"),
    ]);
}

#[test]
fn maps_and_lists_are_formatted_by_their_elements() {
    check(&[
        ("{{printf \"%s\" (fromJson `{\"b\":\"y\",\"a\":\"x\"}`)}}", "map[a:x b:y]"),
        ("{{printf \"%q %v\" (fromJson `{\"a\":\"x\"}`) (fromJson `{\"a\":[1,null]}`)}}", "map[\"a\":\"x\"] map[a:[1 <nil>]]"),
        ("{{printf \"%#v\" (fromJson `{\"a\":\"x\",\"n\":null}`)}}", r#"map[string]interface {}{"a":"x", "n":interface {}(nil)}"#),
        ("{{printf \"%+v|%x\" (fromJson `{\"a\":\"x\"}`) (fromJson `{\"a\":\"x\"}`)}}", "map[a:x]|map[61:78]"),
        ("{{printf \"%d\" (fromJson `{\"a\":1}`)}}", "map[%!d(string=a):%!d(float64=1)]"),
        (
            "{{printf \"%4s|%-3v|%.1s\" (fromJson `[\"a\",null]`) (fromJson `[1,null]`) (fromJson `[\"ab\"]`)}}",
            "[   a <nil>]|[1   <nil>]|[a]",
        ),
        ("{{printf \"%5.1f|%t\" (fromJson `[1.25,2]`) (fromJson `[true]`)}}", "[  1.2   2.0]|[true]"),
        (
            "{{printf \"%T %T\" (fromJson `{}`) (fromJson `[]`)}} {{printf \"%v%v\" (fromJson `{}`) (fromJson `[]`)}}",
            "map[string]interface {} []interface {} map[][]",
        ),
        ("{{printf \"%s\" .}}", r#"map[csv:a,b,,c empty: flt:2.675 num:7 obj:{"k":[1,2,{"z":"y"},null],"b":true,"s":"t"}]"#),
        ("{{printf \"%.2s\" .}}", "map[cs:a, em: fl:2. nu:7 ob:{\"]"),
        ("{{printf \"%d|%T\" (len .) .}}", "5|map[string]string"),
        ("{{with fromJson .obj}}{{printf \"%v %s\" .k .s}}{{end}}", "[1 2 map[z:y] <nil>] t"),
    ]);
}

#[test]
fn texts_are_worked_on() {
    check(&[
        ("{{upper \"straße é\"}} {{lower \"ÀB\"}} {{title \"level=info a_b mIx é\"}}", "STRAßE É àb Level=Info A_b MIx É"),
        (
            "{{trim \" \\u00a0a \"}}|{{trimAll \"ac\" .csv}}|{{Trim .csv \"c,\"}}|{{TrimLeft .csv \"a\"}}|{{TrimRight .csv \"c\"}}",
            "a|,b,,|a,b|,b,,c|a,b,,",
        ),
        (
            "{{trimPrefix \"a,\" .csv}} {{TrimPrefix .csv \"x\"}} {{trimSuffix \",c\" .csv}} {{TrimSuffix .csv \",c\"}}",
            "b,,c a,b,,c a,b, a,b,",
        ),
        ("{{trunc 3 .csv}} {{trunc -3 .csv}} {{trunc 99 .csv}} {{trunc -99 .csv}}", "a,b ,,c a,b,,c a,b,,c"),
        ("{{substr 2 4 .csv}} {{substr -1 3 .csv}} {{substr 2 -1 .csv}} {{substr 2 99 .csv}}", "b, a,b b,,c b,,c"),
        ("{{replace \",\" \";\" .csv}} {{Replace .csv \",\" \";\" 1}} {{Replace \"ab\" \"\" \"-\" -1}}", "a;b;;c a;b,,c -a-b-"),
        ("{{repeat 3 .num}}|{{indent 2 \"a\\nb\"}}|{{nindent 1 \"a\"}}", "777|  a\n  b|\n a"),
        (
            "{{alignLeft 3 \"é\"}}|{{alignRight 3 \"é\"}}|{{alignLeft 2 .csv}}|{{alignRight 2 .csv}}|{{alignLeft -1 .num}}|{{alignLeft 0 .num}}",
            "é  |  é|a,|,c|7|",
        ),
        ("{{b64enc .num}} {{b64dec \"Nw==\"}} {{b64dec \"a b\"}}", "Nw== 7 illegal base64 data at input byte 1"),
        ("{{urlencode \"a b\"}} {{urldecode \"a+b%2F\"}} {{urlquery \"a b\" 1}}", "a+b a b/ a+b1"),
        ("{{html \"<a&>\"}} {{js \"it's\"}}", "&lt;a&amp;&gt; it\\'s"),
        (
            "{{regexReplaceAll \"([a-c])\" .csv \"<$1>\"}} {{regexReplaceAllLiteral \"[a-c]\" .csv \"$1\"}} {{count \"[a-c]\" .csv}} {{count \"x*\" \"ab\"}}",
            "<a>,<b>,,<c> $1,$1,,$1 3 3",
        ),
        ("{{regexReplaceAll \"\" \"é日\" \"-\"}} {{regexReplaceAllLiteral \"x*\" \"é\" \"$\"}} {{count \"\" \"é日\"}}", "-é-日- $é$ 3"),
        (
            "{{html nil}} {{js nil}} {{urlquery nil}} {{add 1e20 2}} {{max 1e20 0}}",
            "&lt;no value&gt; \\u003Cno value\\u003E %3Cno+value%3E -9223372036854775806 0",
        ),
        ("{{$r := \"b\"}}{{regexReplaceAll $r .csv \"x\"}} {{regexReplaceAll \"a*\" \"baac\" \"x\"}}", "a,x,,c xbxcx"),
    ]);
}

#[test]
fn numbers_are_reckoned() {
    check(&[
        (
            "{{int \"2.675\"}} {{int \"-3.5\"}} {{int \"x\"}} {{int 2.9}} {{int true}} {{int \"0x1F\"}} {{int \"1e3\"}} {{int \".5\"}}",
            "2 -3 0 2 1 31 0 0",
        ),
        ("{{float64 .flt}} {{float64 \"x\"}} {{float64 3}}", "2.675 0 3"),
        ("{{add 1 2 3}} {{add 1 2.9}} {{add}} {{sub 1 2}} {{mul 2 3 4}} {{div 7 2}} {{div -7 2}} {{mod -7 3}}", "6 3 0 -1 24 3 -3 -1"),
        ("{{addf 0.1 0.2}} {{subf 10 2.5 1}} {{mulf 1.1 1.1}} {{divf 10 4}} {{divf 1 3}}", "0.3 6.5 1.21 2.5 0.3333333333333333"),
        ("{{max 1 5 3}} {{min 4 2}} {{maxf 1.5 5.25}} {{minf 4.5 2.25}}", "5 2 5.25 2.25"),
        ("{{ceil .flt}} {{floor -3.5}} {{round .flt 2}} {{round 2.5 0}} {{round -3.5 0}} {{round 2.4 0 0.3}}", "3 -4 2.68 3 -4 3"),
        ("{{bytes \"3MB\"}} {{bytes \"1KiB\"}} {{duration \"1h15m30s\"}} {{duration_seconds \"1.5s\"}}", "3e+06 1024 4530 1.5"),
        (
            "{{default \"d\" .empty}} {{default \"d\" .num}} {{.nosuch | default \"-\"}} {{default 1 0}} {{default 1 (fromJson \"[]\")}}",
            "d 7 - 1 1",
        ),
        ("{{printf \"%05d %.2f %q %T\" (int .num) (float64 .flt) .csv (add 1)}}", "00007 2.67 \"a,b,,c\" int64"),
    ]);
}

#[test]
fn times_are_converted() {
    check(&[
        (
            "{{__timestamp__ | unixEpoch}} {{__timestamp__ | unixEpochMillis}} {{__timestamp__ | unixEpochNanos}}",
            "1768471509 1768471509000 1768471509000000000",
        ),
        ("{{__timestamp__ | date \"2006-01-02T15:04:05.000Z\"}} {{date \"2006\" 0}}", "2026-01-15T10:05:09.000Z 1970"),
        (
            "{{toDate \"2006-01-02\" \"2026-01-15\" | unixEpoch}} {{toDate \"2006-01-02\" \"x\"}}",
            "1768435200 0001-01-01 00:00:00 +0000 UTC",
        ),
        ("{{toDateInZone \"2006-01-02\" \"Europe/Berlin\" \"2026-01-15\"}}", "2026-01-15 00:00:00 +0100 CET"),
        ("{{unixToTime \"20468\"}}|{{unixToTime \"1768471200123\"}}", "2026-01-15 00:00:00 +0000 UTC|2026-01-15 10:00:00.123 +0000 UTC"),
        ("{{date \"15:04\" \"text\"}}", "10:05"),
    ]);
}

#[test]
fn failures_name_their_place() {
    check_errors(&[
        ("{{ upper }}", r#"template: line:1:3: executing "line" at <upper>: wrong number of args for upper: want 1 got 0"#),
        (
            "{{ . | upper }}",
            r#"template: line:1:7: executing "line" at <upper>: wrong type for value; expected string; got map[string]string"#,
        ),
        ("{{ .num.sub }}", r#"template: line:1:7: executing "line" at <.num.sub>: can't evaluate field sub in type string"#),
        ("{{ nil }}", r#"template: line:1:3: executing "line" at <nil>: nil is not a command"#),
        ("{{ div 1 0 }}", r#"template: line:1:3: executing "line" at <div 1 0>: error calling div: runtime error: integer divide by zero"#),
        (
            "{{ eq .num 7 }}",
            r#"template: line:1:3: executing "line" at <eq .num 7>: error calling eq: incompatible types for comparison: string and int"#,
        ),
        (
            "{{ lt .num 7 }}",
            r#"template: line:1:3: executing "line" at <lt .num 7>: error calling lt: incompatible types for comparison: string and int"#,
        ),
        (
            "{{ index (fromJson .csv) \"k\" }}",
            r#"template: line:1:3: executing "line" at <index (fromJson .csv) "k">: error calling index: index of untyped nil"#,
        ),
        (
            "a\nb {{ trunc .num .csv }}",
            r#"template: line:2:11: executing "line" at <.num>: wrong type for value; expected int; got string"#,
        ),
        ("{{ repeat \"x\" \"y\" }}", r#"template: line:1:10: executing "line" at <"x">: expected integer; found "x""#),
        ("{{ upper 1 }}", r#"template: line:1:9: executing "line" at <1>: expected string; found 1"#),
        (
            "{{ repeat -1 \"y\" }}",
            r#"template: line:1:3: executing "line" at <repeat -1 "y">: error calling repeat: strings: negative Repeat count"#,
        ),
        ("{{ .num 1 }}", r#"template: line:1:3: executing "line" at <.num>: num is not a method but has arguments"#),
        ("{{ (fromJson .obj).s.z }}", r#"template: line:1:13: executing "line" at <.obj>: can't evaluate field z in type interface {}"#),
        (
            "{{ range (fromJson .obj).k }}{{.z}}{{end}}",
            r#"template: line:1:31: executing "line" at <.z>: can't evaluate field z in type interface {}"#,
        ),
        ("{{ range .num }}{{end}}", r#"template: line:1:9: executing "line" at <.num>: range can't iterate over 7"#),
        ("{{ template \"x\" . }}", r#"template: line:1:12: executing "line" at <{{template "x" .}}>: template "x" not defined"#),
        (
            "{{define \"t\"}}{{div 1 0}}{{end}}{{ template \"t\" }}",
            r#"template: line:1:16: executing "t" at <div 1 0>: error calling div: runtime error: integer divide by zero"#,
        ),
        ("{{ call .num }}", r#"template: line:1:3: executing "line" at <call .num>: error calling call: non-function .num of type string"#),
        ("{{ 1 2 }}", r#"template: line:1:3: executing "line" at <1>: can't give argument to non-function 1"#),
    ]);
}

#[test]
fn what_cannot_be_parsed_is_named() {
    check_errors(&[
        ("{{.num", "template: line:1: unclosed action"),
        ("{{ nofunc .num }}", r#"template: line:1: function "nofunc" not defined"#),
        ("{{ if }}", "template: line:1: missing value for if"),
        ("{{ end }}", "template: line:1: unexpected {{end}}"),
        ("{{ else }}", "template: line:1: unexpected {{else}}"),
        ("{{ if .a }}", "template: line:1: unexpected EOF"),
        ("{{ break }}", "template: line:1: {{break}} outside {{range}}"),
        ("{{ $x }}", r#"template: line:1: undefined variable "$x""#),
        ("{{ }}", "template: line:1: missing value for command"),
        ("{{ .a | 1 }}", "template: line:1: non executable command in pipeline stage 2"),
        ("{{ 1.a }}", "template: line:1: bad number syntax: \"1.a\""),
        ("{{ \"a\".b }}", "template: line:1: unexpected . after term \"\\\"a\\\"\""),
        ("{{ .a, .b }}", "template: line:1: unexpected \",\" in operand"),
        ("{{ define \"a\" }}{{else}}{{end}}", "template: line:1: unexpected {{else}} in define clause"),
        ("{{ if .a }}{{ define \"x\" }}{{end}}{{end}}", "template: line:1: unexpected <define> in command"),
        ("a\n{{ .x\n", "template: line:3: unclosed action started at line:2"),
        ("{{ if .a }}{{else}}{{else}}{{end}}", "template: line:1: expected end; found {{else}}"),
        ("{{ template .x }}", "template: line:1: unexpected \".x\" in template clause"),
        ("{{ range $a, $b, $c := . }}{{end}}", "template: line:1: too many declarations in range"),
    ]);
}

#[test]
fn no_template_takes_more_than_its_share() {
    let error = |text: &str| run(text).expect_err(text);
    assert!(error("{{range 1000000000}}{{end}}").ends_with("more than 1000000 steps"));
    assert!(error("{{repeat 1000000000 \"x\"}}").ends_with("more than 2097152 bytes of text"));
    assert!(error("{{$x := \"xxxxxxxx\"}}{{range 1000}}{{$x = print $x $x}}{{end}}").ends_with("bytes of text"));
    assert!(error("{{define \"t\"}}{{template \"t\"}}{{end}}{{template \"t\"}}").contains("exceeded maximum template depth"));
    assert!(error(&format!("{}1{}", "{{(".to_owned() + &"(".repeat(10_000), ")".repeat(10_001) + "}}")).contains("nested more than"));
    assert!(error(&"{{if .num}}".repeat(10_000)).contains("nested more than"));
    let chain = format!("{{{{if .empty}}}}{}{{{{end}}}}", "{{else if .empty}}".repeat(5_000));
    assert_eq!(run(&chain).as_deref(), Ok(""));
    assert!(error("{{replace \"\" (repeat 4000 \"x\") (repeat 9000 \"y\")}}").ends_with("bytes of text"));
}

#[test]
fn the_deepest_templates_need_little_stack() {
    let nested = format!("{{{{ {}.num{} }}}}", "upper (".repeat(98), ")".repeat(98));
    let blocks = format!("{}{{{{.num}}}}{}", "{{if .num}}".repeat(98), "{{end}}".repeat(98));
    let called = format!(
        "{{{{define \"t\"}}}}{}{{{{template \"t\" .}}}}{}{{{{end}}}}{{{{template \"t\" .}}}}",
        "{{if .num}}".repeat(97),
        "{{end}}".repeat(97)
    );
    let thread = std::thread::Builder::new().stack_size(1 << 20).spawn(move || (run(&nested), run(&blocks), run(&called))).unwrap();
    let (nested, blocks, called) = thread.join().unwrap();
    assert_eq!((nested.as_deref(), blocks.as_deref()), (Ok("7"), Ok("7")));
    assert!(called.unwrap_err().contains("exceeded maximum template depth"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_text_is_parsed_or_refused(text in any::<String>()) {
        drop(run(&text));
    }

    #[test]
    fn any_tokens_are_parsed_or_refused(tokens in prop::collection::vec(prop::sample::select(vec![
        "{{", "}}", "{{-", "-}}", " ", ".num", ".", "$", "$x", ":=", "=", "|", "(", ")", "if", "else", "end", "range", "with", "define", "template", "block",
        "break", "continue", "nil", "true", "1", "-1", "2.5", "\"s\"", "`r`", "'c'", "/*", "*/", ",", "printf", "index", "slice", "len", "eq", "fromJson", "substr",
        "date", "toDate", "now", "round", "default", "alignLeft", "indent", "\n", "é",
    ]), 0..20)) {
        drop(run(&tokens.concat()));
        drop(run(&format!("{{{{ {} }}}}", tokens.join(" "))));
    }

    #[test]
    fn any_format_is_written(format in "[%a-zA-Z0-9.*+# \\[\\]-]{0,10}", number in any::<i64>(), float in any::<f64>(), text in any::<String>()) {
        let quoted = |text: &str| crate::literal::go_quote(text);
        drop(run(&format!("{{{{printf {} {number} {} {}}}}}", quoted(&format), quoted(&text), if float.is_finite() { float } else { 0.0 })));
    }

    #[test]
    fn any_bytes_pass_the_functions(text in any::<String>(), count in -20i64..20) {
        let text = crate::literal::go_quote(&text);
        for function in ["upper", "title", "trim", "b64dec", "urldecode", "fromJson", "html", "js", "bytes", "duration", "unixToTime", "int", "float64"] {
            drop(run(&format!("{{{{{function} {text}}}}}")));
        }
        for function in ["trunc", "alignLeft", "alignRight", "indent", "repeat"] {
            drop(run(&format!("{{{{{function} {count} {text}}}}}")));
        }
        drop(run(&format!("{{{{toDate {text} {text}}}}}{{{{date {text} now}}}}{{{{count {text} {text}}}}}{{{{substr {count} 3 {text}}}}}")));
    }
}
