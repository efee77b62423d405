//! What a reader counts while it reads: plain integers, added to the metrics once a look.

use crate::metrics::{DropReason, Metrics};

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct ReadCounts {
    /// Turns of containers, in which at least the size of a file is asked for.
    pub(crate) looks: u64,
    pub(crate) lines: u64,
    pub(crate) bytes: u64,
    pub(crate) clock_steps: u64,
    pub(crate) invalid_utf8: u64,
    pub(crate) parse_errors: u64,
    /// The same where docker's format is asked for.
    pub(crate) docker_errors: u64,
    pub(crate) unparsed_dropped: u64,
    pub(crate) truncated_lines: u64,
    /// Left out of lines and of dropped ones.
    pub(crate) truncated_bytes: u64,
    pub(crate) dropped_bytes: u64,
    /// Sent in pieces.
    pub(crate) split_lines: u64,
    pub(crate) too_long_dropped: u64,
    pub(crate) nul_bytes: u64,
    /// Records of nothing but NUL.
    pub(crate) nul_records: u64,
    /// Beyond the container's limit.
    pub(crate) rate_dropped: u64,
    /// Pieces that are part of another record's line; less those that were sent alone. Not published.
    pub(crate) joined: i64,
    /// Lines of pods that want none to be sent.
    pub(crate) excluded: u64,
    /// Lines that are of no sample.
    pub(crate) unsampled: u64,
    /// Lines of streams beyond the limit.
    pub(crate) stream_limited: u64,
}

impl ReadCounts {
    /// Records of which nothing is sent.
    pub(crate) fn dropped_records(&self) -> u64 {
        self.unparsed_dropped
            + self.too_long_dropped
            + self.nul_records
            + self.rate_dropped
            + self.excluded
            + self.unsampled
            + self.stream_limited
    }

    /// Adds all to `metrics` and starts anew.
    pub(crate) fn publish(&mut self, metrics: &Metrics) {
        let counts = std::mem::take(self);
        metrics.looks.inc_by(counts.looks);
        metrics.lines_read.inc_by(counts.lines);
        metrics.bytes_read.inc_by(counts.bytes);
        if counts == (Self { looks: counts.looks, lines: counts.lines, bytes: counts.bytes, ..Self::default() }) {
            return;
        }
        metrics.clock_steps.inc_by(counts.clock_steps);
        metrics.invalid_utf8.inc_by(counts.invalid_utf8);
        metrics.parse_errors("cri", counts.parse_errors);
        metrics.parse_errors("docker", counts.docker_errors);
        metrics.dropped_lines(DropReason::Unparsed, counts.unparsed_dropped, 0);
        metrics.truncated_lines(counts.truncated_lines, counts.truncated_bytes);
        metrics.split_lines(counts.split_lines);
        metrics.dropped_lines(DropReason::LineTooLong, counts.too_long_dropped, counts.dropped_bytes);
        metrics.dropped_lines(DropReason::RateLimited, counts.rate_dropped, 0);
        metrics.dropped_lines(DropReason::Excluded, counts.excluded, 0);
        metrics.dropped_lines(DropReason::StreamLimited, counts.stream_limited, 0);
        metrics.dropped_lines(DropReason::Unsampled, counts.unsampled, 0);
        metrics.discarded_nul_bytes(counts.nul_bytes);
    }
}
