//! Queries and lines made to exhaust whoever reads them: a clear error or an answer, on a stack as small as those of server threads.

use tailwater_logql::ast::Expr;
use tailwater_logql::labels::LabelSet;
use tailwater_logql::matcher::StreamMatcher;
use tailwater_logql::needed::NeededLabels;
use tailwater_logql::pipeline::{Pipeline, PipelineOptions};
use tailwater_logql::{format_query, parse};

const DEEP: usize = 10_000;

fn on_small_stack<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::Builder::new().stack_size(1 << 20).spawn(run).expect("a thread").join().expect("no overflow, no panic")
}

/// What is wrong with a query: when it is read, or when its stages and matchers are built.
fn refusal(query: String) -> Option<String> {
    on_small_stack(move || {
        let tree = match parse(&query) {
            Ok(tree) => tree,
            Err(error) => return Some(error.to_string()),
        };
        assert_eq!(parse(&format_query(&tree)).as_ref(), Ok(&tree), "what is accepted prints and reads back");
        let Expr::Log(log) = tree else { return None };
        let matchers = StreamMatcher::all(&log.selector.matchers).err();
        let pipeline = Pipeline::compile(&log.stages, None, &NeededLabels::All, &PipelineOptions { strict_loki: false });
        matchers.map(|error| error.to_string()).or_else(|| pipeline.err().map(|error| error.to_string()))
    })
}

#[test]
fn what_nests_without_end_is_refused_with_the_reason() {
    let nested = |open: &str, middle: &str, close: &str| {
        // Longer texts are refused for their length.
        let count = DEEP.min(130_000 / (open.len() + close.len()));
        format!("{}{middle}{}", open.repeat(count), close.repeat(count))
    };
    let stage = |stage: String| format!("{{a=\"b\"}} | {stage}");
    let too_deep = "nested too deeply";
    for (query, reason) in [
        (nested("(", "1", ")"), too_deep),
        (nested("(", "{a=\"b\"}", ")"), too_deep),
        (nested("sum(", "rate({a=\"b\"}[1m])", ")"), too_deep),
        (nested("1 ^ ", "2", ""), too_deep),
        (nested("1 - (", "2", ")"), too_deep),
        (nested("vector(1) or (", "vector(1)", ")"), too_deep),
        (nested("vector(1) + ", "vector(1)", ""), "too many operators"),
        (nested("vector(1) ^ ", "vector(1)", ""), too_deep),
        (nested("vector(1) > bool ", "1", ""), "too many operators"),
        (nested("- ", "1", ""), "unexpected -"),
        (nested("-", "1", ""), "unexpected"),
        (stage(nested("(", "a=1", ")")), too_deep),
        (stage(nested("a=1 or (", "a=1", ")")), too_deep),
        (stage(nested("a=1 and ", "a=1", "")), "too many operators"),
        (stage(nested("a=1,", "a=1", "")), "too many operators"),
        (stage(nested("a=1 ", "a=1", "")), "too many operators"),
        (stage(format!("line_format `{{{{{}}}}}`", nested("(", "1", ")"))), "nested more than 100 deep"),
        (stage(format!("line_format `{}`", nested("{{if 1}}", "", "{{end}}"))), "nested more than 100 deep"),
        (stage(format!("label_format x=`{}`", nested("{{with 1}}", "", "{{end}}"))), "nested more than 100 deep"),
        (stage(format!("json x=`{}`", "a.".repeat(DEEP) + "a")), "a path has at most 128 parts"),
        (stage(format!("json x=`a{}`", "[0]".repeat(DEEP))), "a path has at most 128 parts"),
        (format!("{{a=\"b\"}} |~ `{}`", nested("(", "a", ")")), "nests too deeply"),
        (format!("{{a=\"b\"}} |~ `{}`", nested("(a|", "a", ")*")), "nests too deeply"),
        (format!("{{a=\"b\"}} |~ `{}`", nested("(?:", "a", "+)+")), "nests too deeply"),
        (format!("{{a=~`{}`}}", nested("(", "a", ")")), "nests too deeply"),
        (stage(format!("regexp `(?P<x>{})`", nested("(", "a", ")"))), "nests too deeply"),
        (stage(format!("x=~`{}`", nested("(", "a", ")"))), "nests too deeply"),
        (format!("{{a=\"b\"}} |~ `a{}`", "*".repeat(DEEP)), "invalid nested repetition operator"),
        (format!("{{a=\"b\"}} |~ `a{}`", "{2}".repeat(DEEP)), "invalid nested repetition operator"),
        (format!("{{a=\"b\"}} |~ `{}`", "[".repeat(DEEP)), "missing closing ]"),
    ] {
        let start = query[..query.len().min(60)].to_owned();
        let error = refusal(query).unwrap_or_else(|| panic!("`{start}…` is accepted"));
        assert!(error.contains(reason), "{start}…: {}", &error[error.len().saturating_sub(200)..]);
    }
}

