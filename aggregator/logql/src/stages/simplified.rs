//! What Loki makes of regular expressions of filters: texts, where their form allows.
//!
//! A filter of texts is not always the expression that it stands for (`err.*` only needs to be held by a label, `foo|.*` is `foo`), which is
//! why only `strict_loki` goes by it.

use crate::regex_dialect::{Node, tree};

/// What is left of an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Simplified {
    Always,
    /// At least one of them.
    AnyOf(Vec<Piece>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    NotEmpty,
    /// `is_whole`: it is the text, and does not only hold it.
    Text {
        text: String,
        any_case: bool,
        is_whole: bool,
    },
}

/// `None` if the expression is matched as it is. `is_label`: for the value of a label, and not for a line.
pub(crate) fn simplified(pattern: &str, is_label: bool) -> Option<Simplified> {
    node(&tree(pattern)?, is_label)
}

impl Piece {
    pub(crate) fn matches(&self, value: &[u8]) -> bool {
        match self {
            Piece::NotEmpty => !value.is_empty(),
            Piece::Text { text, any_case: false, is_whole: true } => value == text.as_bytes(),
            Piece::Text { text, any_case: false, is_whole: false } => memchr::memmem::find(value, text.as_bytes()).is_some(),
            Piece::Text { text, any_case: true, is_whole } => {
                let lower = lower(&String::from_utf8_lossy(value));
                if *is_whole { lower == *text } else { lower.contains(text.as_str()) }
            }
        }
    }
}

/// Lower case by character. A dotted capital `İ` stays: folding, by which text indexes go, knows no `i` in it.
fn lower(text: &str) -> String {
    text.chars().map(|character| if character == 'İ' { character } else { character.to_lowercase().next().unwrap_or(character) }).collect()
}

fn node(node: &Node, is_label: bool) -> Option<Simplified> {
    match node {
        Node::Alternation(alternatives) => {
            let alternatives = alternatives.iter().map(|each| self::node(ungrouped(each), is_label));
            Some(either(alternatives.collect::<Option<Vec<_>>>()?))
        }
        Node::Concatenation(parts) => concatenation(parts, None),
        Node::Group(inner) => self::node(inner, is_label),
        Node::Text { text, any_case } => Some(piece(text.iter().collect(), *any_case, is_label)),
        Node::Star(inner) if **inner == Node::Dot => Some(Simplified::Always),
        Node::Plus(inner) if **inner == Node::Dot => Some(Simplified::AnyOf(vec![Piece::NotEmpty])),
        Node::Empty => Some(Simplified::Always),
        _ => None,
    }
}

/// A group is taken apart once.
fn ungrouped(node: &Node) -> &Node {
    match node {
        Node::Group(inner) => inner,
        _ => node,
    }
}

fn piece(text: String, any_case: bool, is_whole: bool) -> Simplified {
    if text.is_empty() && !is_whole {
        return Simplified::Always;
    }
    let text = if any_case { lower(&text) } else { text };
    Simplified::AnyOf(vec![Piece::Text { text, any_case, is_whole }])
}

/// What always holds does not count beside others.
fn either(alternatives: Vec<Simplified>) -> Simplified {
    let pieces: Vec<Piece> =
        alternatives.into_iter().flat_map(|each| if let Simplified::AnyOf(pieces) = each { pieces } else { Vec::new() }).collect();
    if pieces.is_empty() { Simplified::Always } else { Simplified::AnyOf(pieces) }
}

/// At most three parts: one text, `.*`, and alternatives that go on with the text. `before`: a text in front of them all.
fn concatenation(parts: &[Node], before: Option<(&str, bool)>) -> Option<Simplified> {
    let parts: Vec<&Node> = parts.iter().map(ungrouped).filter(|part| **part != Node::Empty).collect();
    if parts.len() > 3 {
        return None;
    }
    let mut base = before.map(|(text, _)| text.to_owned());
    let mut any_case = false;
    let mut has_text = false;
    let mut found = Vec::new();
    for part in parts {
        match part {
            Node::Text { text, any_case: any } if !has_text => {
                has_text = true;
                base.get_or_insert_default().extend(text);
                any_case = *any;
            }
            Node::Alternation(alternatives) if base.is_some() => {
                found.extend(continued(alternatives, base.as_deref().unwrap_or_default(), any_case)?);
            }
            Node::Star(inner) if **inner == Node::Dot => {}
            _ => return None,
        }
    }
    if !found.is_empty() {
        return Some(either(found));
    }
    Some(piece(base?, any_case, false))
}

/// A text and what may follow it.
fn continued(alternatives: &[Node], base: &str, any_case: bool) -> Option<Vec<Simplified>> {
    let continued = alternatives.iter().map(|alternative| match alternative {
        Node::Empty => Some(piece(base.to_owned(), any_case, false)),
        Node::Text { any_case: true, .. } if !any_case => None,
        Node::Text { text, .. } => Some(piece(base.chars().chain(text.iter().copied()).collect(), any_case, false)),
        Node::Concatenation(parts) => concatenation(parts, Some((base, any_case))),
        Node::Star(inner) if **inner == Node::Dot => Some(piece(base.to_owned(), any_case, false)),
        _ => None,
    });
    continued.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(pattern: &str) -> Option<String> {
        let piece = |piece: &Piece| match piece {
            Piece::NotEmpty => "+".to_owned(),
            Piece::Text { text, any_case, is_whole } => {
                format!("{}{}{text}", if *is_whole { "=" } else { "~" }, if *any_case { "i:" } else { "" })
            }
        };
        simplified(pattern, true).map(|simplified| match simplified {
            Simplified::Always => "*".to_owned(),
            Simplified::AnyOf(pieces) => pieces.iter().map(piece).collect::<Vec<_>>().join(" "),
        })
    }

    #[test]
    fn expressions_become_texts_where_their_form_allows() {
        for (pattern, expected) in [
            ("", Some("*")),
            (".*", Some("*")),
            (".+", Some("+")),
            ("wor", Some("=wor")),
            ("(?i)Wor", Some("=i:wor")),
            ("wor.*", Some("~wor")),
            (".*wor.*", Some("~wor")),
            ("err.*|warn.*", Some("~err ~warn")),
            ("warn|error", Some("=warn =error")),
            ("foo|foobar", Some("~foo ~foobar")),
            ("warn|warning|error|", Some("~warn ~warning =error")),
            ("x|foo", Some("=x =foo")),
            ("éa1|éb2", Some("~éa1 ~éb2")),
            ("foo|.*", Some("=foo")),
            ("10[.]0.*", Some("~10.0")),
            ("(foo|bar)", Some("=foo =bar")),
            ("api-(one|two)", Some("~api-one ~api-two")),
            ("a|b", None),
            ("abc|abd", None),
            ("xfoo|xbar|xbaz", None),
            ("w.r.*", None),
            (".*[ab]", None),
            ("a.|b.*", None),
            ("^wor", None),
            ("(one|two).*", None),
            (".*wor.*x", None),
            ("wo(?i)r", None),
        ] {
            assert_eq!(shown(pattern).as_deref(), expected, "{pattern}");
        }
    }
}
