//! Random queries over [`data`](super::data), as text.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

fn one_of(texts: &'static [&'static str]) -> impl Strategy<Value = String> + Clone {
    select(texts).prop_map(str::to_owned)
}

pub(crate) fn selector() -> impl Strategy<Value = String> + Clone {
    one_of(&[
        r#"{app=~".+"}"#,
        r#"{app=~".+"}"#,
        r#"{app="x"}"#,
        r#"{app="y", env!="q"}"#,
        r#"{app!~"x|z", env=~".+"}"#,
        r#"{env="p", level=""}"#,
        r#"{app="x", app=~"x|y"}"#,
        r#"{app="none"}"#,
    ])
}

/// Filters of lines, which commute with each other.
pub(crate) fn line_filter() -> impl Strategy<Value = String> + Clone {
    one_of(&[
        r#"|= "foo""#,
        r#"!= "foo""#,
        r#"|= "err" or "1""#,
        r#"!= "err" or "x""#,
        r#"|= """#,
        r#"|~ "f.o""#,
        r#"|~ "^foo""#,
        r#"|~ "(?i)GET" or "n=\\d""#,
        r#"!~ "[0-9]$""#,
        r#"|~ ".+""#,
        r#"|> "<_>n=<_>""#,
        r#"!> "<_>foo""#,
        r#"|> "GET <_> 2<_>""#,
        r#"|= ip("10.0.0.0/24")"#,
        r#"!= ip("10.0.0.1-10.0.0.9")"#,
    ])
}

fn string_filter() -> impl Strategy<Value = String> + Clone {
    one_of(&[
        r#"a="1""#,
        r#"a!="x""#,
        r#"a=~"x|1|err""#,
        r#"b!~".*r""#,
        r#"app="x""#,
        r#"app_extracted!="""#,
        r#"level=~"info|debug""#,
        r#"trace_id!="""#,
        r#"trace_id="""#,
        r#"env_extracted="other""#,
        r#"msg="""#,
    ])
}

fn value_filter() -> impl Strategy<Value = String> + Clone {
    one_of(&[
        "n>1",
        "n<=2",
        "n==-3",
        "n!=1",
        "a>=1",
        "d>10ms",
        "d<=1m30s",
        "a=12ms",
        "size>=3KB",
        "size<2MiB",
        "a!=1B",
        r#"a=ip("10.0.0.0/8")"#,
        r#"b!=ip("10.0.0.7")"#,
    ])
}

fn label_filter() -> impl Strategy<Value = String> + Clone {
    let leaf = prop_oneof![3 => string_filter(), 2 => value_filter()];
    leaf.prop_recursive(2, 5, 2, |inner| {
        (inner.clone(), one_of(&[" and ", " or ", " , ", " "]), inner.clone(), any::<bool>()).prop_map(
            |(left, connective, right, is_grouped)| {
                if is_grouped { format!("({left}{connective}{right})") } else { format!("{left}{connective}{right}") }
            },
        )
    })
    .prop_map(|filter| format!("| {filter}"))
}

