//! A regular expression as a tree, formed as Go's parser forms it, as far as texts in it go.
//!
//! The tree matters only to those who read the form of an expression and not what it means, as Loki's filters do: groups without a name or
//! number dissolve, letters in a row are one text, single characters beside each other a class, and alternatives that begin alike share
//! that beginning (`warn|warning` is `warn(?:|ing)`). What no reader of the form looks into is just [`Node::Class`] or [`Node::Other`].

/// Nesting at which an expression is no longer read.
const MAXIMUM_DEPTH: usize = 50;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    Empty,
    /// `any_case`: in upper and lower case alike.
    Text {
        text: Vec<char>,
        any_case: bool,
    },
    /// `.`, without line breaks.
    Dot,
    /// One character of several.
    Class,
    /// Assertions, counted repetitions and such.
    Other,
    Star(Box<Node>),
    Plus(Box<Node>),
    Group(Box<Node>),
    Concatenation(Vec<Node>),
    Alternation(Vec<Node>),
}

/// The tree of an expression that is well formed; `None` if it has a form that is not read here.
pub(crate) fn tree(pattern: &str) -> Option<Node> {
    let mut reader = Reader { rest: pattern, flags: Flags::default(), depth: 0 };
    let node = reader.alternation()?;
    reader.rest.is_empty().then_some(node)
}

#[derive(Debug, Clone, Copy, Default)]
struct Flags {
    any_case: bool,
    dot_takes_line_breaks: bool,
}

struct Reader<'p> {
    rest: &'p str,
    flags: Flags,
    depth: usize,
}

impl<'p> Reader<'p> {
    fn next(&mut self) -> Option<char> {
        let character = self.rest.chars().next()?;
        self.rest = &self.rest[character.len_utf8()..];
        Some(character)
    }

