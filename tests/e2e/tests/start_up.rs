//! A start that cannot succeed ends at once, with one line that says what is wrong and what to do.
#![allow(clippy::disallowed_methods, reason = "drills run in real time")]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tailwater_e2e::drill::{Folder, drill};
use tailwater_e2e::process::{Invocation, Process};
use tailwater_e2e::s3::{self, BUCKET, S3Server};
use tailwater_e2e::{aggregator, ports, programs};

/// The programs promise 15 s; the machine may be busy.
const LIMIT: Duration = Duration::from_secs(60);

/// A start, and what its one line must hold.
struct Refused {
    name: &'static str,
    invocation: Invocation,
    /// What is wrong, and what to do.
    words: Vec<String>,
}

impl Refused {
    fn new(name: &'static str, invocation: Invocation, words: &[&str]) -> Self {
        Self { name, invocation, words: words.iter().map(|word| (*word).to_owned()).collect() }
    }

    /// Returns what is wrong with the refusal.
    async fn check(&self, folder: &Path) -> Result<()> {
        let mut process = Process::start(&self.name.replace(' ', "-"), &self.invocation, folder)?;
        let status = process.ended(LIMIT).await?;
        let errors = process.errors();
        println!("{}: {}", self.name, errors.trim_end());
        ensure!(!status.success() && status.code().is_some(), "it ended with {status}");
        ensure!(errors.lines().count() == 1, "it wrote {} lines:\n{errors}", errors.lines().count());
        for word in &self.words {
            ensure!(errors.contains(word.as_str()), "its line does not name `{word}`: {errors}");
        }
        ensure!(!errors.contains("panicked") && !errors.contains("backtrace"), "it panicked: {errors}");
        ensure!(process.output().is_empty(), "it wrote to standard output: {}", process.output());
        Ok(())
    }
}

/// All of them; every one that is not as it should be is told.
async fn check(folder: &Folder, refused: Vec<Refused>) -> Result<()> {
    let mut wrong = Vec::new();
    for start in &refused {
        if let Err(error) = start.check(folder.path()).await {
            wrong.push(format!("{}: {error:#}", start.name));
        }
    }
    ensure!(wrong.is_empty(), "{} of {} refusals are wrong:\n{}", wrong.len(), refused.len(), wrong.join("\n"));
    Ok(())
}

fn aggregator(arguments: &[&str]) -> Result<Invocation> {
    let all = ["serve"].iter().chain(arguments).copied();
    Ok(Invocation::new(programs::ours("tailwater-aggregator")?, all))
}

fn agent(arguments: &[&str]) -> Result<Invocation> {
    Ok(Invocation::new(programs::ours("tailwater-agent")?, arguments.iter().copied()))
}

fn on_s3(port: u16, bucket: &str, access_key: &str, secret_key: &str) -> Result<Invocation> {
    let mut invocation = aggregator::serve(ports::free()?, s3::flags(port, bucket))?;
    invocation.variables = s3::variables(access_key, secret_key);
    Ok(invocation)
}

fn file(folder: &Path, name: &str, text: &str) -> Result<String> {
    let path = folder.join(name);
    fs::write(&path, text)?;
    Ok(path.display().to_string())
}

/// Runs a program as nobody, for whom permissions count, from a copy that nobody can reach.
fn as_nobody(folder: &Path, invocation: Invocation) -> Result<Invocation> {
    // The owner of a process is the owner of its folder in /proc.
    if fs::metadata("/proc/self")?.uid() != 0 {
        return Ok(invocation);
    }
    let copy = folder.join("program");
    fs::copy(&invocation.program, &copy).context("cannot copy the program")?;
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
    let identity = ["--reuid=65534", "--regid=65534", "--clear-groups"].map(str::to_owned);
    let arguments: Vec<String> = identity.into_iter().chain([copy.display().to_string()]).chain(invocation.arguments).collect();
    Ok(Invocation { program: programs::in_path("setpriv")?, arguments, variables: invocation.variables })
}

