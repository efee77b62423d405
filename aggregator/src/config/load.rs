//! Where a configuration is read from: a file, the process's variables, the command line's flags.

use std::path::{Path, PathBuf};

use serde_yaml_ng::Value;

use crate::config::key::Key;
use crate::config::merge::{ConfigError, Merged, merge};

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("cannot read the configuration file `{}`: {source}; check the path given to --config", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("the configuration file `{}` is no YAML: {source}", path.display())]
    Yaml { path: PathBuf, source: serde_yaml_ng::Error },
    #[error("{}", told(errors))]
    Invalid { errors: Vec<ConfigError> },
}

/// One line, whatever the number: it is what a crashing container shows.
fn told(errors: &[ConfigError]) -> String {
    let all: Vec<String> = errors.iter().map(ConfigError::to_string).collect();
    format!("the configuration has {} mistake{}: {}", errors.len(), if errors.len() == 1 { "" } else { "s" }, all.join("; "))
}

/// Reads and merges. `variable` looks up a process variable; `flags` are those given, with their texts.
pub fn load(file: Option<&Path>, variable: impl Fn(&str) -> Option<String>, flags: &[(&'static Key, String)]) -> Result<Merged, LoadError> {
    let tree = match file {
        Some(path) => read(path)?,
        None => Value::Null,
    };
    let variables: Vec<(&'static Key, String)> = Key::scalars().filter_map(|key| Some((key, variable(&key.variable())?))).collect();
    merge(&tree, &variables, flags).map_err(|errors| LoadError::Invalid { errors })
}

fn read(path: &Path) -> Result<Value, LoadError> {
    let text = std::fs::read_to_string(path).map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
    serde_yaml_ng::from_str(&text).map_err(|source| LoadError::Yaml { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_variables_and_flags_come_together() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("aggregator.yaml");
        std::fs::write(&path, "storage:\n  prefix: from-file\nlog_level: debug\n").expect("written");
        let variable = |name: &str| (name == "TAILWATER_STORAGE_PREFIX").then(|| "from-variable".to_owned());
        let flags = [(Key::find("tenancy.default").expect("a key"), "t".to_owned())];
        let config = load(Some(&path), variable, &flags).expect("a configuration").config;
        assert_eq!(
            (config.storage.prefix.as_str(), config.log_level.as_str(), config.tenancy.default.as_str()),
            ("from-variable", "debug", "t")
        );
    }

    #[test]
    fn mistakes_are_told_in_one_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("aggregator.yaml");
        std::fs::write(&path, "listn: x\nstrict_loki: maybe\n").expect("written");
        let error = load(Some(&path), |_| None, &[]).expect_err("mistakes").to_string();
        assert_eq!(
            error,
            "the configuration has 2 mistakes: listn: unknown key, did you mean `listen`?; strict_loki: `maybe` is not true or false"
        );
    }

    #[test]
    fn a_missing_or_broken_file_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let missing = folder.path().join("no.yaml");
        let error = load(Some(&missing), |_| None, &[]).expect_err("missing").to_string();
        assert!(error.contains("no.yaml") && error.contains("--config"), "{error}");
        let broken = folder.path().join("broken.yaml");
        std::fs::write(&broken, "a: [").expect("written");
        assert!(matches!(load(Some(&broken), |_| None, &[]), Err(LoadError::Yaml { .. })));
    }
}
