//! Functions over texts. Positions count bytes unless said otherwise, so that a cut may split a character.

use std::borrow::Cow;
use std::ops::Range;

use crate::template::encode;
use crate::template::function::{Call, CallResult, Function, Type};
use crate::template::rune::{lower, mapped, runes, trimmed, trimmed_end, trimmed_start, upper};
use crate::template::value::Value;
use memchr::memmem;

const ONE: &[Type] = &[Type::String];
const TWO: &[Type] = &[Type::String, Type::String];
const THREE: &[Type] = &[Type::String, Type::String, Type::String];
const COUNTED: &[Type] = &[Type::Int, Type::String];

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("lower", ONE, to_lower),
    Function::new("ToLower", ONE, to_lower),
    Function::new("upper", ONE, to_upper),
    Function::new("ToUpper", ONE, to_upper),
    Function::new("title", ONE, title),
    Function::new("trim", ONE, trim_blanks),
    Function::new("TrimSpace", ONE, trim_blanks),
    Function::new("trimAll", TWO, |call| Ok(trim_set(call, 1, 0, |text, test| trimmed(text, test)))),
    Function::new("Trim", TWO, |call| Ok(trim_set(call, 0, 1, |text, test| trimmed(text, test)))),
    Function::new("TrimLeft", TWO, |call| Ok(trim_set(call, 0, 1, |text, test| trimmed_start(text, test)..text.len()))),
    Function::new("TrimRight", TWO, |call| Ok(trim_set(call, 0, 1, |text, test| 0..trimmed_end(text, test)))),
    Function::new("trimPrefix", TWO, |call| Ok(trim_prefix(call, 1, 0))),
    Function::new("TrimPrefix", TWO, |call| Ok(trim_prefix(call, 0, 1))),
    Function::new("trimSuffix", TWO, |call| Ok(trim_suffix(call, 1, 0))),
    Function::new("TrimSuffix", TWO, |call| Ok(trim_suffix(call, 0, 1))),
    Function::new("trunc", COUNTED, |call| {
        let (count, text) = (call.integer(0), call.text(1));
        let length = text.len();
        let size = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
        let kept = if count < 0 { length.saturating_sub(size)..length } else { 0..size.min(length) };
        Ok(Value::Text(cut(text, kept)))
    }),
    Function::new("substr", &[Type::Int, Type::Int, Type::String], substr),
    Function::new("contains", TWO, |call| {
        let (part, text) = (call.text(0), call.text(1));
        Ok(Value::Bool(memmem::find(&text, &part).is_some()))
    }),
    Function::new("hasPrefix", TWO, |call| {
        let (part, text) = (call.text(0), call.text(1));
        Ok(Value::Bool(text.starts_with(&part)))
    }),
    Function::new("hasSuffix", TWO, |call| {
        let (part, text) = (call.text(0), call.text(1));
        Ok(Value::Bool(text.ends_with(&part)))
    }),
    Function::new("replace", THREE, |call| {
        let (old, new, text) = (call.text(0), call.text(1), call.text(2));
        replace(call, text, &old, &new, usize::MAX)
    }),
    Function::new("Replace", &[Type::String, Type::String, Type::String, Type::Int], |call| {
        let (text, old, new) = (call.text(0), call.text(1), call.text(2));
        let limit = usize::try_from(call.integer(3)).unwrap_or(usize::MAX);
        replace(call, text, &old, &new, limit)
    }),
    Function::new("repeat", COUNTED, |call| {
        let (count, text) = (count_of(call.integer(0))?, call.text(1));
        call.budget.text(count.saturating_mul(text.len()))?;
        Ok(Value::text(text.repeat(if text.is_empty() { 0 } else { count })))
    }),
    Function::new("indent", COUNTED, |call| indent(call, "")),
    Function::new("nindent", COUNTED, |call| indent(call, "\n")),
    Function::new("alignLeft", COUNTED, |call| align(call, true)),
    Function::new("alignRight", COUNTED, |call| align(call, false)),
    Function::new("b64enc", ONE, |call| Ok(Value::text(encode::base64(&call.text(0))))),
    Function::new("b64dec", ONE, |call| {
        // A text that is none is answered with the reason, not with an error.
        let decoded = encode::from_base64(&call.text(0));
        Ok(Value::text(decoded.unwrap_or_else(|at| format!("illegal base64 data at input byte {at}").into_bytes())))
    }),
    Function::new("urlencode", ONE, |call| Ok(Value::text(encode::url_query(&call.text(0))))),
    Function::new("urldecode", ONE, |call| encode::from_url_query(&call.text(0)).map(Value::text)),
];

/// A part of a text, without copying it where it is borrowed.
pub(super) fn cut<'v>(text: Cow<'v, [u8]>, range: Range<usize>) -> Cow<'v, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[range]),
        Cow::Owned(mut text) => {
            text.truncate(range.end);
            text.drain(..range.start);
            Cow::Owned(text)
        }
    }
}

fn to_lower<'v>(call: &mut Call<'_, 'v>) -> CallResult<'v> {
    let text = call.text(0);
    Ok(Value::text(if text.is_ascii() { text.to_ascii_lowercase() } else { mapped(&text, lower) }))
}

fn to_upper<'v>(call: &mut Call<'_, 'v>) -> CallResult<'v> {
    let text = call.text(0);
    Ok(Value::text(if text.is_ascii() { text.to_ascii_uppercase() } else { mapped(&text, upper) }))
}

