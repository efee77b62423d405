//! A child process: its output in files, its use of the machine, its end.
//!
//! Each child leads a process group of its own, which is killed as a whole when the handle is dropped; `setpriv` has the
//! kernel end the child too when the test dies without dropping anything.

use std::fs::{self, File, OpenOptions};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::deadline::eventually;

/// Kernel clock ticks a second in `/proc`; 100 on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    output: PathBuf,
    errors: PathBuf,
}

/// What a process used so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    pub processor_seconds: f64,
    /// The most memory it ever held.
    pub peak_bytes: u64,
    /// The memory it holds now.
    pub resident_bytes: u64,
}

/// What to start.
#[derive(Debug, Clone)]
pub struct Invocation {
    pub program: PathBuf,
    pub arguments: Vec<String>,
    pub variables: Vec<(String, String)>,
}

impl Invocation {
    pub fn new(program: PathBuf, arguments: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { program, arguments: arguments.into_iter().map(Into::into).collect(), variables: Vec::new() }
    }

    pub fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }
}

impl Process {
    /// Starts it; standard output and error go to `<folder>/<name>.out` and `.err`, behind what is there.
    pub fn start(name: &str, invocation: &Invocation, folder: &Path) -> Result<Self> {
        let (output, errors) = (folder.join(format!("{name}.out")), folder.join(format!("{name}.err")));
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "--"]).arg(&invocation.program).args(&invocation.arguments);
        for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"] {
            command.env_remove(name);
        }
        command.envs(invocation.variables.iter().cloned()).stdin(Stdio::null());
        command.stdout(appended(&output)?).stderr(appended(&errors)?).process_group(0);
        let child = command.spawn().with_context(|| format!("cannot start {name} (`{}`)", invocation.program.display()))?;
        Ok(Self { name: name.to_owned(), child, output, errors })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Fails with what it wrote last if the process has ended.
    pub fn require_running(&mut self) -> Result<()> {
        if self.is_running() {
            return Ok(());
        }
        bail!("{} has ended; it wrote:\n{}", self.name, tail(&self.errors, 20))
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(self.pid(), signal).with_context(|| format!("cannot send {signal} to {}", self.name))
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill_now(&mut self) -> Result<()> {
        self.signal(Signal::SIGKILL)?;
        self.child.wait().with_context(|| format!("cannot wait for {}", self.name))?;
        Ok(())
    }

    /// Waits for its end; after `limit` that is a failure.
    pub async fn ended(&mut self, limit: Duration) -> Result<ExitStatus> {
        let name = self.name.clone();
        let child = std::cell::RefCell::new(&mut self.child);
        eventually(&format!("the end of {name}"), limit, || async { child.borrow_mut().try_wait()?.context("it still runs") }).await
    }

    /// Asks it to end with SIGTERM; it must end with status 0.
    pub async fn stop(&mut self, limit: Duration) -> Result<()> {
        self.signal(Signal::SIGTERM)?;
        let status = self.ended(limit).await?;
        if status.success() {
            return Ok(());
        }
        let how = status.signal().map_or_else(|| status.to_string(), |signal| format!("signal {signal}"));
        bail!("{} ended with {how} after SIGTERM; it wrote:\n{}", self.name, tail(&self.errors, 20))
    }

    /// What it wrote to standard error.
    pub fn errors(&self) -> String {
        fs::read_to_string(&self.errors).unwrap_or_default()
    }

    /// What it wrote to standard output.
    pub fn output(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }

    pub fn usage(&self) -> Result<Usage> {
        let id = self.child.id();
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).with_context(|| format!("cannot look at {}", self.name))?;
        let status = fs::read_to_string(format!("/proc/{id}/status"))?;
        Ok(Usage {
            processor_seconds: processor_seconds(&stat),
            peak_bytes: status_bytes(&status, "VmHWM:")?,
            resident_bytes: status_bytes(&status, "VmRSS:")?,
        })
    }

    /// Of all its threads of this name together.
    pub fn processor_seconds_of_threads(&self, name: &str) -> Result<f64> {
        let mut seconds = 0.0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            // A thread may end while it is looked at.
            let Ok(stat) = fs::read_to_string(thread?.path().join("stat")) else { continue };
            if stat.contains(&format!("({name})")) {
                seconds += processor_seconds(&stat);
            }
        }
        Ok(seconds)
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a process id fits into 31 bits"))
    }
}

/// User and system time of a `stat` of `/proc`.
fn processor_seconds(stat: &str) -> f64 {
    // Fields are counted from behind the name, which may hold blanks: user time is the 12th there.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
    (ticks(11) + ticks(12)) / TICKS_PER_SECOND
}

impl Drop for Process {
    fn drop(&mut self) {
        match killpg(self.pid(), Signal::SIGKILL) {
            // The group may be gone already.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => println!("cannot kill {}: {error}", self.name),
        }
        drop(self.child.wait());
    }
}

/// A line of `/proc/<id>/status` that tells memory.
fn status_bytes(status: &str, name: &str) -> Result<u64> {
    let told = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    let kib: u64 = told.trim().trim_end_matches(" kB").parse().with_context(|| format!("no `{name}` in /proc"))?;
    Ok(kib << 10)
}

fn appended(path: &Path) -> Result<File> {
    OpenOptions::new().append(true).create(true).open(path).with_context(|| format!("cannot open `{}`", path.display()))
}

/// The last lines of a file.
pub fn tail(path: &Path, lines: usize) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, folder: &Path) -> Process {
        let invocation = Invocation::new("/bin/sh".into(), ["-c", script]).with_variable("WORD", "seen");
        Process::start("shell", &invocation, folder).unwrap()
    }

    #[tokio::test]
    async fn output_status_and_use_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = shell("echo $WORD; echo bad >&2; exit 3", folder.path());
        let status = process.ended(Duration::from_secs(20)).await.unwrap();
        assert_eq!((status.code(), process.output().as_str(), process.errors().as_str()), (Some(3), "seen\n", "bad\n"));
        assert!(process.require_running().unwrap_err().to_string().contains("bad"));
        let running = shell("sleep 100", folder.path());
        assert!(running.usage().unwrap().peak_bytes > 0);
    }

    #[tokio::test]
    async fn a_dropped_handle_ends_the_whole_group() {
        let folder = tempfile::tempdir().unwrap();
        let process = shell("sleep 1000 & echo $!; wait", folder.path());
        let output = folder.path().join("shell.out");
        let child: i32 =
            eventually("the id of the child", Duration::from_secs(20), || async { Ok(fs::read_to_string(&output)?.trim().parse()?) })
                .await
                .unwrap();
        drop(process);
        eventually("the end of the child", Duration::from_secs(20), || async {
            let state = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            // Gone, or a zombie that nobody has waited for.
            if state.is_empty() || state.contains(") Z") { Ok(()) } else { bail!("it is there: {state}") }
        })
        .await
        .unwrap();
    }
}
