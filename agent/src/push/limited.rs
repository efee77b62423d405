//! Tenants that the receiver limits (429) for now. Their lines wait, in their files where it can be; those of others go on.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// Whom lines name themselves; `None`: the receiver's own.
pub(crate) type Tenant = Option<Arc<str>>;

#[derive(Debug, Default)]
pub(crate) struct LimitedTenants {
    /// How many requests of each wait.
    waiting: Mutex<HashMap<Tenant, usize>>,
    /// All of them: mostly there are none, and readers ask often.
    count: AtomicUsize,
    changed: Notify,
}

/// A request that waits since its tenant is limited.
#[derive(Debug)]
pub(crate) struct Waiting<'a> {
    tenants: &'a LimitedTenants,
    tenant: Tenant,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut waiting = self.tenants.waiting.lock();
        if let Some(count) = waiting.get_mut(&self.tenant) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&self.tenant);
            }
        }
        self.tenants.count.fetch_sub(1, Ordering::AcqRel);
    }
}

impl LimitedTenants {
    /// A request of `tenant` waits from now on, until it is settled.
    pub(crate) fn begin(&self, tenant: &Tenant) -> Waiting<'_> {
        *self.waiting.lock().entry(tenant.clone()).or_default() += 1;
        self.count.fetch_add(1, Ordering::AcqRel);
        self.changed.notify_waiters();
        Waiting { tenants: self, tenant: tenant.clone() }
    }

    pub(crate) fn is_limited(&self, tenant: &Tenant) -> bool {
        self.are_any() && self.waiting.lock().contains_key(tenant)
    }

    pub(crate) fn are_any(&self) -> bool {
        self.count.load(Ordering::Acquire) > 0
    }

    /// Is ready when one more request waits than now.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }
}
