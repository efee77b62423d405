//! Cases 34 to 36: stamps.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{is_full, pause};
use crate::support::program::Program;
use crate::support::{Agent, Node, Numbers, Reaction, Recorder, gzip, wait_until};

/// 34. Stamps in every form.
#[tokio::test(flavor = "multi_thread")]
async fn case_34_stamps_of_every_form_are_exact_instants() {
    let second = 1_000_000_000_i64;
    let base = 1_795_252_121; // 2026-11-21T09:08:41Z
    let table = [
        ("2026-11-21T09:08:41Z", base * second),
        ("2026-11-21T09:08:42.1Z", (base + 1) * second + 100_000_000),
        ("2026-11-21T09:08:42.12Z", (base + 1) * second + 120_000_000),
        ("2026-11-21T09:08:42.123Z", (base + 1) * second + 123_000_000),
        ("2026-11-21T09:08:42.1234Z", (base + 1) * second + 123_400_000),
        ("2026-11-21T09:08:42.12345Z", (base + 1) * second + 123_450_000),
        ("2026-11-21T09:08:42.123456Z", (base + 1) * second + 123_456_000),
        ("2026-11-21T09:08:42.1234567Z", (base + 1) * second + 123_456_700),
        ("2026-11-21T09:08:42.12345678Z", (base + 1) * second + 123_456_780),
        ("2026-11-21T09:08:42.123456789Z", (base + 1) * second + 123_456_789),
        ("2026-11-21T14:38:43.5+05:30", (base + 2) * second + 500_000_000),
        ("2026-11-21T09:08:44-00:00", (base + 3) * second),
        ("2026-11-21T01:08:45-08:00", (base + 4) * second),
        // The end of summer time: the wall clock goes back an hour, the instants go on.
        ("2027-10-31T02:59:59.5+02:00", 1_824_944_399 * second + 500_000_000),
        ("2027-10-31T02:00:00+01:00", 1_824_944_400 * second),
        ("2028-12-31T23:59:60Z", 1_861_919_999 * second + 999_999_999),
        ("2029-01-01T00:00:00Z", 1_861_920_000 * second),
    ];
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut container = node.container("app");
    for (number, (text, _)) in table.iter().enumerate() {
        container.raw(format!("{text} stdout F line {number}\n").as_bytes());
    }
    let agent = Agent::start(node.config(&recorder.url())).await;
    recorder.wait_for(table.len()).await;
    let mut stored: Vec<(i64, String)> = recorder.stored().into_iter().map(|entry| (entry.timestamp, entry.line)).collect();
    stored.sort();
    let expected: Vec<(i64, String)> = table.iter().enumerate().map(|(number, (_, stamp))| (*stamp, format!("line {number}"))).collect();
    assert_eq!(stored, expected);
    agent.assert_balanced();
    agent.stop().await;
}

/// 35. A thousand equal lines with one equal stamp, across a rotation; killed again and again.
#[tokio::test(flavor = "multi_thread")]
async fn case_35_equal_lines_with_equal_stamps_stay_distinct_over_rotation_and_kills() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut numbers = Numbers(35);
    recorder.behave(move |_| match numbers.below(3) {
        0 => Reaction::LoseAnswer,
        1 => Reaction::StoreAndHang(Duration::from_millis(50)),
        _ => Reaction::Store,
    });
    let mut container = node.container("app");
    let record = b"2026-11-21T09:00:00.000000001Z stdout F same\n";
    let mut rotated = Vec::new();
    // In full: at each line.
    let kills = if is_full() { 1000 } else { 50 };
    let lines = 1000 / kills;
    for part in 0..kills {
        for _ in 0..lines {
            container.raw(record);
        }
        if part % (kills / 3) == 3 {
            rotated.push(container.rotate());
        }
        if part == kills / 4 * 3 {
            // Its head is that of every other file of the container.
            gzip(&rotated[0]);
        }
        let mut program = Program::start(&node, &recorder.url());
        let before = recorder.pushes();
        wait_until("a push", || recorder.pushes() > before || recorder.count() >= (part + 1) * lines, String::new).await;
        program.kill();
    }
    for _ in kills * lines..1000 {
        container.raw(record);
    }
    let _program = Program::start(&node, &recorder.url());
    recorder.wait_for(1000).await;
    pause(1000).await;
    let stamps: Vec<i64> = recorder.stored().iter().map(|entry| entry.timestamp).collect();
    assert_eq!(stamps.len(), 1000);
    let first = 1_795_251_600_000_000_001;
    assert_eq!(stamps, (first..first + 1000).collect::<Vec<_>>());
    assert!(recorder.all().len() > 1000);
}

