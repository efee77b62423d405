//! Rows of own segments that are kept in memory, so that fresh queries and compaction read no object.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use crate::catalog::part::Part;
use crate::file::rows::RowGroupRows;

/// Rows in memory up to a budget, the oldest dropped first. A part that compaction has made invisible holds none any more.
#[derive(Debug)]
pub(super) struct Recent {
    budget: usize,
    held: usize,
    parts: VecDeque<(usize, Weak<Part>)>,
}

impl Recent {
    pub(super) fn new(budget: usize) -> Self {
        Self { budget, held: 0, parts: VecDeque::new() }
    }

    pub(super) fn held(&self) -> usize {
        self.held
    }

    pub(super) fn keep(&mut self, part: &Arc<Part>, rows: Arc<RowGroupRows>) {
        let bytes = rows.heap_bytes();
        part.keep(rows);
        self.held += bytes;
        self.parts.push_back((bytes, Arc::downgrade(part)));
        while self.held > self.budget {
            let Some((bytes, oldest)) = self.parts.pop_front() else { break };
            if let Some(part) = oldest.upgrade() {
                part.forget_rows();
            }
            self.held -= bytes;
        }
    }

    /// Takes out the parts whose rows were let go of.
    pub(super) fn release(&mut self) {
        let held = &mut self.held;
        self.parts.retain(|(bytes, part)| {
            let is_held = part.upgrade().is_some_and(|part| part.recent().is_some());
            *held -= if is_held { 0 } else { *bytes };
            is_held
        });
    }
}
