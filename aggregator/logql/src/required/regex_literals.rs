//! The literals that every match of a regular expression holds, as alternatives of runs of text.
//!
//! A part of an expression that matches few texts is *exact*: the set of those. Neighbouring exact parts multiply, so
//! that `tim(e|ing) out` is two texts. A class that is one letter in all its cases is that letter, folded. Where a
//! part is not exact, or the product would grow beyond the bounds, the texts so far are required and a new run
//! begins. Everything is bounded: [`MAXIMUM_SET`] texts a set, [`MAXIMUM_TEXT`] bytes each, [`MAXIMUM_BRANCHES`].

use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, Hir, HirKind, Repetition};

use super::Requirement;
use crate::regex_dialect::{Anchoring, translate_anchored};

const MAXIMUM_SET: usize = 16;
const MAXIMUM_TEXT: usize = 256;
const MAXIMUM_BRANCHES: usize = 64;

/// What texts require that a match holds; see [`Requirement::Text`].
type OfText<'a> = &'a dyn Fn(&[u8], bool) -> Requirement;

/// What matches of the pattern require; `of_text` says what a text in the searched value does. Patterns that do not
/// compile require nothing.
pub(super) fn required(pattern: &str, anchoring: Anchoring, of_text: OfText<'_>) -> Requirement {
    let Ok(translated) = translate_anchored(pattern, anchoring) else {
        return Requirement::Anything;
    };
    match ParserBuilder::new().utf8(false).build().parse(translated.pattern()) {
        Ok(hir) => Extractor { of_text }.extract(&hir).required(of_text),
        Err(_) => Requirement::Anything,
    }
}

/// A text that a part of the expression matches.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Literal {
    bytes: Vec<u8>,
    fold_case: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Found {
    /// The part matches just these, perhaps only some of them.
    Exact(Vec<Literal>),
    Required(Requirement),
}

impl Found {
    fn nothing() -> Found {
        Found::Required(Requirement::Anything)
    }

    fn empty() -> Found {
        Found::Exact(vec![Literal { bytes: Vec::new(), fold_case: false }])
    }

    fn text(bytes: &[u8], fold_case: bool) -> Found {
        Found::Exact(vec![Literal { bytes: bytes.to_vec(), fold_case }])
    }

    fn required(self, of_text: OfText<'_>) -> Requirement {
        match self {
            Found::Required(requirement) => requirement,
            Found::Exact(set) => of_set(&set, of_text),
        }
    }
}

fn of_set(set: &[Literal], of_text: OfText<'_>) -> Requirement {
    Requirement::any(set.iter().map(|literal| of_text(&literal.bytes, literal.fold_case)).collect())
}

struct Extractor<'a> {
    of_text: OfText<'a>,
}

impl Extractor<'_> {
    fn extract(&self, hir: &Hir) -> Found {
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => Found::empty(),
            HirKind::Literal(literal) => Found::text(&literal.0, false),
            HirKind::Class(class) => of_class(class),
            HirKind::Repetition(repetition) => self.of_repetition(repetition),
            HirKind::Capture(capture) => self.extract(&capture.sub),
            HirKind::Concat(parts) => self.of_sequence(parts.iter()),
            HirKind::Alternation(branches) => self.of_branches(branches),
        }
    }

    fn of_repetition(&self, repetition: &Repetition) -> Found {
        let part = self.extract(&repetition.sub);
        match (repetition.min, repetition.max) {
            (0, Some(0)) => Found::empty(),
            (0, Some(1)) => match part {
                Found::Exact(mut set) if set.len() < MAXIMUM_SET => {
                    set.push(Literal { bytes: Vec::new(), fold_case: false });
                    Found::Exact(set)
                }
                _ => Found::nothing(),
            },
            (0, _) => Found::nothing(),
            (1, Some(1)) => part,
            (least, most) => {
                let times = (least as usize).min(MAXIMUM_TEXT);
                let sequence = self.of_sequence(std::iter::repeat_n(&*repetition.sub, times));
                // More of the part may follow, so what comes behind does not continue the text.
                if most == Some(least) && times == least as usize { sequence } else { Found::Required(sequence.required(self.of_text)) }
            }
        }
    }

    fn of_sequence<'h>(&self, parts: impl Iterator<Item = &'h Hir>) -> Found {
        let mut required = Vec::new();
        let mut run: Option<Vec<Literal>> = None;
        let mut is_exact = true;
        for part in parts {
            let (ended, next) = match (run.take(), self.extract(part)) {
                (None, Found::Exact(set)) => (None, Some(set)),
                (Some(before), Found::Exact(set)) => match product(&before, &set) {
                    Some(joined) => (None, Some(joined)),
                    None => (Some(before), Some(set)),
                },
                (before, Found::Required(requirement)) => {
                    is_exact = false;
                    required.push(requirement);
                    (before, None)
                }
            };
            if let Some(ended) = ended {
                is_exact = false;
                required.push(of_set(&ended, self.of_text));
            }
            run = next;
        }
        let run = run.unwrap_or_default();
        if is_exact {
            return if run.is_empty() { Found::empty() } else { Found::Exact(run) };
        }
        if !run.is_empty() {
            required.push(of_set(&run, self.of_text));
        }
        Found::Required(Requirement::all(required))
    }

    fn of_branches(&self, branches: &[Hir]) -> Found {
        if branches.len() > MAXIMUM_BRANCHES {
            return Found::nothing();
        }
        let found: Vec<Found> = branches.iter().map(|branch| self.extract(branch)).collect();
        let sets: Option<Vec<&Vec<Literal>>> =
            found.iter().map(|found| if let Found::Exact(set) = found { Some(set) } else { None }).collect();
        if let Some(sets) = sets
            && sets.iter().map(|set| set.len()).sum::<usize>() <= MAXIMUM_SET
        {
            return Found::Exact(sets.into_iter().flatten().cloned().collect());
        }
        Found::Required(Requirement::any(found.into_iter().map(|found| found.required(self.of_text)).collect()))
    }
}