    fn take(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn alternation(&mut self) -> Option<Node> {
        let mut alternatives: Vec<Node> = Vec::new();
        loop {
            let next = self.concatenation()?;
            match alternatives.last_mut() {
                // Characters beside each other are joined at once, whatever comes behind.
                Some(last) if last.is_character() && next.is_character() => {
                    if *last != next {
                        *last = Node::Class;
                    }
                }
                _ => alternatives.push(next),
            }
            if !self.take("|") {
                return Some(collapsed(alternatives, true));
            }
        }
    }

    fn concatenation(&mut self) -> Option<Node> {
        let mut parts: Vec<Node> = Vec::new();
        while !self.rest.is_empty() && !self.rest.starts_with(['|', ')']) {
            let Some(atom) = self.atom()? else { continue };
            let repeated = self.repeated(atom)?;
            match (parts.last_mut(), repeated) {
                (Some(Node::Text { text, any_case }), Node::Text { text: more, any_case: same }) if *any_case == same => text.extend(more),
                (_, part) => parts.push(part),
            }
        }
        Some(if parts.is_empty() { Node::Empty } else { collapsed(parts, false) })
    }

    /// `Some(None)`: flags, which are no part of the expression.
    #[allow(clippy::option_option)]
    fn atom(&mut self) -> Option<Option<Node>> {
        let before = self.rest;
        let character = self.next()?;
        Some(Some(match character {
            '(' => return self.group(),
            '[' => self.class(before)?,
            '.' if self.flags.dot_takes_line_breaks => Node::Class,
            '.' => Node::Dot,
            '^' | '$' => Node::Other,
            '\\' => self.escape()?,
            '*' | '+' | '?' => return None,
            _ => self.text(character),
        }))
    }

    fn text(&self, character: char) -> Node {
        let any_case = self.flags.any_case;
        let lower = character.to_lowercase().next().filter(|_| any_case);
        Node::Text { text: vec![lower.unwrap_or(character)], any_case }
    }

    #[allow(clippy::option_option)]
    fn group(&mut self) -> Option<Option<Node>> {
        let outer = self.flags;
        let mut is_captured = true;
        if self.take("?P<") || self.take("?<") {
            self.rest = &self.rest[self.rest.find('>')? + 1..];
        } else if self.take("?") {
            is_captured = false;
            let end = self.rest.find([':', ')'])?;
            let (flags, rest) = self.rest.split_at(end);
            self.set_flags(flags);
            self.rest = &rest[1..];
            if rest.starts_with(')') {
                return Some(None);
            }
        }
        self.depth += 1;
        if self.depth > MAXIMUM_DEPTH {
            return None;
        }
        let node = self.alternation()?;
        self.depth -= 1;
        self.flags = outer;
        self.take(")").then_some(Some(if is_captured { Node::Group(Box::new(node)) } else { node }))
    }

    fn set_flags(&mut self, flags: &str) {
        let mut is_set = true;
        for flag in flags.chars() {
            match flag {
                '-' => is_set = false,
                'i' => self.flags.any_case = is_set,
                's' => self.flags.dot_takes_line_breaks = is_set,
                _ => {}
            }
        }
    }

    /// A class of one character is that character.
    fn class(&mut self, before: &'p str) -> Option<Node> {
        let mut is_first = true;
        self.take("^");
        loop {
            match self.next()? {
                ']' if !is_first => break,
                '[' if self.rest.starts_with(':') => self.rest = &self.rest[self.rest.find(":]")? + 2..],
                '\\' => drop(self.next()?),
                _ => {}
            }
            is_first = false;
        }
        let written = &before[..before.len() - self.rest.len()];
        let mut inner = written[1..written.len() - 1].chars();
        Some(match (inner.next(), inner.next(), inner.next()) {
            (Some(single), None, _) if single != '^' && single != '\\' => self.text(single),
            (Some('\\'), Some(single), None) if single.is_ascii_punctuation() => self.text(single),
            _ => Node::Class,
        })
    }

    fn escape(&mut self) -> Option<Node> {
        let character = self.next()?;
        match character {
            'n' => Some(self.text('\n')),
            't' => Some(self.text('\t')),
            'r' => Some(self.text('\r')),
            'd' | 'D' | 's' | 'S' | 'w' | 'W' => Some(Node::Class),
            'b' | 'B' | 'A' | 'z' => Some(Node::Other),
            _ if character.is_ascii_punctuation() => Some(self.text(character)),
            _ => None,
        }
    }

    fn repeated(&mut self, atom: Node) -> Option<Node> {
        let before = self.rest;
        let node = match before.chars().next() {
            Some('*' | '+') if atom == Node::Empty => return None,
            Some('*') => Node::Star(Box::new(atom)),
            Some('+') => Node::Plus(Box::new(atom)),
            Some('?') => Node::Other,
            Some('{') => match before.find('}') {
                Some(end) if is_count(&before[1..end]) => {
                    self.rest = &before[end..];
                    Node::Other
                }
                _ => return Some(atom),
            },
            _ => return Some(atom),
        };
        self.next();
        self.take("?");
        Some(node)
    }
}

fn is_count(text: &str) -> bool {
    let (least, most) = text.split_once(',').unwrap_or((text, ""));
    !least.is_empty() && [least, most].iter().all(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
}

impl Node {
    fn is_character(&self) -> bool {
        match self {
            Node::Text { text, .. } => text.len() == 1,
            Node::Class | Node::Dot => true,
            _ => false,
        }
    }

    /// The text that it begins with.
    fn leading_text(&self) -> Option<(&[char], bool)> {
        match self {
            Node::Text { text, any_case } => Some((text, *any_case)),
            Node::Concatenation(parts) => match parts.first() {
                Some(Node::Text { text, any_case }) => Some((text, *any_case)),
                _ => None,
            },
            _ => None,
        }
    }

    fn without_leading_text(self, length: usize) -> Node {
        match self {
            Node::Text { text, any_case } if text.len() > length => Node::Text { text: text[length..].to_vec(), any_case },
            Node::Concatenation(mut parts) => {
                let first = parts.remove(0).without_leading_text(length);
                if first != Node::Empty {
                    parts.insert(0, first);
                }
                concatenated(parts)
            }
            _ => Node::Empty,
        }
    }
}

fn concatenated(mut parts: Vec<Node>) -> Node {
    match parts.len() {
        0 => Node::Empty,
        1 => parts.remove(0),
        _ => Node::Concatenation(parts),
    }
}

/// One node of several, those of the same kind among them taken apart.
fn collapsed(mut nodes: Vec<Node>, is_alternation: bool) -> Node {
    if nodes.len() == 1 {
        return nodes.remove(0);
    }
    let parts = nodes.into_iter().flat_map(|node| match node {
        Node::Concatenation(parts) if !is_alternation => parts,
        Node::Alternation(parts) if is_alternation => parts,
        node => vec![node],
    });
    if !is_alternation {
        return Node::Concatenation(parts.collect());
    }
    let mut factored = factored(parts.collect());
    if factored.len() == 1 { factored.remove(0) } else { Node::Alternation(factored) }
}

/// Alternatives: those in a row that begin alike made one, then characters in a row a class, and empty ones in a row one.
fn factored(alternatives: Vec<Node>) -> Vec<Node> {
    let mut factored: Vec<Node> = Vec::new();
    for node in with_shared_texts(alternatives) {
        match factored.last_mut() {
            Some(last) if last.is_character() && node.is_character() => *last = Node::Class,
            Some(Node::Empty) if node == Node::Empty => {}
            _ => factored.push(node),
        }
    }
    factored
}

fn with_shared_texts(alternatives: Vec<Node>) -> Vec<Node> {
    let mut factored = Vec::new();
    let mut pending = alternatives.into_iter().peekable();
    while let Some(first) = pending.next() {
        let Some((text, any_case)) = first.leading_text().map(|(text, any_case)| (text.to_vec(), any_case)) else {
            factored.push(first);
            continue;
        };
        let (mut shared, mut run) = (text, vec![first]);
        while let Some((text, same)) = pending.peek().and_then(Node::leading_text) {
            let length = text.iter().zip(&shared).take_while(|(one, other)| one == other).count();
            if same != any_case || length == 0 {
                break;
            }
            shared.truncate(length);
            run.extend(pending.next());
        }
        if run.len() == 1 {
            factored.append(&mut run);
            continue;
        }
        let behind = run.into_iter().map(|node| node.without_leading_text(shared.len())).collect();
        factored.push(Node::Concatenation(vec![Node::Text { text: shared, any_case }, collapsed(behind, true)]));
    }
    factored
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Go writes it, more or less.
    fn shown(node: &Node) -> String {
        let all = |nodes: &[Node], between: &str| nodes.iter().map(shown).collect::<Vec<_>>().join(between);
        match node {
            Node::Empty => "~".to_owned(),
            Node::Text { text, any_case } => format!("{}{}", if *any_case { "i:" } else { "" }, text.iter().collect::<String>()),
            Node::Dot => ".".to_owned(),
            Node::Class => "[]".to_owned(),
            Node::Other => "?".to_owned(),
            Node::Star(inner) => format!("{}*", shown(inner)),
            Node::Plus(inner) => format!("{}+", shown(inner)),
            Node::Group(inner) => format!("<{}>", shown(inner)),
            Node::Concatenation(parts) => all(parts, " "),
            Node::Alternation(parts) => format!("({})", all(parts, "|")),
        }
    }

    #[test]
    fn expressions_take_the_form_that_go_gives_them() {
        for (pattern, expected) in [
            ("abc", "abc"),
            ("a(?:bc)d", "abcd"),
            ("ab*", "a b*"),
            ("a.*?b+", "a .* b+"),
            ("", "~"),
            ("(a)", "<a>"),
            ("(?P<n>a)(?<m>b)", "<a> <b>"),
            ("a|b", "[]"),
            ("a|b|bc", "([]|bc)"),
            ("warn|warning", "warn (~|ing)"),
            ("abc|abd", "ab []"),
            ("foo|bar|b|buzz|zz", "(foo|b (ar|~|uzz)|zz)"),
            ("(?:a|b)c", "[] c"),
            (".a|.b", "(. a|. b)"),
            ("(?i)Warn|wARNing|(?-i:x)", "(i:warn (~|i:ing)|x)"),
            ("(?i:a)b", "i:a b"),
            ("a{2}|a{", "(?|a{)"),
            ("[.]x[\\.]", ".x."),
            ("[]a]|^x$", "([]|? x ?)"),
            ("(?s).*", "[]*"),
        ] {
            assert_eq!(tree(pattern).as_ref().map(shown).as_deref(), Some(expected), "{pattern}");
        }
        assert_eq!(tree(r"\x41"), None);
        assert_eq!(tree(&"(".repeat(1_000)), None);
    }
}
