//! systemd's journal: files that systemd's own writer makes, read by the agent as a `promtail.yaml` says.
//!
//! Skips, and says so, where `systemd-journal-remote` (Debian's package of that name) is not there.

use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::program::Program;
use crate::support::{Entry, Node, Reaction, Recorder, label, wait_until};

const WRITER: &str = "/lib/systemd/systemd-journal-remote";

fn has_writer() -> bool {
    let has = Path::new(WRITER).exists();
    if !has {
        println!("skipped: no {WRITER}");
    }
    has
}

fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap()
}

/// Writes a journal file as entries come, in the way journald does.
struct Writer {
    path: PathBuf,
    child: Child,
    /// Microseconds since the epoch, of the next entry.
    time: u64,
}

impl Writer {
    fn start(path: PathBuf, time: u64) -> Self {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut command = Command::new(WRITER);
        let child =
            command.arg("-o").arg(&path).arg("-").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Self { path, child, time }
    }

    fn entry(&mut self, fields: &[(&str, &str)]) {
        let mut text = format!("__REALTIME_TIMESTAMP={}\n__MONOTONIC_TIMESTAMP={}\n", self.time, self.time % 1_000_000_000).into_bytes();
        text.extend_from_slice(b"_BOOT_ID=00000000000000000000000000000001\n_HOSTNAME=node-a\n");
        for (name, value) in fields {
            text.extend_from_slice(format!("{name}\n").as_bytes());
            text.extend_from_slice(&(value.len() as u64).to_le_bytes());
            text.extend_from_slice(value.as_bytes());
            text.push(b'\n');
        }
        text.push(b'\n');
        self.child.stdin.as_mut().unwrap().write_all(&text).unwrap();
        self.time += 7;
    }

    fn line(&mut self, unit: &str, number: usize) {
        let message = format!("line {number}");
        self.entry(&[("_SYSTEMD_UNIT", unit), ("PRIORITY", "6"), ("MESSAGE", &message)]);
    }

    fn lines(&mut self, numbers: std::ops::Range<usize>) {
        numbers.for_each(|number| self.line("kubelet.service", number));
    }

    /// Ends writing; the file is archived as journald does it, under another name.
    fn archive(mut self, name: &str) -> PathBuf {
        self.child.stdin.take();
        self.child.wait().unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(&self.path).unwrap();
        file.write_all_at(&[2], 16).unwrap();
        let archived = self.path.with_file_name(name);
        std::fs::rename(&self.path, &archived).unwrap();
        archived
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.child.stdin.take();
        self.child.wait().ok();
    }
}

const RULES: &str = "[{source_labels: [__journal__systemd_unit], target_label: unit}, {source_labels: [__journal_priority_keyword], target_label: level}, \
                     {source_labels: [unit], regex: noisy.service, action: drop}]";

struct Place {
    node: Node,
    recorder: Recorder,
    yaml: PathBuf,
}

impl Place {
    async fn new(journal: &str, stages: &str) -> Self {
        let (node, recorder) = (Node::new(), Recorder::start(true).await);
        let yaml = node.data().with_file_name("promtail.yaml");
        let text = format!(
            "server: {{disable: true}}\nclients: [{{url: '{}', batchwait: 20ms, backoff_config: {{min_period: 10ms, max_period: 100ms}}}}]\n\
             positions: {{filename: {}}}\nscrape_configs:\n- job_name: journal\n  journal: {{path: {}, labels: {{job: systemd-journal}}{journal}}}\n  \
             pipeline_stages: {stages}\n  relabel_configs: {RULES}\n",
            recorder.url(),
            node.data().with_file_name("positions.yaml").display(),
            node.pods().display(),
        );
        std::fs::write(&yaml, text).unwrap();
        Self { node, recorder, yaml }
    }

    fn journal(&self, name: &str) -> PathBuf {
        self.node.pods().join("0123456789abcdef0123456789abcdef").join(name)
    }

    fn start(&self) -> Program {
        Program::start_with(&self.node, &self.recorder.url(), &["--promtail-config", self.yaml.to_str().unwrap()])
    }

    /// Lines in the order of their stamps, one of identical entries.
    fn lines(&self) -> Vec<String> {
        let mut entries: Vec<Entry> = self.recorder.stored().into_iter().collect();
        entries.sort_by_key(|entry| entry.timestamp);
        entries.into_iter().map(|entry| entry.line).collect()
    }
}

