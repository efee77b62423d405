//! Memory, as far as it is counted: what the process may use, and budgets that refuse instead of growing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus_client::metrics::gauge::Gauge;

use crate::config::size::ByteSize;

/// Bytes that budgets and caches may share: three quarters of the container's memory, be it configured or found out. The rest is for what is not counted.
pub fn limit(configured: ByteSize) -> u64 {
    available(configured) / 4 * 3
}

fn available(configured: ByteSize) -> u64 {
    if configured.as_u64() > 0 {
        return configured.as_u64();
    }
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let container = read("/sys/fs/cgroup/memory.max").trim().parse::<u64>().ok();
    let machine = total_of(&read("/proc/meminfo"));
    const UNKNOWN: u64 = 2 << 30;
    [container, machine].into_iter().flatten().min().unwrap_or(UNKNOWN)
}

/// `MemTotal` of `/proc/meminfo`, in bytes.
fn total_of(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

/// So many bytes and no more; what does not fit is refused at once.
#[derive(Debug, Clone)]
pub struct MemoryBudget {
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    limit: usize,
    used: AtomicUsize,
    shown: Gauge,
}

/// Bytes held; given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    state: Arc<State>,
    bytes: usize,
}

impl MemoryBudget {
    /// `shown` follows the bytes in use.
    pub fn new(limit: usize, shown: Gauge) -> Self {
        Self { state: Arc::new(State { limit, used: AtomicUsize::new(0), shown }) }
    }

    /// Holds no bytes yet.
    pub fn reservation(&self) -> Reservation {
        Reservation { state: Arc::clone(&self.state), bytes: 0 }
    }

    pub fn used(&self) -> usize {
        self.state.used.load(Ordering::Relaxed)
    }
}

impl Reservation {
    /// Holds so many bytes more; `false` and unchanged where they do not fit.
    #[must_use]
    pub fn grow(&mut self, bytes: usize) -> bool {
        let limit = self.state.limit;
        let fitting = |used: usize| used.checked_add(bytes).filter(|used| *used <= limit);
        let taken = self.state.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fitting);
        if taken.is_ok() {
            self.bytes += bytes;
            self.state.shown.inc_by(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
        taken.is_ok()
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.state.used.fetch_sub(self.bytes, Ordering::Relaxed);
        self.state.shown.dec_by(i64::try_from(self.bytes).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_refuses_what_does_not_fit_and_takes_back_what_is_dropped() {
        let budget = MemoryBudget::new(100, Gauge::default());
        let (mut first, mut second) = (budget.reservation(), budget.reservation());
        assert!(first.grow(60) && second.grow(30) && !second.grow(11) && second.grow(10));
        assert_eq!(budget.used(), 100);
        drop(first);
        assert!(second.grow(60));
        assert_eq!((budget.used(), budget.state.shown.get()), (100, 100));
        drop(second);
        assert_eq!((budget.used(), budget.state.shown.get()), (0, 0));
    }

    #[test]
    fn the_machines_memory_is_read() {
        assert_eq!(total_of("MemFree: 1 kB\nMemTotal:       16384 kB\n"), Some(16 << 20));
        assert_eq!(total_of("MemTotal: many"), None);
        assert_eq!(limit(ByteSize::bytes(1000)), 750);
        assert!(limit(ByteSize::bytes(0)) > 0);
    }
}
