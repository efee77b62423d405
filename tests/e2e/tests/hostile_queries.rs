//! Queries made to take a server down: each ends in an answer or an error of Loki's kind, memory stays within what is configured, and others
//! are served meanwhile.
#![allow(clippy::disallowed_methods, reason = "drills run in real time")]

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use tailwater_e2e::aggregator::{Aggregator, serve};
use tailwater_e2e::api::Api;
use tailwater_e2e::drill::{Folder, drill, report};
use tailwater_e2e::ports;
use tailwater_podwriter::UnixNanoseconds;

const SECOND: i64 = 1_000_000_000;
const QUERY_TIMEOUT: Duration = Duration::from_secs(6);
/// What a query may take beyond its timeout. The requirement is a second; drills share their machine.
const GRACE: Duration = Duration::from_secs(6);
const MEMORY_LIMIT: u64 = 768 << 20;
const AT_ONCE: usize = 8;
/// Lines with an identifier of their own.
const IDENTIFIERS: usize = 200_000;
const IDENTIFIERS_A_PUSH: usize = 20_000;

/// A request; what it asks is in the name.
struct Hostile {
    name: String,
    path: &'static str,
    parameters: Vec<(&'static str, String)>,
}

impl Hostile {
    fn range(name: &str, query: String, now: i64) -> Self {
        Self::between(name, query, now - 3_600 * SECOND, now, "15s")
    }

    fn between(name: &str, query: String, start: i64, end: i64, step: &str) -> Self {
        let parameters = vec![("query", query), ("start", start.to_string()), ("end", end.to_string()), ("step", step.to_owned())];
        Self { name: name.to_owned(), path: "/loki/api/v1/query_range", parameters }
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.parameters.retain(|(other, _)| *other != name);
        self.parameters.push((name, value.to_owned()));
        self
    }

