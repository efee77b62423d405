//! Reading a stage's own configuration: values must have their types, unknown keys are reported like everywhere else.

use std::collections::BTreeMap;

use crate::promtail::report::Report;
use crate::promtail::yaml::{Node, Scalar};

/// The configuration of one stage, being read.
pub(crate) struct Settings<'a, 'r> {
    stage: &'a str,
    line: usize,
    pairs: &'a [(Node, Node)],
    taken: Vec<bool>,
    report: &'r mut Report,
    /// Whether something was wrong so far.
    is_wrong: bool,
    /// Whether values of one type stand for those of another.
    is_weak: bool,
}

impl<'a, 'r> Settings<'a, 'r> {
    /// `node` is a mapping or null; anything else is reported.
    pub(crate) fn of(stage: &'a str, node: &'a Node, report: &'r mut Report) -> Option<Self> {
        let pairs = match node.mapping() {
            Some(pairs) => pairs,
            None if node.is_null() => &[],
            None => {
                report.error(node.line, format!("{stage} stage: expected keys with values"));
                return None;
            }
        };
        Some(Self { stage, line: node.line, pairs, taken: vec![false; pairs.len()], report, is_wrong: false, is_weak: false })
    }

    /// The same for a stage that takes text for numbers and truths, these for text, and one text for a list, as Promtail does for some.
    pub(crate) fn weakly_typed(self) -> Self {
        Self { is_weak: true, ..self }
    }

    pub(crate) fn take(&mut self, key: &str) -> Option<&'a Node> {
        let index = self.pairs.iter().position(|(name, _)| name.raw_text() == Some(key))?;
        self.taken[index] = true;
        let value = &self.pairs[index].1;
        (!value.is_null()).then_some(value)
    }

    /// Reports that something is wrong with the stage.
    pub(crate) fn wrong(&mut self, line: usize, problem: impl std::fmt::Display) {
        self.is_wrong = true;
        self.report.error(line, format!("{} stage: {problem}", self.stage));
    }

    pub(crate) fn line(&self) -> usize {
        self.line
    }

    /// Where the value of `key` is, or else the stage.
    pub(crate) fn line_of(&self, key: &str) -> usize {
        self.pairs.iter().find(|(name, _)| name.raw_text() == Some(key)).map_or(self.line, |(_, value)| value.line)
    }

    pub(crate) fn report(&mut self) -> &mut Report {
        self.report
    }

    pub(crate) fn text(&mut self, key: &str) -> Option<String> {
        let node = self.take(key)?;
        let text = self.one_text(node);
        if text.is_none() {
            self.wrong(node.line, format!("`{key}` must be text{}", found(node)));
        }
        text
    }

    fn one_text(&self, node: &Node) -> Option<String> {
        text_of(node).or_else(|| node.scalar().filter(|_| self.is_weak).and_then(weak_text))
    }

    /// Text that must be there and not be empty.
    pub(crate) fn required(&mut self, key: &str) -> Option<String> {
        let is_wrong = self.is_wrong;
        let text = self.text(key).filter(|text| !text.is_empty());
        if text.is_none() && self.is_wrong == is_wrong {
            self.wrong(self.line, format!("`{key}` is required"));
        }
        text
    }

    /// A name that is either absent or not empty.
    pub(crate) fn source(&mut self) -> Option<String> {
        let text = self.text("source")?;
        if text.is_empty() {
            self.wrong(self.line, "`source` is empty; leave it out to use the line");
            return None;
        }
        Some(text)
    }

    pub(crate) fn boolean(&mut self, key: &str) -> Option<bool> {
        let node = self.take(key)?;
        match node.scalar() {
            Some(Scalar::Bool(value)) => Some(value),
            Some(scalar) if self.is_weak && weak_truth(scalar).is_some() => weak_truth(scalar),
            _ => {
                self.wrong(node.line, format!("`{key}` must be true or false{}", found(node)));
                None
            }
        }
    }

    pub(crate) fn integer(&mut self, key: &str) -> Option<i64> {
        let node = self.take(key)?;
        match node.scalar() {
            Some(Scalar::Integer(value)) => Some(value),
            #[allow(clippy::cast_possible_truncation, reason = "it has no fraction")]
            Some(Scalar::Float(value)) if value.fract() == 0.0 => Some(value as i64),
            Some(scalar) if self.is_weak && weak_integer(scalar).is_some() => weak_integer(scalar),
            _ => {
                self.wrong(node.line, format!("`{key}` must be a whole number{}", found(node)));
                None
            }
        }
    }

    pub(crate) fn number(&mut self, key: &str) -> Option<f64> {
        let node = self.take(key)?;
        let number = number_of(node).or_else(|| node.scalar().filter(|_| self.is_weak).and_then(weak_number));
        if number.is_none() {
            self.wrong(node.line, format!("`{key}` must be a number{}", found(node)));
        }
        number
    }

    pub(crate) fn numbers(&mut self, key: &str) -> Option<Vec<f64>> {
        let node = self.take(key)?;
        let numbers: Option<Vec<f64>> = node.sequence().and_then(|items| items.iter().map(number_of).collect());
        if numbers.is_none() {
            self.wrong(node.line, format!("`{key}` must be a list of numbers"));
        }
        numbers
    }

    pub(crate) fn texts(&mut self, key: &str) -> Option<Vec<String>> {
        let node = self.take(key)?;
        let one = || self.one_text(node).filter(|_| self.is_weak).map(|text| vec![text]);
        let texts: Option<Vec<String>> = node.sequence().map_or_else(one, |items| items.iter().map(|item| self.one_text(item)).collect());
        if texts.is_none() {
            self.wrong(node.line, format!("`{key}` must be a list of texts"));
        }
        texts
    }

    /// A duration written as text.
    pub(crate) fn duration(&mut self, key: &str) -> Option<std::time::Duration> {
        let line = self.line;
        let text = self.text(key)?;
        let nanos = crate::promtail::reader::go_duration(&text).and_then(|nanos| u64::try_from(nanos).ok());
        if nanos.is_none() {
            self.wrong(line, format!("`{key}` is `{text}`, which is no duration like `3s` or `1h30m`"));
        }
        nanos.map(std::time::Duration::from_nanos)
    }

    /// Names with the names of their sources; a source that is not given is the name itself.
    pub(crate) fn sources(&mut self, key: &str) -> Option<BTreeMap<String, String>> {
        let node = self.take(key)?;
        let sources = sources_of(node);
        if sources.is_none() {
            self.wrong(node.line, format!("`{key}` must be names with texts"));
        }
        sources
    }

    /// Reports unknown keys. Returns whether everything was right.
    pub(crate) fn finish(mut self) -> bool {
        for index in 0..self.pairs.len() {
            if !self.taken[index] {
                let name = &self.pairs[index].0;
                let (line, key) = (name.line, name.raw_text().unwrap_or("?"));
                self.wrong(line, format!("unknown key `{key}`"));
            }
        }
        !self.is_wrong
    }
}

