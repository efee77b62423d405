//! Lines of one form: the words they have in common, and how many lines there were.

use std::collections::BTreeMap;

use crate::patterns::tokens::{Format, Tokens};

/// What stands for words that differ.
pub(super) const PLACEHOLDER: &str = "<_>";

#[derive(Debug)]
pub(super) struct Cluster {
    format: Format,
    /// `None`: a placeholder.
    words: Vec<Option<Box<str>>>,
    is_spaced: Vec<bool>,
    counts: BTreeMap<i64, f64>,
    /// When it was met last, in lines of its tree.
    pub(super) last_met: u64,
}

/// Words that cannot stand in a pattern: they would read as a capture.
fn reads_as_capture(word: &str) -> bool {
    word.contains(['<', '>'])
}

impl Cluster {
    pub(super) fn new(tokens: &Tokens<'_>) -> Self {
        let words = tokens.words().iter().map(|word| (!reads_as_capture(word)).then(|| Box::from(*word)));
        Self {
            format: tokens.format(),
            words: words.collect(),
            is_spaced: tokens.is_spaced().to_vec(),
            counts: BTreeMap::new(),
            last_met: 0,
        }
    }

    /// How much of the words is the same, 0 to 1, and how many placeholders there are; `None` if the line has another shape.
    pub(super) fn similarity(&self, tokens: &Tokens<'_>) -> Option<(f64, usize)> {
        if self.is_spaced != tokens.is_spaced() {
            return None;
        }
        let same = self.words.iter().zip(tokens.words()).filter(|(word, other)| word.as_deref() == Some(**other)).count();
        let placeholders = self.words.iter().filter(|word| word.is_none()).count();
        Some((same as f64 / self.words.len() as f64, placeholders))
    }

    /// Takes a line of the same shape.
    pub(super) fn add(&mut self, tokens: &Tokens<'_>, step: i64, weight: f64) {
        for (word, other) in self.words.iter_mut().zip(tokens.words()) {
            if word.as_deref() != Some(*other) {
                *word = None;
            }
        }
        *self.counts.entry(step).or_insert(0.0) += weight;
    }

    pub(super) fn counts(&self) -> &BTreeMap<i64, f64> {
        &self.counts
    }

    /// The pattern; placeholders with nothing but a blank between them are one.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        if self.format == Format::Json {
            text.push_str(PLACEHOLDER);
        }
        for (index, (word, is_spaced)) in self.words.iter().zip(&self.is_spaced).enumerate() {
            match word {
                Some(word) => text.push_str(word),
                None => push_placeholder(&mut text),
            }
            let is_last = index + 1 == self.words.len();
            if *is_spaced && !(is_last && self.format == Format::Json && word.is_none()) {
                text.push(' ');
            }
        }
        if self.format == Format::Json {
            push_placeholder(&mut text);
        }
        text
    }
}

fn push_placeholder(text: &mut String) {
    let before = text.strip_suffix(' ').unwrap_or(text);
    if before.ends_with(PLACEHOLDER) {
        text.truncate(before.len());
    } else {
        text.push_str(PLACEHOLDER);
    }
}
