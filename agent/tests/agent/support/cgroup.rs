//! Control groups that limit a program, as root may make them in either version of the hierarchy; where that is not allowed the test does without and says so.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const HIERARCHY: &str = "/sys/fs/cgroup";

#[derive(Debug, Clone, Copy)]
pub(crate) enum Limit {
    Memory { bytes: u64 },
    Processor { thousandths: u64 },
}

/// A group of its own, gone when this is dropped: after its program.
pub(crate) struct Group(PathBuf);

impl Group {
    /// `None` if there can be none here.
    pub(crate) fn with(limit: Limit) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("tailwater-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let controller = match limit {
            Limit::Memory { .. } => "memory",
            Limit::Processor { .. } => "cpu",
        };
        let root = Path::new(HIERARCHY);
        let first = root.join(controller).join(&name);
        let second = root.join(&name);
        // What another program turned on already is not an error.
        drop(std::fs::write(root.join("cgroup.subtree_control"), format!("+{controller}")));
        let group = [first, second].into_iter().filter(|path| std::fs::create_dir(path).is_ok()).map(Self).find(|group| group.limit(limit));
        if group.is_none() {
            println!("skipped: no control group of `{controller}` can be made here");
        }
        group
    }

    /// Sets a limit, also of what runs already; `false` if it cannot be set here.
    pub(crate) fn limit(&self, limit: Limit) -> bool {
        let written: [(&str, String); 2] = match limit {
            Limit::Memory { bytes } => [("memory.limit_in_bytes", bytes.to_string()), ("memory.max", bytes.to_string())],
            Limit::Processor { thousandths } => {
                [("cpu.cfs_quota_us", (100 * thousandths).to_string()), ("cpu.max", format!("{} 100000", 100 * thousandths))]
            }
        };
        written.iter().any(|(name, value)| self.0.join(name).exists() && std::fs::write(self.0.join(name), value).is_ok())
    }

    /// The program, in this group from its first instruction on.
    pub(crate) fn command(&self) -> Command {
        let mut shell = Command::new("sh");
        let procs = self.0.join("cgroup.procs");
        shell.args(["-c", &format!("echo $$ > {} && exec \"$@\"", procs.display()), "sh", env!("CARGO_BIN_EXE_tailwater-agent")]);
        shell
    }

    /// The number behind a name in one of these files of the group.
    pub(crate) fn number(&self, files: [&str; 2], name: &str) -> u64 {
        let texts = files.into_iter().filter_map(|file| std::fs::read_to_string(self.0.join(file)).ok());
        let mut values = texts.filter_map(|text| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()));
        values.next_back().unwrap_or_else(|| panic!("no `{name}` in {}", self.0.display()))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A process that has just ended is in it for a moment.
        for _ in 0..100 {
            if std::fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
