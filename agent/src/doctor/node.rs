//! What is on this node: paths and who may read them, the directory for positions, limits of watches and descriptors.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::finding::Finding;
use crate::causes::with_causes;
use crate::config::Config;
use crate::discover::listing::{self, Ignored, SeenPod};
use crate::journal::readable_files;
use crate::positions::lock::{DataDirLock, LockError};
use crate::promtail::ScrapeConfigs;
use crate::promtail::file_sd;
use crate::promtail::journal::JournalConfig;
use crate::promtail::targets::{discovered, judge};
use crate::starting::docker_root;
use crate::tail::file::open_regular;

/// Watches and descriptors that others on the node need as well.
const RESERVE: u64 = 64;
/// Positions need less; a disk with less is about to be full.
const LITTLE_SPACE: u64 = 16 << 20;

pub(super) fn examine(config: &Config) -> Vec<Finding> {
    let mut found = Findings::default();
    if config.reads_pods() {
        found.tree(&config.pods_dir, docker_root(config).as_deref());
    }
    if let Some((scrape, hostname)) = config.scraped() {
        found.jobs(scrape, hostname);
    }
    found.all.push(data_dir(&config.data_dir));
    found.all.extend(limits(found.directories, found.files));
    found.all
}

/// Whether a job that reads the journal finds one.
fn journal(job: &str, config: &JournalConfig) -> Finding {
    const CHECK: &str = "journal";
    match readable_files(config) {
        Ok(0) => Finding::warning(
            CHECK,
            format!("job `{job}` finds no journal file"),
            "mount the node's /var/log/journal and /run/log/journal, or set `journal.path`",
        ),
        Ok(files) => Finding::fine(CHECK, format!("job `{job}` reads {files} journal files")),
        Err(evidence) => Finding::problem(
            CHECK,
            format!("job `{job}`: {evidence}"),
            "run as root, or as a member of the group that may read the journal",
        ),
    }
}

#[derive(Default)]
struct Findings {
    all: Vec<Finding>,
    directories: u64,
    files: u64,
}

impl Findings {
    fn tree(&mut self, root: &Path, docker_root: Option<&Path>) {
        let shown = root.display();
        let mut ignored = Ignored::default();
        // Listing treats a tree that is not there as an empty one.
        let pods =
            fs::metadata(root).and_then(|metadata| if metadata.is_dir() { Ok(()) } else { Err(io::ErrorKind::NotADirectory.into()) });
        let pods = match pods.and_then(|()| listing::pods(root, &mut ignored)) {
            Ok(pods) => pods,
            Err(error) => {
                self.all.push(path_problem(root, &error, "mount the node's /var/log/pods there, or set `pods_dir`"));
                return;
            }
        };
        self.directories += 1 + pods.len() as u64;
        let mut unreadable = None;
        for pod in pods.iter().filter_map(|name| SeenPod::below(root, name)) {
            for name in listing::containers(&pod, &mut ignored).unwrap_or_default() {
                self.directories += 1;
                let container = pod.container(&name);
                match listing::container(&container, docker_root, &mut ignored) {
                    Ok(listing) => {
                        for file in listing.files {
                            self.files += 1;
                            unreadable = self.try_open(&container.directory.join(&file.text)).or(unreadable);
                        }
                    }
                    Err(error) => unreadable = Some((container.directory.to_path_buf(), error.to_string())),
                }
            }
        }
        self.unreadable(unreadable);
        if self.files == 0 {
            let advice =
                "if pods run on this node: mount /var/log/pods of the node itself, and docker's own tree where its files are links";
            self.all.push(Finding::warning("log files", format!("`{shown}` holds {} pods and no log file", pods.len()), advice));
        } else {
            self.all.push(Finding::fine("log files", format!("`{shown}` holds {} pods, {} log files", pods.len(), self.files)));
        }
        if ignored.symlinks > 0 {
            let evidence = format!("{} symlinks below `{shown}` are not followed", ignored.symlinks);
            self.all.push(Finding::warning("log files", evidence, "with docker's files run a `promtail.yaml` with the `docker` stage"));
        }
    }

    fn jobs(&mut self, scrape: &ScrapeConfigs, hostname: &str) {
        for job in &scrape.jobs {
            self.all.extend(job.journal.as_ref().map(|config| journal(&job.name, config)));
            let mut labels: Vec<_> = job.static_groups.iter().flat_map(discovered).collect();
            labels.extend(file_sd::read(&job.target_files).iter().flat_map(discovered));
            for labels in labels {
                match judge(job, labels, hostname) {
                    Ok((target, path)) => {
                        let directories = target.path.base_directories();
                        self.directories += directories.len() as u64;
                        let paths = target.path.find();
                        self.matches(&job.name, &path, &paths);
                    }
                    Err(why) => {
                        let evidence = format!("a target of job `{}` is none: {why}", job.name);
                        self.all.push(Finding::warning(
                            "log files",
                            evidence,
                            "correct its labels or rules; `/service-discovery` shows all of them",
                        ));
                    }
                }
            }
        }
    }

