//! The real program: started with a node's tree, stopped, killed, its metrics read.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Node, PATIENCE, wait_until};

pub(crate) struct Program {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl Program {
    pub(crate) fn start(node: &Node, url: &str) -> Self {
        Self::start_with(node, url, &[])
    }

    /// With further flags.
    pub(crate) fn start_with(node: &Node, url: &str, flags: &[&str]) -> Self {
        Self::start_by(Command::new(env!("CARGO_BIN_EXE_tailwater-agent")), node, url, flags)
    }

    /// With limits of a shell's `ulimit`.
    pub(crate) fn start_limited(node: &Node, url: &str, ulimit: &str, flags: &[&str]) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{ulimit}; exec \"$@\""), "sh", env!("CARGO_BIN_EXE_tailwater-agent")]);
        Self::start_by(shell, node, url, flags)
    }

    /// With a fault planted.
    #[cfg(feature = "planted-faults")]
    pub(crate) fn start_planted(node: &Node, url: &str, fault: Option<&str>) -> Self {
        Self::start_planted_with(node, url, fault, &[])
    }

    /// With a fault planted and further flags.
    #[cfg(feature = "planted-faults")]
    pub(crate) fn start_planted_with(node: &Node, url: &str, fault: Option<&str>, flags: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tailwater-agent"));
        command.envs(fault.map(|fault| ("TAILWATER_PLANTED_FAULT", fault)));
        Self::start_by(command, node, url, flags)
    }

    /// By a command that ends with the program's path.
    pub(crate) fn start_by(mut command: Command, node: &Node, url: &str, flags: &[&str]) -> Self {
        let log = File::options().create(true).append(true).open(node.log()).unwrap();
        let address = free_address();
        let child = command
            .args(["--listen", &address.to_string(), "--node-name", "node-a", "--push-url", url])
            .arg("--pods-dir")
            .arg(node.pods())
            .arg("--data-dir")
            .arg(node.data())
            .args(flags)
            .env_remove("KUBERNETES_SERVICE_HOST")
            .stderr(Stdio::from(log))
            .spawn()
            .unwrap();
        Self { child, address, log: node.log() }
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// SIGTERM, and the wait for its end.
    pub(crate) async fn terminate(mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        let mut ended = None;
        wait_until(
            "the end",
            || {
                ended = self.child.try_wait().unwrap();
                ended.is_some()
            },
            || "running".to_owned(),
        )
        .await;
        ended.unwrap()
    }

    /// Whether it has ended, and nobody asked for its status yet.
    fn is_over(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        stat.rsplit(')').next().is_none_or(|fields| fields.trim_start().starts_with('Z'))
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// All samples by name with labels, as soon as it answers.
    pub(crate) async fn metrics(&self) -> BTreeMap<String, f64> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = match self.client().get(format!("http://{}/metrics", self.address)).send().await {
                Ok(answer) => answer.text().await,
                Err(error) => Err(error),
            };
            match text {
                Ok(text) => return super::samples(&text),
                Err(error) => assert!(Instant::now() < deadline && !self.is_over(), "no metrics: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until a sample is what `is_right` says.
    pub(crate) async fn wait_for_metric(&self, name: &str, is_right: impl Fn(f64) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let value = self.metrics().await.get(name).copied();
            if value.is_some_and(&is_right) {
                return;
            }
            assert!(Instant::now() < deadline, "`{name}` is {value:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn client(&self) -> reqwest::Client {
        // Only the first of a process takes.
        rustls::crypto::ring::default_provider().install_default().ok();
        reqwest::Client::builder().timeout(PATIENCE).build().unwrap()
    }

    /// Resident memory, in bytes.
    pub(crate) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line of every process");
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
    }

    /// The most memory it ever had, in bytes.
    pub(crate) fn peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a line of every process");
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
    }

    /// Memory of its own, not shared with files, in bytes.
    pub(crate) fn anonymous(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("a line of every process");
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
    }

    /// Memory that only mirrors files, its own program first, in bytes.
    pub(crate) fn of_files(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("RssFile:")).expect("a line of every process");
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
    }

    /// What it answers to a GET; none if it does not.
    pub(crate) async fn status_of(&self, path: &str) -> Option<u16> {
        self.client().get(format!("http://{}{path}", self.address)).send().await.ok().map(|answer| answer.status().as_u16())
    }

    /// What it answers to a POST.
    pub(crate) async fn post(&self, path: &str) -> (u16, String) {
        let answer = self.client().post(format!("http://{}{path}", self.address)).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// Ticks of the processor it used, user and system.
    pub(crate) fn processor_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// Directories that it watches.
    pub(crate) fn inotify_watches(&self) -> usize {
        let descriptors = std::fs::read_dir(format!("/proc/{}/fdinfo", self.child.id())).unwrap().flatten();
        let told = descriptors.filter_map(|descriptor| std::fs::read_to_string(descriptor.path()).ok());
        told.map(|text| text.lines().filter(|line| line.starts_with("inotify wd:")).count()).sum()
    }

    pub(crate) fn open_descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).map_or(0, Iterator::count)
    }
}

/// Free, and of no range from which the system takes ports for connections: one of those could be gone before the program has it.
pub(crate) fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let own = u16::try_from(std::process::id() % 1000).unwrap() * 20;
        let port = 10_000 + (own + NEXT.fetch_add(1, Ordering::Relaxed)) % 22_000;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            println!("the last of its log:\n{}", lines[lines.len().saturating_sub(30)..].join("\n"));
        }
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.kill();
        }
    }
}
