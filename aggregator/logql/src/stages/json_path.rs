//! Paths of `| json label="path"`: `field`, `a.b`, `a["b c"]`, `["a"][0].c`.
//!
//! All paths of a stage are put into one tree, so that a line is walked once. A path has at most [`MAXIMUM_PARTS`]
//! parts, which bounds the recursion over the tree.

use thiserror::Error;

const MAXIMUM_PARTS: usize = 128;

/// Why a text is no path; displayed as the reference does.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("cannot parse expression [{path}]: {reason}")]
pub(crate) struct PathError {
    path: String,
    reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    Field(Vec<u8>),
    Index(usize),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Dot,
    Open,
    Close,
    String(Vec<u8>),
    Index(usize),
    Field(Vec<u8>),
    End,
    Unknown(char),
}

impl Token {
    fn name(&self) -> &'static str {
        match self {
            Token::Dot => "DOT",
            Token::Open => "LSB",
            Token::Close => "RSB",
            Token::String(_) => "STRING",
            Token::Index(_) => "INDEX",
            Token::Field(_) => "FIELD",
            Token::End | Token::Unknown(_) => "$end",
        }
    }

    fn unexpected(&self, expected: &str) -> String {
        match (self, expected) {
            (Token::Unknown(character), "") => format!("unexpected char {character}"),
            (_, "") => format!("syntax error: unexpected {}", self.name()),
            _ => format!("syntax error: unexpected {}, expecting {expected}", self.name()),
        }
    }
}

pub(crate) fn parse_path(path: &str) -> Result<Vec<Part>, PathError> {
    let mut tokens = Tokens { rest: path };
    parse_parts(&mut tokens).map_err(|reason| PathError { path: path.to_owned(), reason })
}

fn parse_parts(tokens: &mut Tokens<'_>) -> Result<Vec<Part>, String> {
    let mut parts = match tokens.next() {
        Token::Field(name) => vec![Part::Field(name)],
        Token::Open => vec![parse_bracket(tokens)?],
        token => return Err(token.unexpected("LSB or FIELD")),
    };
    loop {
        match tokens.next() {
            Token::End => return Ok(parts),
            Token::Dot => match tokens.next() {
                Token::Field(name) => parts.push(Part::Field(name)),
                token => return Err(token.unexpected("FIELD")),
            },
            Token::Open => parts.push(parse_bracket(tokens)?),
            token => return Err(token.unexpected("")),
        }
        if parts.len() > MAXIMUM_PARTS {
            return Err(format!("a path has at most {MAXIMUM_PARTS} parts"));
        }
    }
}

fn parse_bracket(tokens: &mut Tokens<'_>) -> Result<Part, String> {
    let part = match tokens.next() {
        Token::String(name) => Part::Field(name),
        Token::Index(index) => Part::Index(index),
        token => return Err(token.unexpected("STRING or INDEX")),
    };
    match tokens.next() {
        Token::Close => Ok(part),
        token => Err(token.unexpected("RSB")),
    }
}

struct Tokens<'p> {
    rest: &'p str,
}

