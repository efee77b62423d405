//! Cases 20 to 22, 27, 28 and 70: positions that are lost, damaged, not written, of another release, set back, and Promtail's.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use super::pause;
use crate::support::mounts::Mounted;
use crate::support::program::Program;
use crate::support::sequence::{Sequence, assert_exact};
use crate::support::{Agent, Container, Entry, Node, Numbers, Recorder, gzip, wait_until};

/// 20. Positions deleted while the agent is down; and labels edited meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn case_20_deleted_positions_are_a_full_re_read_and_edited_labels_double_just_those_lines() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut writer = Sequence::new(node.container("app"));
    writer.lines(300);
    let old = writer.container.rotate();
    writer.lines(300);
    writer.container.rotate();
    writer.lines(300);
    gzip(&old);
    let agent = Agent::start(node.config(&recorder.url())).await;
    recorder.wait_for(900).await;
    agent.stop().await;
    forget_positions(&node.data());
    writer.lines(100);
    let agent = Agent::start(node.config(&recorder.url())).await;
    wait_until("a full read", || recorder.all().len() >= 1900, || recorder.all().len().to_string()).await;
    recorder.wait_for(1000).await;
    assert_exact(&recorder, &[&writer]);
    assert_eq!(agent.metric("full_reread_total"), 3.0);
    agent.assert_balanced();
    agent.stop().await;
    // Labels edited meanwhile: what is still there doubles, under the new ones.
    forget_positions(&node.data());
    let mut config = node.config(&recorder.url());
    config.external_labels.insert("team".to_owned(), "new".to_owned());
    let agent = Agent::start(config).await;
    recorder.wait_for(2000).await;
    let of_team = recorder.stored().iter().filter(|entry| entry.labels.contains("team=\"new\"")).count();
    assert_eq!((of_team, recorder.count()), (1000, 2000));
    assert_eq!(agent.metric("full_reread_total"), 3.0);
    agent.stop().await;
}

fn forget_positions(data: &Path) {
    for name in ["positions.json", "positions.json.1"] {
        std::fs::remove_file(data.join(name)).unwrap_or_default();
    }
}

/// 21. The positions file damaged in every way; cutting at every byte is tested on the format itself.
#[tokio::test(flavor = "multi_thread")]
async fn case_21_damaged_positions_fall_back_to_the_ones_before_or_to_a_full_re_read() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut writer = Sequence::new(node.container("app"));
    writer.lines(100);
    let rotated = writer.container.rotate();
    writer.lines(100);
    gzip(&rotated);
    let agent = Agent::start(node.config(&recorder.url())).await;
    recorder.wait_for(200).await;
    agent.stop().await;
    let (current, previous) = (node.data().join("positions.json"), node.data().join("positions.json.1"));
    let whole = std::fs::read(&current).unwrap();
    let mut numbers = Numbers(21);
    let random: Vec<u8> = (0..whole.len()).map(|_| u8::try_from(numbers.below(256)).unwrap()).collect();
    let future = String::from_utf8(whole.clone()).unwrap().replace("\"version\":1", "\"version\":99");
    let mut damages: Vec<Vec<u8>> = vec![Vec::new(), vec![0; whole.len()], random, future.into_bytes(), b"{}".to_vec(), b"null\n".to_vec()];
    damages.extend([1, 9, 20, whole.len() / 3, whole.len() / 2, whole.len() - 1].map(|length| whole[..length].to_vec()));
    for (index, damage) in damages.iter().enumerate() {
        let has_previous = index % 2 == 0;
        std::fs::write(&current, damage).unwrap();
        if has_previous {
            std::fs::write(&previous, &whole).unwrap();
        } else {
            std::fs::write(&previous, damage).unwrap();
        }
        let agent = Agent::start(node.config(&recorder.url())).await;
        writer.lines(5);
        recorder.wait_for(writer.total()).await;
        if !has_previous {
            wait_until("files read again", || agent.metric("full_reread_total") >= 1.0, || agent.handle.render_metrics()).await;
        }
        agent.assert_balanced();
        agent.stop().await;
        assert_exact(&recorder, &[&writer]);
    }
}

