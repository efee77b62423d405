//! Typed reading of a mapping: each key is taken once, what remains is unknown and an error.

use std::collections::BTreeMap;
use std::time::Duration;

use super::report::Report;
use super::yaml::{Node, Scalar};

/// The keys of one mapping, some of them taken.
pub(crate) struct Fields<'a> {
    pairs: &'a [(Node, Node)],
    taken: Vec<bool>,
    place: &'a str,
    line: usize,
}

impl<'a> Fields<'a> {
    /// The keys of `node`, a mapping or null; anything else is reported.
    pub(crate) fn of(node: &'a Node, place: &'a str, report: &mut Report) -> Option<Self> {
        let pairs = match node.mapping() {
            Some(pairs) => pairs,
            None if node.is_null() => &[],
            None => {
                report.error(node.line, format!("`{place}`: expected keys with values"));
                return None;
            }
        };
        Some(Self { pairs, taken: vec![false; pairs.len()], place, line: node.line })
    }

    pub(crate) fn line(&self) -> usize {
        self.line
    }

    /// The value of `key`; a null counts as absent.
    pub(crate) fn take(&mut self, key: &str) -> Option<&'a Node> {
        self.take_with_line(key).map(|(_, node)| node)
    }

    /// The same with the line on which the key stands.
    pub(crate) fn take_with_line(&mut self, key: &str) -> Option<(usize, &'a Node)> {
        let index = self.pairs.iter().position(|(name, _)| name.raw_text() == Some(key))?;
        self.taken[index] = true;
        let (name, value) = &self.pairs[index];
        (!value.is_null()).then_some((name.line, value))
    }

    /// Whether `key` stands there, null or not.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.pairs.iter().any(|(name, _)| name.raw_text() == Some(key))
    }

    /// Keys that are accepted and do nothing.
    pub(crate) fn without_effect(&mut self, keys: &[&str], why: &str, report: &mut Report) {
        for key in keys {
            if let Some((line, _)) = self.take_with_line(key) {
                report.note(line, format!("`{}.{key}` has no effect: {why}", self.place));
            }
        }
    }

    pub(crate) fn text(&mut self, key: &str, report: &mut Report) -> Option<String> {
        let node = self.take(key)?;
        let text = node.raw_text().map(str::to_owned);
        if text.is_none() {
            report.error(node.line, format!("`{}.{key}`: expected a single value", self.place));
        }
        text
    }

    pub(crate) fn boolean(&mut self, key: &str, report: &mut Report) -> Option<bool> {
        let node = self.take(key)?;
        match node.scalar() {
            Some(Scalar::Bool(value)) => Some(value),
            _ => self.wrong(node, key, "true or false", report),
        }
    }

    pub(crate) fn integer(&mut self, key: &str, report: &mut Report) -> Option<i64> {
        let node = self.take(key)?;
        match node.scalar() {
            Some(Scalar::Integer(value)) => Some(value),
            _ => self.wrong(node, key, "a whole number", report),
        }
    }

    pub(crate) fn number(&mut self, key: &str, report: &mut Report) -> Option<f64> {
        let node = self.take(key)?;
        match node.scalar() {
            #[allow(clippy::cast_precision_loss, reason = "rates are far below 2^53")]
            Some(Scalar::Integer(value)) => Some(value as f64),
            Some(Scalar::Float(value)) => Some(value),
            _ => self.wrong(node, key, "a number", report),
        }
    }

    /// A duration like `1m30s`, or nanoseconds.
    pub(crate) fn duration(&mut self, key: &str, report: &mut Report) -> Option<Duration> {
        let node = self.take(key)?;
        let duration = match node.scalar() {
            Some(Scalar::Integer(nanos)) => u64::try_from(nanos).ok().map(Duration::from_nanos),
            Some(Scalar::Text(text)) => go_duration(text).and_then(|nanos| u64::try_from(nanos).ok()).map(Duration::from_nanos),
            _ => None,
        };
        duration.or_else(|| self.wrong(node, key, "a duration like `500ms` or `1m30s`", report))
    }

    /// A size like `256kb`, or bytes.
    pub(crate) fn size(&mut self, key: &str, report: &mut Report) -> Option<u64> {
        let node = self.take(key)?;
        let size = node.raw_text().and_then(byte_size);
        size.or_else(|| self.wrong(node, key, "a size like `256kb`", report))
    }

    /// Names with single values.
    pub(crate) fn text_map(&mut self, key: &str, report: &mut Report) -> Option<BTreeMap<String, String>> {
        let node = self.take(key)?;
        let mut map = BTreeMap::new();
        let Some(pairs) = node.mapping() else { return self.wrong(node, key, "names with values", report) };
        for (name, value) in pairs {
            match (name.raw_text(), value.raw_text()) {
                (Some(name), Some(text)) => {
                    let text = if value.is_null() { "" } else { text };
                    map.insert(name.to_owned(), text.to_owned());
                }
                _ => report.error(name.line, format!("`{}.{key}`: expected names with single values", self.place)),
            }
        }
        Some(map)
    }

    /// A list of single values.
    pub(crate) fn text_list(&mut self, key: &str, report: &mut Report) -> Option<Vec<String>> {
        let node = self.take(key)?;
        let Some(items) = node.sequence() else { return self.wrong(node, key, "a list", report) };
        let mut list = Vec::new();
        for item in items {
            match item.raw_text() {
                Some(text) => list.push(text.to_owned()),
                None => report.error(item.line, format!("`{}.{key}`: expected single values", self.place)),
            }
        }
        Some(list)
    }

    fn wrong<T>(&self, node: &Node, key: &str, expected: &str, report: &mut Report) -> Option<T> {
        let found = node.raw_text().map_or_else(String::new, |text| format!(", found `{text}`"));
        report.error(node.line, format!("`{}.{key}`: expected {expected}{found}", self.place));
        None
    }

    /// Reports every key that was not taken.
    pub(crate) fn finish(self, report: &mut Report) {
        for ((name, _), taken) in self.pairs.iter().zip(self.taken) {
            if !taken {
                let key = name.raw_text().unwrap_or("?");
                report.error(name.line, format!("unknown key `{key}` in `{}`", self.place));
            }
        }
    }
}

