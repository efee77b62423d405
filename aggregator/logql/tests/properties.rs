//! Properties of parsing and printing: no text panics or overflows the stack, and printed trees read back.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use tailwater_logql::ast::*;
use tailwater_logql::parser::{MAX_CONNECTIVES, MAX_QUERY_BYTES};
use tailwater_logql::{format_query, parse, parse_selector};

fn label() -> impl Strategy<Value = String> {
    // Function names are fine as labels; reserved words are not.
    select(vec!["app", "a", "_x9", "rate", "sum", "bytes", "ip", "__error__", "Namespace", "vector"]).prop_map(str::to_owned)
}

fn labels() -> impl Strategy<Value = Vec<String>> {
    vec(label(), 0..3)
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[ -~]{0,12}", any::<String>()]
}

fn matcher() -> impl Strategy<Value = Matcher> {
    let plain = (label(), select(vec![MatchOp::Equal, MatchOp::NotEqual]), text());
    let pattern = select(vec!["a.*", "x|y", "", ".+", r"\d{2}", "[a-z]"]).prop_map(str::to_owned);
    let regex = (label(), select(vec![MatchOp::Regex, MatchOp::NotRegex]), pattern);
    prop_oneof![plain, regex].prop_map(|(name, op, value)| Matcher { name, op, value })
}

/// One matcher excludes the empty string.
fn selector() -> impl Strategy<Value = Selector> {
    (vec(matcher(), 0..3), label(), "[a-z\"\\\\]{1,30}").prop_map(|(mut matchers, name, value)| {
        matchers.push(Matcher { name, op: MatchOp::Equal, value });
        Selector { matchers }
    })
}

/// Without NaN, which differs from itself.
fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        select(vec![0.0, -0.0, 1.0, -1.0, 0.5, 1e-7, 1e21, 123_456.789, f64::MAX, f64::MIN_POSITIVE]),
        any::<f64>().prop_filter("a finite number", |value| value.is_finite()),
    ]
}

fn line_filter() -> impl Strategy<Value = Stage> {
    use LineFilterOp::*;
    let argument = prop_oneof![text().prop_map(LineFilterArg::Text), text().prop_map(LineFilterArg::Ip)];
    (select(vec![Contains, NotContains, Regex, NotRegex, Pattern, NotPattern]), vec(argument, 1..4))
        .prop_map(|(op, alternatives)| Stage::LineFilter(LineFilter { op, alternatives }))
}

fn label_filter() -> impl Strategy<Value = LabelFilter> {
    use CompareOp::*;
    let value = prop_oneof![
        number().prop_map(FilterValue::Number),
        any::<i64>().prop_map(FilterValue::Duration),
        (0u64..1 << 52).prop_map(FilterValue::Bytes),
        select(vec![0, 9, 1000, 5_000_000, 1 << 40]).prop_map(FilterValue::Bytes),
    ];
    let comparison = (label(), select(vec![Equal, NotEqual, Greater, GreaterOrEqual, Less, LessOrEqual]), value)
        .prop_map(|(name, op, value)| LabelFilter::Compare { name, op, value });
    let address = (label(), any::<bool>(), text()).prop_map(|(name, negated, pattern)| LabelFilter::Ip { name, negated, pattern });
    let leaf = prop_oneof![matcher().prop_map(LabelFilter::String), comparison, address];
    leaf.prop_recursive(4, 12, 2, |inner| {
        (inner.clone(), inner, any::<bool>()).prop_map(|(left, right, is_or)| {
            let (left, right) = (Box::new(left), Box::new(right));
            if is_or { LabelFilter::Or { left, right } } else { LabelFilter::And { left, right } }
        })
    })
}

fn extractions() -> impl Strategy<Value = Vec<Extraction>> {
    vec((label(), text()).prop_map(|(name, path)| Extraction { name, path }), 0..3)
}

fn names_or_matchers() -> impl Strategy<Value = Vec<NameOrMatcher>> {
    vec(prop_oneof![label().prop_map(NameOrMatcher::Name), matcher().prop_map(NameOrMatcher::Matcher)], 1..4)
}

fn stage() -> impl Strategy<Value = Stage> {
    let format = (label(), prop_oneof![label().prop_map(LabelFormatSource::Label), text().prop_map(LabelFormatSource::Template)])
        .prop_map(|(target, source)| LabelFormat { target, source });
    prop_oneof![
        3 => line_filter(),
        3 => label_filter().prop_map(Stage::LabelFilter),
        1 => extractions().prop_map(|extractions| Stage::Json { extractions }),
        1 => (any::<bool>(), any::<bool>(), extractions())
            .prop_map(|(strict, keep_empty, extractions)| Stage::Logfmt { strict, keep_empty, extractions }),
        1 => Just(Stage::Regexp { pattern: r"(?P<x>\d+) `".to_owned() }),
        1 => Just(Stage::Pattern { pattern: "<x> \"<_>".to_owned() }),
        1 => select(vec![Stage::Unpack, Stage::Decolorize]),
        1 => text().prop_map(|template| Stage::LineFormat { template }),
        1 => vec(format, 1..4).prop_map(|formats| Stage::LabelFormat { formats }),
        1 => names_or_matchers().prop_map(|targets| Stage::Drop { targets }),
        1 => names_or_matchers().prop_map(|targets| Stage::Keep { targets }),
    ]
}

