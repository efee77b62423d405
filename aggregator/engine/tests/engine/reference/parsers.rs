//! What parsers find in a line.

use tailwater_logql::ast::Extraction;

use super::entry::{Entry, Stop};
use super::filters::regex;
use super::json::{self, Value};

/// A parser's outcome: `Err` where it stops early or fails.
pub(crate) enum Outcome {
    Done,
    Dropped,
    /// The error and what tells it from others of its name.
    Failed(&'static str, String),
}

impl From<Stop> for Outcome {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Enough => Self::Done,
            Stop::Dropped => Self::Dropped,
        }
    }
}

type Extracted = Result<(), Outcome>;

/// A label's name from a key: blanks off, no digit in front, `_` for what labels cannot hold.
fn sanitized(key: &str) -> String {
    let key = key.trim();
    let start = if key.starts_with(|char: char| char.is_ascii_digit()) { "_" } else { "" };
    start.chars().chain(key.chars().map(|char| if char.is_ascii_alphanumeric() { char } else { '_' })).collect()
}

pub(crate) fn json(entry: &mut Entry<'_>) -> Extracted {
    let line = entry.line.clone();
    let (fields, is_whole) = json::object(&line);
    flatten(entry, "", &fields)?;
    if is_whole { Ok(()) } else { Err(broken_json(&line, "no object")) }
}

/// Whatever else is wrong with objects of `data`, they all end too early.
fn broken_json(line: &str, unless_object: &str) -> Outcome {
    let details = if line.trim_start().starts_with('{') { "cut" } else { unless_object };
    Outcome::Failed("JSONParserErr", details.to_owned())
}

fn flatten(entry: &mut Entry<'_>, parent: &str, fields: &[(String, Value)]) -> Extracted {
    for (key, value) in fields {
        let name = sanitized(key);
        if name.is_empty() {
            continue;
        }
        let name = if parent.is_empty() { name } else { format!("{parent}_{}", sanitized_inner(key)) };
        match value {
            Value::Object(fields, _) => flatten(entry, &name, fields)?,
            Value::Scalar(text) | Value::Text(text) => entry.extract(&name, text)?,
            Value::Array(..) | Value::Null => {}
        }
    }
    Ok(())
}

/// A digit may stand behind the parent's name.
fn sanitized_inner(key: &str) -> String {
    key.trim().chars().map(|char| if char.is_ascii_alphanumeric() { char } else { '_' }).collect()
}

/// `| json name="path"`: every name is set, to nothing where the path leads nowhere.
pub(crate) fn json_paths(entry: &mut Entry<'_>, extractions: &[Extraction]) -> Extracted {
    let line = entry.line.clone();
    if line.is_empty() {
        return Ok(());
    }
    if !line.starts_with(['{', '[', '"']) {
        return Err(Outcome::Failed("JSONParserErr", String::new()));
    }
    let (fields, _) = json::object(&line);
    let mut found: Vec<(String, Option<String>)> = Vec::new();
    for extraction in extractions {
        let text = at_path(&fields, &path(&extraction.path)).map(|value| match value {
            Value::Scalar(text) | Value::Text(text) | Value::Object(_, text) | Value::Array(text) => text.clone(),
            Value::Null => String::new(),
        });
        found.push((extraction.name.clone(), text));
    }
    for (name, text) in &found {
        if let Some(text) = text {
            let name = entry.parsed_name(name);
            entry.set(&name, text);
        }
    }
    for (name, _) in found.iter().filter(|(_, text)| text.is_none()) {
        if entry.get(name).is_empty() {
            entry.set(name, "");
        }
    }
    Ok(())
}

/// The first value that the path leads to, through whichever of the fields of one name.
fn at_path<'v>(fields: &'v [(String, Value)], path: &[String]) -> Option<&'v Value> {
    let (key, below) = path.split_first()?;
    fields.iter().filter(|(other, _)| other == key).find_map(|(_, value)| match value {
        value if below.is_empty() => Some(value),
        Value::Object(fields, _) => at_path(fields, below),
        _ => None,
    })
}

/// The keys of `a.b` and `a["b c"]`.
fn path(path: &str) -> Vec<String> {
    let plain = path.replace("[\"", ".").replace("\"]", "");
    plain.split('.').filter(|key| !key.is_empty()).map(str::to_owned).collect()
}

/// Key and value, or where in the line and at what it is broken.
type Pair = Result<(String, String), String>;

/// Pairs of a logfmt line in order.
fn pairs(line: &str) -> Vec<Pair> {
    let mut pairs = Vec::new();
    let mut rest = line.trim_start_matches(|char: char| char <= ' ');
    while !rest.is_empty() {
        let (pair, length) = pair(rest);
        pairs.push(pair.map_err(|at| match rest[at..].chars().next() {
            Some(unexpected) => format!("{unexpected} at {}", line.len() - rest.len() + at),
            None => "not ended".to_owned(),
        }));
        rest = rest[length..].trim_start_matches(|char: char| char <= ' ');
    }
    pairs
}

