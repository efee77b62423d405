//! Text like that of pods: access lines, JSON, logfmt, stack traces, with ids and addresses that do not repeat much.
//!
//! From a seed, the same at every run. Every granule is text of a few streams, as files sorted by stream have it.

use std::fmt::Write;

/// A sequence of numbers that looks random.
#[derive(Debug, Clone)]
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Numbers {
        Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn hex(&mut self, digits: usize) -> String {
        (0..digits).map(|_| char::from_digit(self.below(16) as u32, 16).expect("below 16")).collect()
    }

    pub(crate) fn uuid(&mut self) -> String {
        let hex = self.hex(32);
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }

    pub(crate) fn address(&mut self) -> String {
        format!("{}.{}.{}.{}", 1 + self.below(223), self.below(256), self.below(256), self.below(256))
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len() as u64) as usize]
    }
}

const MESSAGES: [&str; 8] = [
    "request completed",
    "retrying after backoff",
    "cache miss, loading from the database",
    "user session renewed",
    "order accepted for fulfilment",
    "connection reset by peer",
    "slow query detected",
    "scheduled job finished",
];
const PATHS: [&str; 6] = ["/api/v1/orders", "/api/v1/cart/items", "/healthz", "/static/app.js", "/login", "/api/v2/search?q=shoes"];
const COMPONENTS: [&str; 6] = ["http.server", "ledger.writer", "inventory-sync", "auth/session", "queue.consumer", "mailer"];

/// Appends lines of one stream until `bytes` more are there.
pub(crate) fn stream_text(seed: u64, bytes: usize, out: &mut Vec<Vec<u8>>) {
    let mut numbers = Numbers::new(seed);
    let style = numbers.below(5);
    let mut clock = 1_767_225_600_000_000 + numbers.below(1_000_000_000);
    let mut trace = numbers.hex(32);
    let mut written = 0;
    while written < bytes {
        clock += numbers.below(4000);
        if numbers.below(3) == 0 {
            trace = numbers.hex(32);
        }
        let line = line(&mut numbers, style, clock, &trace);
        written += line.len();
        out.push(line.into_bytes());
    }
}

fn line(numbers: &mut Numbers, style: u64, clock: u64, trace: &str) -> String {
    let (seconds, micros) = (clock / 1_000_000 % 60, clock % 1_000_000);
    let minutes = clock / 60_000_000 % 60;
    let stamp = format!("2026-01-01T07:{minutes:02}:{seconds:02}.{micros:06}Z");
    let (message, component) = (numbers.pick(&MESSAGES), numbers.pick(&COMPONENTS));
    let (level, duration) = (numbers.pick(&["info", "info", "info", "warn", "error"]), numbers.below(90_000));
    let mut line = String::new();
    let written = match style {
        0 => write!(
            line,
            r#"{{"level":"{level}","ts":"{stamp}","logger":"{component}","msg":"{message}","environment":"production","service":"shop-frontend","version":"release-candidate","trace_id":"{trace}","span_id":"{}","user_id":{},"currency":"EUR","duration_ms":{}.{}}}"#,
            numbers.hex(16),
            numbers.below(200_000),
            duration / 1000,
            duration % 1000
        ),
        1 => write!(
            line,
            r#"ts={stamp} level={level} caller={component} msg="{message}" component=ingester tenant=team-{} traceID={trace} bytes={duration} method=POST route=api_v1_push peer={}:{} user_agent=promtail"#,
            numbers.below(40),
            numbers.address(),
            1024 + numbers.below(60_000)
        ),
        2 => write!(
            line,
            r#"{} - - [01/Jan/2026:07:{minutes:02}:{seconds:02} +0000] "GET {}?page={} HTTP/1.1" {} {duration} "-" "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36" upstream_response_time=0.{}"#,
            numbers.address(),
            numbers.pick(&PATHS),
            numbers.below(500),
            numbers.pick(&["200", "200", "304", "404", "502"]),
            numbers.below(1000)
        ),
        3 => write!(
            line,
            "{stamp} {} [worker-{}] {component} - {message} at com.example.{}.Handler.process(Handler.java:{}) after {duration} us",
            level.to_uppercase(),
            numbers.below(16),
            component.replace(['/', '-'], "."),
            numbers.below(900)
        ),
        _ => write!(
            line,
            r#"I0101 07:{minutes:02}:{seconds:02}.{micros:06}       1 {component}.go:{}] "{message}" kind="ReplicaSet" key="shop/{component}-{}" duration="{duration}us""#,
            numbers.below(900),
            numbers.hex(10)
        ),
    };
    written.expect("writing to a string does not fail");
    line
}