/// 22. The data directory full, then read-only, then back.
#[tokio::test(flavor = "multi_thread")]
async fn case_22_a_full_and_a_read_only_data_directory_do_not_stop_shipping() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut writer = Sequence::new(node.container("app"));
    writer.lines(50);
    let agent = Agent::start(node.config(&recorder.url())).await;
    recorder.wait_for(50).await;
    let temporary = node.data().join("positions.json.tmp");
    // A disk that is full: writes end with ENOSPC. Then one that takes no file at all.
    std::fs::remove_file(&temporary).unwrap_or_default();
    std::os::unix::fs::symlink("/dev/full", &temporary).unwrap();
    for round in 0..2 {
        let before = agent.metric("positions_write_errors_total");
        writer.lines(50);
        writer.container.rotate();
        writer.lines(50);
        recorder.wait_for(writer.total()).await;
        wait_until("a refused write", || agent.metric("positions_write_errors_total") > before, || agent.handle.render_metrics()).await;
        std::fs::remove_file(&temporary).unwrap_or_else(|_| std::fs::remove_dir(&temporary).unwrap());
        if round == 0 {
            std::fs::create_dir(&temporary).unwrap();
        }
    }
    writer.lines(50);
    recorder.wait_for(writer.total()).await;
    assert_eq!(recorder.all().len(), writer.total());
    agent.assert_balanced();
    agent.stop().await;
    // The positions written afterwards are whole: nothing is sent again.
    let agent = Agent::start(node.config(&recorder.url())).await;
    writer.lines(50);
    recorder.wait_for(writer.total()).await;
    assert_eq!(recorder.all().len(), writer.total());
    assert_exact(&recorder, &[&writer]);
    agent.stop().await;
}

/// 22 with file systems that are full and read-only in earnest.
#[tokio::test(flavor = "multi_thread")]
async fn case_22_a_full_and_a_read_only_file_system_do_not_stop_shipping() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    std::fs::create_dir(node.data()).unwrap();
    let Some(disk) = Mounted::at(&node.data(), "size=256k") else { return };
    let mut writer = Sequence::new(node.container("app"));
    writer.lines(50);
    let agent = Agent::start(node.config(&recorder.url())).await;
    recorder.wait_for(50).await;
    let refused = || agent.metric("positions_write_errors_total");
    let mut fail = async |what: &str| {
        let before = refused();
        writer.lines(50);
        writer.container.rotate();
        writer.lines(50);
        recorder.wait_for(writer.total()).await;
        wait_until(what, || refused() > before, || agent.handle.render_metrics()).await;
    };
    // To the last byte.
    let filler = node.data().join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    while std::io::Write::write_all(&mut file, &[0; 512]).is_ok() {}
    fail("a write to a full disk").await;
    drop(file);
    std::fs::remove_file(&filler).unwrap();
    {
        let _over = Mounted::at(&node.data(), "ro,size=16k").unwrap();
        fail("a write to a read-only disk").await;
    }
    writer.lines(50);
    recorder.wait_for(writer.total()).await;
    agent.assert_balanced();
    agent.stop().await;
    let agent = Agent::start(node.config(&recorder.url())).await;
    writer.lines(50);
    recorder.wait_for(writer.total()).await;
    assert_eq!(recorder.all().len(), writer.total(), "nothing is sent again");
    assert_exact(&recorder, &[&writer]);
    agent.stop().await;
    drop(disk);
}

