//! Target groups in files, of `file_sd_configs`: YAML or JSON, which is YAML too.

use super::glob::Glob;
use super::jobs::{TargetGroup, read_groups};
use super::report::Report;
use super::yaml;

/// The groups of all files that `patterns` match; a file that cannot be read is left out, with a line in the log.
pub(crate) fn read(patterns: &[String]) -> Vec<TargetGroup> {
    let mut groups = Vec::new();
    for path in patterns.iter().flat_map(|pattern| Glob::new(pattern).find()) {
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => {
                tracing::warn!(path = %path.display(), error = %error, "file with targets not readable");
                continue;
            }
        };
        let mut report = Report::default();
        let read = match yaml::parse(&text) {
            Ok(node) if node.is_null() => Vec::new(),
            Ok(node) => read_groups(&node, &mut report),
            Err(error) => {
                report.error(error.line, error.what);
                Vec::new()
            }
        };
        if !report.errors.is_empty() {
            tracing::warn!(path = %path.display(), problems = %report, "file with targets is wrong");
            continue;
        }
        for mut group in read {
            group.labels.insert("__meta_filepath".to_owned(), path.to_string_lossy().into_owned());
            groups.push(group);
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_and_json_are_read_and_broken_files_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("a.yaml"), "- targets: [h]\n  labels: {job: a}\n").unwrap();
        std::fs::write(path("b.json"), "[{\"targets\": [\"h\"], \"labels\": {\"job\": \"b\"}}]").unwrap();
        std::fs::write(path("c.yaml"), "- {").unwrap();
        let groups = read(&[format!("{}/*", directory.path().display())]);
        let jobs: Vec<&str> = groups.iter().map(|group| group.labels["job"].as_str()).collect();
        assert_eq!(jobs, ["a", "b"]);
        assert!(groups[0].labels["__meta_filepath"].ends_with("a.yaml"));
    }
}
