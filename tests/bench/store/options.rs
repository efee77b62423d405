//! What the command was asked to do.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

pub(crate) const HELP: &str = "\
bash tests/bench/run store [OPTIONS]
  --bytes N         size of the data, 500m or 5g (targets are for these; others are for trying; k, m, g are powers of 1000)
  --connections N   pushes in flight (4)
  --keep DIR        keep data and store in DIR, and take the data from there if it has it
  --skip-push DIR   ask the store that an earlier run kept in DIR, without pushing again
  --save            write the figures to tests/bench/results, where the next run finds them to compare with
";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    pub size: DataSize,
    pub connections: usize,
    /// Where data and store stay; without it they go to a temporary folder.
    pub folder: Option<PathBuf>,
    pub is_push_skipped: bool,
    pub is_saved: bool,
}

/// How many bytes of line text are pushed, as it was written on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DataSize {
    pub bytes: u64,
    pub name: String,
}

impl DataSize {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let name = text.trim().to_ascii_lowercase();
        let digits = name.trim_end_matches(['k', 'm', 'g']);
        let factor: u64 = match &name[digits.len()..] {
            "" => 1,
            "k" => 1_000,
            "m" => 1_000_000,
            "g" => 1_000_000_000,
            _ => bail!("`{text}` is no size"),
        };
        let number: u64 = digits.parse().with_context(|| format!("`{text}` is no size"))?;
        let bytes = number.checked_mul(factor).filter(|bytes| *bytes > 0).with_context(|| format!("`{text}` is no size"))?;
        Ok(Self { bytes, name })
    }

    /// Whether the project has targets for this size.
    pub(crate) fn has_targets(&self) -> bool {
        matches!(self.name.as_str(), "500m" | "5g")
    }
}

impl Options {
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut options = Self { size: DataSize::parse("500m")?, connections: 4, folder: None, is_push_skipped: false, is_saved: false };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("`{argument}` needs a value"));
            match argument.as_str() {
                "--bytes" => options.size = DataSize::parse(&value()?)?,
                "--connections" => options.connections = value()?.parse().context("`--connections` needs a number")?,
                "--keep" => options.folder = Some(value()?.into()),
                "--skip-push" => (options.folder, options.is_push_skipped) = (Some(value()?.into()), true),
                "--save" => options.is_saved = true,
                _ => bail!("`{argument}` is no option of this benchmark\n{HELP}"),
            }
        }
        ensure!(options.connections > 0, "`--connections` must be at least 1");
        ensure!(!options.is_saved || options.size.has_targets(), "`--save` is for 500m and 5g");
        ensure!(!options.is_saved || !options.is_push_skipped, "`--save` is for whole runs, not with `--skip-push`");
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Options> {
        Options::parse(text.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_are_read_and_checked() {
        assert_eq!(parse("").unwrap().size.bytes, 500_000_000);
        let options = parse("--bytes 5g --keep /tmp/a --connections 2 --save").unwrap();
        assert_eq!((options.size.bytes, options.connections, options.is_saved), (5_000_000_000, 2, true));
        assert!(parse("--skip-push /tmp/a").unwrap().is_push_skipped);
        for wrong in ["--bytes", "--bytes 0", "--bytes 5mm", "--connections 0", "--bytes 5m --save", "--skip-push a --save", "more"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
