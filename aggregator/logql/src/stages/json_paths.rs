//! Which keys of a JSON line a label came from: paths by the name that `| json` makes of them.

use std::collections::BTreeMap;

use super::extraction::join_sanitized;
use super::json::MAXIMUM_DEPTH;
use super::json_text::{Kind, skip_blanks, string_end, unescape, value_at};

/// The path of each scalar of an object, by its joined and sanitised name; of equal names the first. What stands behind something
/// that is no JSON is not looked at.
pub(crate) fn paths(line: &[u8]) -> BTreeMap<String, Vec<String>> {
    let mut walk = Walk { line, keys: Vec::new(), found: BTreeMap::new() };
    if let Some(start) = skip_blanks(line, 0).filter(|at| line[*at] == b'{') {
        walk.object(start, "");
    }
    walk.found
}

struct Walk<'l> {
    line: &'l [u8],
    keys: Vec<String>,
    found: BTreeMap<String, Vec<String>>,
}

impl Walk<'_> {
    /// Goes through the object that opens at `start`; gives where the text goes on, or `None` at its end.
    fn object(&mut self, start: usize, name: &str) -> Option<usize> {
        let mut at = skip_blanks(self.line, start + 1)?;
        while self.line[at] != b'}' {
            at = self.pair(at, name)?;
            at = skip_blanks(self.line, at)?;
            if self.line[at] == b',' {
                at = skip_blanks(self.line, at + 1)?;
            }
        }
        Some(at + 1)
    }

    fn pair(&mut self, at: usize, parent: &str) -> Option<usize> {
        let line = self.line;
        if line[at] != b'"' {
            return None;
        }
        let (key_end, is_escaped) = string_end(line, at + 1)?;
        let colon = skip_blanks(line, key_end + 1).filter(|at| line[*at] == b':')?;
        let value_start = skip_blanks(line, colon + 1)?;
        let raw = &line[at + 1..key_end];
        let mut key = Vec::with_capacity(raw.len());
        match is_escaped {
            true => unescape(raw, &mut key).ok()?,
            false => key.extend_from_slice(raw),
        }
        let mut name = parent.to_owned();
        join_sanitized(&key, &mut name);
        self.keys.push(String::from_utf8_lossy(&key).into_owned());
        let after = self.value(value_start, name);
        self.keys.pop();
        after
    }

    fn value(&mut self, at: usize, name: String) -> Option<usize> {
        if self.line[at] == b'{' && self.keys.len() < MAXIMUM_DEPTH {
            return self.object(at, &name);
        }
        let value = value_at(self.line, at).ok()?;
        if !matches!(value.kind, Kind::Null | Kind::Array | Kind::Object) {
            self.found.entry(name).or_insert_with(|| self.keys.clone());
        }
        Some(value.after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_the_keys_as_written() {
        for (line, expected) in [
            (r#"{"a":{"b c":1},"a_b_c":2,"x.y":"z"}"#, vec![("a_b_c", vec!["a", "b c"]), ("x_y", vec!["x.y"])]),
            (r#" {"a":[1],"b":null,"c":{"d":{}},"\u0065":true} tail"#, vec![("e", vec!["e"])]),
            (r#"{"1":1,"n":{"m":2"#, vec![("_1", vec!["1"]), ("n_m", vec!["n", "m"])]),
            (r#"[{"a":1}]"#, vec![]),
            ("", vec![]),
        ] {
            let expected: BTreeMap<String, Vec<String>> = expected
                .into_iter()
                .map(|(name, path): (&str, Vec<&str>)| (name.to_owned(), path.into_iter().map(str::to_owned).collect()))
                .collect();
            assert_eq!(paths(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let line = format!("{}1{}", r#"{"a":"#.repeat(10_000), "}".repeat(10_000));
        assert!(paths(line.as_bytes()).is_empty());
    }
}