/// The pair at the start of a text, or where it is broken, and its length; a broken one goes up to the next blank.
fn pair(text: &str) -> (Result<(String, String), usize>, usize) {
    let word = text.find(|char: char| char <= ' ').unwrap_or(text.len());
    let key_length = text[..word].find('=').unwrap_or(word);
    let key = &text[..key_length];
    if key.is_empty() || key.contains('"') {
        return (Err(key.find('"').unwrap_or(0)), word);
    }
    if key_length == word {
        return (Ok((key.to_owned(), String::new())), word);
    }
    let value = &text[key_length + 1..];
    if !value.starts_with('"') {
        let value = &text[key_length + 1..word];
        let broken_at = value.find(['"', '=']).map(|at| key_length + 1 + at);
        return (broken_at.map_or_else(|| Ok((key.to_owned(), value.to_owned())), Err), word);
    }
    match json::string(value) {
        Some((unquoted, length)) => (Ok((key.to_owned(), unquoted)), key_length + 1 + length),
        None => (Err(text.len()), word),
    }
}

pub(crate) fn logfmt(entry: &mut Entry<'_>, is_strict: bool, keeps_empty: bool) -> Extracted {
    let line = entry.line.clone();
    for pair in pairs(&line) {
        match pair {
            Err(details) if is_strict => return Err(Outcome::Failed("LogfmtParserErr", details)),
            Err(_) => {}
            Ok((_, value)) if value.is_empty() && !keeps_empty => {}
            Ok((key, value)) => entry.extract(&sanitized(&key), &value)?,
        }
    }
    Ok(())
}

pub(crate) fn logfmt_keys(entry: &mut Entry<'_>, is_strict: bool, extractions: &[Extraction]) -> Extracted {
    let line = entry.line.clone();
    for extraction in extractions {
        if entry.parsed_name(&extraction.name) == extraction.name {
            entry.set(&extraction.name, "");
        }
    }
    for pair in pairs(&line) {
        match pair {
            Err(details) if is_strict => return Err(Outcome::Failed("LogfmtParserErr", details)),
            Err(_) => {}
            Ok((key, value)) => {
                let is_asked_for = extractions.iter().any(|extraction| extraction.path == key);
                let takes = |extraction: &&Extraction| if is_asked_for { extraction.path == key } else { extraction.name == key };
                for extraction in extractions.iter().filter(takes) {
                    let name = entry.parsed_name(&extraction.name);
                    entry.set(&name, &value);
                }
            }
        }
    }
    Ok(())
}

pub(crate) fn regexp(entry: &mut Entry<'_>, pattern: &str) -> Extracted {
    let (regex, line) = (regex(pattern), entry.line.clone());
    let Some(captures) = regex.captures(&line) else { return Ok(()) };
    for name in regex.capture_names().flatten() {
        entry.extract(name, captures.name(name).map_or("", |capture| capture.as_str()))?;
    }
    Ok(())
}

pub(crate) fn pattern(entry: &mut Entry<'_>, pattern: &str) -> Extracted {
    let line = entry.line.clone();
    let mut parts = pattern.split('<');
    let leading = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(leading).filter(|_| !line.is_empty()) else { return Ok(()) };
    for part in parts {
        let (name, literal) = part.split_once('>').expect("a capture");
        let end = if literal.is_empty() { None } else { rest.find(literal) };
        let value = &rest[..end.unwrap_or(rest.len())];
        if name != "_" {
            entry.extract(name, value)?;
        }
        match end {
            Some(end) => rest = &rest[end + literal.len()..],
            None => break,
        }
    }
    Ok(())
}

/// Labels only where there is an `_entry`, which becomes the line.
pub(crate) fn unpack(entry: &mut Entry<'_>) -> Extracted {
    let line = entry.line.clone();
    if line.is_empty() {
        return Ok(());
    }
    let (fields, is_whole) = json::object(&line);
    if !line.starts_with('{') || !is_whole {
        return Err(broken_json(&line, "nothing to unpack"));
    }
    let texts: Vec<(String, String)> =
        fields.into_iter().filter_map(|(key, value)| if let Value::Text(text) = value { Some((key, text)) } else { None }).collect();
    let Some((_, packed)) = texts.iter().find(|(key, _)| key == "_entry") else { return Ok(()) };
    entry.line = packed.clone();
    for (key, text) in texts.iter().filter(|(key, _)| key != "_entry") {
        entry.extract(&sanitized(key), text)?;
    }
    Ok(())
}
