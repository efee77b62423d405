//! How many bytes of log lines one core takes through the stages of a pipeline.
//!
//! `cargo bench -p tailwater-logql --bench stages [-- TEXT…]`: only queries that hold one of the texts
//! (with a `$` behind it: that end so), for looking at them alone. Lines are generated from a fixed seed, twenty keys in the JSON
//! ones. The yardstick is memchr looking for an absent text in the same lines, one call a line. Each figure is the
//! best of five rounds; entries carry `detected_level` as metadata, as stored ones do.

use std::hint::black_box;
use std::time::Instant;

use tailwater_logql::ast::{Expr, MetricExpr, VectorAggregation};
use tailwater_logql::labels::LabelSet;
use tailwater_logql::needed::{NeededLabels, needed_labels, sample_grouping};
use tailwater_logql::parse;
use tailwater_logql::pipeline::{Pipeline, PipelineOptions, Processed};

const LINES: usize = 100_000;
const ROUNDS: usize = 5;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let holds = |query: &str, text: &str| text.strip_suffix('$').map_or_else(|| query.contains(text), |end| query.ends_with(end));
    let is_wanted = |query: &str| wanted.is_empty() || wanted.iter().any(|text| holds(query, text));
    let json = generate(json_line);
    let logfmt = generate(logfmt_line);
    let access = generate(access_line);
    let packed = generate(packed_line);
    for (name, lines) in [("json", &json), ("logfmt", &logfmt), ("access log", &access), ("packed", &packed)] {
        let bytes: usize = lines.iter().map(Vec::len).sum();
        let yardstick = rate(lines, |line| memchr::memmem::find(line, b"\x00absent").is_some());
        println!("{name} lines, {} bytes on average", bytes / lines.len());
        println!("{:>10.0} MB/s  yardstick: memchr", yardstick);
        for query in queries(name).iter().filter(|query| is_wanted(query)) {
            let rate = query_rate(query, lines);
            println!("{rate:>10.0} MB/s  {:>5.1} % of it  {query}", 100.0 * rate / yardstick);
        }
    }
}

fn queries(lines: &str) -> &'static [&'static str] {
    match lines {
        "json" => &[
            r#"{a="b"} |= "absent text""#,
            r#"{a="b"} |~ "tim(e|ing) out""#,
            r#"{a="b"} | json"#,
            r#"{a="b"} | json | level="error""#,
            r#"{a="b"} | json status="status", path="request.path""#,
            r#"{a="b"} | line_format "{{__line__}}""#,
            r#"{a="b"} | json | line_format "{{.level}} {{.request_path}} {{.status}}""#,
            r#"{a="b"} | json | label_format slow="{{ if gt (float64 .latency_ms) 1000.0 }}yes{{ end }}""#,
            r#"sum(count_over_time({a="b"} | json [1m]))"#,
            r#"sum by (where) (count_over_time({a="b"} | json | label_format where="{{.request_path | trunc 5 | upper}}" [1m]))"#,
            r#"sum by (level) (count_over_time({a="b"} | json [1m]))"#,
            r#"sum by (request_path) (count_over_time({a="b"} | json | status >= 500 [1m]))"#,
            r#"sum by (absent) (count_over_time({a="b"} | json [1m]))"#,
        ],
        "logfmt" => &[
            r#"{a="b"} | logfmt"#,
            r#"{a="b"} | logfmt | level="error""#,
            r#"{a="b"} | logfmt level, took"#,
            r#"{a="b"} | logfmt | line_format "{{.level | upper}} {{.msg}}""#,
            r#"{a="b"} | logfmt | label_format severity=level, seconds="{{duration .took}}""#,
            r#"{a="b"} | line_format `{{ regexReplaceAll "node-([0-9])" __line__ "n$1" }}`"#,
            r#"sum by (level) (count_over_time({a="b"} | logfmt [1m]))"#,
            r#"sum by (queue) (sum_over_time({a="b"} | logfmt | unwrap duration(took) [1m]))"#,
        ],
        "packed" => &[
            r#"{a="b"} | unpack"#,
            r#"{a="b"} | unpack | pod="web-1""#,
            r#"{a="b"} | unpack | line_format "{{.pod}} {{__line__}}""#,
            r#"sum by (pod) (count_over_time({a="b"} | unpack [1m]))"#,
        ],
        _ => &[
            r#"{a="b"} |> "<_> - <_> \"GET <_>\" 500 <_>""#,
            r#"{a="b"} |= ip("10.20.0.0/16")"#,
            r#"{a="b"} | pattern `<ip> - <user> [<_>] "<method> <path> <_>" <status> <size> <_>`"#,
            r#"{a="b"} | regexp `^(?P<ip>\S+) - (?P<user>\S+) \[[^\]]*\] "(?P<method>\w+) (?P<path>\S+)`"#,
            r#"{a="b"} | decolorize"#,
        ],
    }
}