/// `| drop a != "x"` is one stage: no text has a bare name there and then that line filter.
fn reads_as_one(stages: &[Stage]) -> bool {
    let [Stage::Drop { targets } | Stage::Keep { targets }, Stage::LineFilter(filter)] = stages else { return false };
    matches!(targets.last(), Some(NameOrMatcher::Name(_))) && matches!(filter.op, LineFilterOp::NotContains | LineFilterOp::NotRegex)
}

fn log() -> impl Strategy<Value = LogExpr> {
    let stages = vec(stage(), 0..5).prop_filter("stages that text can express", |stages| !stages.windows(2).any(reads_as_one));
    (selector(), stages).prop_map(|(selector, stages)| LogExpr { selector, stages })
}

fn unwrap() -> impl Strategy<Value = Unwrap> {
    (label(), option::of(select(Conversion::ALL.to_vec())), vec(label_filter(), 0..3))
        .prop_map(|(label, conversion, post_filters)| Unwrap { label, conversion, post_filters })
}

fn log_range() -> impl Strategy<Value = LogRange> {
    let range = (0i64..100 * 365 * 86_400_000).prop_map(|milliseconds| milliseconds * 1_000_000);
    let offset = prop_oneof![Just(0), any::<i64>()];
    (log(), range, offset).prop_map(|(log, range, offset)| LogRange { log, unwrap: None, range, offset })
}

fn grouping() -> impl Strategy<Value = Option<Grouping>> {
    option::of((any::<bool>(), labels()).prop_map(|(without, labels)| Grouping { without, labels }))
}

fn range_aggregation() -> impl Strategy<Value = MetricExpr> {
    (select(RangeOp::ALL.to_vec()), log_range(), unwrap(), grouping(), number()).prop_map(|(op, mut range, unwrap, grouping, parameter)| {
        use RangeOp::*;
        let counts_lines = matches!(op, CountOverTime | BytesRate | BytesOverTime | Rate | AbsentOverTime);
        let no_grouping = counts_lines || matches!(op, RateCounter | SumOverTime);
        range.unwrap = (!counts_lines).then_some(unwrap);
        MetricExpr::Range(RangeAggregation {
            op,
            parameter: (op == QuantileOverTime).then_some(parameter.abs()),
            range,
            grouping: grouping.filter(|_| !no_grouping),
        })
    })
}

fn matching() -> impl Strategy<Value = Option<VectorMatching>> {
    let group = option::of(prop_oneof![
        labels().prop_map(|include| GroupSide::Left { include }),
        labels().prop_map(|include| GroupSide::Right { include }),
    ]);
    option::of((any::<bool>(), labels(), group).prop_map(|(on, labels, group)| VectorMatching { on, labels, group }))
}

/// Literals that would be folded or refused are kept apart from operators that do so.
fn is_literal(metric: &MetricExpr) -> bool {
    matches!(metric, MetricExpr::Literal(_))
}

fn vector_of(op: VectorOp, parameter: i64, inner: MetricExpr, grouping: Option<Grouping>) -> MetricExpr {
    use VectorOp::*;
    if is_literal(&inner) {
        return inner;
    }
    MetricExpr::Vector(VectorAggregation {
        op,
        parameter: matches!(op, Topk | Bottomk | ApproxTopk).then_some(parameter),
        inner: Box::new(inner),
        grouping: grouping.filter(|_| !matches!(op, ApproxTopk | Sort | SortDesc)),
    })
}

fn metric() -> impl Strategy<Value = MetricExpr> {
    let leaf = prop_oneof![
        4 => range_aggregation(),
        1 => number().prop_map(MetricExpr::Literal),
        1 => number().prop_map(|value| MetricExpr::VectorLiteral(value.abs())),
    ];
    leaf.prop_recursive(4, 16, 3, |inner| {
        let binary = (select(BinaryOp::ALL.to_vec()), any::<bool>(), matching(), inner.clone(), inner.clone()).prop_map(
            |(op, return_bool, matching, left, right)| {
                let refuses = is_literal(&left) && is_literal(&right) || op.is_set_operator() && (is_literal(&left) || is_literal(&right));
                if refuses {
                    return right;
                }
                MetricExpr::Binary(BinaryOperation { op, return_bool, matching, left: Box::new(left), right: Box::new(right) })
            },
        );
        let vector = (select(VectorOp::ALL.to_vec()), 1i64..1_000, inner.clone(), grouping())
            .prop_map(|(op, parameter, inner, grouping)| vector_of(op, parameter, inner, grouping));
        let replace = (inner.clone(), text(), text(), text()).prop_map(|(inner, destination, replacement, source)| {
            if is_literal(&inner) {
                return inner;
            }
            let regex = "(.*)-\\d".to_owned();
            MetricExpr::LabelReplace(LabelReplace { inner: Box::new(inner), destination, replacement, source, regex })
        });
        let variants = (vec(inner, 1..3), log_range()).prop_map(|(metrics, of)| MetricExpr::Variants { metrics, of });
        prop_oneof![3 => binary, 2 => vector, 1 => replace, 1 => variants]
    })
}

fn expression() -> impl Strategy<Value = Expr> {
    prop_oneof![1 => log().prop_map(Expr::Log), 2 => metric().prop_map(Expr::Metric)]
}

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
