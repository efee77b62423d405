//! Character classes: `[a-z\d[:alpha:]]`, `\d`, `\pN`, `\p{Greek}`.

use super::class_name::{ClassNames, NamedClass};
use super::escape::{character, push_literal};
use super::{RegexError, RegexErrorKind};

/// The class a Perl escape at the start of `text` stands for, in Rust's dialect, and the text after it. ASCII only.
pub(super) fn perl(text: &str) -> Option<(&'static str, &str)> {
    let class = match text.as_bytes().get(..2)? {
        br"\d" => "[0-9]",
        br"\D" => "[^0-9]",
        br"\s" => r"[\t\n\x0C\r ]",
        br"\S" => r"[^\t\n\x0C\r ]",
        br"\w" => "[0-9A-Za-z_]",
        br"\W" => "[^0-9A-Za-z_]",
        _ => return None,
    };
    Some((class, &text[2..]))
}

fn posix(name: &str) -> Option<&'static str> {
    Some(match name {
        "alnum" => "0-9A-Za-z",
        "alpha" => "A-Za-z",
        "ascii" => r"\x00-\x7F",
        "blank" => r"\t ",
        "cntrl" => r"\x00-\x1F\x7F",
        "digit" => "0-9",
        "graph" => "!-~",
        "lower" => "a-z",
        "print" => " -~",
        "punct" => r"!-/:-@\[-`{-~",
        "space" => r"\t\n\x0B\x0C\r ",
        "upper" => "A-Z",
        "word" => "0-9A-Za-z_",
        "xdigit" => "0-9A-Fa-f",
        _ => return None,
    })
}

/// The class of `\pN`, `\PN`, `\p{Greek}`, `\p{^Greek}` at the start of `text`, and the text after it.
/// `None` if it begins with something else.
pub(super) fn unicode(text: &str, names: ClassNames) -> Result<Option<(String, &str)>, RegexError> {
    let Some(after) = text.strip_prefix(r"\p").or_else(|| text.strip_prefix(r"\P")) else { return Ok(None) };
    let invalid = |rest: &str| RegexErrorKind::InvalidCharRange.at(&text[..text.len() - rest.len()]);
    let Some(first) = after.chars().next() else { return Err(invalid("")) };
    let (name, rest) = match after.strip_prefix('{') {
        Some(braced) => braced.split_once('}').ok_or_else(|| invalid(""))?,
        None => after.split_at(first.len_utf8()),
    };
    let mut negated = text.starts_with(r"\P");
    let mut name = name;
    if let Some(inverse) = name.strip_prefix('^') {
        negated = !negated;
        name = inverse;
    }
    let class = unicode_class(name, negated, names).ok_or_else(|| invalid(rest))?;
    Ok(Some((class, rest)))
}

fn unicode_class(name: &str, negated: bool, names: ClassNames) -> Option<String> {
    let caret = if negated { "^" } else { "" };
    let no_caret = if negated { "" } else { "^" };
    Some(match NamedClass::of(name, names)? {
        NamedClass::Any => format!(r"[{caret}\x{{0}}-\x{{10FFFF}}]"),
        NamedClass::Ascii => format!(r"[{caret}\x00-\x7F]"),
        NamedClass::Assigned => format!(r"[{no_caret}\p{{Cn}}]"),
        // Surrogates are no characters: nothing, or everything.
        NamedClass::Category("Cs") => format!(r"[{no_caret}\x{{0}}-\x{{10FFFF}}]"),
        NamedClass::Category(category) => format!(r"[{caret}\p{{gc={category}}}]"),
        NamedClass::Script(script) => format!(r"[{caret}\p{{sc={script}}}]"),
    })
}

/// Appends the bracketed class at the start of `text`; returns the text after it.
pub(super) fn bracketed<'a>(text: &'a str, names: ClassNames, out: &mut String) -> Result<&'a str, RegexError> {
    let missing_bracket = || RegexErrorKind::MissingBracket.at(text);
    let mut rest = &text[1..];
    out.push('[');
    if let Some(after) = rest.strip_prefix('^') {
        out.push('^');
        rest = after;
    }
    let mut first = true;
    while first || !rest.starts_with(']') {
        first = false;
        if let Some((class, after)) = named(rest)? {
            out.push_str(&class);
            rest = after;
        } else if let Some((class, after)) = unicode(rest, names)? {
            out.push_str(&class);
            rest = after;
        } else if let Some((class, after)) = perl(rest) {
            out.push_str(class);
            rest = after;
        } else {
            rest = range(rest, out, &missing_bracket)?;
        }
    }
    out.push(']');
    Ok(&rest[1..])
}

/// `[:alpha:]` or `[:^alpha:]`.
fn named(text: &str) -> Result<Option<(String, &str)>, RegexError> {
    let Some(end) = text.strip_prefix("[:").and_then(|inner| inner.find(":]")) else { return Ok(None) };
    let name = &text[2..2 + end];
    let (caret, plain) = name.strip_prefix('^').map_or(("", name), |plain| ("^", plain));
    let Some(class) = posix(plain) else {
        return Err(RegexErrorKind::InvalidCharRange.at(&text[..end + 4]));
    };
    Ok(Some((format!("[{caret}{class}]"), &text[end + 4..])))
}

/// A character or `lo-hi`; a `-` before the closing bracket is itself.
fn range<'a>(text: &'a str, out: &mut String, missing_bracket: &dyn Fn() -> RegexError) -> Result<&'a str, RegexError> {
    let (low, mut rest) = class_character(text, missing_bracket)?;
    push_literal(out, low);
    if rest.len() >= 2 && rest.starts_with('-') && !rest.starts_with("-]") {
        let (high, after) = class_character(&rest[1..], missing_bracket)?;
        if high < low {
            return Err(RegexErrorKind::InvalidCharRange.at(&text[..text.len() - after.len()]));
        }
        out.push('-');
        push_literal(out, high);
        rest = after;
    }
    Ok(rest)
}

fn class_character<'a>(text: &'a str, missing_bracket: &dyn Fn() -> RegexError) -> Result<(char, &'a str), RegexError> {
    match text.chars().next() {
        None => Err(missing_bracket()),
        Some('\\') => character(text),
        Some(c) => Ok((c, &text[c.len_utf8()..])),
    }
}
