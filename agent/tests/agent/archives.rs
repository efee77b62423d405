//! Rotated files of jobs that another program than the kubelet compresses: `app.log.1.gz` and the like, whose names move on with every rotation.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tailwater_agent::Config;

use crate::options::configured;
use crate::support::{Agent, Node, Recorder, gzip, wait_until};

struct Logs {
    node: Node,
    recorder: Recorder,
    directory: PathBuf,
}

impl Logs {
    async fn new() -> Self {
        let (node, recorder) = (Node::new(), Recorder::start(false).await);
        let directory = node.data().with_file_name("logs");
        std::fs::create_dir(&directory).unwrap();
        Self { node, recorder, directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn config(&self) -> Config {
        let job = format!(
            "scrape_configs:\n- job_name: app\n  static_configs:\n  - targets: [localhost]\n    \
             labels: {{container: app, stream: s, __path__: '{}'}}\n",
            self.path("app.log").display()
        );
        configured(&self.node, &self.recorder, &job)
    }

    /// Appends numbered lines to the live file.
    fn write(&self, numbers: Range<usize>) {
        let mut live = OpenOptions::new().create(true).append(true).open(self.path("app.log")).unwrap();
        numbers.for_each(|number| writeln!(live, "line {number} {}", "x".repeat(40)).unwrap());
    }

    /// Moves every archive on by one and makes the live file the first of them, as logrotate does.
    fn rotate(&self) {
        for number in (1..9).rev() {
            for end in ["", ".gz"] {
                std::fs::rename(self.path(&format!("app.log.{number}{end}")), self.path(&format!("app.log.{}{end}", number + 1))).ok();
            }
        }
        std::fs::rename(self.path("app.log"), self.path("app.log.1")).unwrap();
    }

    /// Nothing but these lines was sent, each once and in order.
    async fn assert_sent(&self, count: usize) {
        self.recorder.wait_for(count).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let sent: Vec<usize> = self.recorder.all().iter().map(|entry| entry.line.split(' ').nth(1).unwrap().parse().unwrap()).collect();
        assert_eq!(sent, (0..count).collect::<Vec<_>>());
    }
}

/// Leaves the copy the time of change of its file, as gzip does.
fn compress(path: &Path) {
    let modified = path.metadata().unwrap().modified().unwrap();
    gzip(path);
    File::options().write(true).open(format!("{}.gz", path.display())).unwrap().set_modified(modified).unwrap();
}

/// An archive of before the agent came, so many hours old: it is not read.
fn ancient(path: &Path, hours: u64) {
    std::fs::write(path, format!("line 999 of {hours} hours ago {}\n", "y".repeat(400))).unwrap();
    File::options().write(true).open(path).unwrap().set_modified(SystemTime::now() - Duration::from_secs(hours * 3600)).unwrap();
    compress(path);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_read_file_is_read_on_in_its_archive_and_older_ones_are_left_alone() {
    let logs = Logs::new().await;
    ancient(&logs.path("app.log.1"), 2);
    ancient(&logs.path("app.log.2"), 3);
    logs.write(0..20);
    let agent = Agent::start(logs.config()).await;
    logs.recorder.wait_for(20).await;
    agent.stop().await;
    logs.write(20..30);
    logs.rotate();
    compress(&logs.path("app.log.1"));
    logs.write(30..40);
    let agent = Agent::start(logs.config()).await;
    logs.assert_sent(40).await;
    agent.assert_balanced();
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rotations_that_were_missed_are_read_from_their_archives() {
    let logs = Logs::new().await;
    ancient(&logs.path("app.log.1"), 2);
    logs.write(0..20);
    let agent = Agent::start(logs.config()).await;
    logs.recorder.wait_for(20).await;
    agent.stop().await;
    for round in 1..4 {
        logs.write(round * 20..round * 20 + 20);
        // Times of change are what tells which is older.
        tokio::time::sleep(Duration::from_millis(20)).await;
        logs.rotate();
        compress(&logs.path("app.log.1"));
    }
    logs.write(80..90);
    for _ in 0..2 {
        // And again over a restart.
        let agent = Agent::start(logs.config()).await;
        logs.assert_sent(90).await;
        agent.assert_balanced();
        agent.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_is_not_read_again_when_it_is_compressed() {
    let logs = Logs::new().await;
    let agent = Agent::start(logs.config()).await;
    for round in 0..4 {
        logs.write(round * 30..round * 30 + 20);
        if round == 2 {
            // The receiver's answers are late: the file is compressed before it is known to be read.
            logs.recorder.behave(|_| crate::support::Reaction::Delay(Duration::from_millis(300)));
        } else {
            logs.recorder.wait_for(round * 30 + 20).await;
        }
        logs.rotate();
        logs.write(round * 30 + 20..round * 30 + 30);
        // Whoever compresses it here leaves no times behind.
        gzip(&logs.path("app.log.1"));
        wait_until("the lines", || logs.recorder.count() >= round * 30 + 30, || logs.recorder.count().to_string()).await;
    }
    logs.assert_sent(120).await;
    agent.assert_balanced();
    agent.stop().await;
}
