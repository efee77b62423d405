//! Random syntax trees that text can express: every stage, flag, filter, operator, matching, offset and grouping.

use std::sync::OnceLock;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use tailwater_logql::ast::*;

/// Names of labels, which a test may replace before it generates anything. Names of functions are fine as labels; reserved words are not.
pub(crate) static LABELS: OnceLock<Vec<&str>> = OnceLock::new();

fn label() -> impl Strategy<Value = String> {
    let usual = || vec!["app", "a", "_x9", "rate", "sum", "bytes", "ip", "__error__", "Namespace", "vector"];
    select(LABELS.get_or_init(usual).clone()).prop_map(str::to_owned)
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
        grouping: grouping
            .filter(|grouping| !matches!(op, ApproxTopk | Sort | SortDesc) && (grouping.without || !grouping.labels.is_empty())),
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

pub(crate) fn expression() -> impl Strategy<Value = Expr> {
    prop_oneof![1 => log().prop_map(Expr::Log), 2 => metric().prop_map(Expr::Metric)]
}
