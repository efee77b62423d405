//! `cri`: a record of a container runtime into stream, stamp and text; pieces of a split line are joined.
//!
//! A line that is no record passes whole, without `stream`. A tag other than `P` counts as full. Pieces are kept per label set; what is held is bounded
//! by `max_partial_line_size` where it truncates, and by the line limit of the reader otherwise.

use super::context::{KnownStamp, StageContext};
use super::entry::{Entry, Origin, Value};
use super::settings::Settings;
use super::stream_key;
use crate::parse::time::StampReader;
use crate::promtail::report::Report;
use crate::promtail::yaml::Node;
use crate::relabel::Labels;

const SALT: u64 = 0x6372_6900;
const DEFAULT_MAX_PARTIAL_LINES: usize = 100;

#[derive(Debug, Clone)]
pub(crate) struct Cri {
    max_partial_lines: usize,
    /// Bytes of joined pieces that are kept.
    truncate_to: Option<usize>,
    stamps: StampReader,
    partial: Vec<(u64, Entry)>,
}

impl Cri {
    pub(crate) fn from_config(node: &Node, report: &mut Report) -> Option<Self> {
        let mut settings = Settings::of("cri", node, report)?.weakly_typed();
        let max_partial_lines =
            settings.integer("max_partial_lines").and_then(|lines| usize::try_from(lines).ok()).filter(|lines| *lines > 0);
        let size = settings.integer("max_partial_line_size").and_then(|bytes| usize::try_from(bytes).ok()).filter(|bytes| *bytes > 0);
        let truncates = settings.boolean("max_partial_line_size_truncate").unwrap_or(false);
        settings.finish().then(|| Self {
            max_partial_lines: max_partial_lines.unwrap_or(DEFAULT_MAX_PARTIAL_LINES),
            truncate_to: size.filter(|_| truncates),
            stamps: StampReader::default(),
            partial: Vec::new(),
        })
    }

    /// Takes a line; gives what is whole.
    pub(crate) fn take(&mut self, mut entry: Entry, context: &mut StageContext<'_>) -> Vec<Entry> {
        let is_piece = self.read_header(&mut entry, context);
        let key = stream_key(SALT, &entry.labels);
        let index = self.partial.iter().position(|(other, _)| *other == key);
        // Of its own stream too, as Promtail has it; only a limit below that of the streams of a file comes to bear.
        if is_piece && self.partial.len() >= self.max_partial_lines {
            self.shorten(&mut entry.line);
            let given_up = self.partial.drain(..).map(|(_, entry)| entry).collect();
            self.partial.push((key, entry));
            return given_up;
        }
        if let Some(index) = index {
            let (_, before) = self.partial.swap_remove(index);
            let mut line = before.line;
            line.push_str(&entry.line);
            self.shorten(&mut line);
            entry.line = line;
            entry.origin.first = before.origin.first;
        }
        if is_piece {
            self.shorten(&mut entry.line);
            self.partial.push((key, entry));
            return Vec::new();
        }
        vec![entry]
    }

    fn shorten(&self, line: &mut String) {
        if let Some(limit) = self.truncate_to.filter(|limit| line.len() > *limit) {
            line.truncate(line.floor_char_boundary(limit));
        }
    }

    /// Sets stream, stamp and text of a record. Returns whether it is a piece.
    fn read_header(&mut self, entry: &mut Entry, context: &mut StageContext<'_>) -> bool {
        let Some((time, stream, flags, content)) = split(&entry.line) else { return false };
        let is_piece = flags == "P";
        for (name, text) in [("time", time), ("stream", stream), ("flags", flags), ("content", content)] {
            entry.extracted.set(name, Value::Text(text.to_owned()));
        }
        let raw_stamp = self.stamps.read(time.as_bytes()).filter(|(_, length)| *length == time.len()).map(|(stamp, _)| stamp);
        let (stream, content) = (stream.to_owned(), content.to_owned());
        entry.set_label("stream", stream);
        set_runtime_stamp(entry, raw_stamp, is_piece, SALT, context);
        entry.line = content;
        is_piece
    }

    /// Where the stamps of a label set, with `stream`, are remembered.
    pub(crate) fn stamp_key(labels: &Labels) -> u64 {
        stream_key(SALT ^ 1, labels)
    }

    pub(crate) fn held(&self) -> impl Iterator<Item = Origin> {
        self.partial.iter().map(|(_, entry)| entry.origin)
    }

