//! How often and how much.

use std::collections::BTreeMap;

use crate::fault::Operation;

/// Requests of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    pub calls: u64,
    /// Bodies sent (puts, parts) or asked for (gets).
    pub bytes: u64,
    /// Calls that got a fault.
    pub faults: u64,
}

/// Requests by kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<Operation, Count>);

impl Counts {
    pub fn of(&self, operation: Operation) -> Count {
        self.0.get(&operation).copied().unwrap_or_default()
    }

    /// All faults.
    pub fn faults(&self) -> u64 {
        self.0.values().map(|count| count.faults).sum()
    }

    pub(crate) fn called(&mut self, operation: Operation, is_faulty: bool) {
        let count = self.0.entry(operation).or_default();
        count.calls += 1;
        count.faults += u64::from(is_faulty);
    }

    pub(crate) fn moved(&mut self, operation: Operation, bytes: u64) {
        self.0.entry(operation).or_default().bytes += bytes;
    }
}