    fn matches(&mut self, job: &str, pattern: &str, paths: &[PathBuf]) {
        let mut unreadable = None;
        for path in paths {
            self.files += 1;
            // The operator named it: a link may be followed.
            let real = path.canonicalize().unwrap_or_else(|_| path.clone());
            unreadable = self.try_open(&real).or(unreadable);
        }
        self.unreadable(unreadable);
        if paths.is_empty() {
            let advice = "correct `__path__`, or mount the directory into this container";
            self.all.push(Finding::warning("log files", format!("no file matches `{pattern}` of job `{job}`"), advice));
        } else {
            self.all.push(Finding::fine("log files", format!("`{pattern}` of job `{job}` names {} files", paths.len())));
        }
    }

    fn try_open(&self, path: &Path) -> Option<(PathBuf, String)> {
        open_regular(path).err().map(|error| (path.to_owned(), with_causes(&error)))
    }

    fn unreadable(&mut self, found: Option<(PathBuf, String)>) {
        if let Some((path, error)) = found {
            let evidence = format!("`{}` cannot be read: {error}; this process is user {}", path.display(), nix::unistd::getuid());
            let advice = "log files belong to root: run as user 0 (no capability is needed), and allow it in SELinux or AppArmor";
            self.all.push(Finding::problem("permissions", evidence, advice));
        }
    }
}

fn path_problem(path: &Path, error: &io::Error, advice: &str) -> Finding {
    let evidence = format!("`{}`: {error}", path.display());
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            Finding::problem("permissions", evidence, "run as user 0 (no capability is needed), and allow it in SELinux or AppArmor")
        }
        _ => Finding::problem("log files", evidence, advice),
    }
}

/// Whether positions can be written; an agent that runs is left alone.
fn data_dir(path: &Path) -> Finding {
    let shown = path.display();
    let advice = "make it writable for this user (a hostPath that survives the pod), or set `data_dir`";
    if path.exists() && !path.is_dir() {
        return Finding::problem("data directory", format!("`{shown}` is no directory"), advice);
    }
    let existing = path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/"));
    if let Ok(space) = nix::sys::statvfs::statvfs(existing) {
        let free = space.blocks_available() * space.fragment_size();
        if free < LITTLE_SPACE {
            return Finding::problem(
                "data directory",
                format!("`{shown}` has {free} bytes left"),
                "free space there; positions stay in memory meanwhile",
            );
        }
    }
    let writable = nix::unistd::access(existing, nix::unistd::AccessFlags::W_OK | nix::unistd::AccessFlags::X_OK);
    if let Err(error) = writable {
        return Finding::problem("data directory", format!("`{shown}` cannot be written: {error}"), advice);
    }
    if !path.exists() {
        return Finding::fine("data directory", format!("`{shown}` is not there yet and can be made"));
    }
    match DataDirLock::take(path) {
        Ok(_) => Finding::fine("data directory", format!("`{shown}` can be written; no agent runs on it")),
        Err(LockError::Held) => Finding::fine("data directory", format!("`{shown}` is in use by a running agent")),
        Err(LockError::Io { source, .. }) => Finding::problem("data directory", format!("`{shown}`: {source}"), advice),
    }
}

fn limits(directories: u64, files: u64) -> Vec<Finding> {
    let read = |name: &str| fs::read_to_string(format!("/proc/sys/fs/inotify/{name}")).ok()?.trim().parse().ok();
    let watches = read("max_user_watches").map(|limit| watches(limit, directories));
    let instance = notify::recommended_watcher(|_| {}).err().map(|error| instance(&error.to_string()));
    let (soft, hard) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap_or((0, 0));
    [watches, instance, Some(descriptors(soft.max(hard), files))].into_iter().flatten().collect()
}

fn watches(limit: u64, directories: u64) -> Finding {
    let evidence = format!("{directories} directories to watch; fs.inotify.max_user_watches is {limit}");
    if directories + RESERVE > limit {
        return Finding::warning(
            "inotify",
            evidence,
            "raise fs.inotify.max_user_watches on the node; files are looked for by scans meanwhile",
        );
    }
    Finding::fine("inotify", evidence)
}

fn instance(error: &str) -> Finding {
    let advice = "raise fs.inotify.max_user_instances on the node; files are looked for by scans meanwhile";
    Finding::warning("inotify", format!("no inotify instance can be made: {error}"), advice)
}

fn descriptors(limit: u64, files: u64) -> Finding {
    let evidence = format!("{files} log files; the limit of open files is {limit}");
    if files + RESERVE > limit {
        let advice = "raise the limit of open files (LimitNOFILE of the container runtime); unread files wait for a free descriptor";
        return Finding::problem("descriptors", evidence, advice);
    }
    Finding::fine("descriptors", evidence)
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    #[test]
    fn limits_that_are_too_low_are_named() {
        for (finding, expected) in [
            (watches(8192, 900), Verdict::Fine),
            (watches(1000, 990), Verdict::Warning),
            (descriptors(1024, 100), Verdict::Fine),
            (descriptors(256, 2000), Verdict::Problem),
        ] {
            assert_eq!(finding.verdict, expected, "{finding}");
        }
        assert!(watches(100, 200).advice.contains("max_user_watches"));
        assert!(instance("too many").advice.contains("max_user_instances"));
    }
}