/// 36. The clock steps: a second back, an hour back for ten minutes and forward again, a year ahead for one line; the agent is started anew in between.
#[tokio::test(flavor = "multi_thread")]
async fn case_36_clock_steps_lose_nothing_and_small_ones_are_carried() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let second = 1_000_000_000;
    let hour = 3600 * second;
    let start = 1_795_252_000 * second;
    let last = start + 9 * second / 10;
    // What the container's clock says, and the stamp that is sent.
    let mut lines: Vec<(i64, i64)> = (0..10).map(|step| start + step * second / 10).map(|raw| (raw, raw)).collect();
    // A second back: carried on, a nanosecond each, until the clock has caught up.
    lines.extend((0..10).map(|step| (last - second + step * second / 10, last + step + 1)));
    let as_they_are = (0..10)
        .map(|step| last + second + step * second / 10)
        // An hour back, for ten minutes: as it is, and forward again.
        .chain((0..=60).map(|step| last - hour + step * 10 * second))
        .chain((0..10).map(|step| start + (610 + step) * second))
        // A year ahead for one line.
        .chain([start + 8760 * hour])
        .chain((0..10).map(|step| start + (630 + step) * second));
    lines.extend(as_they_are.map(|raw| (raw, raw)));
    // As receivers do, it refuses what is ahead of its own clock.
    let ahead = start + hour;
    recorder.behave(move |_| Reaction::StoreUntil(ahead));
    let text = |nanos: i64| humantime::format_rfc3339_nanos(std::time::UNIX_EPOCH + Duration::from_nanos(nanos.unsigned_abs())).to_string();
    let mut container = node.container("app");
    let (mut expected, mut steps, mut refused) = (BTreeSet::new(), 0.0, 0.0);
    for (number, (raw, given)) in lines.iter().enumerate() {
        container.raw(format!("{} stdout F line {number}\n", text(*raw)).as_bytes());
        if *given <= ahead {
            expected.insert((*given, format!("line {number}")));
        }
        if number == 25 || number == 60 {
            container.rotate();
        }
        // Within every step, and at the end.
        if number % 14 == 13 {
            let agent = Agent::start(node.config(&recorder.url())).await;
            let metrics = || agent.handle.metrics();
            let is_settled = || metrics().lines_acknowledged + metrics().lines_dropped == 14;
            wait_until("the lines settled", is_settled, || agent.handle.render_metrics()).await;
            agent.assert_balanced();
            steps += agent.metric("clock_steps_total");
            refused += agent.metric("dropped_lines_total{reason=\"ingester_error\"}");
            agent.stop().await;
        }
    }
    let stored = || recorder.stored().into_iter().map(|entry| (entry.timestamp, entry.line)).collect::<BTreeSet<_>>();
    assert_eq!(stored(), expected);
    assert_eq!((steps, refused), (2.0, 1.0), "steps of the clock, and lines that were really ahead");
    // All of it read again gives the same stamps.
    let sent = recorder.all().len();
    std::fs::remove_dir_all(node.data()).unwrap();
    let agent = Agent::start(node.config(&recorder.url())).await;
    wait_until("a full read", || recorder.all().len() == sent + expected.len(), || agent.handle.render_metrics()).await;
    assert_eq!(stored(), expected);
    assert_eq!(agent.metric("clock_steps_total"), 2.0);
    agent.stop().await;
}
