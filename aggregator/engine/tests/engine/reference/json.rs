//! A reader of JSON that goes as far as it can.

#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// The text of a number or a boolean.
    Scalar(String),
    /// Without quotes and escapes.
    Text(String),
    Null,
    /// With its source text.
    Array(String),
    /// Fields in order, and the source text.
    Object(Vec<(String, Value)>, String),
}

/// The fields of the object that a line begins with, and whether it is whole. What follows is not looked at.
pub(crate) fn object(line: &str) -> (Vec<(String, Value)>, bool) {
    let mut fields = Vec::new();
    let Some(mut rest) = line.trim_start().strip_prefix('{') else { return (fields, false) };
    loop {
        rest = rest.trim_start();
        if rest.starts_with('}') {
            return (fields, true);
        }
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
        let Some((key, length)) = string(rest) else { return (fields, false) };
        let Some(after) = rest[length..].trim_start().strip_prefix(':') else { return (fields, false) };
        let after = after.trim_start();
        let Some((value, length)) = value(after) else { return (fields, false) };
        fields.push((key, value));
        rest = &after[length..];
    }
}

/// The value at the start of a text and its length.
fn value(text: &str) -> Option<(Value, usize)> {
    if text.starts_with('"') {
        return string(text).map(|(text, length)| (Value::Text(text), length));
    }
    if text.starts_with(['{', '[']) {
        let length = block(text)?;
        let source = text[..length].to_owned();
        let value = if text.starts_with('[') { Value::Array(source) } else { Value::Object(object(text).0, source) };
        return Some((value, length));
    }
    let length = text.find([',', '}', ']', ' '])?;
    let word = &text[..length];
    Some((if word == "null" { Value::Null } else { Value::Scalar(word.to_owned()) }, length))
}

/// The length of an object or array, brackets in strings aside.
fn block(text: &str) -> Option<usize> {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        match text.as_bytes()[at] {
            b'"' => {
                at += string(&text[at..])?.1;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// A quoted string at the start of a text, unescaped, and its length with quotes.
pub(crate) fn string(text: &str) -> Option<(String, usize)> {
    let mut unescaped = String::new();
    let mut chars = text.char_indices().skip(1);
    if !text.starts_with('"') {
        return None;
    }
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((unescaped, at + 1)),
            '\\' => match chars.next()?.1 {
                'n' => unescaped.push('\n'),
                'u' => {
                    let digits: String = chars.by_ref().take(4).map(|(_, digit)| digit).collect();
                    unescaped.push(char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?);
                }
                other => unescaped.push(other),
            },
            other => unescaped.push(other),
        }
    }
    None
}
