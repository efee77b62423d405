//! `| unpack`: an object that carries the line in `_entry` and its labels beside it.
//!
//! Only string values are read. Without `_entry` nothing changes, labels included. Of equal names within a line the last counts; what an
//! earlier parser extracted stays.

use thiserror::Error;

use super::extraction::{Extraction, ParserScratch, Progress, Verdict};
use super::json::{JSON_ERROR, value_text};
use super::json_text::{JsonError, Kind, Value, skip_blanks, string_end, unescape, value_at};
use crate::pipeline::keys::ROOT;

const ENTRY_KEY: &[u8] = b"_entry";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
enum UnpackError {
    #[error("expecting json object(6), but it is not")]
    NoObject,
    #[error(transparent)]
    Json(#[from] JsonError),
}

/// Returns what becomes of the entry, and whether its line was replaced by what is now in `unpacked`.
pub(crate) fn run(mut extraction: Extraction<'_>, scratch: &mut ParserScratch, unpacked: &mut Vec<u8>) -> (Verdict, bool) {
    if extraction.line.is_empty() || extraction.labels.has_all_needed() {
        return (Verdict::Keep, false);
    }
    scratch.keys.start_line();
    scratch.pending.clear();
    unpacked.clear();
    match read(&mut extraction, scratch, unpacked) {
        Ok(false) => (Verdict::Keep, false),
        Ok(true) => {
            for (target, text) in scratch.pending.drain(..) {
                if extraction.extract(target, text) == Progress::Done(Verdict::Drop) {
                    return (Verdict::Drop, false);
                }
            }
            (Verdict::Keep, true)
        }
        Err(error) => {
            extraction.labels.set_parser_error(JSON_ERROR, |details| details.push_str(&error.to_string()));
            (Verdict::Keep, false)
        }
    }
}

/// Reads the object; true if it is packed.
fn read(extraction: &mut Extraction<'_>, scratch: &mut ParserScratch, unpacked: &mut Vec<u8>) -> Result<bool, UnpackError> {
    let line = extraction.line;
    if line[0] != b'{' {
        return Err(UnpackError::NoObject);
    }
    let mut is_packed = false;
    let mut at = skip_blanks(line, 1).ok_or(JsonError::Malformed)?;
    while line[at] != b'}' {
        if line[at] != b'"' {
            return Err(JsonError::Object.into());
        }
        let (key_end, is_escaped) = string_end(line, at + 1).ok_or(JsonError::Malformed)?;
        let colon = skip_blanks(line, key_end + 1).filter(|at| line[*at] == b':').ok_or(JsonError::Malformed)?;
        let value = value_at(line, skip_blanks(line, colon + 1).ok_or(JsonError::Malformed)?)?;
        let key = &line[at + 1..key_end];
        if is_escaped {
            unescape(key, &mut scratch.unescaped).map(|()| scratch.unescaped.clear())?;
        }
        if key == ENTRY_KEY && matches!(value.kind, Kind::String { .. }) {
            unpacked.clear();
            unescape(&line[value.start..value.end], unpacked)?;
            is_packed = true;
        } else if matches!(value.kind, Kind::String { .. }) {
            keep_label(extraction, scratch, key, is_escaped, value)?;
        }
        at = skip_blanks(line, value.after).ok_or(JsonError::Array)?;
        match line[at] {
            b'}' => {}
            b',' => at = skip_blanks(line, at + 1).ok_or(JsonError::Array)?,
            _ => return Err(JsonError::Object.into()),
        }
    }
    Ok(is_packed)
}

/// Keeps a label until it is known whether the line is packed.
fn keep_label(
    extraction: &mut Extraction<'_>,
    scratch: &mut ParserScratch,
    raw: &[u8],
    is_escaped: bool,
    value: Value,
) -> Result<(), JsonError> {
    let key = match scratch.keys.find(ROOT, raw) {
        Some(known) => known,
        None => {
            let mut unescaped = Vec::new();
            if is_escaped {
                unescape(raw, &mut unescaped)?;
            } else {
                unescaped.extend_from_slice(raw);
            }
            extraction.key(&mut scratch.keys, ROOT, raw, &unescaped)
        }
    };
    if let Some(target) = extraction.target(&scratch.keys, key) {
        let text = value_text(extraction, value);
        scratch.pending.push((target, text));
    }
    Ok(())
}
