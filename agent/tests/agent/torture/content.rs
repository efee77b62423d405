//! Cases 29 to 33 and 37 to 41: content.

use std::collections::BTreeSet;
use std::io::{Seek, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;

use tailwater_agent::Config;
use tailwater_agent::config::Unparsed;

use crate::support::program::Program;
use crate::support::sequence::{Sequence, assert_exact};
use crate::support::{Agent, Container, Entry, Node, Numbers, Recorder, label, wait_until};

/// 29. The last line of a container has no newline: it comes once the end is known, not when patience ends.
#[tokio::test(flavor = "multi_thread")]
async fn case_29_a_last_line_without_newline_comes_with_the_end_of_its_container() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut config = node.config(&recorder.url());
    config.timing.partial_idle = Duration::from_secs(3600);
    let agent = Agent::start(config).await;
    // The next instance shows it.
    let mut restarted = node.container("restarted");
    restarted.write("stdout", "F", "line");
    restarted.write("stdout", "P", "cut off");
    restarted.write("stderr", "P", "also cut off");
    restarted.restart();
    restarted.write("stdout", "F", "next");
    recorder.wait_for(4).await;
    // The directory is gone.
    let mut deleted = node.container("deleted");
    deleted.write("stdout", "P", "cut ");
    deleted.write("stdout", "P", "off");
    deleted.write("stderr", "F", "seen");
    recorder.wait_for(5).await;
    deleted.file = None;
    std::fs::remove_dir_all(&deleted.directory).unwrap();
    recorder.wait_for(6).await;
    let lines = recorder.lines();
    assert_eq!(lines["restarted/stdout"], ["line", "cut off", "next"]);
    assert_eq!(lines["restarted/stderr"], ["also cut off"]);
    assert_eq!(lines["deleted/stdout"], ["cut off"]);
    assert_eq!(agent.metric("partial_idle_total"), 0.0);
    agent.assert_balanced();
    agent.stop().await;
}

/// 30. Lines of 1 MiB in pieces of 16 KiB, in 50 containers at once and on both streams; whole, and cut to a limit.
#[tokio::test(flavor = "multi_thread")]
async fn case_30_a_mebibyte_in_pieces_from_fifty_containers_at_once() {
    const CONTAINERS: usize = 50;
    for limit in [2 << 20, 100 << 10] {
        let (node, recorder) = (Node::new(), Recorder::start(true).await);
        let mut containers: Vec<Container> = (0..CONTAINERS).map(|number| node.container(&format!("c{number}"))).collect();
        // Three bytes a character, so that a cut falls into one.
        let piece = "\u{20ac}".repeat((16 << 10) / 3);
        let mut stamps = Vec::new();
        for container in &mut containers {
            for _ in 0..64 {
                container.write("stdout", "P", &piece);
                container.write("stderr", "P", &piece);
            }
            container.write("stdout", "F", "end");
            stamps.push(1_795_251_600_000_000_000 + i64::try_from(container.nanos).unwrap());
            container.write("stderr", "F", "end");
        }
        let mut config = node.config(&recorder.url());
        config.max_line_size = limit;
        let agent = Agent::start(config).await;
        recorder.wait_for(2 * CONTAINERS).await;
        let length = 64 * piece.len() + 3;
        for entry in recorder.stored() {
            if limit > length {
                assert_eq!(entry.line.len(), length);
                assert!(entry.line.ends_with("\u{20ac}end"));
                continue;
            }
            assert!(entry.line.len() <= limit && entry.line.len() > limit - 4, "{}", entry.line.len());
            let (head, suffix) = entry.line.split_once("...[truncated ").unwrap();
            assert!(head.chars().all(|character| character == '\u{20ac}'), "cut between characters");
            assert_eq!(suffix, format!("{} bytes]", length - head.len()));
            assert!(entry.metadata.contains(&("truncated".to_owned(), (length - head.len()).to_string())));
        }
        let stored: BTreeSet<i64> = recorder.stored().iter().map(|entry| entry.timestamp).collect();
        assert!(stamps.iter().all(|stamp| stored.contains(stamp)), "each has the stamp of its last piece");
        let truncated = if limit > length { 0.0 } else { 2.0 * CONTAINERS as f64 };
        assert_eq!(agent.metric("mutated_lines_total{reason=\"line_too_long\"}"), truncated);
        assert_eq!(recorder.count(), 2 * CONTAINERS);
        agent.assert_balanced();
        agent.stop().await;
    }
}