/// The text of a scalar that means text.
pub(crate) fn text_of(node: &Node) -> Option<String> {
    match node.scalar()? {
        Scalar::Text(text) => Some(text.to_owned()),
        _ => None,
    }
}

/// Names with the names of their sources, as `labels` and `json.expressions` have them.
pub(crate) fn sources_of(node: &Node) -> Option<BTreeMap<String, String>> {
    let pairs = node.mapping()?;
    pairs
        .iter()
        .map(|(name, value)| {
            let name = text_of(name)?;
            let source = if value.is_null() { String::new() } else { text_of(value)? };
            let source = if source.is_empty() { name.clone() } else { source };
            Some((name, source))
        })
        .collect()
}

fn number_of(node: &Node) -> Option<f64> {
    match node.scalar()? {
        #[allow(clippy::cast_precision_loss, reason = "settings are far below 2^53")]
        Scalar::Integer(value) => Some(value as f64),
        Scalar::Float(value) => Some(value),
        _ => None,
    }
}

fn weak_text(scalar: Scalar<'_>) -> Option<String> {
    match scalar {
        Scalar::Bool(value) => Some(u8::from(value).to_string()),
        Scalar::Integer(value) => Some(value.to_string()),
        Scalar::Float(value) => Some(value.to_string()),
        Scalar::Text(text) => Some(text.to_owned()),
        Scalar::Null => None,
    }
}

fn weak_truth(scalar: Scalar<'_>) -> Option<bool> {
    match scalar {
        Scalar::Integer(value) => Some(value != 0),
        Scalar::Float(value) => Some(value != 0.0),
        Scalar::Text("1" | "t" | "T" | "true" | "TRUE" | "True") => Some(true),
        Scalar::Text("" | "0" | "f" | "F" | "false" | "FALSE" | "False") => Some(false),
        _ => None,
    }
}

fn weak_integer(scalar: Scalar<'_>) -> Option<i64> {
    match scalar {
        Scalar::Bool(value) => Some(i64::from(value)),
        Scalar::Text("") => Some(0),
        Scalar::Text(text) => text.parse().ok(),
        _ => None,
    }
}

fn weak_number(scalar: Scalar<'_>) -> Option<f64> {
    match scalar {
        Scalar::Bool(value) => Some(f64::from(u8::from(value))),
        Scalar::Text("") => Some(0.0),
        Scalar::Text(text) => text.parse().ok(),
        _ => None,
    }
}

fn found(node: &Node) -> String {
    node.raw_text().map_or_else(String::new, |text| format!(", found `{text}`"))
}
