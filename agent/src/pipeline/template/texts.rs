//! Functions over texts that Promtail's templates have beyond those of queries: hashes, quoting, cases, conversions.

use sha1::Sha1;
use sha2::{Digest, Sha256};
use sha3::Sha3_256;
use tailwater_logql::regex_dialect;
use tailwater_logql::template::{Call, CallResult, Function, IntegerType, Type, Value};

use crate::enrich::labels::quote;

const ONE: &[Type] = &[Type::String];
const TWO: &[Type] = &[Type::String, Type::String];
const ANY: &[Type] = &[Type::Any];

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("Hash", TWO, |call| {
        let (salt, text) = (call.text(0), call.text(1));
        Ok(hex(&Sha3_256::new_with_prefix(salt).chain_update(text).finalize()))
    }),
    Function::new("Sha2Hash", TWO, |call| {
        let (salt, text) = (call.text(0), call.text(1));
        Ok(hex(&Sha256::new_with_prefix(salt).chain_update(text).finalize()))
    }),
    Function::new("sha256sum", ONE, |call| Ok(hex(&Sha256::digest(call.text(0))))),
    Function::new("sha1sum", ONE, |call| Ok(hex(&Sha1::digest(call.text(0))))),
    Function::new("toString", ANY, |call| Ok(Value::text(shown(&call.take(0))))),
    Function::new("atoi", ONE, |call| Ok(Value::int(call.string(0).parse().unwrap_or(0)))),
    Function::new("int64", ANY, |call| Ok(Value::Integer(integer(&call.take(0)), IntegerType::Int64))),
    Function::new("toDecimal", ANY, |call| {
        let text = shown(&call.take(0));
        Ok(Value::Integer(i64::from_str_radix(&text, 8).unwrap_or(0), IntegerType::Int64))
    }),
    Function::new("empty", ANY, |call| Ok(Value::Bool(is_empty(&call.take(0))))),
    Function::new("ternary", &[Type::Any, Type::Any, Type::Any], |call| {
        let is_true = call.take(2) == Value::Bool(true);
        Ok(call.take(usize::from(!is_true)))
    }),
    Function::new("coalesce", &[], first_given).with_rest(Type::Any),
    Function::new("quote", &[], |call| Ok(Value::text(joined(call, quoted)))).with_rest(Type::Any),
    Function::new("squote", &[], |call| Ok(Value::text(joined(call, |text| format!("'{text}'"))))).with_rest(Type::Any),
    Function::new("cat", &[], |call| Ok(Value::text(joined(call, str::to_owned)))).with_rest(Type::Any),
    Function::new("nospace", ONE, |call| Ok(Value::text(call.string(0).split_whitespace().collect::<String>()))),
    Function::new("untitle", ONE, |call| Ok(Value::text(words(&call.string(0), |first| first.to_lowercase().collect())))),
    Function::new("initials", ONE, |call| {
        let text = call.string(0);
        Ok(Value::text(text.split_whitespace().filter_map(|word| word.chars().next()).collect::<String>()))
    }),
    Function::new("swapcase", ONE, |call| {
        let swap = |c: char| if c.is_uppercase() { c.to_lowercase().collect::<String>() } else { c.to_uppercase().collect() };
        Ok(Value::text(call.string(0).chars().map(swap).collect::<String>()))
    }),
    Function::new("snakecase", ONE, |call| Ok(Value::text(cased(&call.string(0), '_')))),
    Function::new("kebabcase", ONE, |call| Ok(Value::text(cased(&call.string(0), '-')))),
    Function::new("camelcase", ONE, |call| {
        let text = call.string(0);
        let parts = text.split(|c: char| !c.is_alphanumeric());
        Ok(Value::text(parts.map(|part| words(part, |first| first.to_uppercase().collect())).collect::<String>()))
    }),
    Function::new("abbrev", &[Type::Int, Type::String], |call| {
        let (width, text) = (usize::try_from(call.integer(0)).unwrap_or(0), call.string(1));
        let is_short = width < 4 || text.len() <= width;
        Ok(Value::text(if is_short { text } else { format!("{}...", &text[..text.floor_char_boundary(width - 3)]) }))
    }),
    Function::new("plural", &[Type::String, Type::String, Type::Int], |call| {
        let is_one = call.integer(2) == 1;
        Ok(Value::Text(call.text(usize::from(!is_one))))
    }),
    Function::new("regexMatch", TWO, |call| {
        let (pattern, text) = (call.string(0), call.string(1));
        Ok(Value::Bool(compiled(&pattern)?.is_match(text.as_bytes())))
    }),
    Function::new("regexFind", TWO, |call| {
        let (pattern, text) = (call.string(0), call.string(1));
        Ok(Value::text(compiled(&pattern)?.find(text.as_bytes()).map_or(Vec::new(), |found| found.as_bytes().to_vec())))
    }),
    Function::new("regexQuoteMeta", ONE, |call| Ok(Value::text(quoted_meta(&call.string(0))))),
];