impl Tokens<'_> {
    fn next(&mut self) -> Token {
        self.rest = self.rest.trim_start();
        let Some(first) = self.rest.chars().next() else {
            return Token::End;
        };
        match first {
            '.' => self.single(Token::Dot),
            '[' => self.single(Token::Open),
            ']' => self.single(Token::Close),
            '"' => self.quoted().unwrap_or(Token::End),
            '0'..='9' => {
                let digits = self.take_while(|c| c.is_ascii_digit());
                digits.parse().map_or(Token::End, Token::Index)
            }
            'a'..='z' | 'A'..='Z' | '_' => Token::Field(self.take_while(|c| c.is_ascii_alphanumeric() || c == '_').as_bytes().to_vec()),
            other => Token::Unknown(other),
        }
    }

    fn single(&mut self, token: Token) -> Token {
        self.rest = &self.rest[1..];
        token
    }

    fn take_while(&mut self, accept: impl Fn(char) -> bool) -> &str {
        let end = self.rest.find(|c| !accept(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn quoted(&mut self) -> Option<Token> {
        let (end, _) = super::json_text::string_end(self.rest.as_bytes(), 1)?;
        let mut name = Vec::new();
        super::json_text::unescape(&self.rest.as_bytes()[1..end], &mut name).ok()?;
        self.rest = &self.rest[end + 1..];
        Some(Token::String(name))
    }
}

/// The number of a node in its tree; [`ROOT`] is where all paths begin.
pub(crate) type PathIndex = u32;
pub(crate) const ROOT: PathIndex = 0;

/// The paths of a stage as a tree.
#[derive(Debug, Clone)]
pub(crate) struct PathTree {
    nodes: Vec<PathNode>,
    /// Parts of the longest path.
    depth: usize,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct PathNode {
    pub(crate) fields: Vec<(Vec<u8>, PathIndex)>,
    pub(crate) indexes: Vec<(usize, PathIndex)>,
    /// Which extractions end here.
    pub(crate) ends: Vec<usize>,
}

impl Default for PathTree {
    fn default() -> PathTree {
        PathTree { nodes: vec![PathNode::default()], depth: 0 }
    }
}

impl PathTree {
    pub(crate) fn insert(&mut self, parts: &[Part], extraction: usize) {
        self.depth = self.depth.max(parts.len());
        let end = parts.iter().fold(ROOT, |node, part| self.child(node, part));
        self.nodes[end as usize].ends.push(extraction);
    }

    pub(crate) fn node(&self, index: PathIndex) -> &PathNode {
        &self.nodes[index as usize]
    }

    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    /// Calls for each extraction that ends at a node or below it.
    pub(crate) fn each_end(&self, index: PathIndex, look: &mut impl FnMut(usize)) {
        let node = self.node(index);
        node.ends.iter().for_each(|extraction| look(*extraction));
        node.fields.iter().for_each(|(_, child)| self.each_end(*child, look));
        node.indexes.iter().for_each(|(_, child)| self.each_end(*child, look));
    }

    fn child(&mut self, parent: PathIndex, part: &Part) -> PathIndex {
        let new = self.nodes.len() as PathIndex;
        let node = &mut self.nodes[parent as usize];
        let known = match part {
            Part::Field(name) => known_or_new(&mut node.fields, name, new),
            Part::Index(index) => known_or_new(&mut node.indexes, index, new),
        };
        if known == new {
            self.nodes.push(PathNode::default());
        }
        known
    }
}

fn known_or_new<K: PartialEq + Clone>(children: &mut Vec<(K, PathIndex)>, key: &K, new: PathIndex) -> PathIndex {
    let known = children.iter().find(|(known, _)| known == key).map(|(_, index)| *index);
    known.unwrap_or_else(|| {
        children.push((key.clone(), new));
        new
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn field(name: &str) -> Part {
        Part::Field(name.as_bytes().to_vec())
    }

    #[test]
    fn paths_are_parsed() {
        let cases = [
            ("a", vec![field("a")]),
            ("a.b_1", vec![field("a"), field("b_1")]),
            (r#"a["b c"]"#, vec![field("a"), field("b c")]),
            (r#"["a\"b"][10].c"#, vec![field("a\"b"), Part::Index(10), field("c")]),
            ("[0]", vec![Part::Index(0)]),
        ];
        for (path, parts) in cases {
            assert_eq!(parse_path(path).unwrap(), parts, "{path}");
        }
    }

    #[test]
    fn broken_paths_are_refused_in_the_words_of_the_reference() {
        let cases = [
            ("", "cannot parse expression []: syntax error: unexpected $end, expecting LSB or FIELD"),
            ("a..b", "cannot parse expression [a..b]: syntax error: unexpected DOT, expecting FIELD"),
            ("a[", "cannot parse expression [a[]: syntax error: unexpected $end, expecting STRING or INDEX"),
            ("a[x]", "cannot parse expression [a[x]]: syntax error: unexpected FIELD, expecting STRING or INDEX"),
            ("a[-1]", "cannot parse expression [a[-1]]: syntax error: unexpected $end, expecting STRING or INDEX"),
            ("a.b.", "cannot parse expression [a.b.]: syntax error: unexpected $end, expecting FIELD"),
            ("a b", "cannot parse expression [a b]: syntax error: unexpected FIELD"),
        ];
        for (path, text) in cases {
            assert_eq!(parse_path(path).unwrap_err().to_string(), text);
        }
        assert!(parse_path(&"a.".repeat(500)).is_err());
    }
}
