//! The questions: what is asked, and what the answer has to be. `tests/bench/README.md` shows them in LogQL.

use tailwater_e2e::generator;

use crate::expected::Expected;
use crate::needles::{Class, Needle, ROUNDS};
use crate::quantiles;
use crate::truth::{HOUR_SECONDS, NEWEST, Truth};

const INSTANT: &str = "/loki/api/v1/query";
const RANGE: &str = "/loki/api/v1/query_range";
const VOLUME: &str = "/loki/api/v1/index/volume";
const NANOSECONDS: i64 = 1_000_000_000;

/// One row of the table.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    /// Names the row in results and targets.
    pub key: &'static str,
    pub name: &'static str,
    /// One for each round.
    pub requests: Vec<Request>,
}

#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub path: &'static str,
    pub parameters: Vec<(&'static str, String)>,
    pub expected: Expected,
}

/// Counts of needles: key, name, class.
const COUNTS: [(&str, &str, Class); 8] = [
    ("count_uuid", "count of a uuid", Class::Uuid),
    ("count_trace_id", "count of a bare trace id", Class::TraceId),
    ("count_address", "count of an IPv4 address", Class::Address),
    ("count_rare_word", "count of a rare word", Class::RareWord),
    ("count_piece", "count of a piece inside a word", Class::PieceOfWord),
    ("count_phrase", "count of a phrase", Class::Phrase),
    ("count_per_mille", "count of a string in 1 of 1,000 lines", Class::PerMille),
    ("count_absent", "count of an absent uuid", Class::AbsentUuid),
];

/// All of them, in the order of the table.
pub(crate) fn questions(truth: &Truth) -> Vec<Question> {
    let window = Window { seconds: truth.span_seconds() };
    let count = |(key, name, class)| Question { key, name, requests: of_needles(truth, class, |needle| window.count(needle)) };
    let mut all: Vec<Question> = COUNTS.into_iter().map(count).collect();
    all.push(same("count_all", "count of all lines", window.count_of_all(truth.lines)));
    all.push(Question {
        key: "show_uuid",
        name: "the line with the uuid",
        requests: of_needles(truth, Class::ShownUuid, |needle| window.show(needle)),
    });
    all.extend(metrics(truth));
    all.push(same("last_lines", "last 100 lines of everything", window.last_lines(&truth.newest)));
    all.push(same("volume", "volume of everything", window.volume(truth.line_bytes)));
    all.push(Question {
        key: "scan",
        name: "count of three letters (no index helps)",
        requests: of_needles(truth, Class::Unindexed, |needle| window.count(needle)),
    });
    all
}

/// Questions with steps, over the first hour.
fn metrics(truth: &Truth) -> Vec<Question> {
    let hour = &truth.in_first_hour;
    let rates = |lines| Expected::Rates { lines, window_seconds: 60 };
    let rate = r#"sum by (app) (rate({namespace=~".+"}[1m]))"#;
    let errors = r#"sum by (app) (rate({namespace=~".+"} |~ "(?i)error" [1m]))"#;
    let quantile = r#"quantile_over_time(0.95, {namespace=~".+"} | json | __error__="" | unwrap duration_ms [5m]) by (app)"#;
    let levels = r#"sum by (level) (count_over_time({namespace=~".+"} | logfmt | __error__="" [1m]))"#;
    vec![
        same("rate", "rate by app, 1 m steps, one hour", steps(rate, 60, rates(hour.lines))),
        same("rate_error", "rate of (?i)error by app", steps(errors, 60, rates(hour.errors))),
        same(
            "json",
            "json, unwrap, p95 by app, 5 m",
            steps(quantile, quantiles::STEP_SECONDS, Expected::Quantiles(hour.quantiles.clone())),
        ),
        same("logfmt", "logfmt, count by level, 1 m", steps(levels, 60, Expected::Levels(hour.levels.clone()))),
    ]
}

fn of_needles(truth: &Truth, class: Class, request: impl Fn(&Needle) -> Request) -> Vec<Request> {
    truth.needles.get(&class).map(Vec::as_slice).unwrap_or_default().iter().map(request).collect()
}

/// A question that has no needle is the same in each round.
fn same(key: &'static str, name: &'static str, request: Request) -> Question {
    Question { key, name, requests: vec![request; ROUNDS] }
}

fn steps(query: &str, step_seconds: i64, expected: Expected) -> Request {
    let end = generator::START + HOUR_SECONDS * NANOSECONDS;
    let parameters = vec![
        ("query", query.to_owned()),
        ("start", generator::START.to_string()),
        ("end", end.to_string()),
        ("step", step_seconds.to_string()),
    ];
    Request { path: RANGE, parameters, expected }
}

/// From the generator's start, over all lines.
#[derive(Debug, Clone, Copy)]
struct Window {
    seconds: i64,
}

impl Window {
    fn end(self) -> i64 {
        generator::START + self.seconds * NANOSECONDS
    }

    fn count(self, needle: &Needle) -> Request {
        self.number(&format!("|= `{}` ", needle.text), needle.lines)
    }

    fn count_of_all(self, lines: u64) -> Request {
        self.number("", lines)
    }

    fn number(self, filter: &str, expected: u64) -> Request {
        let query = format!(r#"sum(count_over_time({{namespace=~".+"}} {filter}[{}s]))"#, self.seconds);
        Request {
            path: INSTANT,
            parameters: vec![("query", query), ("time", self.end().to_string())],
            expected: Expected::Number(expected),
        }
    }

    fn show(self, needle: &Needle) -> Request {
        let query = format!(r#"{{namespace=~".+"}} |= `{}`"#, needle.text);
        self.entries(query, Expected::Entries { needle: needle.text.clone(), count: needle.lines })
    }

    fn last_lines(self, newest: &[i64]) -> Request {
        self.entries(r#"{namespace=~".+"}"#.to_owned(), Expected::Stamps(newest.to_vec()))
    }

    fn entries(self, query: String, expected: Expected) -> Request {
        let mut parameters = self.between(query);
        parameters.extend([("limit", NEWEST.to_string()), ("direction", "backward".to_owned())]);
        Request { path: RANGE, parameters, expected }
    }

    fn volume(self, line_bytes: u64) -> Request {
        let mut parameters = self.between(r#"{namespace=~".+"}"#.to_owned());
        parameters.push(("limit", "1000".to_owned()));
        Request { path: VOLUME, parameters, expected: Expected::Volume(line_bytes) }
    }

    fn between(self, query: String) -> Vec<(&'static str, String)> {
        vec![("query", query), ("start", generator::START.to_string()), ("end", self.end().to_string())]
    }
}
