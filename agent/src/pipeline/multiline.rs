//! `multiline`: a first line and what follows it as one entry.
//!
//! A block has labels, extracted values and stamp of its first line, and no structured metadata. Blocks are kept per label set. After `max_lines` what
//! follows is sent as a further block of the same first line. When no line came for `max_wait_time` the block ends; what comes later without a
//! first line passes singly, so that what is sent does not depend on anything before it. Lines before the first match pass singly. Of pods in the native
//! configuration what follows after `max_lines` has the stamp of its own first line, and no block is longer than a line may be.

use std::time::{Duration, Instant};

use super::context::StageContext;
use super::entry::{Entry, Origin};
use super::first_line::{FirstLine, TraceState};
use super::regex::Expression;
use super::settings::Settings;
use super::stream_key;
use crate::promtail::report::Report;
use crate::promtail::yaml::Node;

const DEFAULT_MAX_LINES: u64 = 128;
const DEFAULT_MAX_WAIT: Duration = Duration::from_secs(3);
/// Bytes of a block at which it is sent.
const MAX_BLOCK_BYTES: usize = 1 << 20;

#[derive(Debug, Clone)]
pub(crate) struct Multiline {
    salt: u64,
    first_line: FirstLine,
    /// 0: no limit.
    max_lines: u64,
    max_wait: Duration,
    /// Of a block.
    max_bytes: usize,
    /// What follows after `max_lines` is stamped anew.
    stamps_anew: bool,
    blocks: Vec<Block>,
}

#[derive(Debug, Clone)]
struct Block {
    key: u64,
    /// With the text of the block so far.
    start: Entry,
    lines: u64,
    last_line_at: Instant,
    trace: TraceState,
}

impl Block {
    /// What is there so far as an entry; none if that is no text at all.
    fn emit(&mut self) -> Option<Entry> {
        self.lines = 0;
        if self.start.line.is_empty() {
            return None;
        }
        let line = std::mem::take(&mut self.start.line);
        Some(Entry { line, ..self.start.clone() })
    }
}

impl Multiline {
    /// `number` tells the stages of a pipeline apart.
    pub(crate) fn from_config(node: &Node, number: u64, report: &mut Report) -> Option<Self> {
        let mut settings = Settings::of("multiline", node, report)?.weakly_typed();
        let first_line = settings.required("firstline").and_then(|pattern| Expression::compile(&pattern, &mut settings));
        let max_lines = settings.integer("max_lines").map(|lines| u64::try_from(lines).unwrap_or(0));
        let max_wait = settings.duration("max_wait_time").unwrap_or(DEFAULT_MAX_WAIT);
        let is_right = settings.finish();
        first_line.filter(|_| is_right).map(|first_line| Self {
            salt: 0x6d6c_0000 + number,
            first_line: FirstLine::Pattern(first_line),
            max_lines: max_lines.unwrap_or(DEFAULT_MAX_LINES),
            max_wait,
            max_bytes: MAX_BLOCK_BYTES,
            stamps_anew: false,
            blocks: Vec::new(),
        })
    }

    /// For lines of a container in the native configuration.
    pub(crate) fn of_container(first_line: FirstLine, max_bytes: usize) -> Self {
        Self {
            salt: 0x6d6c_ffff,
            first_line,
            max_lines: DEFAULT_MAX_LINES,
            max_wait: DEFAULT_MAX_WAIT,
            max_bytes,
            stamps_anew: true,
            blocks: Vec::new(),
        }
    }