/// 31. One record of very many bytes without newline in the middle.
#[tokio::test(flavor = "multi_thread")]
async fn case_31_an_endless_record_is_cut_and_counted_and_memory_stays_flat() {
    const BYTES: usize = 300 << 20;
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut container = node.container("app");
    container.line("before");
    let program = Program::start(&node, &recorder.url());
    recorder.wait_for(1).await;
    let before = program.resident();
    let stamp = container.stamp();
    container.raw(format!("{stamp} stdout F ").as_bytes());
    let chunk = vec![b'x'; 1 << 20];
    for _ in 0..BYTES / chunk.len() {
        container.raw(&chunk);
    }
    container.raw(b"\n");
    container.line("after");
    recorder.wait_for(3).await;
    let lines = recorder.lines().remove("app/stdout").unwrap();
    assert_eq!((lines[0].as_str(), lines[2].as_str()), ("before", "after"));
    assert!(lines[1].len() <= 256 << 10 && lines[1].ends_with(" bytes]") && lines[1].starts_with("xxxx"), "{}", lines[1].len());
    let metrics = program.metrics().await;
    assert_eq!(metrics["tailwater_agent_mutated_lines_total{reason=\"line_too_long\"}"], 1.0);
    let grown = program.peak().saturating_sub(before);
    assert!(grown < 24 << 20, "{} MiB more than before", grown >> 20);
}

/// 32. A sparse file of 10 GB, and runs of NUL between records.
#[tokio::test(flavor = "multi_thread")]
async fn case_32_holes_and_runs_of_nul_are_skipped_and_counted() {
    const HOLE: u64 = 10_000_000_000;
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut writer = Sequence::new(node.container("app"));
    writer.lines(100);
    let file = writer.container.file.take().unwrap();
    let end = file.metadata().unwrap().len();
    // Not opened for appending: what follows is written behind the hole.
    let mut file = {
        drop(file);
        std::fs::OpenOptions::new().write(true).open(writer.container.live()).unwrap()
    };
    file.seek(SeekFrom::Start(end + HOLE)).unwrap();
    writer.container.file = Some(file);
    writer.lines(100);
    writer.container.raw(&[0; 5000]);
    writer.lines(10);
    writer.container.raw(&vec![0; 3 << 20]);
    writer.lines(10);
    let program = Program::start(&node, &recorder.url());
    recorder.wait_for(220).await;
    assert_exact(&recorder, &[&writer]);
    let metrics = program.metrics().await;
    let nul = (HOLE + 5000 + (3 << 20)) as f64;
    assert_eq!(metrics["tailwater_agent_discarded_bytes_total{reason=\"nul\"}"], nul);
    assert_eq!(metrics["tailwater_agent_parse_errors_total{format=\"cri\"}"], 0.0);
    assert!(program.processor_ticks() < 6000, "{} ticks", program.processor_ticks());
    // A file that is all hole, of a terabyte, besides.
    let empty = node.container("empty");
    std::fs::File::options().write(true).open(empty.live()).unwrap().set_len(1 << 40).unwrap();
    writer.lines(10);
    recorder.wait_for(230).await;
    let all = nul + (1_u64 << 40) as f64;
    program.wait_for_metric("tailwater_agent_discarded_bytes_total{reason=\"nul\"}", |bytes| bytes > all - 1e6).await;
    assert!(program.peak() < 96 << 20, "{} MiB", program.peak() >> 20);
}

