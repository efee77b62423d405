//! Properties of parsing and printing: no text panics or overflows the stack, and printed trees read back.

mod generated;

use generated::expression;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use tailwater_logql::parser::{MAX_CONNECTIVES, MAX_QUERY_BYTES};
use tailwater_logql::{format_query, parse, parse_selector};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn printed_trees_read_back(tree in expression()) {
        let printed = format_query(&tree);
        prop_assert_eq!(parse(&printed), Ok(tree.clone()), "{}", printed);
        let compact = tree.to_string();
        prop_assert_eq!(parse(&compact), Ok(tree), "{}", compact);
    }

    #[test]
    fn arbitrary_text_never_panics(text in any::<String>()) {
        drop(parse(&text));
    }

    /// Text made of the language's own pieces gets further into the grammar.
    #[test]
    fn arbitrary_tokens_never_panic(pieces in vec(select(PIECES.to_vec()), 0..30), spaced in any::<bool>()) {
        let text = pieces.join(if spaced { " " } else { "" });
        if let Ok(tree) = parse(&text) {
            let printed = format_query(&tree);
            let again = parse(&printed);
            prop_assert!(again.is_ok(), "{} printed as {} gives {:?}", text, printed, again);
        }
    }

    /// A well formed query cut anywhere is an error or a query, never a panic.
    #[test]
    fn cut_queries_never_panic(tree in expression(), cut in any::<prop::sample::Index>()) {
        let printed = format_query(&tree);
        let mut at = cut.index(printed.len() + 1);
        while !printed.is_char_boundary(at) {
            at -= 1;
        }
        drop(parse(&printed[..at]));
    }
}

const PIECES: [&str; 72] = [
    "{a=\"b\"}",
    "{",
    "}",
    "(",
    ")",
    ",",
    "[5m]",
    "[",
    "]",
    "|",
    "|=",
    "!=",
    "|~",
    "!~",
    "|>",
    "!>",
    "=",
    "==",
    ">",
    "<=",
    "+",
    "-",
    "*",
    "/",
    "%",
    "^",
    "\"x\"",
    "`y`",
    "\"",
    "'c'",
    "a",
    "é",
    "1",
    "0x1",
    "1e",
    ".5",
    "5m",
    "-0",
    "10KB",
    "--strict",
    "--",
    "#",
    "//",
    "/*",
    "*/",
    "\n",
    "json",
    "logfmt",
    "unwrap",
    "offset",
    "by",
    "without",
    "and",
    "or",
    "unless",
    "on",
    "ignoring",
    "group_left",
    "bool",
    "sum",
    "rate",
    "topk",
    "quantile_over_time",
    "label_replace",
    "vector",
    "variants",
    "of",
    "ip",
    "bytes",
    "drop",
    "label_format",
    "line_format",
];

/// Runs on a stack as small as those of server threads usually are.
fn on_small_stack<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::Builder::new().stack_size(1 << 20).spawn(run).expect("a thread").join().expect("no overflow, no panic")
}

#[test]
fn deep_nesting_is_an_error() {
    for (open, middle, close) in [
        ("(", "1", ")"),
        ("sum(", "rate({a=\"b\"}[1m])", ")"),
        ("1^(", "2", ")"),
        ("2^", "2", ""),
        ("{a=\"b\"} | (", "c=1", ")"),
        ("count_over_time((", "{a=\"b\"}[1m]", "))"),
        ("label_replace(", "vector(1)", ",\"\",\"\",\"\",\"\")"),
    ] {
        let query = if open.starts_with("{") {
            format!("{{a=\"b\"}} | {}{middle}{}", "(".repeat(10_000), close.repeat(10_000))
        } else if open.starts_with("count") {
            format!("count_over_time({}{middle}{})", "(".repeat(10_000), ")".repeat(10_000))
        } else if open.starts_with("label") {
            format!("{}{middle}{}", open.repeat(2_000), close.repeat(2_000))
        } else {
            format!("{}{middle}{}", open.repeat(10_000), close.repeat(10_000))
        };
        let error = on_small_stack(move || parse(&query)).expect_err("too deep").to_string();
        assert_eq!(error, "parse error : query is nested too deeply (more than 200 levels)", "{open}");
    }
}

#[test]
fn nesting_below_the_limit_parses_prints_and_drops_on_a_small_stack() {
    let query = format!("{}rate({{a=\"b\"}} | {}c=1{} [1m]){}", "sum(".repeat(190), "(".repeat(9), ")".repeat(9), ")".repeat(190));
    let again = on_small_stack(move || {
        let tree = parse(&query).expect("below the limit");
        parse(&format_query(&tree)).expect("printed form is below the limit too") == tree
    });
    assert!(again);
}

#[test]
fn long_chains_are_bounded_and_survive_a_small_stack() {
    let sum = |count: usize| vec!["vector(1)"; count].join("+");
    let filters = |count: usize| format!("{{a=\"b\"}} | {}", vec!["c=1"; count].join(" "));
    for make in [&sum as &dyn Fn(usize) -> String, &filters] {
        let (fits, too_long) = (make(MAX_CONNECTIVES + 1), make(MAX_CONNECTIVES + 2));
        on_small_stack(move || {
            let tree = parse(&fits).expect("fits");
            assert!(tree.to_string().len() > 1_000);
        });
        let error = parse(&too_long).expect_err("too long").to_string();
        assert_eq!(error, "parse error : query has too many operators (more than 2000)");
    }
}

#[test]
fn length_is_bounded() {
    let padded = |length: usize| format!("{{a=\"{}\"}}", "x".repeat(length - 6));
    assert!(parse(&padded(MAX_QUERY_BYTES - 1)).is_ok());
    let error = parse(&padded(MAX_QUERY_BYTES)).expect_err("too long");
    assert_eq!(error.to_string(), "parse error : input size too long (131072 > 131072)");
}

#[test]
fn selectors_alone_are_what_some_endpoints_take() {
    assert_eq!(parse_selector(r#"{a="b"}"#).map(|selector| selector.to_string()).as_deref(), Ok(r#"{a="b"}"#));
    let refused = |query: &str| parse_selector(query).expect_err(query).to_string();
    assert_eq!(refused(r#"{a="b"} |= "x""#), "only label matchers are supported");
    assert_eq!(refused(r#"rate({a="b"}[1m])"#), "only label matchers are supported");
    assert_eq!(refused("{a="), "parse error at line 1, col 4: syntax error: unexpected $end, expecting STRING");
    assert!(refused("{}").starts_with("parse error : queries require at least one"));
    assert!(tailwater_logql::parse_any_selector("{}").expect("allowed here").matchers.is_empty());
}