#[test]
fn the_aggregator_refuses_a_wrong_configuration_in_one_line() {
    drill("start-aggregator", |folder| async move {
        let path = folder.path();
        let taken = TcpListener::bind("127.0.0.1:0")?;
        let address = taken.local_addr()?.to_string();
        let plain_file = file(path, "plain-file", "")?;
        let below_file = format!("{plain_file}/store");
        let read_only: PathBuf = folder.below("read-only")?;
        fs::set_permissions(&read_only, fs::Permissions::from_mode(0o555))?;
        let (read_only, store) = (read_only.display().to_string(), folder.below("store")?.display().to_string());
        let port = ports::free()?.to_string();
        let listen = format!("127.0.0.1:{port}");
        let unknown = file(path, "unknown.yaml", "listn: 127.0.0.1:1\n")?;
        let mistyped = file(path, "mistyped.yaml", "segment_bytes: [1]\n")?;
        let no_yaml = file(path, "no.yaml", "listen: [\n")?;
        let unwritable = aggregator(&["--listen", &listen, "--storage-filesystem-path", &read_only])?;
        let refused = vec![
            Refused::new("unknown key", aggregator(&["--config", &unknown])?, &["listn", "listen"]),
            Refused::new("wrong type", aggregator(&["--config", &mistyped])?, &["segment_bytes"]),
            Refused::new("wrong value of a flag", aggregator(&["--segment-bytes", "much"])?, &["segment-bytes", "much"]),
            Refused::new("no YAML", aggregator(&["--config", &no_yaml])?, &["no.yaml"]),
            Refused::new("no such file", aggregator(&["--config", "/nowhere/aggregator.yaml"])?, &["/nowhere/aggregator.yaml"]),
            Refused::new(
                "store below a file",
                aggregator(&["--listen", &listen, "--storage-filesystem-path", &below_file])?,
                &[&below_file],
            ),
            Refused::new("store not writable", as_nobody(path, unwritable)?, &[&read_only]),
            Refused::new("port in use", aggregator(&["--listen", &address, "--storage-filesystem-path", &store])?, &[&address, "in use"]),
            Refused::new("no bucket", aggregator(&["--listen", &listen, "--storage-type", "s3"])?, &["storage.s3.bucket"]),
        ];
        check(&folder, refused).await
    });
}

#[test]
fn the_aggregator_refuses_an_s3_it_cannot_trust_in_one_line() {
    drill("start-s3", |folder| async move {
        let weed = S3Server::weed(folder.path()).await?;
        let s3rver = S3Server::s3rver(folder.path()).await?;
        let nobody_listens = ports::free()?;
        let mut ignores_conditions = aggregator::serve(ports::free()?, s3rver.flags())?;
        ignores_conditions.variables = s3rver.variables();
        let unreachable = format!("127.0.0.1:{nobody_listens}");
        let refused = vec![
            Refused::new("wrong key", on_s3(weed.port(), BUCKET, "nobody", "tailwater-secret")?, &[BUCKET, "credentials"]),
            Refused::new("wrong secret", on_s3(weed.port(), BUCKET, "tailwater", "guess")?, &[BUCKET, "credentials"]),
            Refused::new("no such bucket", on_s3(weed.port(), "nowhere", "tailwater", "tailwater-secret")?, &["nowhere"]),
            Refused::new("unreachable", on_s3(nobody_listens, BUCKET, "tailwater", "tailwater-secret")?, &[&unreachable]),
            Refused::new("conditions ignored", ignores_conditions, &["condition"]),
        ];
        check(&folder, refused).await
    });
}

#[test]
fn the_agent_refuses_a_wrong_configuration_in_one_line() {
    drill("start-agent", |folder| async move {
        let path = folder.path();
        let taken = TcpListener::bind("127.0.0.1:0")?;
        let address = taken.local_addr()?.to_string();
        let pods = folder.below("pods")?.display().to_string();
        let data = folder.below("data")?.display().to_string();
        let plain_file = file(path, "plain-file", "")?;
        let below_file = format!("{plain_file}/data");
        let read_only: PathBuf = folder.below("read-only")?;
        fs::set_permissions(&read_only, fs::Permissions::from_mode(0o555))?;
        let read_only = read_only.display().to_string();
        let url = "http://127.0.0.1:1/loki/api/v1/push";
        let unknown = file(path, "unknown.yaml", &format!("clients: [{{url: '{url}'}}]\npod_dir: x\n"))?;
        let mistyped = file(path, "mistyped.yaml", &format!("clients: [{{url: '{url}'}}]\nmetadata_wait: [1]\n"))?;
        let common = ["--pods-dir", &pods, "--push-url", url];
        let with = |more: &[&str]| agent(&[&common, more].concat());
        let unwritable = with(&["--listen", "none", "--data-dir", &read_only])?;
        let refused = vec![
            Refused::new("unknown key", agent(&["--config", &unknown])?, &["pod_dir", "pods_dir"]),
            Refused::new("wrong type", agent(&["--config", &mistyped])?, &["metadata_wait"]),
            Refused::new("no receiver", agent(&["--pods-dir", &pods, "--data-dir", &data])?, &["--push-url"]),
            Refused::new(
                "no URL",
                agent(&["--push-url", "here", "--pods-dir", &pods, "--data-dir", &data, "--listen", "none"])?,
                &["here"],
            ),
            Refused::new("data below a file", with(&["--listen", "none", "--data-dir", &below_file])?, &[&below_file]),
            Refused::new("data not writable", as_nobody(path, unwritable)?, &[&read_only]),
            Refused::new("port in use", with(&["--listen", &address, "--data-dir", &data])?, &[&address]),
        ];
        check(&folder, refused).await
    });
}