/// 33. Bytes that are no UTF-8, control characters, odd line ends, empty and blank lines.
#[tokio::test(flavor = "multi_thread")]
async fn case_33_odd_text_is_kept_or_replaced_and_never_refused() {
    let table: [(&[u8], &str); 14] = [
        (b"plain", "plain"),
        (b"bad \xff\xfe end", "bad \u{fffd}\u{fffd} end"),
        (b"overlong \xc0\xaf", "overlong \u{fffd}\u{fffd}"),
        (b"surrogate \xed\xa0\x80", "surrogate \u{fffd}\u{fffd}\u{fffd}"),
        (b"cut \xe2\x82", "cut \u{fffd}"),
        (b"nul \0 inside", "nul \0 inside"),
        (b"\x1b[31mred\x1b[0m", "\u{1b}[31mred\u{1b}[0m"),
        (b"carriage return\r", "carriage return\r"),
        ("separator \u{2028} here".as_bytes(), "separator \u{2028} here"),
        (b"", ""),
        (b"   ", "   "),
        (b"\t leading", "\t leading"),
        ("\u{feff}mark".as_bytes(), "\u{feff}mark"),
        ("\u{10ffff}".as_bytes(), "\u{10ffff}"),
    ];
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut container = node.container("app");
    for (bytes, _) in table {
        let stamp = container.stamp();
        container.raw(&[format!("{stamp} stdout F ").as_bytes(), bytes, b"\n"].concat());
    }
    let agent = Agent::start(node.config(&recorder.url())).await;
    recorder.wait_for(table.len()).await;
    assert_eq!(recorder.lines()["app/stdout"], table.map(|(_, text)| text));
    assert_eq!(agent.metric("invalid_utf8_total"), 4.0);
    assert_eq!(agent.handle.metrics().lines_dropped, 0);
    agent.assert_balanced();
    agent.stop().await;
}

/// 37. Records that are in no format, each kind by itself, between good ones of two formats: with a line in pieces around it, and at the head of a file.
#[tokio::test(flavor = "multi_thread")]
async fn case_37_malformed_records_are_kept_and_the_others_are_exact() {
    let header = b"2026-11-21T09:00:00.000000001Z stdout F";
    let mut junk: Vec<Vec<u8>> = [
        &b"2026-11-21T09:00:00Z stdout missing-tag"[..],
        b"2026-11-21T09:00:00Z stdin F bad stream",
        b"2026-11-21T09:00:00Z STDOUT F bad stream",
        b"2026-99-99T99:99:99Z stdout F bad date",
        b"1969-12-31T23:59:59Z stdout F before all time",
        b"stdout F no time",
        b"\x7fELF\x01\x02\xff\xfe",
        b"\x1b[31mred\r",
        b"{\"not\": \"a docker record\"}",
        b"{\"log\": broken",
        b"{\"log\":\"no stream\\n\",\"time\":\"2026-11-21T09:00:00Z\"}",
        b"{\"log\":\"bad stream\\n\",\"stream\":\"stdin\",\"time\":\"2026-11-21T09:00:00Z\"}",
        b"{\"log\":\"bad time\\n\",\"stream\":\"stdout\",\"time\":\"now\"}",
        b"[1, 2]",
    ]
    .map(<[u8]>::to_vec)
    .to_vec();
    // A header cut anywhere before its tag, and all bytes there are.
    junk.extend((1..header.len() - 1).map(|length| header[..length].to_vec()));
    junk.push((1..=255).filter(|byte| *byte != b'\n').collect());
    for is_kept in [true, false] {
        let (node, recorder) = (Node::new(), Recorder::start(true).await);
        let mut writer = Sequence::new(node.container("app"));
        let mut headless = node.container("headless");
        let mut expected = BTreeSet::new();
        headless.raw(b"no record\n");
        let first_seen = headless.live().metadata().unwrap().modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
        expected.insert(("no record".to_owned(), i64::try_from(first_seen.as_nanos()).unwrap(), "stdout"));
        for (number, bytes) in junk.iter().enumerate() {
            // The last line before it is of one stream or the other.
            writer.lines(5 - number % 2);
            let stream = ["stderr", "stdout"][number % 2];
            let last_stamp = 1_795_251_600_000_000_000 + i64::try_from(writer.container.nanos).unwrap();
            expected.insert((String::from_utf8_lossy(bytes).into_owned(), last_stamp + 1, stream));
            // One more of that stream, in two pieces.
            let (record, line) = writer.next(1 - number % 2);
            let stamp = record.split(' ').next().unwrap();
            let (head, tail) = line.split_at(line.len() / 2);
            writer.container.raw(format!("{stamp} {stream} P {head}\n").as_bytes());
            writer.container.raw(&[bytes, &b"\n"[..]].concat());
            writer.container.raw(format!("{stamp} {stream} F {tail}\n").as_bytes());
            let (record, line) = writer.next(number % 2);
            let stamp = record.split(' ').next().unwrap();
            let stream = ["stdout", "stderr"][number % 2];
            writer.container.raw(format!("{{\"log\":\"{line}\\n\",\"stream\":\"{stream}\",\"time\":\"{stamp}\"}}\n").as_bytes());
        }
        let mut config = node.config(&recorder.url());
        config.unparsed = if is_kept { Unparsed::Keep } else { Unparsed::Drop };
        let agent = Agent::start(config).await;
        let all = junk.len() + 1;
        recorder.wait_for(writer.total() + if is_kept { all } else { 0 }).await;
        let errors = || agent.metric("parse_errors_total{format=\"cri\"}");
        wait_until("all of them counted", || errors() == all as f64, || errors().to_string()).await;
        let is_junk = |entry: &Entry| entry.metadata.contains(&("parse_error".to_owned(), "cri".to_owned()));
        let seen: BTreeSet<_> =
            recorder.stored().into_iter().filter(is_junk).map(|entry| (entry.line, entry.timestamp, entry.labels)).collect();
        if is_kept {
            assert_eq!(seen.len(), all);
            for ((line, timestamp, labels), expected) in seen.iter().zip(&expected) {
                assert_eq!((line.as_str(), *timestamp, label(labels, "stream").as_str()), (expected.0.as_str(), expected.1, expected.2));
            }
        } else {
            assert!(seen.is_empty());
            let dropped = || agent.metric("dropped_lines_total{reason=\"unparsed\"}");
            wait_until("all of them dropped", || dropped() == all as f64, || agent.handle.render_metrics()).await;
        }
        recorder.keep(|entry| !is_junk(entry));
        assert_exact(&recorder, &[&writer]);
        agent.assert_balanced();
        agent.stop().await;
    }
}

