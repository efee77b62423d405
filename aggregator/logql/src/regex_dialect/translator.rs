//! The walk over a pattern: groups, flags, repetition, and everything that matches.
//!
//! One pass with a stack of open groups. Flags are written just before the next thing that matches, so that a
//! repetition right after them still finds what it repeats, as in Go.

use super::class_name::ClassNames;
use super::translation::Translated;
use super::{RegexError, RegexErrorKind, class, escape};

/// Of groups. Go allows 1000; compiling recurses, and must fit on the stack of a server thread.
const MAX_NESTING: usize = 50;
/// Of a single repetition and of the product of nested ones.
const MAX_REPEAT: u64 = 1_000;

pub(super) struct Translator<'a> {
    pattern: &'a str,
    class_names: ClassNames,
    rest: &'a str,
    out: String,
    /// Flags to be written before the next atom.
    waiting_flags: String,
    open_groups: Vec<OpenGroup>,
    /// The product of repetitions of what the current group has matched last; `None` if there is nothing to repeat.
    last: Option<u64>,
    /// The largest such product in the current group.
    largest: u64,
    group_names: Vec<Option<String>>,
}

/// What to go back to when the group closes.
struct OpenGroup {
    largest: u64,
}

impl<'a> Translator<'a> {
    pub(super) fn new(pattern: &'a str, class_names: ClassNames) -> Self {
        Self {
            pattern,
            class_names,
            rest: pattern,
            out: String::with_capacity(pattern.len() + 16),
            waiting_flags: String::new(),
            open_groups: Vec::new(),
            last: None,
            largest: 1,
            group_names: vec![None],
        }
    }

    pub(super) fn translate(mut self) -> Result<Translated, RegexError> {
        while let Some(c) = self.rest.chars().next() {
            match c {
                '(' => self.open()?,
                ')' => self.close()?,
                '|' => self.alternative(),
                '[' => self.bracketed_class()?,
                '\\' => self.backslash()?,
                '.' | '^' | '$' => {
                    self.rest = &self.rest[1..];
                    self.atom(|out| out.push(c));
                }
                '*' | '+' | '?' => self.repetitions()?,
                '{' if counted(self.rest).is_some() => self.repetitions()?,
                _ => {
                    self.rest = &self.rest[c.len_utf8()..];
                    self.atom(|out| escape::push_literal(out, c));
                }
            }
        }
        if !self.open_groups.is_empty() {
            return Err(RegexErrorKind::MissingParen.at(self.pattern));
        }
        Ok(Translated { original: self.pattern.to_owned(), pattern: self.out, group_names: self.group_names })
    }

    /// Writes something that matches and can be repeated.
    fn atom(&mut self, write: impl FnOnce(&mut String)) {
        self.write_flags();
        write(&mut self.out);
        self.last = Some(1);
    }

    fn write_flags(&mut self) {
        self.out.push_str(&self.waiting_flags);
        self.waiting_flags.clear();
    }

    fn alternative(&mut self) {
        self.rest = &self.rest[1..];
        self.write_flags();
        self.out.push('|');
        self.last = None;
    }

    fn bracketed_class(&mut self) -> Result<(), RegexError> {
        self.write_flags();
        self.rest = class::bracketed(self.rest, self.class_names, &mut self.out)?;
        self.last = Some(1);
        Ok(())
    }

    fn backslash(&mut self) -> Result<(), RegexError> {
        let text = self.rest;
        if let Some(quoted) = text.strip_prefix(r"\Q") {
            let (literal, rest) = quoted.split_once(r"\E").unwrap_or((quoted, ""));
            self.rest = rest;
            for c in literal.chars() {
                self.atom(|out| escape::push_literal(out, c));
            }
            return Ok(());
        }
        let assertion = match text.as_bytes().get(1) {
            Some(b'A') => Some(r"\A"),
            Some(b'z') => Some(r"\z"),
            Some(b'b') => Some(r"(?-u:\b)"),
            Some(b'B') => Some(r"(?-u:\B)"),
            _ => None,
        };
        if let Some(assertion) = assertion {
            self.rest = &text[2..];
            self.atom(|out| out.push_str(assertion));
        } else if let Some((class, rest)) = class::unicode(text, self.class_names)? {
            self.rest = rest;
            self.atom(|out| out.push_str(&class));
        } else if let Some((class, rest)) = class::perl(text) {
            self.rest = rest;
            self.atom(|out| out.push_str(class));
        } else {
            let (c, rest) = escape::character(text)?;
            self.rest = rest;
            self.atom(|out| escape::push_literal(out, c));
        }
        Ok(())
    }

    fn open(&mut self) -> Result<(), RegexError> {
        let text = self.rest;
        let has_name = |opening: &str| text.len() > opening.len() && text.starts_with(opening);
        if has_name("(?P<") || has_name("(?<") {
            let start = text.find('<').expect("just seen") + 1;
            let end = text.find('>').ok_or_else(|| RegexErrorKind::InvalidNamedCapture.at(text))?;
            let name = &text[start..end];
            if name.is_empty() || !name.bytes().all(|b| b == b'_' || b.is_ascii_alphanumeric()) {
                return Err(RegexErrorKind::InvalidNamedCapture.at(&text[..=end]));
            }
            let is_taken = self.group_names.iter().flatten().any(|taken| taken == name);
            self.rest = &text[end + 1..];
            self.group_names.push(Some(name.to_owned()));
            if is_taken || name.starts_with(|c: char| c.is_ascii_digit()) {
                return self.enter("(");
            }
            return self.enter(&format!("(?P<{name}>"));
        }
        if text.starts_with("(?") {
            return self.flags();
        }
        self.rest = &text[1..];
        self.group_names.push(None);
        self.enter("(")
    }

