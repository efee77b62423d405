//! Environment variables in the text of a configuration: `${VAR}`, `${VAR:-default}`, `${VAR:=default}`; `$$` is a dollar sign.
//!
//! A `$` before anything else stays, so that regular expressions and `$1` of replacements survive; `${1}` is a variable nobody has, and so empty.

/// `text` with its variables replaced; `get` answers `None` for a variable that is not set.
pub(crate) fn expand(text: &str, get: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        match after.strip_prefix('{').and_then(braced) {
            Some((name, default, after)) => {
                let value = get(name).filter(|value| !value.is_empty()).or_else(|| default.map(str::to_owned));
                out.push_str(&value.unwrap_or_default());
                rest = after;
            }
            None => {
                out.push('$');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

/// Name, default, and what follows the closing brace.
fn braced(text: &str) -> Option<(&str, Option<&str>, &str)> {
    let end = text.find('}')?;
    let (inside, after) = (&text[..end], &text[end + 1..]);
    let (name, default) = match inside.split_once(":-").or_else(|| inside.split_once(":=")) {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_name.then_some((name, default, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_defaults_and_what_stays() {
        let get = |name: &str| (name == "A").then(|| "v".to_owned());
        for (text, expected) in [
            ("x-${A}-${B}", "x-v-"),
            ("${B:-d}${A:-d}${B:=e}", "dve"),
            ("$A $5 $", "$A $5 $"),
            ("${1}-$1-$$1-$${1}", "-$1-$1-${1}"),
            ("^(?P<a>.*)$", "^(?P<a>.*)$"),
            ("${not a name} ${open", "${not a name} ${open"),
        ] {
            assert_eq!(expand(text, get), expected, "{text}");
        }
    }
}
