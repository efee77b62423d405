//! What line filters require: the texts of `|=`, the literals of `|>` and `|~`; alternatives are any of them.

use super::{Requirement, pieces, regex_literals};
use crate::ast::{LineFilter, LineFilterArg, LineFilterOp};
use crate::regex_dialect::Anchoring;
use crate::validate::{PatternPart, parse_pattern};

/// What `İ` is in lower case begins with an ASCII letter.
const DOTTED_I: &str = "İ";
/// Each doubles the spellings.
const MAXIMUM_DOTTED: usize = 3;

pub(super) fn required(filter: &LineFilter) -> Requirement {
    let of_text: fn(&str) -> Requirement = match filter.op {
        LineFilterOp::NotContains | LineFilterOp::NotRegex | LineFilterOp::NotPattern => return Requirement::Anything,
        LineFilterOp::Contains => |text| Requirement::text(text.as_bytes()),
        LineFilterOp::Regex => of_regex,
        LineFilterOp::Pattern => of_pattern,
    };
    let alternatives = filter.alternatives.iter().map(|argument| match argument {
        LineFilterArg::Text(text) => of_text(text),
        LineFilterArg::Ip(_) => Requirement::Anything,
    });
    Requirement::any(alternatives.collect())
}

fn of_pattern(pattern: &str) -> Requirement {
    let Ok(parts) = parse_pattern(pattern) else {
        return Requirement::Anything;
    };
    let literal = |part: &PatternPart| match part {
        PatternPart::Literal(text) => Requirement::text(text.as_bytes()),
        PatternPart::Capture(_) => Requirement::Anything,
    };
    Requirement::all(parts.iter().map(literal).collect())
}

fn of_regex(pattern: &str) -> Requirement {
    // Expressions read each byte that is no UTF-8 as U+FFFD.
    let as_read = |bytes: &[u8], fold_case| pieces(bytes, fold_case, |character| character == char::REPLACEMENT_CHARACTER);
    let of_text: &dyn Fn(&[u8], bool) -> Requirement = match pattern.starts_with("(?i)") {
        true => &|bytes, _| in_lower_case(bytes),
        false => &as_read,
    };
    regex_literals::required(pattern, Anchoring::Search, of_text)
}

/// A text behind `(?i)`. Plain alternatives there are not folded but compared in lower case, in which `i` may have been
/// a dotted capital `İ`, and `k` a Kelvin sign as in folding: each `i` may be either. Of what is no ASCII, lower case
/// and folding may differ; it is left out.
fn in_lower_case(text: &[u8]) -> Requirement {
    let is_i = |byte: &u8| byte.eq_ignore_ascii_case(&b'i');
    if text.iter().filter(|byte| is_i(byte)).count() > MAXIMUM_DOTTED {
        return pieces(text, true, |character| !character.is_ascii() || character.eq_ignore_ascii_case(&'i'));
    }
    let mut spellings = vec![Vec::new()];
    for byte in text {
        let dotted = if is_i(byte) { spellings.clone() } else { Vec::new() };
        spellings.iter_mut().for_each(|spelling| spelling.push(*byte));
        spellings.extend(dotted.into_iter().map(|spelling| [&spelling, DOTTED_I.as_bytes()].concat()));
    }
    let folded = pieces(&spellings.remove(0), true, |character| !character.is_ascii());
    let is_other = |character: char| character.eq_ignore_ascii_case(&'k') || (!character.is_ascii() && !DOTTED_I.contains(character));
    let dotted = spellings.iter().map(|spelling| pieces(spelling, false, is_other));
    Requirement::any(std::iter::once(folded).chain(dotted).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_i_may_have_been_a_dotted_one() {
        let text = |bytes: &str, fold_case| Requirement::Text { bytes: bytes.as_bytes().to_vec(), fold_case };
        assert_eq!(of_regex("(?i)error"), text("error", true));
        assert_eq!(of_regex("(?i)failed"), Requirement::Any(vec![text("failed", true), text("faİled", false)]));
        let spellings = ["iki", "İki", "ikİ", "İkİ"].map(|spelling| in_lower_case(spelling.as_bytes()));
        let parts = |first, second| Requirement::All(vec![text(first, false), text(second, false)]);
        let expected = [text("iki", true), parts("İ", "i"), parts("i", "İ"), parts("İ", "İ")];
        assert_eq!(spellings[0], Requirement::Any(expected.to_vec()));
        let many = Requirement::All(vec![text("m", true), text("ss", true), text("ss", true), text("pp", true), text("ng", true)]);
        assert_eq!(in_lower_case(b"mississipping"), many);
    }
}
