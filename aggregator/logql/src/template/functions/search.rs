//! Functions that take a regular expression. A constant one is compiled with the template.

use crate::regex_dialect::{ClassNames, translate_with};
use crate::stages::regex::{cleaned, is_utf8};
use crate::template::function::{Call, CallResult, Function, Type};
use crate::template::tree::Pattern;
use crate::template::value::Value;
use std::borrow::Cow;

const THREE: &[Type] = &[Type::String, Type::String, Type::String];

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("regexReplaceAll", THREE, |call| replace_all(call, true)).searching(),
    Function::new("regexReplaceAllLiteral", THREE, |call| replace_all(call, false)).searching(),
    Function::new("count", &[Type::String, Type::String], |call| {
        let pattern = pattern(call)?;
        let text = readable(call.text(1));
        Ok(Value::length(matches(&pattern, &text).count()))
    })
    .searching(),
];

fn pattern<'v>(call: &mut Call<'_, 'v>) -> Result<Cow<'v, Pattern>, String> {
    if let Some(pattern) = call.pattern {
        return Ok(Cow::Borrowed(pattern));
    }
    let translated = translate_with(&call.string(0), ClassNames::Loose).map_err(|error| error.to_string())?;
    let regex = translated.compile().map_err(|error| error.to_string())?;
    Ok(Cow::Owned(Pattern { translated, regex }))
}

/// Bytes that are no text are read as U+FFFD.
fn readable(text: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    if is_utf8(&text) { text } else { Cow::Owned(cleaned(&text)) }
}

/// Matches from left to right; an empty one right behind another match does not count, nor one within a character.
fn matches<'t>(pattern: &'t Pattern, text: &'t [u8]) -> impl Iterator<Item = regex::bytes::Captures<'t>> {
    let mut last_end = None;
    pattern.regex.captures_iter(text).filter(move |captures| {
        let Some(whole) = captures.get(0) else { return false };
        if whole.is_empty() && is_within_character(text, whole.start()) {
            return false;
        }
        let counts = !(whole.is_empty() && last_end == Some(whole.start()));
        last_end = Some(whole.end());
        counts
    })
}

fn is_within_character(text: &[u8], at: usize) -> bool {
    text.get(at).is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000)
}

fn replace_all<'v>(call: &mut Call<'_, 'v>, expands: bool) -> CallResult<'v> {
    let pattern = pattern(call)?;
    let text = readable(call.text(1));
    let replacement = call.text(2);
    let template = String::from_utf8_lossy(&replacement);
    let mut replaced = Vec::with_capacity(text.len());
    let mut kept = 0;
    for captures in matches(&pattern, &text) {
        let Some(whole) = captures.get(0) else { continue };
        replaced.extend_from_slice(&text[kept..whole.start()]);
        let before = replaced.len();
        if expands {
            pattern.translated.expand(&template, &captures, &mut replaced);
        } else {
            replaced.extend_from_slice(&replacement);
        }
        call.budget.text(replaced.len() - before)?;
        kept = whole.end();
    }
    replaced.extend_from_slice(&text[kept..]);
    Ok(Value::text(replaced))
}
