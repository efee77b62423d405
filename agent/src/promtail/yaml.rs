//! YAML as a tree whose every node knows its line, so that a report can name it.
//!
//! Plain scalars are resolved by the rules of YAML 1.1, as Promtail reads them: `yes`, `on` and `y` are booleans. Anchors, aliases and merge keys are
//! followed, keys set twice are an error. The tree is bounded: an alias that would blow it up ends the reading.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle};

/// Nodes of one file, aliases counted as often as they are used.
const MAX_NODES: usize = 1 << 20;

/// A document that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub(crate) struct YamlError {
    pub(crate) line: usize,
    pub(crate) what: String,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) line: usize,
    pub(crate) content: Content,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Content {
    Scalar { text: String, is_plain: bool },
    Sequence(Vec<Node>),
    Mapping(Vec<(Node, Node)>),
}

/// What a scalar means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scalar<'a> {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(&'a str),
}

impl Node {
    pub(crate) fn scalar(&self) -> Option<Scalar<'_>> {
        match &self.content {
            Content::Scalar { text, is_plain: true } => Some(resolve(text)),
            Content::Scalar { text, is_plain: false } => Some(Scalar::Text(text)),
            _ => None,
        }
    }

    /// The characters of a scalar, whatever it means.
    pub(crate) fn raw_text(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        self.scalar() == Some(Scalar::Null)
    }

    pub(crate) fn sequence(&self) -> Option<&[Node]> {
        match &self.content {
            Content::Sequence(items) => Some(items),
            _ => None,
        }
    }

    pub(crate) fn mapping(&self) -> Option<&[(Self, Self)]> {
        match &self.content {
            Content::Mapping(pairs) => Some(pairs),
            _ => None,
        }
    }

    fn count(&self) -> usize {
        match &self.content {
            Content::Scalar { .. } => 1,
            Content::Sequence(items) => 1 + items.iter().map(Self::count).sum::<usize>(),
            Content::Mapping(pairs) => 1 + pairs.iter().map(|(key, value)| key.count() + value.count()).sum::<usize>(),
        }
    }
}

/// Reads the first document of `text`; an empty one is a null.
pub(crate) fn parse(text: &str) -> Result<Node, YamlError> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| YamlError { line: error.marker().line(), what: format!("yaml: {}", error.info()) })?;
        if matches!(event, Event::DocumentEnd) {
            break;
        }
        builder.take(event, span.start.line())?;
    }
    Ok(builder.root.unwrap_or(Node { line: 1, content: Content::Scalar { text: String::new(), is_plain: true } }))
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    root: Option<Node>,
    nodes: usize,
}

struct Open {
    line: usize,
    anchor: usize,
    is_mapping: bool,
    /// Keys and values in turn, of a mapping.
    children: Vec<Node>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, line: usize) -> Result<(), YamlError> {
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let content = Content::Scalar { text: text.into_owned(), is_plain: style == ScalarStyle::Plain };
                self.add(Node { line, content }, anchor)
            }
            Event::SequenceStart(_, anchor, _) => {
                self.open.push(Open { line, anchor, is_mapping: false, children: Vec::new() });
                Ok(())
            }
            Event::MappingStart(_, anchor, _) => {
                self.open.push(Open { line, anchor, is_mapping: true, children: Vec::new() });
                Ok(())
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                Some(node) => self.add(node, 0),
                None => Err(YamlError { line, what: "yaml: alias of an anchor that is not there".to_owned() }),
            },
            _ => Ok(()),
        }
    }

    fn close(&mut self) -> Result<(), YamlError> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let content = if open.is_mapping { Content::Mapping(merged(open.children)?) } else { Content::Sequence(open.children) };
        self.add(Node { line: open.line, content }, open.anchor)
    }

    fn add(&mut self, node: Node, anchor: usize) -> Result<(), YamlError> {
        self.nodes += if anchor == 0 { node.count() } else { 1 };
        if self.nodes > MAX_NODES {
            return Err(YamlError { line: node.line, what: "yaml: the document is too large".to_owned() });
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            Some(open) => open.children.push(node),
            None => self.root = Some(node),
        }
        Ok(())
    }
}