/// 27. Positions in the format of another release, older or newer: read again in full, plain, compressed and with a line that is not whole; and gone on from
/// by whoever wrote them next.
#[tokio::test(flavor = "multi_thread")]
async fn case_27_positions_of_another_release_are_a_full_re_read() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let mut writer = Sequence::new(node.container("app"));
    writer.lines(200);
    let rotated = writer.container.rotate();
    writer.lines(200);
    writer.container.rotate();
    writer.lines(200);
    gzip(&rotated);
    let agent = Agent::start(node.config(&recorder.url())).await;
    recorder.wait_for(600).await;
    agent.stop().await;
    for version in [0, 2] {
        for name in ["positions.json", "positions.json.1"] {
            let path = node.data().join(name);
            let Ok(text) = std::fs::read_to_string(&path) else { continue };
            let (_, rest) = text.split_once("\"body\":").unwrap();
            let other = format!("\"version\":{version}");
            let body = rest.strip_suffix("}\n").unwrap().replace("\"version\":1", &other);
            assert!(body.contains(&other), "{body}");
            std::fs::write(path, format!("{{\"crc32c\":\"{:08x}\",\"body\":{body}}}\n", crc32c::crc32c(body.as_bytes()))).unwrap();
        }
        writer.lines(50);
        // Half a line, whose rest comes while the next agent runs.
        let (record, _) = writer.next(0);
        let (head, rest) = record.split_at(record.len() / 2);
        writer.container.raw(head.as_bytes());
        let before = recorder.all().len();
        let agent = Agent::start(node.config(&recorder.url())).await;
        let is_read_again = || recorder.all().len() >= before + writer.total() - 1;
        wait_until("a full read", is_read_again, || recorder.all().len().to_string()).await;
        writer.container.raw(rest.as_bytes());
        recorder.wait_for(writer.total()).await;
        assert_exact(&recorder, &[&writer]);
        assert_eq!(agent.metric("full_reread_total"), 3.0, "version {version}");
        agent.assert_balanced();
        agent.stop().await;
        let sent = recorder.all().len();
        let agent = Agent::start(node.config(&recorder.url())).await;
        writer.lines(10);
        recorder.wait_for(writer.total()).await;
        assert_eq!(recorder.all().len(), sent + 10, "nothing is sent again");
        agent.stop().await;
    }
}

/// 28. The receiver is set back by an hour; `rewind --since 2h` brings back what the node still has.
#[tokio::test(flavor = "multi_thread")]
async fn case_28_rewind_sends_again_what_is_still_there_and_counts_what_is_not() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let now = jiff::Timestamp::now();
    let half_minutes_ago = |halves: i64| now - jiff::SignedDuration::from_secs(30 * halves);
    let mut container = node.container("app");
    // A line every half minute, each file so many minutes old, and the last the live one.
    let mut rotated = Vec::new();
    let write = |container: &mut Container, minutes: std::ops::Range<i64>| {
        for halves in (2 * minutes.start..2 * minutes.end).rev() {
            container.raw(format!("{} stdout F {halves}\n", half_minutes_ago(halves)).as_bytes());
        }
    };
    for minutes in [260..300, 200..250, 70..110, 40..70, 20..40] {
        write(&mut container, minutes);
        rotated.push(container.rotate());
    }
    write(&mut container, 1..20);
    let agent = Agent::start(node.config(&recorder.url())).await;
    let all = 2 * (40 + 50 + 40 + 30 + 20 + 19);
    recorder.wait_for(all).await;
    gzip(&rotated[3]);
    pause(700).await;
    agent.stop().await;
    let before = recorder.stored();
    std::fs::remove_file(&rotated[4]).unwrap();
    let backup = i64::try_from(half_minutes_ago(120).as_nanosecond()).unwrap();
    recorder.keep(|entry| entry.timestamp < backup);
    let kept = recorder.all().len();
    // Nothing of it comes by itself.
    let agent = Agent::start(node.config(&recorder.url())).await;
    write(&mut container, 0..1);
    recorder.wait_for(kept + 2).await;
    agent.stop().await;
    assert_eq!(recorder.all().len(), kept + 2);
    let output = Command::new(env!("CARGO_BIN_EXE_tailwater-agent"))
        .args(["rewind", "--since", "2h", "--data-dir"])
        .arg(node.data())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let agent = Agent::start(node.config(&recorder.url())).await;
    // All but the file that is gone, of twenty minutes.
    recorder.wait_for(all + 2 - 40).await;
    pause(500).await;
    let halves_of = |entry: &Entry| entry.line.parse::<i64>().unwrap();
    let expected: BTreeSet<Entry> = before.into_iter().filter(|entry| !(40..80).contains(&halves_of(entry))).collect();
    let (of_before, new): (BTreeSet<Entry>, BTreeSet<Entry>) = recorder.stored().into_iter().partition(|entry| halves_of(entry) >= 2);
    assert!(of_before == expected, "{} lines of {}", of_before.len(), expected.len());
    assert_eq!(new.len(), 2);
    let oldest_sent = recorder.all().iter().filter(|entry| halves_of(entry) >= 520).count();
    assert_eq!(oldest_sent, 80, "a file from before the one before those two hours is left alone");
    assert_eq!(agent.metric("possible_loss_total{reason=\"rotated_away\"}"), 1.0, "and the file that is gone is counted");
    assert_eq!(agent.metric("balance_errors_total"), 0.0);
    agent.stop().await;
    // The request was for once.
    let sent = recorder.all().len();
    let agent = Agent::start(node.config(&recorder.url())).await;
    container.line("1");
    wait_until("the next line", || recorder.all().len() > sent, String::new).await;
    agent.stop().await;
    assert_eq!(recorder.all().len(), sent + 1);
}

