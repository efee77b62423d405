//! What to write, where and how fast. Every field is a plain value; [`TreeOptions::validate`] names the first that
//! is out of range.

use std::path::PathBuf;

use crate::error::Error;
use crate::timestamp::UnixNanoseconds;

/// The tree: its pods, its files and the shape of its lines. Shares are between 0 and 1.
#[derive(Clone, Debug, PartialEq)]
pub struct TreeOptions {
    /// Stands for `/var/log/pods`; created if missing.
    pub directory: PathBuf,
    /// Names of the pods and, for [`crate::generate`], every byte follow from it.
    pub seed: u64,
    pub pods: usize,
    /// A live file of at least this many bytes is rotated.
    pub rotate_bytes: u64,
    /// Files kept of one container, the live one included; `None` keeps all.
    pub max_files: Option<usize>,
    /// Lines longer than this many bytes are cut into `P` pieces of this size and a last `F`.
    pub piece_bytes: usize,
    /// Share of lines that are cut at random places although they are short.
    pub partial_share: f64,
    /// Share of lines that are 17 to 60 KiB long.
    pub long_line_share: f64,
    /// Share of lines that go to the stream a container does not mainly use.
    pub second_stream_share: f64,
    /// Share of lines that repeat the line before of their stream exactly.
    pub repeat_share: f64,
    /// Share of rotations that cut a line in two: its `P` ends the old file, its `F` begins the new one.
    pub rotation_cut_share: f64,
    /// The node's zone: stamps and names of rotated files are written in it. 0 is written as `Z`.
    pub utc_offset_minutes: i32,
}

/// For [`crate::generate`].
#[derive(Clone, Debug, PartialEq)]
pub struct BatchOptions {
    pub tree: TreeOptions,
    /// Size of the files together; the tree ends with the first line that reaches it.
    pub total_bytes: u64,
    /// The first stamp.
    pub start: UnixNanoseconds,
    /// Lines per second of simulated time: it spaces the stamps, not the writing.
    pub lines_per_second: f64,
    /// Stamps are cut down to multiples of this many nanoseconds, so that 1,000,000 makes equal ones common.
    pub stamp_granularity: u64,
    /// Plant strings of known counts.
    pub needles: bool,
    /// Lines per second of real time at most; `None` writes as fast as it goes.
    pub pace: Option<f64>,
}

/// For [`crate::Writer`].
#[derive(Clone, Debug, PartialEq)]
pub struct LiveOptions {
    pub tree: TreeOptions,
    pub lines_per_second: f64,
}

impl TreeOptions {
    /// A dozen pods, rotation at 10 MiB, nothing deleted, one line in a hundred in pieces.
    pub fn new(directory: impl Into<PathBuf>, seed: u64) -> Self {
        Self {
            directory: directory.into(),
            seed,
            pods: 12,
            rotate_bytes: 10 << 20,
            max_files: None,
            piece_bytes: 16 << 10,
            partial_share: 0.01,
            long_line_share: 0.0002,
            second_stream_share: 0.1,
            repeat_share: 0.0,
            rotation_cut_share: 0.25,
            utc_offset_minutes: 0,
        }
    }

    pub(crate) fn validate(&self) -> Result<(), Error> {
        for (name, share) in [
            ("partial_share", self.partial_share),
            ("long_line_share", self.long_line_share),
            ("second_stream_share", self.second_stream_share),
            ("repeat_share", self.repeat_share),
            ("rotation_cut_share", self.rotation_cut_share),
        ] {
            require((0.0..=1.0).contains(&share), name, share, "a share from 0 to 1")?;
        }
        // With all lines repeating the one before there would be one line for ever.
        require(self.repeat_share < 1.0, "repeat_share", self.repeat_share, "a share below 1")?;
        require(self.pods > 0, "pods", self.pods, "at least 1")?;
        require(self.rotate_bytes > 0, "rotate_bytes", self.rotate_bytes, "at least 1")?;
        require(self.piece_bytes > 0, "piece_bytes", self.piece_bytes, "at least 1")?;
        require(self.max_files != Some(0), "max_files", 0, "at least 1")?;
        let offset = self.utc_offset_minutes;
        require(offset.abs() <= 14 * 60, "utc_offset_minutes", offset, "-840 to 840")
    }
}

impl BatchOptions {
    /// `total_bytes` at full speed with needles, 5,000 lines a simulated second from 2026-01-01 00:00 UTC on.
    pub fn new(tree: TreeOptions, total_bytes: u64) -> Self {
        let start = UnixNanoseconds(1_767_225_600_000_000_000);
        Self { tree, total_bytes, start, lines_per_second: 5_000.0, stamp_granularity: 1, needles: true, pace: None }
    }

    pub(crate) fn validate(&self) -> Result<(), Error> {
        self.tree.validate()?;
        validate_rate("lines_per_second", self.lines_per_second)?;
        if let Some(pace) = self.pace {
            validate_rate("pace", pace)?;
        }
        require(self.stamp_granularity > 0, "stamp_granularity", self.stamp_granularity, "at least 1")?;
        require(self.start.0 >= 0, "start", self.start.0, "a time after 1970")
    }
}

impl LiveOptions {
    /// `lines_per_second` of a dozen pods; five files of 2 MiB are kept of each container.
    pub fn new(directory: impl Into<PathBuf>, seed: u64, lines_per_second: f64) -> Self {
        let tree = TreeOptions { rotate_bytes: 2 << 20, max_files: Some(5), ..TreeOptions::new(directory, seed) };
        Self { tree, lines_per_second }
    }

    pub(crate) fn validate(&self) -> Result<(), Error> {
        self.tree.validate()?;
        require(self.tree.max_files.is_some(), "max_files", "none", "a number, for a live tree grows for ever")?;
        validate_rate("lines_per_second", self.lines_per_second)
    }
}

fn validate_rate(name: &'static str, rate: f64) -> Result<(), Error> {
    require(rate.is_finite() && rate > 0.0, name, rate, "a number above 0")
}

fn require(holds: bool, name: &'static str, value: impl ToString, expected: &'static str) -> Result<(), Error> {
    if holds { Ok(()) } else { Err(Error::Option { name, value: value.to_string(), expected }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid() {
        assert!(BatchOptions::new(TreeOptions::new("x", 1), 1).validate().is_ok());
    }

    #[test]
    fn each_option_out_of_range_is_named() {
        let tree = TreeOptions::new("x", 1);
        for (options, name) in [
            (TreeOptions { partial_share: 1.5, ..tree.clone() }, "partial_share"),
            (TreeOptions { repeat_share: f64::NAN, ..tree.clone() }, "repeat_share"),
            (TreeOptions { repeat_share: 1.0, ..tree.clone() }, "repeat_share"),
            (TreeOptions { pods: 0, ..tree.clone() }, "pods"),
            (TreeOptions { max_files: Some(0), ..tree.clone() }, "max_files"),
            (TreeOptions { utc_offset_minutes: 900, ..tree.clone() }, "utc_offset_minutes"),
        ] {
            assert!(options.validate().unwrap_err().to_string().contains(name));
        }
        let batch = BatchOptions { pace: Some(0.0), ..BatchOptions::new(tree, 1) };
        assert!(batch.validate().unwrap_err().to_string().contains("pace"));
    }
}
