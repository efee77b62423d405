//! What label filters require: the text of `=`, the literals of `=~`, through `and` and `or`.
//!
//! Comparisons of numbers, sizes, durations and addresses read values in many forms and keep what they cannot read;
//! negated filters are satisfied by what is not there. All of these require nothing.

use super::provenance::Provenance;
use super::{Requirement, regex_literals};
use crate::ast::{LabelFilter, MatchOp, Matcher};
use crate::regex_dialect::Anchoring;

pub(super) fn required(filter: &LabelFilter, provenance: &Provenance<'_>) -> Requirement {
    match filter {
        LabelFilter::String(matcher) => of_matcher(matcher, provenance),
        LabelFilter::Compare { .. } | LabelFilter::Ip { .. } => Requirement::Anything,
        LabelFilter::And { .. } => Requirement::all(operands(filter, provenance)),
        LabelFilter::Or { .. } => Requirement::any(operands(filter, provenance)),
    }
}

/// The operands of a chain of the same connective: long chains do not nest.
fn operands(chain: &LabelFilter, provenance: &Provenance<'_>) -> Vec<Requirement> {
    let is_and = matches!(chain, LabelFilter::And { .. });
    let mut operands = Vec::new();
    let mut pending = vec![chain];
    while let Some(next) = pending.pop() {
        match next {
            LabelFilter::And { left, right } if is_and => pending.extend([&**right, &**left]),
            LabelFilter::Or { left, right } if !is_and => pending.extend([&**right, &**left]),
            other => operands.push(required(other, provenance)),
        }
    }
    operands
}

fn of_matcher(matcher: &Matcher, provenance: &Provenance<'_>) -> Requirement {
    let name = &matcher.name;
    match matcher.op {
        MatchOp::NotEqual | MatchOp::NotRegex => Requirement::Anything,
        MatchOp::Equal => provenance.of_value(name, matcher.value.as_bytes(), false),
        MatchOp::Regex => {
            regex_literals::required(&matcher.value, Anchoring::Matcher, &|bytes, fold_case| provenance.of_value(name, bytes, fold_case))
        }
    }
}