fn numbered(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("line {number}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_become_lines_with_their_stamps_and_the_labels_of_rules() {
    if !has_writer() {
        return;
    }
    let place = Place::new("", "[]").await;
    let mut writer = Writer::start(place.journal("system.journal"), now());
    let first = writer.time;
    let long = "x".repeat(5000);
    writer.entry(&[("_SYSTEMD_UNIT", "kubelet.service"), ("PRIORITY", "3"), ("MESSAGE", "two\nlines")]);
    writer.entry(&[("PRIORITY", "6"), ("MESSAGE", &long)]);
    writer.entry(&[("_SYSTEMD_UNIT", "noisy.service"), ("MESSAGE", "left out by a rule")]);
    writer.entry(&[("_SYSTEMD_UNIT", "kubelet.service")]);
    writer.time = first + 100;
    for _ in 0..3 {
        // Equal in everything, and three entries.
        writer.entry(&[("_SYSTEMD_UNIT", "a.service"), ("MESSAGE", "same")]);
        writer.time = first + 100;
    }
    let _program = place.start();
    place.recorder.wait_for(5).await;
    let mut stored: Vec<Entry> = place.recorder.stored().into_iter().collect();
    stored.sort_by_key(|entry| entry.timestamp);
    let nanos = |micros: u64| i64::try_from(micros * 1000).unwrap();
    assert_eq!((stored[0].line.as_str(), stored[0].timestamp), ("two\nlines", nanos(first)));
    assert_eq!(stored[0].labels, "{job=\"systemd-journal\", level=\"error\", unit=\"kubelet.service\"}");
    assert_eq!((stored[1].line.as_str(), stored[1].timestamp), (long.as_str(), nanos(first + 7)));
    assert_eq!(stored[1].labels, "{job=\"systemd-journal\", level=\"info\"}");
    let stamps: Vec<i64> = stored[2..].iter().map(|entry| entry.timestamp - nanos(first + 100)).collect();
    assert_eq!((stamps, label(&stored[2].labels, "unit")), (vec![0, 1, 2], "a.service".to_owned()));
    // What comes while it runs, from another file.
    let mut other = Writer::start(place.journal("user-1000.journal"), now());
    other.line("b.service", 1);
    place.recorder.wait_for(6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_entry_arrives_once_over_kills_lost_answers_and_rotation() {
    if !has_writer() {
        return;
    }
    let place = Place::new("", "[]").await;
    place.recorder.behave(|number| if number % 3 == 0 { Reaction::LoseAnswer } else { Reaction::Store });
    let mut writer = Writer::start(place.journal("system.journal"), now());
    let mut program = place.start();
    for round in 0..6 {
        writer.lines(round * 500..round * 500 + 250);
        if round % 2 == 1 {
            let time = writer.time;
            writer.archive(&format!("system@{round}.journal"));
            writer = Writer::start(place.journal("system.journal"), time);
        }
        writer.lines(round * 500 + 250..round * 500 + 500);
        place.recorder.wait_for(round * 500 + 100).await;
        program.kill();
        program = place.start();
    }
    place.recorder.wait_for(3000).await;
    assert_eq!(place.lines(), numbered(0..3000));
    // A clean stop, and nothing is sent again; answers are no longer lost, or entries would come twice for that.
    place.recorder.behave(|_| Reaction::Store);
    // What was stored may have come from those that were killed; with one entry more this one has read them all.
    writer.lines(3000..3001);
    place.recorder.wait_for(3001).await;
    assert!(program.terminate().await.success());
    let sent = place.recorder.all().len();
    let program = place.start();
    writer.lines(3001..3002);
    place.recorder.wait_for(3002).await;
    assert_eq!(place.recorder.all().len(), sent + 1);
    assert!(program.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_of_lines_survive_a_kill_and_a_file_removed_while_it_is_read_is_read_to_its_end() {
    if !has_writer() {
        return;
    }
    let place = Place::new("", "[{multiline: {firstline: '^line', max_wait_time: 300ms}}]").await;
    place.recorder.behave(|_| Reaction::Refuse(503));
    let mut writer = Writer::start(place.journal("system.journal"), now());
    for number in 0..300 {
        writer.line("a.service", number);
        writer.entry(&[("_SYSTEMD_UNIT", "a.service"), ("PRIORITY", "6"), ("MESSAGE", "  at a frame")]);
    }
    let mut program = place.start();
    wait_until("a push", || place.recorder.pushes() > 0, || "none".to_owned()).await;
    program.kill();
    let _program = place.start();
    let before = place.recorder.pushes();
    wait_until("a push", || place.recorder.pushes() > before, || "none".to_owned()).await;
    let archived = writer.archive("system@1.journal");
    std::fs::remove_file(archived).unwrap();
    place.recorder.behave(|_| Reaction::Store);
    place.recorder.wait_for(300).await;
    let expected: Vec<String> = (0..300).map(|number| format!("line {number}\n  at a frame")).collect();
    assert_eq!(place.lines(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_of_promtail_is_gone_on_from_and_old_entries_are_left() {
    if !has_writer() {
        return;
    }
    let place = Place::new(", max_age: 1h, matches: _SYSTEMD_UNIT=kubelet.service", "[]").await;
    let mut writer = Writer::start(place.journal("system.journal"), now() - 2 * 3_600_000_000);
    writer.lines(0..10);
    writer.time = now();
    writer.lines(10..20);
    writer.line("other.service", 99);
    let path = writer.path.clone();
    let journalctl = |path: &Path| {
        let output = Command::new("journalctl").args(["-o", "export", "--file"]).arg(path).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    wait_until("all written", || journalctl(&path).matches("__CURSOR=").count() == 21, || journalctl(&path)).await;
    let export = journalctl(&path);
    let cursor = export.lines().filter_map(|line| line.strip_prefix("__CURSOR=")).nth(14).unwrap();
    std::fs::write(place.node.data().with_file_name("positions.yaml"), format!("positions:\n  journal-journal: \"{cursor}\"\n")).unwrap();
    let program = place.start();
    place.recorder.wait_for(5).await;
    writer.lines(20..25);
    place.recorder.wait_for(10).await;
    assert_eq!(place.lines(), numbered(15..25));
    assert!(program.terminate().await.success());
    // Without a cursor what is older than the limit is left.
    std::fs::remove_file(place.node.data().with_file_name("positions.yaml")).unwrap();
    std::fs::remove_dir_all(place.node.data()).unwrap();
    place.recorder.forget();
    let _program = place.start();
    place.recorder.wait_for(15).await;
    assert_eq!(place.lines(), numbered(10..25));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_says_what_is_wrong_with_a_journal() {
    let place = Place::new("", "[]").await;
    let examine = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tailwater-agent"));
        command.arg("doctor").arg("--promtail-config").arg(&place.yaml).arg("--data-dir").arg(place.node.data());
        async { tokio::task::spawn_blocking(move || String::from_utf8(command.output().unwrap().stdout).unwrap()).await.unwrap() }
    };
    let text = examine().await;
    assert!(text.lines().any(|line| line.starts_with("warning") && line.contains("finds no journal file")), "{text}");
    std::fs::create_dir_all(place.journal("")).unwrap();
    std::fs::write(place.journal("system.journal"), b"something else").unwrap();
    let text = examine().await;
    assert!(text.lines().any(|line| line.starts_with("PROBLEM") && line.contains("it is no journal file")), "{text}");
    if has_writer() {
        std::fs::remove_file(place.journal("system.journal")).unwrap();
        let mut writer = Writer::start(place.journal("system.journal"), now());
        writer.lines(0..1);
        drop(writer);
        let text = examine().await;
        assert!(text.contains("reads 1 journal files"), "{text}");
    }
}

/// Killed while pushes are not answered: what was in them must come again.
async fn killed_before_the_answer(fault: Option<&str>) -> Vec<String> {
    let place = Place::new("", "[]").await;
    let mut writer = Writer::start(place.journal("system.journal"), now());
    let start = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tailwater-agent"));
        command.envs(fault.map(|fault| ("TAILWATER_PLANTED_FAULT", fault)));
        Program::start_by(command, &place.node, &place.recorder.url(), &["--promtail-config", place.yaml.to_str().unwrap()])
    };
    for round in 0..2 {
        place.recorder.behave(|_| Reaction::Delay(std::time::Duration::from_secs(100)));
        writer.lines(round * 100..round * 100 + 100);
        let before = place.recorder.pushes();
        let mut program = start();
        wait_until("a push", || place.recorder.pushes() > before, || "none".to_owned()).await;
        program.kill();
    }
    place.recorder.behave(|_| Reaction::Store);
    writer.lines(200..201);
    let _program = start();
    wait_until("the last line", || place.lines().contains(&"line 200".to_owned()), || place.lines().len().to_string()).await;
    place.lines()
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_of_pushes_without_an_answer_come_again() {
    if has_writer() {
        assert_eq!(killed_before_the_answer(None).await, numbered(0..201));
    }
}

#[cfg(feature = "planted-faults")]
#[tokio::test(flavor = "multi_thread")]
async fn planted_a_position_before_the_answer_is_seen_in_the_journal() {
    if has_writer() {
        let lines = killed_before_the_answer(Some("position-before-answer")).await;
        println!("seen: {} of 201 lines", lines.len());
        assert!(lines.len() < 201);
    }
}
