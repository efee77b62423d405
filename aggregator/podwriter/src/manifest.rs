//! What a tree holds, exactly: the truth that an end-to-end test compares answers with.

use std::fmt::Write;
use std::path::Path;

use crate::error::Error;
use crate::needle::NeedleClass;
use crate::pods::Stream;
use crate::timestamp::UnixNanoseconds;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    pub seed: u64,
    /// Lines, pieces joined.
    pub lines: u64,
    /// Bytes of these lines, without stamps, tags and line feeds.
    pub text_bytes: u64,
    /// Bytes of the files.
    pub file_bytes: u64,
    /// CRI records.
    pub records: u64,
    /// Records that are not the last of their line.
    pub pieces: u64,
    pub rotations: u64,
    /// Rotations with a line that begins in the old file and ends in the new one.
    pub cut_rotations: u64,
    /// Lines that are equal to the line before of their stream because they were to be.
    pub repeated_lines: u64,
    /// Lines that begin with the same stamp as the line before of their stream.
    pub equal_stamps: u64,
    /// Of the first record.
    pub first_stamp: UnixNanoseconds,
    /// Of the last record.
    pub last_stamp: UnixNanoseconds,
    /// Streams that hold at least one line.
    pub streams: Vec<StreamCount>,
    pub needles: Vec<NeedleCount>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamCount {
    pub namespace: String,
    pub pod: String,
    pub uid: String,
    pub container: String,
    pub stream: Stream,
    pub lines: u64,
    pub text_bytes: u64,
}

/// A planted string and in how many lines it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeedleCount {
    pub class: NeedleClass,
    pub text: String,
    pub lines: u64,
}

impl Manifest {
    /// One JSON object.
    pub fn to_json(&self) -> String {
        let mut json = String::from("{\n");
        for (name, number) in [
            ("seed", self.seed),
            ("lines", self.lines),
            ("text_bytes", self.text_bytes),
            ("file_bytes", self.file_bytes),
            ("records", self.records),
            ("pieces", self.pieces),
            ("rotations", self.rotations),
            ("cut_rotations", self.cut_rotations),
            ("repeated_lines", self.repeated_lines),
            ("equal_stamps", self.equal_stamps),
        ] {
            push(&mut json, format_args!("  \"{name}\": {number},\n"));
        }
        push(&mut json, format_args!("  \"first_stamp_ns\": {},\n", self.first_stamp.0));
        push(&mut json, format_args!("  \"last_stamp_ns\": {},\n", self.last_stamp.0));
        let streams = self.streams.iter().map(StreamCount::to_json);
        let needles = self.needles.iter().map(NeedleCount::to_json);
        push(&mut json, format_args!("  \"streams\": [\n{}\n  ],\n", joined(streams)));
        push(&mut json, format_args!("  \"needles\": [\n{}\n  ]\n}}\n", joined(needles)));
        json
    }

    /// Writes [`Manifest::to_json`] to a file.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        std::fs::write(path, self.to_json()).map_err(Error::io("write", path))
    }
}

impl StreamCount {
    fn to_json(&self) -> String {
        format!(
            "    {{\"namespace\": {}, \"pod\": {}, \"uid\": {}, \"container\": {}, \"stream\": {}, \"lines\": {}, \"text_bytes\": {}}}",
            quoted(&self.namespace),
            quoted(&self.pod),
            quoted(&self.uid),
            quoted(&self.container),
            quoted(self.stream.as_str()),
            self.lines,
            self.text_bytes
        )
    }
}

impl NeedleCount {
    fn to_json(&self) -> String {
        format!("    {{\"class\": {}, \"text\": {}, \"lines\": {}}}", quoted(self.class.as_str()), quoted(&self.text), self.lines)
    }
}

fn joined(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(",\n")
}

/// A JSON string.
fn quoted(text: &str) -> String {
    let mut json = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => json.extend(['\\', character]),
            control if control < ' ' => push(&mut json, format_args!("\\u{:04x}", u32::from(control))),
            other => json.push(other),
        }
    }
    json.push('"');
    json
}

fn push(json: &mut String, text: std::fmt::Arguments<'_>) {
    json.write_fmt(text).expect("writing to a string succeeds");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_holds_every_field() {
        let manifest = Manifest {
            seed: 1,
            lines: 2,
            text_bytes: 3,
            file_bytes: 4,
            records: 5,
            pieces: 6,
            rotations: 7,
            cut_rotations: 8,
            repeated_lines: 9,
            equal_stamps: 10,
            first_stamp: UnixNanoseconds(11),
            last_stamp: UnixNanoseconds(12),
            streams: vec![StreamCount {
                namespace: "shop".to_owned(),
                pod: "a\"b\\c\n".to_owned(),
                uid: "u".to_owned(),
                container: "c".to_owned(),
                stream: Stream::Stderr,
                lines: 13,
                text_bytes: 14,
            }],
            needles: vec![NeedleCount { class: NeedleClass::PerMille, text: "w".to_owned(), lines: 15 }],
        };
        let json = manifest.to_json();
        for part in [
            "\"seed\": 1,",
            "\"equal_stamps\": 10,",
            "\"first_stamp_ns\": 11,",
            "\"last_stamp_ns\": 12,",
            r#""pod": "a\"b\\c\u000a""#,
            "\"stream\": \"stderr\", \"lines\": 13, \"text_bytes\": 14}",
            "{\"class\": \"per_mille\", \"text\": \"w\", \"lines\": 15}",
        ] {
            assert!(json.contains(part), "{part} in {json}");
        }
    }
}