/// 38. Further tags, and an empty end.
#[tokio::test(flavor = "multi_thread")]
async fn case_38_unknown_tags_are_ignored_and_an_empty_end_closes_a_line() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut container = node.container("app");
    for (tag, text) in [("P:foo", "one "), ("P:a:b", "two"), ("F", ""), ("F:x", "whole"), ("P", ""), ("F", "end"), ("F", "")] {
        container.write("stdout", tag, text);
    }
    let agent = Agent::start(node.config(&recorder.url())).await;
    recorder.wait_for(4).await;
    assert_eq!(recorder.lines()["app/stdout"], ["one two", "whole", "end", ""]);
    agent.assert_balanced();
    agent.stop().await;
}

/// 39. Docker's JSON: escapes, further keys, other orders, pieces.
#[tokio::test(flavor = "multi_thread")]
async fn case_39_docker_records_with_escapes_attributes_and_pieces() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut container = node.container("app");
    for line in [
        r#"{"log":"plain\n","stream":"stdout","time":"2026-11-21T09:00:00.000000001Z"}"#,
        r#"{"log":"quote \" slash \\ tab \t unit \u001b euro \u20ac pair \ud83d\ude00\n","stream":"stdout","time":"2026-11-21T09:00:00.000000002Z"}"#,
        r#"{"time":"2026-11-21T09:00:00.000000003Z","stream":"stderr","attrs":{"tag":"x","n":"1"},"log":"other order\n"}"#,
        r#"{"log":"one ","stream":"stdout","time":"2026-11-21T09:00:00.000000004Z"}"#,
        r#"{"log":"other\n","stream":"stderr","time":"2026-11-21T09:00:00.000000005Z"}"#,
        r#"{"log":"two\n","stream":"stdout","time":"2026-11-21T09:00:00.000000006Z"}"#,
        r#"{"log":"\n","stream":"stdout","time":"2026-11-21T09:00:00.000000007Z"}"#,
    ] {
        container.raw(format!("{line}\n").as_bytes());
    }
    let agent = Agent::start(node.config(&recorder.url())).await;
    recorder.wait_for(6).await;
    let lines = recorder.lines();
    assert_eq!(lines["app/stdout"], ["plain", "quote \" slash \\ tab \t unit \u{1b} euro \u{20ac} pair \u{1f600}", "one two", ""]);
    assert_eq!(lines["app/stderr"], ["other order", "other"]);
    let joined = recorder.stored().into_iter().find(|entry| entry.line == "one two").unwrap();
    assert_eq!(joined.timestamp % 1_000_000_000, 6);
    agent.assert_balanced();
    agent.stop().await;
}

