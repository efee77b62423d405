//! Character classes: `[a-z\d[:alpha:]]`, `\d`, `\pN`, `\p{Greek}`.

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

/// General categories: the abbreviation, and the other names that Unicode gives them.
const CATEGORIES: [(&str, &[&str]); 38] = [
    ("C", &["other"]),
    ("Cc", &["control", "cntrl"]),
    ("Cf", &["format"]),
    ("Cn", &["unassigned"]),
    ("Co", &["privateuse"]),
    ("Cs", &["surrogate"]),
    ("L", &["letter"]),
    ("LC", &["casedletter"]),
    ("Ll", &["lowercaseletter"]),
    ("Lm", &["modifierletter"]),
    ("Lo", &["otherletter"]),
    ("Lt", &["titlecaseletter"]),
    ("Lu", &["uppercaseletter"]),
    ("M", &["mark", "combiningmark"]),
    ("Mc", &["spacingmark"]),
    ("Me", &["enclosingmark"]),
    ("Mn", &["nonspacingmark"]),
    ("N", &["number"]),
    ("Nd", &["decimalnumber", "digit"]),
    ("Nl", &["letternumber"]),
    ("No", &["othernumber"]),
    ("P", &["punctuation", "punct"]),
    ("Pc", &["connectorpunctuation"]),
    ("Pd", &["dashpunctuation"]),
    ("Pe", &["closepunctuation"]),
    ("Pf", &["finalpunctuation"]),
    ("Pi", &["initialpunctuation"]),
    ("Po", &["otherpunctuation"]),
    ("Ps", &["openpunctuation"]),
    ("S", &["symbol"]),
    ("Sc", &["currencysymbol"]),
    ("Sk", &["modifiersymbol"]),
    ("Sm", &["mathsymbol"]),
    ("So", &["othersymbol"]),
    ("Z", &["separator"]),
    ("Zl", &["lineseparator"]),
    ("Zp", &["paragraphseparator"]),
    ("Zs", &["spaceseparator"]),
];

/// Scripts whose whole name has four letters; other names of four letters are codes, which Go does not know.
const SCRIPTS_OF_FOUR_LETTERS: [&str; 8] = ["ahom", "cham", "kawi", "lisu", "modi", "newa", "thai", "toto"];

/// The class of `\pN`, `\PN`, `\p{Greek}`, `\p{^Greek}` at the start of `text`, and the text after it.
/// `None` if it begins with something else.
pub(super) fn unicode(text: &str) -> Result<Option<(String, &str)>, RegexError> {
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
    let class = unicode_class(name, negated).ok_or_else(|| invalid(rest))?;
    Ok(Some((class, rest)))
}

/// Case, blanks, `_` and `-` of a name do not count.
fn unicode_class(name: &str, negated: bool) -> Option<String> {
    let name: String = name.chars().filter(|c| !matches!(c, '_' | '-' | ' ')).map(|c| c.to_ascii_lowercase()).collect();
    let caret = if negated { "^" } else { "" };
    let no_caret = if negated { "" } else { "^" };
    Some(match (name.as_str(), category(&name)) {
        ("any", _) => format!(r"[{caret}\x{{0}}-\x{{10FFFF}}]"),
        ("ascii", _) => format!(r"[{caret}\x00-\x7F]"),
        ("assigned", _) => format!(r"[{no_caret}\p{{Cn}}]"),
        // Surrogates are no characters: nothing, or everything.
        (_, Some("Cs")) => format!(r"[{no_caret}\x{{0}}-\x{{10FFFF}}]"),
        (_, Some(category)) => format!(r"[{caret}\p{{gc={category}}}]"),
        (_, None) => format!(r"[{caret}\p{{sc={}}}]", script(&name)?),
    })
}

fn category(name: &str) -> Option<&'static str> {
    let is_named = |(short, others): &&(&str, &[&str])| short.eq_ignore_ascii_case(name) || others.contains(&name);
    CATEGORIES.iter().find(is_named).map(|(short, _)| *short)
}

/// A name of a script as it may be written for Rust, which knows codes and stand-ins besides.
fn script(name: &str) -> Option<&str> {
    let is_name = name.len() > 1 && name.bytes().all(|byte| byte.is_ascii_lowercase()) && name != "unknown";
    let is_code = name.len() == 4 && !SCRIPTS_OF_FOUR_LETTERS.contains(&name);
    (is_name && !is_code && regex_syntax::parse(&format!(r"\p{{sc={name}}}")).is_ok()).then_some(name)
}

/// Appends the bracketed class at the start of `text`; returns the text after it.
pub(super) fn bracketed<'a>(text: &'a str, out: &mut String) -> Result<&'a str, RegexError> {
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
        } else if let Some((class, after)) = unicode(rest)? {
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