/// The first letter of each word in upper case. Letters, digits and `_` make words; so does all else outside of
/// ASCII that is no blank.
fn title<'v>(call: &mut Call<'_, 'v>) -> CallResult<'v> {
    let mut previous = ' ';
    let text = mapped(&call.text(0), |character| {
        let is_first = match previous {
            '_' => false,
            previous if previous.is_ascii() => !previous.is_ascii_alphanumeric(),
            previous => previous.is_whitespace(),
        };
        previous = character;
        if is_first { upper(character) } else { character }
    });
    Ok(Value::text(text))
}

fn trim_blanks<'v>(call: &mut Call<'_, 'v>) -> CallResult<'v> {
    let text = call.text(0);
    let kept = trimmed(&text, char::is_whitespace);
    Ok(Value::Text(cut(text, kept)))
}

fn trim_set<'v>(
    call: &mut Call<'_, 'v>,
    text: usize,
    set: usize,
    kept: impl Fn(&[u8], &dyn Fn(char) -> bool) -> Range<usize>,
) -> Value<'v> {
    let (text, set) = (call.text(text), call.text(set));
    let set: Vec<char> = runes(&set).map(|(character, _)| character).collect();
    let kept = kept(&text, &|character| set.contains(&character));
    Value::Text(cut(text, kept))
}

fn trim_prefix<'v>(call: &mut Call<'_, 'v>, text: usize, prefix: usize) -> Value<'v> {
    let (text, prefix) = (call.text(text), call.text(prefix));
    let start = if text.starts_with(&prefix) { prefix.len() } else { 0 };
    let end = text.len();
    Value::Text(cut(text, start..end))
}

fn trim_suffix<'v>(call: &mut Call<'_, 'v>, text: usize, suffix: usize) -> Value<'v> {
    let (text, suffix) = (call.text(text), call.text(suffix));
    let end = text.len() - if text.ends_with(&suffix) { suffix.len() } else { 0 };
    Value::Text(cut(text, 0..end))
}

fn substr<'v>(call: &mut Call<'_, 'v>) -> CallResult<'v> {
    let (start, end, text) = (call.integer(0), call.integer(1), call.text(2));
    let length = text.len() as i64;
    if start < 0 {
        return match end {
            ..0 => Err(format!("runtime error: slice bounds out of range [:{end}]")),
            _ if end > length => Err(format!("runtime error: slice bounds out of range [:{end}] with length {length}")),
            _ => Ok(Value::Text(cut(text, 0..end as usize))),
        };
    }
    let end = if end < 0 || end > length { length } else { end };
    if start > end {
        return Err(format!("runtime error: slice bounds out of range [{start}:{end}]"));
    }
    Ok(Value::Text(cut(text, start as usize..end as usize)))
}

/// Replaces up to so many; an empty text is found before each character and at the end.
fn replace<'v>(call: &mut Call<'_, 'v>, text: Cow<'v, [u8]>, old: &[u8], new: &[u8], limit: usize) -> CallResult<'v> {
    let places: Vec<usize> = if old.is_empty() {
        let mut at = 0;
        let starts = runes(&text).map(|(_, length)| {
            at += length;
            at
        });
        std::iter::once(0).chain(starts).take(limit).collect()
    } else {
        memmem::find_iter(&text, old).take(limit).collect()
    };
    if places.is_empty() {
        return Ok(Value::Text(text));
    }
    call.budget.text(places.len().saturating_mul(new.len()))?;
    let mut replaced = Vec::with_capacity(text.len() + places.len() * new.len());
    let mut kept = 0;
    for place in places {
        replaced.extend_from_slice(&text[kept..place]);
        replaced.extend_from_slice(new);
        kept = place + old.len();
    }
    replaced.extend_from_slice(&text[kept..]);
    Ok(Value::text(replaced))
}

fn count_of(count: i64) -> Result<usize, String> {
    usize::try_from(count).map_err(|_| "strings: negative Repeat count".to_owned())
}

fn indent<'v>(call: &mut Call<'_, 'v>, before: &str) -> CallResult<'v> {
    let (width, text) = (count_of(call.integer(0))?, call.text(1));
    let lines = memchr::memchr_iter(b'\n', &text).count() + 1;
    call.budget.text(lines.saturating_mul(width))?;
    let blanks = " ".repeat(width);
    let mut indented = before.as_bytes().to_vec();
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        if index > 0 {
            indented.push(b'\n');
        }
        indented.extend_from_slice(blanks.as_bytes());
        indented.extend_from_slice(line);
    }
    Ok(Value::text(indented))
}

/// Pads or cuts to so many characters. `is_left`: the text begins at the left, and is cut at its end.
fn align<'v>(call: &mut Call<'_, 'v>, is_left: bool) -> CallResult<'v> {
    let (width, text) = (call.integer(0), call.text(1));
    let Ok(width) = usize::try_from(width) else { return Ok(Value::Text(text)) };
    let length = runes(&text).count();
    if width <= length {
        let skipped = if is_left { width } else { length - width };
        let at: usize = runes(&text).take(skipped).map(|(_, length)| length).sum();
        let end = text.len();
        return Ok(Value::Text(cut(text, if is_left { 0..at } else { at..end })));
    }
    call.budget.text(width - length)?;
    let blanks = vec![b' '; width - length];
    Ok(Value::text(if is_left { [&text, blanks.as_slice()].concat() } else { [blanks.as_slice(), &text].concat() }))
}