#[test]
fn what_is_only_long_is_read() {
    let filters = |filter: &str, count: usize| format!("{{a=\"b\"}} {}", vec![filter; count].join(" "));
    for query in [
        filters("|= \"x\"", DEEP),
        filters("| json", DEEP),
        filters("| drop a", DEEP),
        filters("|~ \"x.y\"", 2_000),
        format!("{{a=\"b\"}} |= {}", vec!["\"x\""; DEEP].join(" or ")),
        format!("{{{}}}", vec!["a=\"b\""; DEEP].join(",")),
        format!("{{a=\"b\"}} | drop {}", vec!["a"; DEEP].join(",")),
        format!("{{a=\"b\"}} |~ \"{}\"", "(a|b)".repeat(DEEP)),
        format!("{{a=\"b\"}} |~ `{}`", "(x+x+)+y".repeat(65_536 / 8)),
    ] {
        let start = query[..60].to_owned();
        assert_eq!(refusal(query), None, "{start}…");
    }
}

#[test]
fn expressions_of_a_query_share_their_room() {
    let large = r"\pL{100}";
    for (count, make) in [
        (200, &(|count: usize| format!("{{a=\"b\"}} {}", vec![format!("|~ `{large}`"); count].join(" "))) as &dyn Fn(usize) -> String),
        (200, &|count| format!("{{a=\"b\"}} !~ {}", vec![format!("`{large}`"); count].join(" or "))),
        (200, &|count| format!("{{a=\"b\"}} | {}", vec![format!("x=~`{large}`"); count].join(" or "))),
        (1_000, &|count| format!("{{{}}}", vec![format!("a=~`{large}`"); count].join(","))),
    ] {
        assert_eq!(refusal(make(1)), None);
        let error = refusal(make(count)).expect("too much together");
        assert!(error.contains("expression too large"), "{}", &error[error.len().saturating_sub(200)..]);
    }
}

/// Runs a query over one line; the labels it shows.
fn shown(query: &'static str, line: String) -> String {
    on_small_stack(move || {
        let Ok(Expr::Log(log)) = parse(query) else { panic!("`{query}` is a log query") };
        let options = PipelineOptions { strict_loki: false };
        let pipeline = Pipeline::compile(&log.stages, None, &NeededLabels::All, &options).expect("compiles");
        let mut pipeline = pipeline.for_stream(&LabelSet::from_pairs([("app", "a")]));
        pipeline.process(1, line.as_bytes(), &[]).map_or("dropped".into(), |entry| entry.labels().to_string())
    })
}