/// Nanoseconds of a duration as Go writes it: `1h2m3.5s`, `-5ms`, `0`.
pub(crate) fn go_duration(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut nanos = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit() && character != '.').filter(|end| *end > 0)?;
        let value: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|character: char| character.is_ascii_digit() || character == '.').unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        nanos += value * unit;
        rest = &rest[end..];
    }
    #[allow(clippy::cast_possible_truncation, reason = "checked to be in range")]
    (nanos < 9.2e18).then_some((sign * nanos).round() as i64)
}

/// Bytes of a size: `10`, `10b`, `256kb`, `1MiB`; thousands without the `i`, except that `KB` and the like count by 1024 as Promtail does.
pub(crate) fn byte_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(text.len());
    let value: f64 = text[..end].parse().ok()?;
    let factor: f64 = match text[end..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kb" | "ki" | "kib" => 1024.0,
        "m" | "mb" | "mi" | "mib" => 1_048_576.0,
        "g" | "gb" | "gi" | "gib" => 1_073_741_824.0,
        "t" | "tb" | "ti" | "tib" => 1_099_511_627_776.0,
        _ => return None,
    };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "no sign was read, and saturation is right")]
    Some((value * factor) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promtail::yaml;

    #[test]
    fn durations_and_sizes() {
        for (text, expected) in
            [("1h2m3.5s", Some(3_723_500_000_000)), ("-5ms", Some(-5_000_000)), ("0", Some(0)), ("3", None), ("", None), ("2 weeks", None)]
        {
            assert_eq!(go_duration(text), expected, "{text}");
        }
        for (text, expected) in
            [("10b", Some(10)), ("256kb", Some(262_144)), ("1MiB", Some(1 << 20)), ("7", Some(7)), ("big", None), ("1x", None)]
        {
            assert_eq!(byte_size(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_taken_is_reported_with_its_line() {
        let node = yaml::parse("a: 1\nb: x\nc: [1]\n").unwrap();
        let mut report = Report::default();
        let mut fields = Fields::of(&node, "server", &mut report).unwrap();
        assert_eq!(fields.integer("a", &mut report), Some(1));
        assert_eq!(fields.boolean("b", &mut report), None);
        fields.finish(&mut report);
        let texts: Vec<_> = report.errors.iter().map(|finding| (finding.line, finding.text.as_str())).collect();
        assert_eq!(texts, [(2, "`server.b`: expected true or false, found `x`"), (3, "unknown key `c` in `server`")]);
    }
}