    pub(crate) fn held_bytes(&self) -> usize {
        self.partial.iter().map(|(_, entry)| entry.line.len()).sum()
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = u64> {
        self.partial.iter().map(|(key, _)| *key)
    }

    /// Gives up the pieces of `key`.
    pub(crate) fn flush(&mut self, key: u64) -> Option<Entry> {
        let index = self.partial.iter().position(|(other, _)| *other == key)?;
        Some(self.partial.swap_remove(index).1)
    }
}

/// Stamps an entry with the stamp of a runtime's record; one that cannot be read follows the last one of its label set.
pub(super) fn set_runtime_stamp(entry: &mut Entry, raw: Option<i64>, is_piece: bool, salt: u64, context: &mut StageContext<'_>) {
    let key = stream_key(salt ^ 1, &entry.labels);
    match raw {
        Some(raw) => {
            // Pieces pass on the stamp of their last one, and a record within a record has its own.
            let is_first = !is_piece && !entry.is_stamped;
            let stamp = if is_first { context.runtime_stamp(raw) } else { raw };
            entry.is_stamped |= is_first;
            entry.timestamp = Some(stamp);
            context.learn(KnownStamp { key, parsed: stamp, given: stamp });
        }
        None => {
            if let Some(stamp) = context.following_stamp(key) {
                entry.timestamp = Some(stamp);
            }
        }
    }
}

/// Time, stream, tags and text of a record.
fn split(line: &str) -> Option<(&str, &str, &str, &str)> {
    let (time, rest) = line.split_once(' ')?;
    let (stream, rest) = rest.split_once(' ')?;
    let (flags, content) = rest.split_once(' ')?;
    let is_word = |text: &str| !text.is_empty() && !text.contains(['\t', '\n', '\x0c', '\r']);
    let is_record = is_word(time) && matches!(stream, "stdout" | "stderr") && is_word(flags);
    is_record.then_some((time, stream, flags, content))
}

#[cfg(test)]
mod tests {
    use crate::pipeline::tests::run_lines;

    const STAGE: &str = "- cri: {max_partial_line_size: 9, max_partial_line_size_truncate: true}";

    #[test]
    fn pieces_of_the_streams_are_joined_and_shortened() {
        let lines = [
            "2026-03-01T10:00:00.1Z stdout P out-1 ",
            "2026-03-01T10:00:00.2Z stderr P err-1 ",
            "2026-03-01T10:00:00.4Z stderr F e2",
            "2026-03-01T10:00:00.5Z stdout F out-2",
            "plain",
            "2026-03-01T10:00:00.6Z stdout P:x tagged",
        ];
        let entries = run_lines(STAGE, &lines);
        let seen: Vec<_> = entries.iter().map(|entry| (entry.line.as_str(), entry.labels.get("stream").map(String::as_str))).collect();
        assert_eq!(seen, [("err-1 e2", Some("stderr")), ("out-1 out", Some("stdout")), ("plain", None), ("tagged", Some("stdout"))]);
        assert_eq!(entries[0].timestamp, Some(1_772_359_200_400_000_000));
        assert_eq!(entries[2].timestamp, None);
    }

    #[test]
    fn pieces_beyond_the_limit_are_given_up_for_the_next_one() {
        let record = |second: u32, rest: &str| format!("2026-03-01T10:00:0{second}Z {rest}");
        let lines =
            [record(0, "stdout P a"), record(1, "stdout P b"), record(2, "stderr P x"), record(3, "stdout F c"), record(4, "stderr F y")];
        let of = |stage: &str| -> Vec<String> {
            run_lines(stage, &lines.each_ref().map(String::as_str)).into_iter().map(|entry| entry.line).collect()
        };
        assert_eq!(of("- cri: {max_partial_lines: 1}"), ["a", "b", "c", "xy"]);
        assert_eq!(of("- cri: {max_partial_lines: 2}"), ["abc", "xy"]);
        assert_eq!(of("- cri: {max_partial_lines: '0'}"), ["abc", "xy"]);
    }

    #[test]
    fn equal_stamps_move_on_so_that_equal_lines_stay_apart() {
        let line = "2026-03-01T10:00:00.1Z stdout F same";
        let stamps: Vec<_> = run_lines("- cri:", &[line, line]).iter().map(|entry| entry.timestamp.unwrap()).collect();
        assert_eq!(stamps[1], stamps[0] + 1);
    }
}