/// Million bytes a second through a query: log queries run the pipeline, metric queries write the key of the series
/// besides.
fn query_rate(query: &str, lines: &[Vec<u8>]) -> f64 {
    let options = PipelineOptions::default();
    let stream = LabelSet::from_pairs([("app", "a"), ("namespace", "n"), ("pod", "p"), ("service_name", "a")]);
    let expression = parse(query).expect("the queries of this benchmark are valid");
    let compile = |log: &tailwater_logql::ast::LogExpr, unwrap, needed: &NeededLabels| {
        Pipeline::compile(&log.stages, unwrap, needed, &options).expect("the stages are supported")
    };
    let (pipeline, is_metric) = match &expression {
        Expr::Log(log) => (compile(log, None, &NeededLabels::All), false),
        Expr::Metric(MetricExpr::Vector(VectorAggregation { inner, .. })) => {
            let (MetricExpr::Range(range), Expr::Metric(MetricExpr::Vector(above))) = (&**inner, &expression) else {
                unreachable!("each metric query here is a vector aggregation over a range aggregation")
            };
            let needed = needed_labels(range, Some(above));
            let pipeline = compile(&range.range.log, range.range.unwrap.as_ref(), &needed);
            (pipeline.with_grouping(sample_grouping(range, Some(above))), true)
        }
        _ => unreachable!("the queries of this benchmark are log queries or sums"),
    };
    let mut pipeline = pipeline.for_stream(&stream);
    let mut key = Vec::new();
    let metadata = [("detected_level", "info")];
    rate(lines, |line| {
        let processed = pipeline.process(0, line, &metadata);
        key.clear();
        if is_metric && let Some(processed) = &processed {
            processed.write_series_key(&mut key);
        }
        black_box(&key);
        processed.as_ref().and_then(Processed::value).is_some()
    })
}

/// Million bytes a second, the best of some rounds.
fn rate(lines: &[Vec<u8>], mut run: impl FnMut(&[u8]) -> bool) -> f64 {
    let bytes: usize = lines.iter().map(Vec::len).sum();
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for line in lines {
            black_box(run(black_box(line)));
        }
        best = best.min(start.elapsed().as_secs_f64());
    }
    bytes as f64 / best / 1e6
}

/// A sequence that is the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len() as u64) as usize]
    }
}

const LEVELS: [&str; 5] = ["info", "info", "debug", "warn", "error"];
const PATHS: [&str; 4] = ["/cart", "/checkout/confirm", "/items/42", "/search?q=tea%20pot"];

fn generate(line: fn(&mut Random) -> String) -> Vec<Vec<u8>> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    (0..LINES).map(|_| line(&mut random).into_bytes()).collect()
}

fn json_line(random: &mut Random) -> String {
    format!(
        concat!(
            r#"{{"ts":"2026-01-15T10:00:{:02}.{:09}Z","level":"{}","logger":"shop.api.Handler","thread":"worker-{}","#,
            r#""message":"request \"{}\" finished","status":{},"latency_ms":{}.{:03},"cached":{},"error":null,"#,
            r#""request":{{"method":"{}","path":"{}","bytes":{},"remote":"10.{}.{}.7"}},"tags":["web","v{}"],"#,
            r#""user":{{"id":{},"name":"ana","geo":{{"country":"DE","city":"Köln"}}}},"trace_id":"{:016x}","span":{}}}"#
        ),
        random.below(60),
        random.below(1_000_000_000),
        random.pick(&LEVELS),
        random.below(16),
        random.pick(&PATHS),
        random.pick(&["200", "200", "204", "404", "500", "503"]),
        random.below(2000),
        random.below(1000),
        random.below(2) == 0,
        random.pick(&["GET", "PUT", "POST"]),
        random.pick(&PATHS),
        random.below(100_000),
        random.below(256),
        random.below(256),
        random.below(3),
        random.below(10_000),
        random.below(u64::MAX),
        random.below(100),
    )
}

fn logfmt_line(random: &mut Random) -> String {
    format!(
        "ts=2026-01-15T10:00:{:02}Z level={} msg=\"job {}\" job_id={} queue={} took={}ms read={}KB retries={} ratio=0.{:04} host=node-{} ok",
        random.below(60),
        random.pick(&LEVELS),
        random.pick(&["done", "queued for retry", "failed: \\\"timeout\\\""]),
        random.below(1_000_000),
        random.pick(&["mail", "pdf", "img"]),
        random.below(5000),
        random.below(900),
        random.below(4),
        random.below(10_000),
        random.below(9),
    )
}

/// As Promtail's `pack` stage writes them: labels, and an access line as the entry.
fn packed_line(random: &mut Random) -> String {
    let entry = access_line(random).replace('"', "\\\"");
    let pod = random.pick(&["web-1", "web-2", "web-3"]);
    format!(r#"{{"container":"nginx","pod":"{pod}","node":"node-{}","_entry":"{entry}"}}"#, random.below(9))
}

fn access_line(random: &mut Random) -> String {
    format!(
        "10.{}.{}.{} - {} [15/Jan/2026:10:00:{:02} +0000] \"{} {} HTTP/1.1\" {} {} \"-\" \"Mozilla/5.0 (X11; Linux x86_64)\" {}.{:03}",
        random.below(256),
        random.below(256),
        random.below(256),
        random.pick(&["-", "ana", "bob"]),
        random.below(60),
        random.pick(&["GET", "POST"]),
        random.pick(&PATHS),
        random.pick(&["200", "204", "404", "500"]),
        random.below(100_000),
        random.below(3),
        random.below(1000),
    )
}