    fn at(mut self, path: &'static str) -> Self {
        self.path = path;
        self
    }
}

/// Expressions that take much room or time elsewhere.
fn expressions(now: i64) -> Vec<Hostile> {
    let all = "{app=~\".+\"}";
    let range = |name: &str, query: String| Hostile::range(name, query, now);
    let line = |name: &str, stage: String| Hostile::range(name, format!("{all} {stage}"), now);
    vec![
        line("regex of 64 KiB with nested quantifiers", format!("|~ `{}`", "(x+x+)+y".repeat(65_536 / 8))),
        line("regex of 120 KiB of alternatives", format!("|~ `{}`", "(a|b|c)?".repeat(15_000))),
        line("regex with a large program", r"|~ `(\pL{100}){10}`".to_owned()),
        line("200 regexes with large programs", vec![r"|~ `(\pL{100}){10}`"; 200].join(" ")),
        line("200 regexes in one filter", format!("|~ {}", vec![r"`[\pL\d]{500}x`"; 200].join(" or "))),
        line("200 large regexes on labels", format!("| {}", vec![r"app=~`(\pL{100}){10}`"; 200].join(" or "))),
        line("chain of 200", vec!["|~ `l.*i.*n.*e`"; 200].join(" ")),
        line("10,000 filters", vec!["|= `e`"; 10_000].join(" ")),
        line("10,000 parsers", vec!["| json"; 10_000].join(" ")),
        range("10,000 matchers", format!("{{{}}}", vec!["app=~`.+`"; 9_000].join(","))),
        range("1,000 matchers that are hard to compile", format!("{{{}}}", vec![r"app=~`(\pL{100}){9}.*`"; 1_000].join(","))),
        range("everything", all.to_owned()).with("limit", "5000"),
        range("limit=1e9", all.to_owned()).with("limit", "1000000000"),
        range("nesting", format!("{}1{}", "(".repeat(10_000), ")".repeat(10_000))),
        range("subqueries", format!("max_over_time(rate({all}[1m])[5m:1m])")),
        range("subqueries in each other", format!("{}{all}[1m]{}", "rate(".repeat(5_000), ")[5m:1m]".repeat(5_000))),
        range("operators", format!("{}vector(1)", "vector(1) + ".repeat(1_900))),
        range("ranges", vec![format!("count_over_time({all}[1m])"); 500].join(" or ")),
        range("many to many", format!("count_over_time({all} | logfmt [1h]) * on () group_left count_over_time({all} | logfmt [1h])")),
        range("many to many of all", format!("count_over_time({all} | logfmt [1h]) and on () count_over_time({all} | logfmt [1h])")),
        range("a series each", format!("count_over_time({all} | logfmt [1h])")),
        range("a series each, summed", format!("sum(count_over_time({all} | logfmt [1h]) by (id))").replace(") by (id)", ")")),
        range("a series each, kept by topk", format!("topk(1e9, count_over_time({all} | logfmt [1h]))")),
        range("topk of all", format!("topk(1000000000, sum by (id) (count_over_time({all} | logfmt [1h])))")),
        range("counts of counts", format!("count(sum by (id, n) (count_over_time({all} | logfmt [1h])))")),
        range("quantiles of each", format!("quantile_over_time(0.5, {all} | logfmt | unwrap n | __error__=`` [1h]) by (id)")),
        range("quantile of everything", format!("quantile_over_time(0.5, {all} | logfmt | unwrap n | __error__=`` [1h]) by ()")),
        range("unwrap of NaN, infinity and too much", format!("sum_over_time({all} | logfmt | unwrap odd | __error__=`` [1h])")),
        line("deep JSON", "| json | drop __error__".to_owned()),
        line("wide JSON", "|= `wide` | json".to_owned()),
        range("series of wide JSON", format!("count_over_time({all} |= `wide` | json [1h])")),
        line("templates that grow", format!("| label_format a=`xxxxxxxxxxxxxxxx`{}", " | label_format a=`{{.a}}{{.a}}`".repeat(60))),
        line("lines that grow", "| line_format `{{__line__}}{{__line__}}`".repeat(40)),
        line("a template that repeats", "| line_format `{{ repeat 1000000000 \"x\" }}`".to_owned()),
        line("a template that pads", "| line_format `{{ printf \"%1000000000d\" 1 }}`".to_owned()),
        line(
            "a template that calls itself",
            "| line_format `{{ define \"a\" }}{{ template \"a\" . }}{{ template \"a\" . }}{{ end }}{{ template \"a\" . }}`".to_owned(),
        ),
        line(
            "a template of loops",
            format!("| line_format `{}x{}`", "{{range fromJson \"[1,2,3,4,5,6,7,8,9]\"}}".repeat(50), "{{end}}".repeat(50)),
        ),
        line("a template that matches", "| line_format `{{ regexReplaceAll \"(x+x+)+y\" (repeat 100000 \"x\") \"\" }}`".to_owned()),
        line("label replacements", "| regexp `(?P<a>.*)(?P<b>.*)(?P<c>.*)`".to_owned()),
    ]
}

/// Times and steps at their ends.
fn times(now: i64) -> Vec<Hostile> {
    let rate = "rate({app=~\".+\"}[5m])";
    let between = |name: &str, start: i64, end: i64, step: &str| Hostile::between(name, rate.to_owned(), start, end, step);
    let month = 30 * 86_400 * SECOND;
    vec![
        between("30 days by the nanosecond", now - month, now, "1ns"),
        between("30 days by the millisecond", now - month, now, "1ms"),
        between("30 days by the second", now - month, now, "1s"),
        between("11,000 points", now - 11_000 * SECOND, now, "1s"),
        between("step 0", now - SECOND, now, "0"),
        between("step of an age", now - month, now, "9223372036s"),
        between("start behind end", now, now - SECOND, "1s"),
        between("1677", i64::MIN, i64::MIN + SECOND, "1s"),
        between("2262", i64::MAX - SECOND, i64::MAX, "1s"),
        between("1677 to 2262", i64::MIN, i64::MAX, "1s"),
        Hostile::range("a range of an age", "rate({app=~\".+\"}[200y])".to_owned(), now),
        Hostile::range("an offset of an age", "rate({app=~\".+\"}[5m] offset 290y)".to_owned(), now),
        Hostile::range("a negative offset of an age", "rate({app=~\".+\"}[5m] offset -290y)".to_owned(), now),
        Hostile::range("an empty range", "rate({app=~\".+\"}[0s])".to_owned(), now),
        Hostile::range("an interval of nothing", "{app=~\".+\"}".to_owned(), now).with("interval", "1ns"),
    ]
}

/// Endpoints beside queries.
fn listings(now: i64) -> Vec<Hostile> {
    let start = now - 30 * 86_400 * SECOND;
    let over = |name: &str, path: &'static str| Hostile::between(name, "{app=~\".+\"}".to_owned(), start, now, "1s").at(path);
    vec![
        over("series of everything", "/loki/api/v1/series").with("query", ""),
        over("series by 1,000 matchers", "/loki/api/v1/series").with("match[]", &format!("{{{}}}", vec!["app=~`.+`"; 1_000].join(","))),
        over("labels of everything", "/loki/api/v1/labels").with("query", ""),
        over("values of everything", "/loki/api/v1/label/app/values").with("query", ""),
        over("statistics of everything", "/loki/api/v1/index/stats"),
        over("volume of everything", "/loki/api/v1/index/volume"),
        over("volume by the second", "/loki/api/v1/index/volume_range"),
        over("detected fields", "/loki/api/v1/detected_fields"),
        over("detected labels", "/loki/api/v1/detected_labels"),
        over("patterns of random data", "/loki/api/v1/patterns"),
        over("tail with a late start", "/loki/api/v1/tail").with("delay_for", "1000000000"),
        over("format of nesting", "/loki/api/v1/format_query").with("query", &"(".repeat(100_000)),
    ]
}

/// Texts that end an error; a status alone tells nobody anything.
fn is_told(status: u16, text: &str) -> bool {
    let told = [
        "parse error",
        "to a valid duration",
        "request timed out",
        "maximum number of series",
        "exceeded maximum resolution",
        "exceeds the limit",
        "max entries limit per query exceeded",
        "max streams matchers per query exceeded",
        "memory",
        "many-to-many",
        "multiple matches",
        "zero or negative query resolution",
        "end timestamp must not be before",
        "invalid",
        "delay_for",
        "WebSocket",
        "websocket",
        "upgrade",
        "Upgrade",
    ];
    match status {
        200 => true,
        400 | 422 | 429 | 500 | 504 | 426 => told.iter().any(|part| text.contains(part)),
        _ => false,
    }
}

/// Lines of which queries make much: deep and wide objects, identifiers, numbers out of range.
async fn fill(api: &Api, now: i64) -> Result<()> {
    let at = |index: usize| now - 1_800 * SECOND + index as i64;
    let deep = "{\"a\":".repeat(10_000) + "1" + &"}".repeat(10_000);
    let wide = format!("{{\"wide\":1{}}}", (0..14_000).map(|key| format!(",\"k{key}\":{key}")).collect::<String>());
    let odd = ["odd=NaN", "odd=+Inf", "odd=-Inf", "odd=1e308", "odd=-1e308", "odd=1e999", "odd=0x1p1023"];
    let mut lines: Vec<(i64, &str)> = vec![(at(0), &deep), (at(1), &wide), (at(2), &wide)];
    lines.extend(odd.iter().enumerate().map(|(index, line)| (at(3 + index), *line)));
    api.push_lines(&[("app", "odd")], &lines).await?;
    for push in 0..IDENTIFIERS / IDENTIFIERS_A_PUSH {
        let first = push * IDENTIFIERS_A_PUSH;
        let texts: Vec<String> =
            (first..first + IDENTIFIERS_A_PUSH).map(|id| format!("line id={id:08x} n={} text=xxxxxxxxxxxxxxxx", id % 977)).collect();
        let lines: Vec<(i64, &str)> = texts.iter().enumerate().map(|(index, text)| (at(first + index), text.as_str())).collect();
        api.push_lines(&[("app", "many")], &lines).await?;
    }
    Ok(())
}

/// Pushes a line, again and again, until told to stop; how long each took.
async fn be_stored(api: Api, is_over: Arc<AtomicBool>) -> Result<Vec<Duration>> {
    let mut spans = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let started = Instant::now();
        let now = UnixNanoseconds::now().0;
        api.push_lines(&[("app", "others")], &[(now, "others are served")]).await.context("a push beside hostile queries")?;
        spans.push(started.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    spans.sort();
    Ok(spans)
}

/// Asks; what is wrong with the answer, if anything.
async fn ask(api: &Api, hostile: &Hostile, longest: &AtomicUsize) -> Option<String> {
    let parameters: Vec<(&str, &str)> = hostile.parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let started = Instant::now();
    let reply = match api.get_or_post(hostile.path, &parameters).await {
        Ok(reply) => reply,
        Err(error) => return Some(format!("{}: no answer: {error:#}", hostile.name)),
    };
    let took = started.elapsed();
    longest.fetch_max(took.as_millis() as usize, Ordering::Relaxed);
    let text: String = reply.text.chars().take(160).collect();
    println!("{:>6} ms  {}  {}: {}", took.as_millis(), reply.status, hostile.name, if reply.status == 200 { "" } else { text.trim() });
    if !is_told(reply.status, &reply.text) {
        return Some(format!("{}: {} `{text}`", hostile.name, reply.status));
    }
    (took > QUERY_TIMEOUT + GRACE).then(|| format!("{}: took {took:?}", hostile.name))
}

async fn hostile(folder: Folder) -> Result<()> {
    let port = ports::free()?;
    let file = folder.path().join("config.yaml");
    let limits = format!("{{query_timeout: {}s, max_query_length: 0s, ingestion_rate_mb: 0}}", QUERY_TIMEOUT.as_secs());
    fs::write(&file, format!("limits: {limits}\n"))?;
    let store = folder.below("store")?;
    let flags = [
        "--config".to_owned(),
        file.display().to_string(),
        "--storage-type".to_owned(),
        "filesystem".to_owned(),
        "--storage-filesystem-path".to_owned(),
        store.display().to_string(),
        // Three quarters of a container are given out: these are to be all that is held.
        "--memory-limit".to_owned(),
        (MEMORY_LIMIT / 3 * 4).to_string(),
    ];
    let mut aggregator = Aggregator::start(folder.path(), port, serve(port, flags)?).await?;
    let api = aggregator.api()?;
    let now = UnixNanoseconds::now().0;
    fill(&api, now).await?;
    let filled = aggregator.usage()?.peak_bytes;
    let is_over = Arc::new(AtomicBool::new(false));
    let others = tokio::spawn(be_stored(api.clone(), is_over.clone()));
    let longest = AtomicUsize::new(0);
    let queries: Vec<Hostile> = expressions(now).into_iter().chain(times(now)).chain(listings(now)).collect();
    let outcomes = futures::stream::iter(&queries).map(|query| ask(&api, query, &longest)).buffer_unordered(AT_ONCE);
    let wrong: Vec<String> = outcomes.filter_map(|outcome| async { outcome }).collect().await;
    is_over.store(true, Ordering::Relaxed);
    let stored = others.await??;
    let found = api.number("sum(count_over_time({app=\"others\"}[1h]))", UnixNanoseconds::now().0 + SECOND).await?;
    let peak = aggregator.usage()?.peak_bytes;
    let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
    report(&format!(
        "hostile queries: {}, {AT_ONCE} at a time; the longest took {} ms of {QUERY_TIMEOUT:?}; peak memory {:.0} MiB of {:.0}, {:.0} before; {} pushes meanwhile, p50 {:?}, p99 {:?}",
        queries.len(),
        longest.load(Ordering::Relaxed),
        mib(peak),
        mib(MEMORY_LIMIT),
        mib(filled),
        stored.len(),
        stored.get(stored.len() / 2),
        stored.get(stored.len() * 99 / 100),
    ));
    aggregator.process().require_running()?;
    ensure!(!aggregator.process().errors().contains("panicked"), "the aggregator panicked");
    ensure!(wrong.is_empty(), "{} answers are wrong:\n{}", wrong.len(), wrong.join("\n"));
    ensure!(peak <= MEMORY_LIMIT, "the peak is {:.0} MiB", mib(peak));
    ensure!(stored.len() > 10 && found == stored.len() as u64, "{found} of {} lines pushed meanwhile are found", stored.len());
    Ok(())
}

#[test]
fn hostile_queries_end_and_others_are_served() {
    drill("hostile-queries", hostile);
}
