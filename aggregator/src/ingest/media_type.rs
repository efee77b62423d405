//! The value of `Content-Type`, read as Loki reads it: by the rules of MIME, with the texts of Go's library.

use std::collections::HashMap;

/// Why a value is no media type. 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MediaTypeError {
    #[error("mime: no media type")]
    Missing,
    #[error("mime: expected slash after first token")]
    Slash,
    #[error("mime: expected token after slash")]
    Subtype,
    #[error("mime: unexpected content after media subtype")]
    Trailing,
    #[error("mime: invalid media parameter")]
    Parameter,
    #[error("mime: duplicate parameter name")]
    Duplicate,
}

/// The media type in lower case, without its parameters, which have to be well formed all the same. A type without a subtype is one too.
pub fn media_type(value: &str) -> Result<String, MediaTypeError> {
    let (essence, _) = value.split_once(';').unwrap_or((value, ""));
    let media_type = essence.trim().to_lowercase();
    check_essence(&media_type)?;
    check_parameters(&value[essence.len()..])?;
    Ok(media_type)
}

fn check_essence(media_type: &str) -> Result<(), MediaTypeError> {
    let (kind, rest) = token(media_type);
    if kind.is_empty() {
        return Err(MediaTypeError::Missing);
    }
    if rest.is_empty() {
        return Ok(());
    }
    let (subtype, rest) = token(rest.strip_prefix('/').ok_or(MediaTypeError::Slash)?);
    match (subtype, rest) {
        ("", _) => Err(MediaTypeError::Subtype),
        (_, "") => Ok(()),
        _ => Err(MediaTypeError::Trailing),
    }
}

/// `text` begins with the first semicolon. One may stand at the end.
fn check_parameters(text: &str) -> Result<(), MediaTypeError> {
    let mut seen = HashMap::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() && rest.trim() != ";" {
        let (name, value, behind) = parameter(rest).ok_or(MediaTypeError::Parameter)?;
        if seen.insert(name.to_lowercase(), value.clone()).is_some_and(|before| before != value) {
            return Err(MediaTypeError::Duplicate);
        }
        rest = behind.trim_start();
    }
    Ok(())
}

/// Name, value and what stands behind `; name=value`.
fn parameter(text: &str) -> Option<(&str, String, &str)> {
    let (name, rest) = token(text.strip_prefix(';')?.trim_start());
    let value = rest.trim_start().strip_prefix('=').filter(|_| !name.is_empty())?.trim_start();
    let (value, rest) = match value.strip_prefix('"') {
        Some(quoted) => unquoted(quoted)?,
        None => Some(token(value)).filter(|(value, _)| !value.is_empty()).map(|(value, rest)| (value.to_owned(), rest))?,
    };
    Some((name, value, rest))
}

/// Text up to the closing quote, and what stands behind it.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut rest = text.chars();
    loop {
        match rest.next()? {
            '"' => return Some((value, rest.as_str())),
            '\\' if rest.as_str().starts_with(is_special) => value.extend(rest.next()),
            character => value.push(character),
        }
    }
}

fn is_special(character: char) -> bool {
    "()<>@,;:\\\"/[]?=".contains(character)
}

fn token(text: &str) -> (&str, &str) {
    let is_inside = |character: char| character.is_ascii_graphic() && !is_special(character);
    text.split_at(text.find(|character| !is_inside(character)).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_are_read_as_go_reads_them() {
        for (value, expected) in [
            ("application/json", Ok("application/json")),
            (" Application/JSON ; charset=utf-8", Ok("application/json")),
            ("application/json;", Ok("application/json")),
            ("application/json; ", Ok("application/json")),
            (r#"application/json; a="x;y\"" ; b=c"#, Ok("application/json")),
            ("application/json; a=1; A=1", Ok("application/json")),
            ("json", Ok("json")),
            ("", Err(MediaTypeError::Missing)),
            ("; charset=utf-8", Err(MediaTypeError::Missing)),
            ("text plain", Err(MediaTypeError::Slash)),
            ("text/", Err(MediaTypeError::Subtype)),
            ("text/plain x", Err(MediaTypeError::Trailing)),
            ("application/json, text/plain", Err(MediaTypeError::Trailing)),
            ("application/json; charset", Err(MediaTypeError::Parameter)),
            ("application/json; charset=", Err(MediaTypeError::Parameter)),
            ("application/json; =utf-8", Err(MediaTypeError::Parameter)),
            ("application/json; a=\"x", Err(MediaTypeError::Parameter)),
            ("application/json;;", Err(MediaTypeError::Parameter)),
            ("application/json; a=1; a=2", Err(MediaTypeError::Duplicate)),
        ] {
            assert_eq!(media_type(value), expected.map(str::to_owned), "{value}");
        }
    }
}
