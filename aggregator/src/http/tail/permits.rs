//! How many tails a tenant has open.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tailwater_storage::entry::TenantId;

/// Open tails by tenant. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Permits {
    open: Arc<Mutex<HashMap<TenantId, usize>>>,
}

/// One open tail; given back when dropped.
#[derive(Debug)]
pub(super) struct Permit {
    permits: Permits,
    tenant: TenantId,
}

/// A tenant has as many tails as it may have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("max concurrent tail requests limit exceeded, count > limit ({count} > {limit})")]
pub(super) struct TooManyTails {
    count: usize,
    limit: usize,
}

impl Permits {
    /// `limit`: 0 is none.
    pub(super) fn open(&self, tenant: &TenantId, limit: usize) -> Result<Permit, TooManyTails> {
        let mut open = self.open.lock();
        let count = open.get(tenant).copied().unwrap_or(0) + 1;
        if limit > 0 && count > limit {
            return Err(TooManyTails { count, limit });
        }
        open.insert(tenant.clone(), count);
        Ok(Permit { permits: self.clone(), tenant: tenant.clone() })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut open = self.permits.open.lock();
        match open.get_mut(&self.tenant) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(open.remove(&self.tenant)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_have_so_many_tails_each_and_may_reopen() {
        let permits = Permits::default();
        let (left, right) = (TenantId::new("left"), TenantId::new("right"));
        let first = permits.open(&left, 2).expect("free");
        let _second = permits.open(&left, 2).expect("free");
        let refused = permits.open(&left, 2).expect_err("full");
        assert_eq!(refused.to_string(), "max concurrent tail requests limit exceeded, count > limit (3 > 2)");
        let other = permits.open(&right, 2).expect("free");
        assert!(permits.open(&left, 0).is_ok());
        drop((first, other));
        assert!(permits.open(&left, 2).is_ok());
        assert_eq!(permits.open.lock().len(), 1);
    }
}