    /// Takes a line; gives what is complete.
    pub(crate) fn take(&mut self, mut entry: Entry, context: &mut StageContext<'_>) -> Vec<Entry> {
        let key = stream_key(self.salt, &entry.labels);
        let index = self.blocks.iter().position(|block| block.key == key);
        let (is_first, trace) = self.first_line.begins(index.map(|index| self.blocks[index].trace), &entry.line);
        let mut complete = Vec::new();
        let block = match (index, is_first) {
            (None, false) => return vec![entry],
            (None, true) => {
                self.blocks.push(begin(key, entry, trace, context));
                let last = self.blocks.len() - 1;
                &mut self.blocks[last]
            }
            (Some(index), true) => {
                complete.extend(self.blocks[index].emit());
                self.blocks[index] = begin(key, entry, trace, context);
                &mut self.blocks[index]
            }
            (Some(index), false) => {
                let block = &mut self.blocks[index];
                block.trace = trace;
                if !block.start.line.is_empty() && block.start.line.len() + 1 + entry.line.len() > self.max_bytes {
                    complete.extend(block.emit());
                }
                if block.lines == 0 && self.stamps_anew {
                    block.start.timestamp = entry.timestamp.or(block.start.timestamp);
                }
                if !block.start.line.is_empty() {
                    block.start.line.push('\n');
                }
                block.start.line.push_str(&std::mem::take(&mut entry.line));
                block.start.origin.last = entry.origin.last;
                block.last_line_at = Instant::now();
                block
            }
        };
        block.lines += 1;
        if block.lines == self.max_lines || block.start.line.len() >= self.max_bytes {
            complete.extend(block.emit());
        }
        complete
    }

    pub(crate) fn held(&self) -> impl Iterator<Item = Origin> {
        self.blocks.iter().map(|block| block.start.origin)
    }

    pub(crate) fn held_bytes(&self) -> usize {
        self.blocks.iter().map(|block| block.start.line.len()).sum()
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = u64> {
        self.blocks.iter().map(|block| block.key)
    }

    pub(crate) fn expired(&self, now: Instant) -> impl Iterator<Item = u64> {
        let is_over = move |block: &&Block| now.saturating_duration_since(block.last_line_at) >= self.max_wait;
        self.blocks.iter().filter(is_over).map(|block| block.key)
    }

    /// Ends the block of `key`.
    pub(crate) fn flush(&mut self, key: u64) -> Option<Entry> {
        let index = self.blocks.iter().position(|block| block.key == key)?;
        self.blocks.swap_remove(index).emit()
    }
}

fn begin(key: u64, mut start: Entry, trace: TraceState, context: &mut StageContext<'_>) -> Block {
    // The stamp belongs to the line, not to the moment at which the block is sent.
    start.timestamp.get_or_insert_with(|| context.read_stamp());
    start.metadata.clear();
    Block { key, start, lines: 0, last_line_at: Instant::now(), trace }
}

#[cfg(test)]
mod tests {
    use crate::pipeline::tests::{Harness, run_lines};

    fn lines(stages: &str, lines: &[&str]) -> Vec<String> {
        let mut harness = Harness::new(stages);
        lines.iter().for_each(|line| harness.feed(line));
        harness.flush_all();
        harness.out.into_iter().map(|entry| entry.line).collect()
    }

    #[test]
    fn blocks_end_with_the_next_first_line_and_after_so_many_lines() {
        let config = "- multiline: {firstline: '^S', max_lines: 3}";
        assert_eq!(lines(config, &["loose", "S1", "b", "c", "d", "S2", "x"]), ["loose", "S1\nb\nc", "d", "S2\nx"]);
        assert_eq!(lines("- multiline: {firstline: '^$'}", &["", "x", "", "y"]), ["x", "y"]);
        assert_eq!(lines("- multiline: {firstline: '^S', max_lines: 0}", &["S", "1", "2"]), ["S\n1\n2"]);
        assert_eq!(lines("- multiline: {firstline: '^A'}", &["A", "", "b"]), ["A\n\nb"]);
    }

    #[test]
    fn streams_have_blocks_of_their_own() {
        let stages = "- regex: {expression: '^(?P<s>\\w)'}\n- labels: {s: }\n- multiline: {firstline: '^\\w F'}";
        assert_eq!(lines(stages, &["a F1", "b F1", "a x", "b x"]), ["a F1\na x", "b F1\nb x"]);
    }

    #[test]
    fn a_held_block_is_told_and_its_stamp_is_the_first_lines() {
        let mut harness = Harness::new("- multiline: {firstline: '^S'}");
        harness.feed("S");
        harness.feed("x");
        assert_eq!(harness.held(), [(0, 1)]);
        harness.feed("S2");
        assert_eq!(harness.held(), [(2, 2)]);
        assert_eq!(harness.out[0].timestamp, Some(1000));
        harness.flush_all();
        assert!(harness.held().is_empty());
        assert!(run_lines("- multiline: {firstline: '^S'}", &["x"]).len() == 1);
    }
}