fn hex(bytes: &[u8]) -> Value<'static> {
    Value::text(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// Compiled at every call: patterns of templates are mostly short, and the common functions have theirs compiled before.
pub(super) fn compiled(pattern: &str) -> Result<regex::bytes::Regex, String> {
    regex_dialect::compile(pattern, regex_dialect::Anchoring::Search).map_err(|error| error.to_string())
}

/// As it would print.
pub(super) fn shown(value: &Value<'_>) -> String {
    match value {
        Value::Text(text) => String::from_utf8_lossy(text).into_owned(),
        Value::Nothing | Value::Nil => String::new(),
        value => String::from_utf8_lossy(&value.printed()).into_owned(),
    }
}

pub(super) fn is_empty(value: &Value<'_>) -> bool {
    match value {
        Value::Nothing | Value::Nil => true,
        Value::Text(text) => text.is_empty(),
        Value::Bool(value) => !value,
        Value::Integer(value, _) => *value == 0,
        Value::Float(value) => *value == 0.0,
        Value::List(items) => items.is_empty(),
        Value::Map(map) => map.is_empty(),
        Value::Root | Value::Time(_) => false,
    }
}

pub(super) fn integer(value: &Value<'_>) -> i64 {
    match value {
        Value::Integer(value, _) => *value,
        #[allow(clippy::cast_possible_truncation, reason = "a conversion cuts the fraction off")]
        Value::Float(value) => *value as i64,
        Value::Bool(value) => i64::from(*value),
        Value::Text(text) => std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or(0),
        _ => 0,
    }
}

fn first_given<'v>(call: &mut Call<'_, 'v>) -> CallResult<'v> {
    for index in 0..call.count() {
        let value = call.take(index);
        if !is_empty(&value) {
            return Ok(value);
        }
    }
    Ok(Value::Nil)
}

/// All arguments that are there, with blanks between them.
fn joined(call: &mut Call<'_, '_>, form: impl Fn(&str) -> String) -> String {
    let values: Vec<Value<'_>> = (0..call.count()).map(|index| call.take(index)).collect();
    let given = values.iter().filter(|value| !matches!(value, Value::Nothing | Value::Nil));
    given.map(|value| form(&shown(value))).collect::<Vec<_>>().join(" ")
}

/// Each word with its first letter changed.
fn words(text: &str, change: impl Fn(char) -> String) -> String {
    let mut is_start = true;
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if is_start && !character.is_whitespace() {
            out.push_str(&change(character));
        } else {
            out.push(character);
        }
        is_start = character.is_whitespace();
    }
    out
}

/// Words in lower case, separated by `separator`.
fn cased(text: &str, separator: char) -> String {
    let mut out = String::new();
    let mut before: Option<char> = None;
    for character in text.chars() {
        let is_separator = !character.is_alphanumeric();
        let is_new_word = character.is_uppercase() && before.is_some_and(|before| before.is_lowercase() || before.is_numeric());
        if (is_separator || is_new_word) && !out.is_empty() && !out.ends_with(separator) {
            out.push(separator);
        }
        if !is_separator {
            out.extend(character.to_lowercase());
        }
        before = Some(character);
    }
    out.trim_end_matches(separator).to_owned()
}

fn quoted(text: &str) -> String {
    let mut out = String::new();
    quote(text, &mut out);
    out
}

fn quoted_meta(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        if "\\.+*?()|[]{}^$".contains(character) {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

#[cfg(test)]
mod tests {
    use crate::pipeline::template::tests::result;

    #[test]
    fn texts_are_hashed_quoted_and_cased() {
        for (template, line, expected) in [
            ("{{ Hash \"salt\" .v }}", "secret", "9b29fc9a4e465ac68173daff91d5dc30eedb55fd4641a75c45e577e284ee7934"),
            ("{{ .v | Sha2Hash \"salt\" | trunc 8 }}", "secret", "bede9038"),
            ("{{ .v | quote }}", "a \"b\"", "\"a \\\"b\\\"\""),
            ("{{ add (atoi .v) 1 }}", "7", "8"),
            ("{{ ternary \"yes\" \"no\" (eq .v \"x\") }}", "x", "yes"),
            ("{{ coalesce .none .v }}", "x", "x"),
            ("{{ snakecase .v }} {{ kebabcase .v }} {{ camelcase .v }}", "helloWorld is", "hello_world_is hello-world-is HelloWorldIs"),
            ("{{ regexFind \"[0-9]+\" .v }}{{ regexMatch \"^a\" .v }}", "a12b", "12true"),
            ("{{ abbrev 5 .v }}", "hello world", "he..."),
        ] {
            assert_eq!(result(template, line).as_deref(), Some(expected), "{template}");
        }
    }
}