/// 70. Promtail's positions.yaml on the day of migration: nothing is sent again, nothing is left out, and it is taken over once.
#[tokio::test(flavor = "multi_thread")]
async fn case_70_positions_of_promtail_are_gone_on_from_once() {
    let (node, recorder) = (Node::new(), Recorder::start(true).await);
    let (mut known, mut unknown) = (node.container("known"), node.container("unknown"));
    (0..100).for_each(|number| known.line(&format!("line {number}")));
    let offset: usize = std::fs::read_to_string(known.live()).unwrap().split_inclusive('\n').take(60).map(str::len).sum();
    (0..10).for_each(|number| unknown.line(&format!("line {number}")));
    let positions = node.data().with_file_name("positions.yaml");
    std::fs::write(&positions, format!("positions:\n  {}: \"{offset}\"\n  /gone/0.log: \"17\"\n", known.live().display())).unwrap();
    let yaml = node.data().with_file_name("promtail.yaml");
    let targets = [&known, &unknown]
        .map(|container| {
            let name = container.directory.file_name().unwrap().to_string_lossy().into_owned();
            format!("  - {{targets: [localhost], labels: {{container: {name}, __path__: '{}'}}}}\n", container.live().display())
        })
        .concat();
    let text = format!(
        "server: {{disable: true}}\nclients: [{{url: '{}', batchwait: 50ms}}]\npositions: {{filename: {}}}\nscrape_configs:\n- job_name: t\n  pipeline_stages: [{{cri: {{}}}}]\n  static_configs:\n{targets}",
        recorder.url(),
        positions.display(),
    );
    std::fs::write(&yaml, text).unwrap();
    let start = || Program::start_with(&node, &recorder.url(), &["--promtail-config", yaml.to_str().unwrap()]);
    let mut program = start();
    recorder.wait_for(50).await;
    known.line("line 100");
    known.rotate();
    known.line("line 101");
    recorder.wait_for(52).await;
    program.kill();
    program = start();
    known.line("line 102");
    recorder.wait_for(53).await;
    let expected = |from: usize, to: usize| (from..to).map(|number| format!("line {number}")).collect::<Vec<_>>();
    let lines = recorder.lines();
    assert_eq!((&lines["known/stdout"], &lines["unknown/stdout"]), (&expected(60, 103), &expected(0, 10)));
    assert!(program.terminate().await.success());
}