    fn enter(&mut self, opening: &str) -> Result<(), RegexError> {
        if self.open_groups.len() == MAX_NESTING {
            return Err(RegexErrorKind::NestsTooDeeply.at(self.pattern));
        }
        self.write_flags();
        self.out.push_str(opening);
        self.open_groups.push(OpenGroup { largest: self.largest });
        self.largest = 1;
        self.last = None;
        Ok(())
    }

    fn close(&mut self) -> Result<(), RegexError> {
        let Some(group) = self.open_groups.pop() else {
            return Err(RegexErrorKind::UnexpectedParen.at(self.pattern));
        };
        self.rest = &self.rest[1..];
        // Flags at the end of a group have nothing to act on.
        self.waiting_flags.clear();
        self.out.push(')');
        self.last = Some(self.largest);
        self.largest = self.largest.max(group.largest);
        Ok(())
    }

    /// `(?i)` or `(?i-s:`. Only the flags i, m, s and U exist.
    fn flags(&mut self) -> Result<(), RegexError> {
        let text = self.rest;
        let mut negative = false;
        let mut saw_flag = false;
        for (offset, c) in text.char_indices().skip(2) {
            let after = &text[offset + c.len_utf8()..];
            match c {
                'i' | 'm' | 's' | 'U' => saw_flag = true,
                '-' if !negative => {
                    negative = true;
                    saw_flag = false;
                }
                ':' | ')' if !negative || saw_flag => {
                    let flags = &text[..offset];
                    self.rest = after;
                    if c == ':' {
                        return self.enter(&deduplicated(flags, ':'));
                    }
                    if flags.len() > 2 {
                        self.waiting_flags.push_str(&deduplicated(flags, ')'));
                    }
                    return Ok(());
                }
                _ => return Err(RegexErrorKind::InvalidPerlSyntax.at(&text[..text.len() - after.len()])),
            }
        }
        Err(RegexErrorKind::InvalidPerlSyntax.at(text))
    }

    /// A repetition operator, which none may follow.
    fn repetitions(&mut self) -> Result<(), RegexError> {
        let start = self.rest;
        let operator = Repetition::read(start)?;
        let after = &start[operator.length..];
        let Some(inner) = self.last else {
            return Err(RegexErrorKind::MissingRepeatArgument.at(&start[..operator.length]));
        };
        let product = match operator.largest_count {
            // Repeated zero times, whatever is inside does not count.
            Some(0) => 1,
            Some(count) => inner * count,
            None => inner,
        };
        if operator.largest_count.is_some_and(|count| count >= 2) && product > MAX_REPEAT {
            return Err(RegexErrorKind::InvalidRepeatCount.at(&start[..operator.length]));
        }
        self.last = Some(product);
        self.largest = self.largest.max(product);
        self.out.push_str(&start[..operator.length]);
        self.rest = after;
        if after.starts_with(['*', '+', '?']) || (after.starts_with('{') && counted(after).is_some()) {
            let next = Repetition::read(after)?;
            return Err(RegexErrorKind::InvalidRepeatOperator.at(&start[..operator.length + next.length]));
        }
        Ok(())
    }
}

/// Go takes a flag twice, Rust does not. `flags` begins with `(?`.
fn deduplicated(flags: &str, end: char) -> String {
    let mut written = String::from("(?");
    let (on, off) = flags[2..].split_once('-').unwrap_or((&flags[2..], ""));
    let distinct = |flags: &str| -> String { ['i', 'm', 's', 'U'].into_iter().filter(|flag| flags.contains(*flag)).collect() };
    let (on, off) = (distinct(on), distinct(off));
    // A flag both on and off ends up off.
    written.extend(on.chars().filter(|flag| !off.contains(*flag)));
    if !off.is_empty() {
        written.push('-');
        written.push_str(&off);
    }
    written.push(end);
    written
}

struct Repetition {
    /// Bytes, with a `?` that makes it lazy.
    length: usize,
    /// Of `{n,m}`: m, or n where there is no m.
    largest_count: Option<u64>,
}

impl Repetition {
    /// Reads the operator at the start of `text`, which is one.
    fn read(text: &str) -> Result<Self, RegexError> {
        let (length, largest_count) = match counted(text) {
            None => (1, None),
            Some(count) => {
                let too_large = count.minimum > MAX_REPEAT || count.maximum.is_some_and(|max| max > MAX_REPEAT || max < count.minimum);
                if too_large {
                    return Err(RegexErrorKind::InvalidRepeatCount.at(&text[..count.length]));
                }
                (count.length, Some(count.maximum.unwrap_or(count.minimum)))
            }
        };
        let lazy = usize::from(text[length..].starts_with('?'));
        Ok(Self { length: length + lazy, largest_count })
    }
}

struct Counted {
    length: usize,
    minimum: u64,
    /// `None`: no limit.
    maximum: Option<u64>,
}

/// `{n}`, `{n,}` or `{n,m}` at the start of `text`; anything else with a brace is literal text.
fn counted(text: &str) -> Option<Counted> {
    let (inside, _) = text.strip_prefix('{')?.split_once('}')?;
    let length = inside.len() + 2;
    let (minimum, maximum) = match inside.split_once(',') {
        None => {
            let count = count(inside)?;
            (count, Some(count))
        }
        Some((minimum, "")) => (count(minimum)?, None),
        Some((minimum, maximum)) => (count(minimum)?, Some(count(maximum)?)),
    };
    Some(Counted { length, minimum, maximum })
}

/// Digits without a leading zero; beyond any limit where they do not fit.
fn count(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}