#[test]
fn deep_lines_are_read_as_far_as_is_sensible() {
    let objects = "{\"a\":".repeat(DEEP) + "1" + &"}".repeat(DEEP);
    let arrays = format!("{{\"b\":1,\"a\":{}{}}}", "[".repeat(DEEP), "]".repeat(DEEP));
    assert_eq!(shown("{a=\"b\"} | json", objects.clone()), r#"{app="a"}"#);
    assert_eq!(shown("{a=\"b\"} | json", arrays.clone()), r#"{app="a", b="1"}"#);
    assert_eq!(shown("{a=\"b\"} | json x=\"a.a.b\"", objects.clone()), r#"{app="a", x=""}"#);
    assert_eq!(shown("{a=\"b\"} | unpack", objects.clone()), r#"{app="a"}"#);
    assert_eq!(shown("{a=\"b\"} | label_format x=`{{ fromJson __line__ }}`", objects), r#"{app="a", x="<no value>"}"#);
    assert_eq!(shown("{a=\"b\"} | logfmt", "a=".repeat(DEEP)), r#"{app="a"}"#);
    let unclosed = "{\"b\":2,\"a\":".to_owned() + &"{\"a\":".repeat(DEEP);
    assert!(shown("{a=\"b\"} | json", unclosed).contains("JSONParserErr"));
}

#[test]
fn a_line_of_a_million_keys_shows_as_many_as_there_is_room_for() {
    const ROOM: usize = 64 * 1024;
    let labels = |query: &'static str, line: String| {
        on_small_stack(move || {
            let Ok(Expr::Log(log)) = parse(query) else { panic!("`{query}` is a log query") };
            let pipeline =
                Pipeline::compile(&log.stages, None, &NeededLabels::All, &PipelineOptions { strict_loki: false }).expect("compiles");
            let mut pipeline = pipeline.for_stream(&LabelSet::default());
            let first = pipeline.process(1, line.as_bytes(), &[]).expect("is kept").labels().len();
            // What one line brought is no burden to the next.
            let next = pipeline.process(2, br#"{"other":"1","k1":"2"}"#, &[]).map_or(0, |entry| entry.labels().len());
            (first, next)
        })
    };
    let keys = |count: usize, pair: &dyn Fn(usize) -> String, between: &str| (0..count).map(pair).collect::<Vec<_>>().join(between);
    let object = |count| format!("{{{}}}", keys(count, &|key| format!("\"k{key}\":\"v\""), ","));
    assert_eq!(labels("{a=\"b\"} | json", object(ROOM / 2)), (ROOM / 2, 2));
    for (query, line, next) in [
        ("{a=\"b\"} | json", object(1_000_000), 2),
        ("{a=\"b\"} | json", format!("{{\"o\":{}}}", object(1_000_000)), 2),
        ("{a=\"b\"} | unpack", object(1_000_000).replacen('{', "{\"_entry\":\"x\",", 1), 0),
        ("{a=\"b\"} | logfmt", keys(1_000_000, &|key| format!("k{key}=v"), " "), 0),
    ] {
        let (first, found) = labels(query, line);
        assert!((ROOM - 4..=ROOM).contains(&first) && found == next, "{query}: {first} labels, then {found}");
    }
}

#[test]
fn templates_end_however_they_loop_and_grow() {
    let grow = |count: usize| (0..count).map(|_| "{{ $x = printf \"%s%s\" $x $x }}").collect::<String>();
    for (template, reason) in [
        ("{{ define \"a\" }}{{ template \"a\" . }}{{ end }}{{ template \"a\" . }}".to_owned(), "exceeded maximum template depth"),
        ("{{ repeat 999999999 \"x\" }}".to_owned(), "bytes of text"),
        ("{{ repeat 100000 (repeat 100000 \"x\") }}".to_owned(), "bytes of text"),
        ("{{ indent 99999999 \"x\" }}".to_owned(), "bytes of text"),
        ("{{ printf \"%999999d\" 1 | repeat 100 }}".to_owned(), "bytes of text"),
        ("{{ alignLeft 99999999 \"x\" }}".to_owned(), "bytes of text"),
        (format!("{{{{ $x := \"xxxxxxxxxxxxxxxx\" }}}}{}{{{{ $x }}}}", grow(40)), "bytes of text"),
    ] {
        let query: &'static str = Box::leak(format!("{{a=\"b\"}} | line_format `{template}`").into_boxed_str());
        let labels = shown(query, "line".to_owned());
        assert!(labels.contains("TemplateFormatErr") && labels.contains(reason), "{template}: {labels}");
    }
}