/// Keys and values in turn as pairs, merge keys followed.
fn merged(children: Vec<Node>) -> Result<Vec<(Node, Node)>, YamlError> {
    let mut pairs: Vec<(Node, Node)> = Vec::new();
    let mut merges = Vec::new();
    let mut children = children.into_iter();
    while let (Some(key), Some(value)) = (children.next(), children.next()) {
        if key.content == (Content::Scalar { text: "<<".to_owned(), is_plain: true }) {
            merges.push(value);
            continue;
        }
        if let Some(text) = key.raw_text().filter(|text| pairs.iter().any(|(other, _)| other.raw_text() == Some(*text))) {
            return Err(YamlError { line: key.line, what: format!("yaml: key `{text}` is already set in this mapping") });
        }
        pairs.push((key, value));
    }
    for merge in merges {
        let line = merge.line;
        let sources = match merge.content {
            Content::Mapping(source) => vec![source],
            Content::Sequence(items) => items
                .into_iter()
                .map(|item| match item.content {
                    Content::Mapping(source) => Ok(source),
                    _ => Err(YamlError { line, what: "yaml: a merge key needs mappings".to_owned() }),
                })
                .collect::<Result<_, _>>()?,
            Content::Scalar { .. } => return Err(YamlError { line, what: "yaml: a merge key needs a mapping".to_owned() }),
        };
        for (key, value) in sources.into_iter().flatten() {
            if !pairs.iter().any(|(other, _)| other.content == key.content) {
                pairs.push((key, value));
            }
        }
    }
    Ok(pairs)
}

fn resolve(text: &str) -> Scalar<'_> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Scalar::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => return Scalar::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => return Scalar::Bool(false),
        ".inf" | "+.inf" | ".Inf" | ".INF" => return Scalar::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Scalar::Float(f64::NEG_INFINITY),
        ".nan" | ".NaN" | ".NAN" => return Scalar::Float(f64::NAN),
        _ => {}
    }
    if !text.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '+' | '-' | '.')) {
        return Scalar::Text(text);
    }
    let digits = text.replace('_', "");
    if let Some(integer) = integer(&digits) {
        return Scalar::Integer(integer);
    }
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
    match digits.parse::<f64>() {
        Ok(number) if is_number => Scalar::Float(number),
        _ => Scalar::Text(text),
    }
}

fn integer(digits: &str) -> Option<i64> {
    let (negative, magnitude) = match digits.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, digits.strip_prefix('+').unwrap_or(digits)),
    };
    let parsed = if let Some(hex) = magnitude.strip_prefix("0x") {
        i64::from_str_radix(hex, 16)
    } else if let Some(binary) = magnitude.strip_prefix("0b") {
        i64::from_str_radix(binary, 2)
    } else if magnitude.len() > 1 && magnitude.starts_with('0') {
        i64::from_str_radix(magnitude.strip_prefix("0o").unwrap_or(magnitude), 8)
    } else {
        magnitude.parse()
    };
    let value = parsed.ok().filter(|_| !magnitude.starts_with(['+', '-']))?;
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get<'a>(node: &'a Node, key: &str) -> &'a Node {
        &node.mapping().unwrap().iter().find(|(name, _)| name.raw_text() == Some(key)).unwrap().1
    }

    #[test]
    fn nodes_know_their_lines() {
        let node = parse("# comment\na: 1\nb:\n- x\n- {c: d}\n").unwrap();
        assert_eq!(get(&node, "a").line, 2);
        let items = get(&node, "b").sequence().unwrap();
        assert_eq!((items[0].line, get(&items[1], "c").line), (4, 5));
        let error = parse("a: 1\nb: [\n").unwrap_err();
        assert!(error.what.starts_with("yaml: ") && error.line >= 2, "{error}");
        assert!(parse("").unwrap().is_null());
    }

    #[test]
    fn plain_scalars_follow_yaml_1_1() {
        for (text, expected) in [
            ("yes", Scalar::Bool(true)),
            ("n", Scalar::Bool(false)),
            ("~", Scalar::Null),
            ("012", Scalar::Integer(10)),
            ("1_000", Scalar::Integer(1000)),
            ("-7", Scalar::Integer(-7)),
            ("1.5e3", Scalar::Float(1500.0)),
            ("2006-01-02", Scalar::Text("2006-01-02")),
            ("10b", Scalar::Text("10b")),
            ("'1'", Scalar::Text("1")),
        ] {
            assert_eq!(parse(&format!("k: {text}")).map(|node| get(&node, "k").scalar().unwrap() == expected), Ok(true), "{text}");
        }
    }

    #[test]
    fn anchors_and_merge_keys_are_followed_and_repeated_keys_refused() {
        let node = parse("a: &x {k: 1, l: 2}\nb: {<<: *x, k: 3}\nc: *x\n").unwrap();
        assert_eq!(get(get(&node, "b"), "k").raw_text(), Some("3"));
        assert_eq!(get(get(&node, "b"), "l").raw_text(), Some("2"));
        assert_eq!(get(get(&node, "c"), "k").raw_text(), Some("1"));
        assert_eq!(parse("a: 1\nb: 2\na: 3\n").unwrap_err().line, 3);
    }

    #[test]
    fn an_alias_bomb_is_refused() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let above = level - 1;
            text += &format!("a{level}: &a{level} [{}]\n", format!("*a{above}, ").repeat(10));
        }
        assert!(parse(&text).unwrap_err().what.contains("too large"));
    }
}
