//! The selections of one query's leaves: those over the same streams and times see the same entries, whatever is published meanwhile.

use std::sync::{Mutex, PoisonError};

use tailwater_logql::ast::Selector;

use crate::error::QueryError;
use crate::plan::Planner;
use crate::plan::selection::SharedSelection;
use crate::request::TimeRange;

#[derive(Debug, Default)]
pub(crate) struct Leaves(Mutex<Vec<Leaf>>);

#[derive(Debug)]
struct Leaf {
    selector: Selector,
    range: TimeRange,
    selection: SharedSelection,
}

impl Leaves {
    /// What the selector selects of `range`, the same at each call.
    pub(crate) async fn select(&self, planner: &Planner<'_>, selector: &Selector, range: TimeRange) -> Result<SharedSelection, QueryError> {
        if let Some(selection) = self.known(selector, range) {
            return Ok(selection);
        }
        let selection = planner.select(selector, range).await?;
        let leaf = Leaf { selector: selector.clone(), range, selection: selection.clone() };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(leaf);
        Ok(selection)
    }

    fn known(&self, selector: &Selector, range: TimeRange) -> Option<SharedSelection> {
        let leaves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = |leaf: &&Leaf| leaf.selector == *selector && (leaf.range.start, leaf.range.end) == (range.start, range.end);
        leaves.iter().find(is_same).map(|leaf| leaf.selection.clone())
    }
}