/// Each of the texts with each of the others behind it; `None` beyond the bounds.
fn product(left: &[Literal], right: &[Literal]) -> Option<Vec<Literal>> {
    let longest = |set: &[Literal]| set.iter().map(|literal| literal.bytes.len()).max().unwrap_or(0);
    if left.len() * right.len() > MAXIMUM_SET || longest(left) + longest(right) > MAXIMUM_TEXT {
        return None;
    }
    let join = |left: &Literal, right: &Literal| Literal {
        bytes: [left.bytes.as_slice(), &right.bytes].concat(),
        fold_case: left.fold_case || right.fold_case,
    };
    Some(left.iter().flat_map(|left| right.iter().map(move |right| join(left, right))).collect())
}

/// A class that is one character in all its cases is that character, folded; a small one each of its characters.
fn of_class(class: &Class) -> Found {
    let Class::Unicode(class) = class else {
        return Found::nothing();
    };
    let size: u32 = class.ranges().iter().map(|range| range.end() as u32 - range.start() as u32 + 1).sum();
    let characters: Vec<char> = match size {
        1..=4 => class.iter().flat_map(|range| range.start()..=range.end()).collect(),
        _ => return Found::nothing(),
    };
    let encode = |character: char| character.encode_utf8(&mut [0; 4]).as_bytes().to_vec();
    let first = characters[0];
    let mut cases = ClassUnicode::new([ClassUnicodeRange::new(first, first)]);
    if characters.len() > 1 && cases.try_case_fold_simple().is_ok() && cases == *class {
        return Found::text(&encode(first.to_ascii_lowercase()), true);
    }
    Found::Exact(characters.into_iter().map(|character| Literal { bytes: encode(character), fold_case: false }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(requirement: &Requirement) -> String {
        let list = |parts: &[Requirement], between: &str| parts.iter().map(shown).collect::<Vec<_>>().join(between);
        match requirement {
            Requirement::Anything => "*".to_owned(),
            Requirement::Text { bytes, fold_case } => {
                format!("{}{}", if *fold_case { "~" } else { "" }, String::from_utf8_lossy(bytes))
            }
            Requirement::All(parts) => format!("({})", list(parts, " & ")),
            Requirement::Any(parts) => format!("({})", list(parts, " | ")),
        }
    }

    fn literals(pattern: &str) -> String {
        shown(&required(pattern, Anchoring::Search, &Requirement::literal))
    }

    #[test]
    fn literals_are_what_every_match_holds() {
        let cases = [
            ("error", "error"),
            ("^error$", "error"),
            ("error.*timeout", "(error & timeout)"),
            ("tim(e|ing) out", "(time out | timing out)"),
            ("https?://", "(https:// | http://)"),
            ("(?i)error", "~error"),
            ("(?i)disk", "~disk"),
            ("user (?i)id", "~user id"),
            ("(?i)straße", "~straße"),
            ("code [45]xx", "(code 4xx | code 5xx)"),
            ("code=5[0-9][0-9] end", "(code=5 &  end)"),
            ("(ab){2}c", "ababc"),
            ("(ab)+c", "(ab & c)"),
            ("x{2,}yy", "(xx & yy)"),
            ("(abc)*d", "d"),
            ("a|", "*"),
            ("abc|d.*f", "(abc | (d & f))"),
            ("abc|.*", "*"),
            ("", "*"),
            (".*", "*"),
            (r"\bword\b", "word"),
            (r"[^\x00-\x{10FFFF}]", "*"),
            ("(", "*"),
            (
                "[ab][ab][ab][ab][ab]z",
                "((aaaa | aaab | aaba | aabb | abaa | abab | abba | abbb | baaa | baab | baba | babb | bbaa | bbab | bbba | bbbb) & (az | bz))",
            ),
        ];
        for (pattern, expected) in cases {
            assert_eq!(literals(pattern), expected, "{pattern}");
        }
    }

    #[test]
    fn sizes_are_bounded() {
        let branches: Vec<String> = (0..MAXIMUM_BRANCHES + 1).map(|number| format!("a{number}x.*z")).collect();
        assert_eq!(literals(&branches.join("|")), "*");
        let repeated = literals("(abcdefghij){900}x");
        assert!(repeated.len() < 20_000, "{} bytes", repeated.len());
        let deep = format!("{}x{}", "(a|b".repeat(30), ")".repeat(30));
        assert!(literals(&deep).len() < 20_000);
    }
}