fn promtail_with_multiline(node: &Node, recorder: &Recorder, container: &Container, wait: &str) -> PathBuf {
    let yaml = node.data().with_file_name("promtail.yaml");
    let text = format!(
        "server: {{disable: true}}\nclients: [{{url: '{}', batchwait: 100ms}}]\npositions: {{filename: {}}}\nscrape_configs:\n- job_name: t\n  pipeline_stages:\n  \
         - cri: {{}}\n  - multiline: {{firstline: '^[A-Z]', max_wait_time: {wait}, max_lines: 128}}\n  \
         static_configs: [{{targets: [localhost], labels: {{container: app, __path__: '{}'}}}}]\n",
        recorder.url(),
        node.data().join("positions.yaml").display(),
        container.live().display()
    );
    std::fs::write(&yaml, text).unwrap();
    yaml
}

fn trace(number: usize, lines: usize) -> Vec<String> {
    let frames = (1..lines).map(|frame| format!("\tat com.example.Shop.frame{frame}(Shop.java:{frame})"));
    std::iter::once(format!("Exception {number} in thread main")).chain(frames).collect()
}

/// 40. A stack trace across a rotation and across a restart of the agent; and one longer than a block may be.
#[tokio::test(flavor = "multi_thread")]
async fn case_40_a_stack_trace_across_a_rotation_and_a_restart_is_one_entry() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut container = node.container("app");
    let yaml = promtail_with_multiline(&node, &recorder, &container, "1h");
    let start = || Program::start_with(&node, &recorder.url(), &["--promtail-config", yaml.to_str().unwrap()]);
    let mut expected = Vec::new();
    let mut program = start();
    // Across a rotation.
    let lines = trace(0, 60);
    lines[..30].iter().for_each(|line| container.line(line));
    program.wait_for_metric("tailwater_agent_lines_read_total", |lines| lines >= 30.0).await;
    container.rotate();
    lines[30..].iter().for_each(|line| container.line(line));
    expected.push(lines.join("\n"));
    // Across a restart, and a kill.
    let lines = trace(1, 60);
    lines[..20].iter().for_each(|line| container.line(line));
    recorder.wait_for(1).await;
    program.wait_for_metric("tailwater_agent_lines_read_total", |lines| lines >= 80.0).await;
    assert!(program.terminate().await.success());
    lines[20..40].iter().for_each(|line| container.line(line));
    program = start();
    program.wait_for_metric("tailwater_agent_lines_read_total", |lines| lines >= 40.0).await;
    program.kill();
    program = start();
    lines[40..].iter().for_each(|line| container.line(line));
    expected.push(lines.join("\n"));
    // Longer than a block may be.
    let lines = trace(2, 130);
    lines.iter().for_each(|line| container.line(line));
    expected.push(lines[..128].join("\n"));
    expected.push(lines[128..].join("\n"));
    container.line("Next");
    container.line("After");
    expected.push("Next".to_owned());
    recorder.wait_for(expected.len()).await;
    // In the order in which they came first.
    let mut seen: Vec<String> = Vec::new();
    for entry in recorder.all() {
        if !seen.contains(&entry.line) {
            seen.push(entry.line);
        }
    }
    assert_eq!(seen, expected);
    assert_eq!(recorder.count(), expected.len());
    drop(program);
}

