//! Pushes that no correct client sends: refused in Loki's words, memory flat, nothing stored.
#![allow(clippy::disallowed_methods, reason = "drills run in real time")]

use std::io::Write;

use anyhow::{Result, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use tailwater_e2e::aggregator::Aggregator;
use tailwater_e2e::api::{Api, Reply};
use tailwater_e2e::drill::{Folder, drill, report};
use tailwater_e2e::wire::{compressed, request};
use tailwater_podwriter::UnixNanoseconds;

const PROTOBUF: Option<&str> = Some("application/x-protobuf");
const JSON: Option<&str> = Some("application/json");
/// Four times the largest body that is allowed, decompressed.
const ALLOWED_GROWTH: u64 = 4 * (64 << 20);
/// What further rounds may take on top: the allocator's noise. A round holds ten times that, decompressed.
const ALLOWED_CREEP: u64 = 32 << 20;
const FURTHER_ROUNDS: usize = 2;

/// A push and how it is to be refused.
struct Hostile {
    name: String,
    content_type: Option<&'static str>,
    encoding: Option<&'static str>,
    body: Vec<u8>,
    status: u16,
    text: &'static str,
}

impl Hostile {
    fn new(name: &str, content_type: Option<&'static str>, body: Vec<u8>, status: u16, text: &'static str) -> Self {
        Self { name: name.to_owned(), content_type, encoding: None, body, status, text }
    }

    fn gzip(mut self) -> Self {
        self.encoding = Some("gzip");
        self
    }

    /// What is wrong with the answer.
    fn judge(&self, reply: &Reply) -> Option<String> {
        let is_right = reply.status == self.status && reply.text.contains(self.text);
        (!is_right).then(|| {
            let text: String = reply.text.chars().take(200).collect();
            format!("{}: {} `{text}` instead of {} `{}`", self.name, reply.status, self.status, self.text)
        })
    }
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn gzipped(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

fn now() -> i64 {
    UnixNanoseconds::now().0
}

/// Everything that is refused as a whole.
fn hostile_pushes() -> Result<Vec<Hostile>> {
    let now = now();
    let good = request("{app=\"hostile\"}", &[(now, "must not be stored"), (now + 1, "nor this")]);
    let block = compressed(&good);
    let mut pushes = vec![
        Hostile::new("no snappy at all", PROTOBUF, good.clone(), 400, "snappy: corrupt input"),
        Hostile::new("declared 4 GiB", PROTOBUF, [varint(u64::from(u32::MAX)), vec![0; 20]].concat(), 413, "request body too large: "),
        Hostile::new("declared 2^63", PROTOBUF, [varint(1 << 63), vec![0; 20]].concat(), 400, "snappy: corrupt input"),
        Hostile::new("declared 65 MiB", PROTOBUF, [varint(65 << 20), vec![0; 20]].concat(), 413, "request body too large: "),
        Hostile::new("empty body", PROTOBUF, Vec::new(), 400, "snappy: corrupt input"),
        Hostile::new("no streams", PROTOBUF, compressed(&[]), 422, "error at least one valid stream is required for ingestion"),
        Hostile::new("10-byte varint as length", PROTOBUF, compressed(&[&[0x0a][..], &[0xff; 10]].concat()), 400, ""),
        Hostile::new("length beyond the end", PROTOBUF, compressed(&[0x0a, 0x7f, 1]), 400, ""),
        Hostile::new("a group", PROTOBUF, compressed(&[0x0b, 0x0b, 0x0b]), 400, ""),
        Hostile::new("JSON called protobuf", PROTOBUF, br#"{"streams":[]}"#.to_vec(), 400, "snappy: corrupt input"),
        Hostile::new("protobuf called JSON", JSON, block.clone(), 400, ""),
        Hostile::new("no content type", None, block.clone(), 400, "mime: no media type"),
        Hostile::new("JSON cut off", JSON, br#"{"streams":[{"stream":{"a":"b"},"values":[["1","x"]"#.to_vec(), 400, ""),
        Hostile::new("JSON 100,000 deep", JSON, vec![b'['; 100_000], 400, ""),
        Hostile::new("no gzip", JSON, b"{}{}{}{}{}{}{}".to_vec(), 400, "gzip: invalid header").gzip(),
        Hostile::new("gzip of 200 MB of zeros", JSON, gzipped(&vec![b' '; 200 << 20])?, 413, "request body too large: ").gzip(),
        Hostile::new("17 MiB", PROTOBUF, vec![0; 17 << 20], 413, "request body too large: "),
    ];
    for labels in ["{", "{app=\"hostile\"", "{app=}", "{app=\"hostile\",,}", "{a-b=\"c\"}", "app=\"hostile\"", "{app=\"hosti\nle\"}"] {
        let body = compressed(&request(labels, &[(now, "must not be stored")]));
        pushes.push(Hostile::new(&format!("labels `{labels}`"), PROTOBUF, body, 400, "couldn't parse labels: "));
    }
    for (name, timestamp) in [("a day ahead", now + 86_400_000_000_000), ("year 2262", i64::MAX)] {
        let body = compressed(&request("{app=\"hostile\"}", &[(timestamp, "must not be stored")]));
        pushes.push(Hostile::new(&format!("stamp {name}"), PROTOBUF, body, 400, "has timestamp too new: "));
    }
    // One stream, so that no part of it is a request of its own.
    for length in 1..good.len() {
        pushes.push(Hostile::new(&format!("protobuf cut at {length}"), PROTOBUF, compressed(&good[..length]), 400, ""));
    }
    for length in 1..block.len() {
        pushes.push(Hostile::new(&format!("snappy cut at {length}"), PROTOBUF, block[..length].to_vec(), 400, "snappy: corrupt input"));
    }
    Ok(pushes)
}

/// All of them; the wrong answers.
async fn round(api: &Api, pushes: &[Hostile]) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for push in pushes {
        let reply = api.push(push.content_type, push.encoding, push.body.clone()).await?;
        wrong.extend(push.judge(&reply));
    }
    Ok(wrong)
}

async fn stored(api: &Api) -> Result<u64> {
    api.number("sum(count_over_time({service_name=~\".+\"}[1h]))", now()).await
}

async fn hostile(folder: Folder) -> Result<()> {
    let mut aggregator = Aggregator::on_folder(folder.path(), &folder.below("store")?).await?;
    let api = aggregator.api()?;
    api.push_lines(&[("app", "good")], &[(now(), "stays")]).await?;
    ensure!(stored(&api).await? == 1, "the good line is not there");
    let pushes = hostile_pushes()?;
    let before = aggregator.usage()?.peak_bytes;
    let mut wrong = round(&api, &pushes).await?;
    // A few streams without entries are no error; without number they are.
    let empty_streams = compressed(&[0x0a, 0x00].repeat(10_000_000));
    let many = [0x0a, 0x00].repeat(10_000_000);
    let named = compressed(&[&request("{app=\"hostile\"", &[(now(), "must not be stored")])[..], &many].concat());
    let reply = api.push(PROTOBUF, None, empty_streams.clone()).await?;
    println!("10,000,000 empty streams in {} bytes: {} `{}`", empty_streams.len(), reply.status, reply.text);
    if reply.status != 413 || !reply.text.starts_with("request body too large") {
        wrong.push(format!("10,000,000 empty streams: {reply:?}"));
    }
    let reply = api.push(PROTOBUF, None, named).await?;
    if reply.status != 400 {
        wrong.push(format!("an unclosed label set before 10,000,000 empty streams: {reply:?}"));
    }
    let first = aggregator.usage()?.peak_bytes;
    for _ in 0..FURTHER_ROUNDS {
        wrong.extend(round(&api, &pushes).await?);
        api.push(PROTOBUF, None, empty_streams.clone()).await?;
    }
    let last = aggregator.usage()?.peak_bytes;
    let mib = |bytes: u64| bytes as f64 / 1048576.0;
    report(&format!(
        "hostile pushes: {} in each of {} rounds; peak memory {:.1} MiB before, {:.1} MiB after the first, {:.1} MiB after the last",
        pushes.len() + 1,
        FURTHER_ROUNDS + 1,
        mib(before),
        mib(first),
        mib(last)
    ));
    ensure!(wrong.is_empty(), "{} answers are wrong:\n{}", wrong.len(), wrong.join("\n"));
    ensure!(first - before <= ALLOWED_GROWTH, "the first round took {:.1} MiB", mib(first - before));
    ensure!(last - first <= ALLOWED_CREEP, "further rounds took {:.1} MiB more", mib(last - first));
    ensure!(stored(&api).await? == 1, "something of a refused push was stored");
    api.push_lines(&[("app", "good")], &[(now(), "also stays")]).await?;
    ensure!(stored(&api).await? == 2, "a good line after the bad ones is not there");
    ensure!(!aggregator.process().errors().contains("panicked"), "the aggregator panicked");
    aggregator.stop().await?;
    aggregator.start_again()?;
    aggregator.ready().await?;
    ensure!(stored(&aggregator.api()?).await? == 2, "a new start finds something else than what was acknowledged");
    Ok(())
}

#[test]
fn hostile_pushes_are_refused_and_leave_nothing_behind() {
    drill("hostile-pushes", hostile);
}

/// The same texts reach clients that come through the gateway.
#[test]
fn refusals_pass_the_gateway() {
    drill("hostile-gateway", |folder| async move {
        let aggregator = Aggregator::on_folder(folder.path(), &folder.below("store")?).await?;
        let gateway = tailwater_e2e::gateway::Gateway::start(folder.path(), &aggregator.address()).await?;
        let few: Vec<Hostile> = hostile_pushes()?.into_iter().filter(|push| !push.name.contains("cut at")).collect();
        let wrong = round(&gateway.api()?, &few).await?;
        ensure!(wrong.is_empty(), "{} answers are wrong:\n{}", wrong.len(), wrong.join("\n"));
        Ok(())
    });
}
