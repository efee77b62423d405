//! The selections of one query's leaves: all of one moment, whatever is published meanwhile, and the same for the same streams and times.

use std::sync::{Mutex, PoisonError};

use tailwater_logql::ast::Selector;
use tailwater_storage::catalog::Catalog;

use crate::error::QueryError;
use crate::operators::grid::StepGrid;
use crate::plan::Planner;
use crate::plan::selection::{Pinned, SharedSelection};
use crate::request::{MetricRequest, TimeRange};
use crate::results;
use crate::scope::Scope;

#[derive(Debug)]
pub(crate) struct Leaves {
    /// What all of them see.
    pinned: Pinned,
    selected: Mutex<Vec<Leaf>>,
}

#[derive(Debug)]
struct Leaf {
    selector: Selector,
    range: TimeRange,
    selection: SharedSelection,
}

impl Leaves {
    /// Pins what is visible now of all that a query's windows can hold.
    pub(crate) async fn pin(catalog: &Catalog, scope: &Scope, request: &MetricRequest, grid: StepGrid) -> Result<Self, QueryError> {
        let extents: Vec<TimeRange> = results::Leaf::all(&request.expr).iter().map(|leaf| leaf.extent(grid)).collect();
        Ok(Self { pinned: Pinned::new(catalog, scope, &extents).await?, selected: Mutex::default() })
    }

    pub(crate) fn pinned(&self) -> &Pinned {
        &self.pinned
    }

    /// What the selector selects of `range`, the same at each call.
    pub(crate) async fn select(&self, planner: &Planner<'_>, selector: &Selector, range: TimeRange) -> Result<SharedSelection, QueryError> {
        if let Some(selection) = self.known(selector, range) {
            return Ok(selection);
        }
        let selection = planner.select_pinned(&self.pinned, selector, range).await?;
        let leaf = Leaf { selector: selector.clone(), range, selection: selection.clone() };
        self.selected.lock().unwrap_or_else(PoisonError::into_inner).push(leaf);
        Ok(selection)
    }

    fn known(&self, selector: &Selector, range: TimeRange) -> Option<SharedSelection> {
        let leaves = self.selected.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = |leaf: &&Leaf| leaf.selector == *selector && (leaf.range.start, leaf.range.end) == (range.start, range.end);
        leaves.iter().find(is_same).map(|leaf| leaf.selection.clone())
    }
}