/// 41. A backlog of blocks read at once: grouped as it would be live, whatever the timer says.
#[tokio::test(flavor = "multi_thread")]
async fn case_41_a_backlog_is_grouped_as_live_and_the_timer_cuts_nothing() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut container = node.container("app");
    let mut expected = Vec::new();
    for number in 0..600 {
        let lines = trace(number, 1 + number % 9);
        lines.iter().for_each(|line| container.line(line));
        expected.push(lines.join("\n"));
        // A second between blocks, as their stamps say.
        container.nanos += 1_000_000_000;
        if number % 150 == 149 {
            container.rotate();
        }
    }
    container.line("Last");
    let yaml = promtail_with_multiline(&node, &recorder, &container, "200ms");
    let _program = Program::start_with(&node, &recorder.url(), &["--promtail-config", yaml.to_str().unwrap()]);
    expected.push("Last".to_owned());
    recorder.wait_for(expected.len()).await;
    let seen: BTreeSet<String> = recorder.stored().into_iter().map(|entry| entry.line).collect();
    assert_eq!(seen, expected.into_iter().collect());
}

/// D23. Everything at once against a reference that joins and replaces as the contract says.
#[tokio::test(flavor = "multi_thread")]
async fn drill_23_a_mixture_of_everything_against_a_reference() {
    const RECORDS: usize = 100_000;
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut container = node.container("app");
    let mut numbers = Numbers(23);
    let mut open = [Vec::new(), Vec::new()];
    let mut expected: [Vec<String>; 2] = [Vec::new(), Vec::new()];
    let mut buffer = Vec::new();
    let config = Config { max_line_size: 256 << 10, ..node.config(&recorder.url()) };
    let agent = Agent::start(config).await;
    for record in 0..RECORDS {
        let stream = usize::from(numbers.below(3) == 0);
        let mut text = format!("{record} ").into_bytes();
        match numbers.below(40) {
            0 => text.extend_from_slice(b"\xff\xc0 bad"),
            1 => text.extend_from_slice(b"\0 nul \r"),
            2 => text.clear(),
            3 => text.extend_from_slice(&vec![b'y'; 16 << 10]),
            _ => text.extend(std::iter::repeat_n(b'x', numbers.below(100) as usize)),
        }
        let is_piece = numbers.below(7) == 0;
        if numbers.below(500) == 0 {
            // The clock goes back a little.
            container.nanos = container.nanos.saturating_sub(50_000);
        }
        let stamp = container.stamp();
        buffer.extend_from_slice(format!("{stamp} {} {} ", ["stdout", "stderr"][stream], if is_piece { "P" } else { "F" }).as_bytes());
        buffer.extend_from_slice(&text);
        buffer.push(b'\n');
        open[stream].extend_from_slice(&text);
        if !is_piece {
            let line = std::mem::take(&mut open[stream]);
            expected[stream].push(String::from_utf8_lossy(&line).into_owned());
        }
        if numbers.below(300) == 0 {
            // Half a record, for whoever looks now.
            let (head, tail) = buffer.split_at(buffer.len() - buffer.len().min(30));
            container.raw(head);
            let tail = tail.to_vec();
            buffer.clear();
            container.raw(&tail);
            if numbers.below(20) == 0 {
                container.rotate();
            }
        }
    }
    container.raw(&buffer);
    // 10 MiB in one line.
    let stamp = container.stamp();
    container.raw(&[format!("{stamp} stdout F ").as_bytes(), &vec![b'z'; 10 << 20], b"\n"].concat());
    // It closes what was open on its stream.
    open[0].clear();
    for stream in [0, 1] {
        container.write(["stdout", "stderr"][stream], "F", "end");
        let line = String::from_utf8_lossy(&std::mem::take(&mut open[stream])).into_owned() + "end";
        expected[stream].push(line);
    }
    let total = expected[0].len() + expected[1].len() + 1;
    recorder.wait_for(total).await;
    let lines = recorder.lines();
    let is_long = |line: &String| line.ends_with(" bytes]");
    assert_eq!(lines["app/stdout"].iter().filter(|line| is_long(line)).count(), 1);
    let short: Vec<&String> = lines["app/stdout"].iter().filter(|line| !is_long(line)).collect();
    assert!(short.iter().copied().eq(&expected[0]), "stdout differs");
    assert!(lines["app/stderr"] == expected[1], "stderr differs");
    assert_eq!(recorder.count(), total);
    agent.assert_balanced();
    agent.stop().await;
}
