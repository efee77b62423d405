//! Targets of a job: discovered labels, relabelled, reduced to labels, a pattern of paths and what it leaves out.

use super::glob::Glob;
use super::jobs::{Job, TargetGroup};
use crate::relabel::{Labels, relabel};

const PATH: &str = "__path__";
const PATH_EXCLUDE: &str = "__path_exclude__";
const HOST: &str = "__host__";
const ADDRESS: &str = "__address__";

/// What a job reads, with the labels of its lines but for `filename`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) labels: Labels,
    pub(crate) path: Glob,
    pub(crate) exclude: Option<Glob>,
}

/// The label sets of a group: one for each of its targets.
pub(crate) fn discovered(group: &TargetGroup) -> Vec<Labels> {
    let local = ["localhost".to_owned()];
    let addresses = if group.targets.is_empty() { &local[..] } else { &group.targets };
    let with_address = |address: &String| {
        let mut labels = group.labels.clone();
        labels.insert(ADDRESS.to_owned(), address.clone());
        labels
    };
    addresses.iter().map(with_address).collect()
}

/// The targets that `discovered` labels make, each once.
pub(crate) fn targets(job: &Job, discovered: Vec<Labels>, hostname: &str) -> Vec<Target> {
    let mut targets = Vec::new();
    for labels in discovered {
        if let Ok((target, _)) = judge(job, labels, hostname)
            && !targets.contains(&target)
        {
            targets.push(target);
        }
    }
    targets
}

/// Why discovered labels make no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoTarget {
    #[error("a rule of `relabel_configs` drops it")]
    Relabelled,
    #[error("it belongs to the host `{host}`; this one is `{hostname}`")]
    Elsewhere { host: String, hostname: String },
    #[error("it has no label `__path__`")]
    WithoutPath,
}

/// The target that discovered `labels` make, with its pattern of paths, or why they make none.
pub(crate) fn judge(job: &Job, labels: Labels, hostname: &str) -> Result<(Target, String), NoTarget> {
    let mut labels = relabel(labels, &job.relabel).ok_or(NoTarget::Relabelled)?;
    if let Some(host) = labels.get(HOST).filter(|host| *host != hostname) {
        return Err(NoTarget::Elsewhere { host: host.clone(), hostname: hostname.to_owned() });
    }
    let path = labels.get(PATH).cloned().ok_or(NoTarget::WithoutPath)?;
    let exclude = labels.get(PATH_EXCLUDE).map(|path| Glob::new(path));
    labels.retain(|name, _| !name.starts_with("__"));
    Ok((Target { labels, path: Glob::new(&path), exclude }, path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promtail::parse;

    #[test]
    fn targets_need_a_path_and_the_right_host() {
        let text = "clients: [{url: http://h/p}]\nscrape_configs:\n- job_name: j\n  relabel_configs:\n  - {source_labels: [__address__], target_label: addr}\n  static_configs:\n  - labels: {a: x, __hidden: y, __path__: /a.log}\n  - {targets: [h1, h1], labels: {__path__: /b.log, __host__: me}}\n  - labels: {__path__: /c.log, __host__: you}\n  - labels: {job: nowhere}\n";
        let (config, report) = parse(text, "me".to_owned());
        let job = &config.unwrap_or_else(|| panic!("{report}")).scrape.jobs[0];
        let discovered = job.static_groups.iter().flat_map(discovered).collect();
        let targets = targets(job, discovered, "me");
        let labels: Vec<String> = targets.iter().map(|target| format!("{:?}", target.labels)).collect();
        assert_eq!(labels, ["{\"a\": \"x\", \"addr\": \"localhost\"}", "{\"addr\": \"h1\"}"]);
    }
}
