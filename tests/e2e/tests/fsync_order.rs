//! A 204 from a folder store comes after the segment was written, synced, linked to its name, and its folder synced.
#![allow(clippy::disallowed_methods, reason = "drills run in real time")]

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tailwater_e2e::aggregator::{Aggregator, folder_invocation};
use tailwater_e2e::drill::{Folder, drill};
use tailwater_e2e::process::Invocation;
use tailwater_e2e::programs;
use tailwater_e2e::system_calls::{self, Call};
use tailwater_podwriter::UnixNanoseconds;

const TRACED: &str = "trace=write,writev,pwrite64,fsync,fdatasync,link,linkat,rename,renameat,renameat2,sendto,sendmsg";

/// Why strace cannot be used here, if so.
fn obstacle() -> Option<String> {
    let strace = match programs::in_path("strace") {
        Ok(strace) => strace,
        Err(error) => return Some(error.to_string()),
    };
    match Command::new(strace).args(["-f", "-o", "/dev/null", "true"]).output() {
        Ok(tried) if tried.status.success() => None,
        Ok(tried) => Some(String::from_utf8_lossy(&tried.stderr).trim().to_owned()),
        Err(error) => Some(error.to_string()),
    }
}

async fn fsync_order(folder: Folder) -> Result<()> {
    let store = folder.below("store")?;
    let trace = folder.path().join("trace");
    let (port, program) = folder_invocation(&store)?;
    let flags = ["-f", "-y", "-s", "64", "-e", TRACED, "-o"].map(str::to_owned);
    let words = [trace.display().to_string(), program.program.display().to_string()];
    let arguments = flags.into_iter().chain(words).chain(program.arguments);
    let invocation = Invocation::new(programs::in_path("strace")?, arguments);
    let mut aggregator = Aggregator::start(folder.path(), port, invocation).await?;
    let api = aggregator.api()?;
    // What the start itself writes is not looked at.
    let before = fs::read_to_string(&trace)?.len();
    api.push_lines(&[("app", "order")], &[(UnixNanoseconds::now().0, "a line that is stored before it is acknowledged")]).await?;
    aggregator.process().kill_now()?;
    let output = fs::read_to_string(&trace)?;
    let output = output.get(before..).context("the trace shrank")?;
    let calls = system_calls::read(output);
    require_order(&calls, &store.display().to_string()).with_context(|| format!("the calls were:\n{output}"))
}

fn require_order(calls: &[Call], store: &str) -> Result<()> {
    let answer = calls.iter().find(|call| call.text.contains("HTTP/1.1 204")).context("no 204 was sent")?;
    let link = calls
        .iter()
        .rfind(|call| call.name.starts_with("link") && call.text.contains(store) && call.text.ends_with("= 0"))
        .context("nothing was linked in the store")?;
    let paths: Vec<&str> = link.text.split('"').skip(1).step_by(2).collect();
    let [from, to] = paths[..] else { anyhow::bail!("a link without two names: {}", link.text) };
    let (from, to) = (whole(from, store), whole(to, store));
    let folder = to.rsplit_once('/').context("a name without a folder")?.0;
    let of = |path: &str| format!("<{path}>");
    let is_sync = |call: &&Call| call.name == "fsync" || call.name == "fdatasync";
    let last_write = calls.iter().rfind(|call| call.name.contains("write") && call.text.contains(&of(&from)));
    let last_write = last_write.context("nothing was written into the new file")?;
    let synced = calls.iter().filter(is_sync).find(|call| call.text.contains(&of(&from))).context("the new file was not synced")?;
    let folder_synced = calls
        .iter()
        .find(|call| call.name == "fsync" && call.text.contains(&of(folder)) && call.began > link.began)
        .context("the folder was not synced after the link")?;
    for (what, earlier, later) in [
        ("written before synced", last_write, synced),
        ("synced before linked", synced, link),
        ("linked before the folder is synced", link, folder_synced),
        ("all that before the 204", folder_synced, answer),
    ] {
        ensure!(earlier.ended < later.began, "not {what}: {earlier:?} and {later:?}");
        println!("{what}: {}({} ... then {}", earlier.name, earlier.text.chars().take(100).collect::<String>(), later.name);
    }
    Ok(())
}

/// A path of the trace that may be relative to nothing but itself.
fn whole(path: &str, store: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("{store}/{path}") }
}

#[test]
fn a_push_is_synced_before_it_is_acknowledged() {
    match obstacle() {
        Some(reason) => println!("SKIPPED: system calls cannot be watched here: {reason}"),
        None => drill("fsync-order", fsync_order),
    }
}