fn parser() -> impl Strategy<Value = String> + Clone {
    prop_oneof![
        4 => Just("| json".to_owned()),
        4 => one_of(&["| logfmt", "| logfmt", "| logfmt --strict", "| logfmt --keep-empty", "| logfmt --strict --keep-empty"]),
        1 => one_of(&[r#"| json a="o.a", first="o[\"p q\"]""#, "| json n, whole=\"o\"", r#"| json b="a", a"#]),
        1 => one_of(&["| logfmt a, b", r#"| logfmt n="b", size"#, r#"| logfmt --strict a="msg""#]),
        1 => one_of(&[r#"| regexp "n=(?P<n>[0-9.]+)""#, r#"| regexp "(?P<a>GET|PUT) (?P<path>\\S+)""#, r#"| regexp "(?P<a>x)|(?P<b>err)""#]),
        1 => one_of(&[r#"| pattern "<a> <path> <_>""#, r#"| pattern "GET <b> <n> <d>""#, r#"| pattern "<_>n=<n> ""#]),
        1 => Just("| unpack".to_owned()),
    ]
}

pub(crate) fn template() -> impl Strategy<Value = String> + Clone {
    one_of(&[
        "{{.a}}",
        "{{.n}} {{.app}}",
        "n={{.b}} foo",
        "{{.a | ToUpper}}-{{.missing}}",
        "{{__line__}} n=2",
        "{{ trunc 2 .app }}{{ .level | default `none` }}",
        "{{if eq .app `x`}}b={{.n}}{{else}}foo{{end}}",
        "{{ replace `x` `yy` .app }}",
        "{{__timestamp__ | unixEpochNanos}}",
        "{{.a | trimPrefix `e` | printf `%s!`}}",
        "",
    ])
}

fn format() -> impl Strategy<Value = String> + Clone {
    let quoted = |text: String| format!("\"{text}\"");
    prop_oneof![
        2 => template().prop_map(move |text| format!("| line_format {}", quoted(text))),
        2 => (one_of(&["a", "new", "app", "trace_id"]), template()).prop_map(move |(name, text)| format!("| label_format {name}={}", quoted(text))),
        1 => one_of(&["| label_format new=a", "| label_format a=b, c=a", "| label_format app=n", "| label_format new=trace_id", "| label_format b=app"]),
        1 => (template(), template()).prop_map(move |(one, two)| format!("| label_format one={}, a=b, two={}", quoted(one), quoted(two))),
        1 => Just("| decolorize".to_owned()),
        2 => one_of(&["| drop a", "| drop app, level", r#"| drop a="1", n=~"[0-9]""#, r#"| drop trace_id!="t1""#]),
        2 => one_of(&["| keep app", "| keep a, n, d", r#"| keep a="1", b, n=~".+""#, r#"| keep trace_id, size, app!="x""#]),
    ]
}

fn stage() -> impl Strategy<Value = String> + Clone {
    prop_oneof![3 => line_filter(), 4 => label_filter(), 4 => parser(), 3 => format()]
}

/// Stages, each with a blank in front.
pub(crate) fn stages() -> impl Strategy<Value = String> + Clone {
    proptest::collection::vec(stage(), 0..5).prop_map(|stages| {
        let mut text = String::new();
        for (index, stage) in stages.iter().enumerate() {
            // `drop a != "x"` would be read as one stage.
            let is_joined =
                index > 0 && stage.starts_with('!') && ["| drop", "| keep"].iter().any(|word| stages[index - 1].starts_with(word));
            text.push_str(if is_joined { r#" |= "" "# } else { " " });
            text.push_str(stage);
        }
        text
    })
}

/// Stages after which no entry carries an error.
fn sound_stages() -> impl Strategy<Value = String> + Clone {
    (stages(), one_of(&[r#" | __error__="""#, r#" | __error__="""#, " | drop __error__, __error_details__", ""]))
        .prop_map(|(stages, end)| format!("{stages}{end}"))
}

pub(crate) fn log() -> impl Strategy<Value = String> + Clone {
    (selector(), stages()).prop_map(|(selector, stages)| format!("{selector}{stages}"))
}

pub(crate) fn grouping() -> impl Strategy<Value = String> + Clone {
    let labels = subsequence(vec!["app", "env", "a", "n", "level", "trace_id", "missing", "__error__"], 0..4);
    (one_of(&["by", "by", "without"]), labels).prop_map(|(how, labels)| format!("{how} ({})", labels.join(", ")))
}

/// A range with an offset or none, and where it stands: behind the selector, behind all, or outside parentheses.
fn log_range(unwrap: String) -> impl Strategy<Value = String> + Clone {
    let offset = prop_oneof![3 => Just(String::new()), 1 => (-9i32..20).prop_map(|offset| format!(" offset {offset}s"))];
    let window =
        (one_of(&["1s", "5s", "7s", "10s", "13s", "20s", "30s", "1m"]), offset).prop_map(|(range, offset)| format!("[{range}]{offset}"));
    (selector(), sound_stages(), window, 0..3).prop_map(move |(selector, stages, window, place)| match place {
        0 => format!("{selector} {window}{stages}{unwrap}"),
        1 => format!("({selector}{stages}{unwrap}) {window}"),
        _ => format!("{selector}{stages}{unwrap} {window}"),
    })
}

fn unwrapped() -> impl Strategy<Value = String> + Clone {
    let unwrap = one_of(&["n", "n", "n", "a", "duration(d)", "duration_seconds(a)", "bytes(size)", "missing"]);
    let filters = one_of(&["", "", r#" | __error__="""#, r#" | __error__="" | app="x""#, r#" | a!="1""#]);
    (unwrap, filters).prop_map(|(unwrap, filters)| format!(" | unwrap {unwrap}{filters}"))
}

fn unwrapped_range() -> impl Strategy<Value = String> + Clone {
    unwrapped().prop_flat_map(log_range)
}

/// Range aggregations whose values are computed without rounding.
fn exact_range() -> impl Strategy<Value = String> + Clone {
    let counted = (one_of(&["count_over_time", "count_over_time", "bytes_over_time", "absent_over_time"]), log_range(String::new()))
        .prop_map(|(function, range)| format!("{function}({range})"));
    let chosen = (
        one_of(&[
            "min_over_time(",
            "max_over_time(",
            "first_over_time(",
            "last_over_time(",
            "quantile_over_time(0.5, ",
            "quantile_over_time(2, ",
        ]),
        unwrapped_range(),
        prop::option::of(grouping()),
    )
        .prop_map(|(function, range, grouping)| format!("{function}{range}) {}", grouping.unwrap_or_default()));
    let summed = unwrapped_range().prop_map(|range| format!("sum_over_time({range})"));
    prop_oneof![3 => counted, 2 => chosen, 1 => summed]
}

fn rounded_range() -> impl Strategy<Value = String> + Clone {
    let rates = (one_of(&["rate", "bytes_rate"]), log_range(String::new())).prop_map(|(function, range)| format!("{function}({range})"));
    let sums = (one_of(&["rate", "rate_counter"]), unwrapped_range()).prop_map(|(function, range)| format!("{function}({range})"));
    let moments = (
        one_of(&["avg_over_time(", "stddev_over_time(", "stdvar_over_time(", "quantile_over_time(0.3, "]),
        unwrapped_range(),
        prop::option::of(grouping()),
    )
        .prop_map(|(function, range, grouping)| format!("{function}{range}) {}", grouping.unwrap_or_default()));
    prop_oneof![rates, sums, moments]
}

fn matching() -> impl Strategy<Value = String> + Clone {
    let labels = subsequence(vec!["app", "env", "a", "n"], 0..3);
    let group = one_of(&["", "", "", "group_left ()", "group_right ()", "group_left (env)", "group_right (a)"]);
    let modified =
        (one_of(&["on", "ignoring"]), labels, group).prop_map(|(how, labels, group)| format!("{how} ({}) {group}", labels.join(", ")));
    prop_oneof![1 => Just(String::new()), 2 => modified]
}

/// Comparisons and choices are made between exact values only.
fn exact() -> impl Strategy<Value = String> + Clone {
    let leaf = prop_oneof![12 => exact_range(), 1 => Just("vector(2)".to_owned())];
    leaf.prop_recursive(3, 6, 2, |inner| {
        let aggregation = (one_of(&["sum", "sum", "min", "max", "count"]), prop::option::of(grouping()), inner.clone())
            .prop_map(|(op, grouping, inner)| format!("{op} {} ({inner})", grouping.unwrap_or_default()));
        let ranking = (one_of(&["topk", "bottomk"]), prop::option::of(grouping()), 1u32..4, inner.clone())
            .prop_map(|(op, grouping, k, inner)| format!("{op} {} ({k}, {inner})", grouping.unwrap_or_default()));
        let sort = (one_of(&["sort", "sort_desc", "approx_topk"]), inner.clone())
            .prop_map(|(op, inner)| if op == "approx_topk" { format!("approx_topk(2, {inner})") } else { format!("{op}({inner})") });
        let arithmetic = one_of(&["+", "-", "*", ">", "<=", "==", "!=", "< bool", "== bool", ">= bool"]);
        let scalar = (arithmetic.clone(), -3i32..30, inner.clone(), any::<bool>()).prop_map(|(op, scalar, inner, is_left)| {
            if is_left { format!("({scalar} {op} {inner})") } else { format!("({inner} {op} {scalar})") }
        });
        let joined = (arithmetic, matching(), inner.clone(), inner.clone())
            .prop_map(|(op, matching, left, right)| format!("({left} {op} {matching} {right})"));
        let sets = (one_of(&["and", "or", "unless"]), prop::option::of(grouping()), inner.clone(), inner.clone()).prop_map(
            |(op, how, left, right)| {
                let how = how.unwrap_or_default().replace("by", "on").replace("without", "ignoring");
                format!("({left} {op} {how} {right})")
            },
        );
        let replaced = (
            one_of(&["new", "app", "a"]),
            one_of(&["$1", "$2-$1", "${1}", "fixed", ""]),
            one_of(&["env", "n", "missing"]),
            one_of(&["(.)(.*)", "(p)()|(.+)", "(1?).*()", ".*"]),
            inner,
        )
            .prop_map(|(to, replacement, from, regex, inner)| {
                format!(r#"label_replace({inner}, "{to}", "{replacement}", "{from}", "{regex}")"#)
            });
        prop_oneof![3 => aggregation, 2 => ranking, 1 => sort, 2 => scalar, 2 => joined, 2 => sets, 1 => replaced]
    })
}

/// Several aggregations of one range. What range each of them names itself does not count, but for `unwrap`.
fn variants() -> impl Strategy<Value = String> + Clone {
    let variant = one_of(&[
        r#"count_over_time({app="x"}[1m])"#,
        r#"bytes_over_time({app="x"}[1m])"#,
        r#"sum by (app, a) (count_over_time({app="x"}[1m]))"#,
        r#"max(count_over_time({app="x"}[1m]))"#,
        r#"sum_over_time({app="x"} | unwrap n [1m])"#,
        r#"max_over_time({app="x"} | unwrap n [1m]) by (app)"#,
        r#"sum without (a) (min_over_time({app="x"} | unwrap n [1m]))"#,
    ]);
    (proptest::collection::vec(variant, 1..4), log_range(String::new()))
        .prop_map(|(variants, range)| format!("variants({}) of ({range})", variants.join(", ")))
}

pub(crate) fn metric() -> impl Strategy<Value = String> + Clone {
    let above = (one_of(&["sum", "avg", "stddev", "stdvar", "max"]), prop::option::of(grouping()), prop_oneof![rounded_range(), exact()])
        .prop_map(|(op, grouping, inner)| format!("{op} {} ({inner})", grouping.unwrap_or_default()));
    let divided = (prop_oneof![rounded_range(), exact()], one_of(&["/ 7", "/ 0", "^ 2", "% 3", "% 0", "or vector(1)"]))
        .prop_map(|(inner, operation)| format!("({inner}) {operation}"));
    prop_oneof![8 => exact(), 4 => rounded_range(), 2 => above, 2 => divided, 1 => variants()]
}
