//! Verifies a whole store, and makes a manifest anew from the data files. For a store on which no program works.
//!
//! ```text
//! list v1/ → inventory ─┬─ cluster.json
//!                       ├─ each tenant: every manifest version → the newest state
//!                       ├─ each segment and data file: footer, every page, every row, text index (a few at once, by groups of pages)
//!                       └─ what each says of the other: named once, there, equal; watermarks; requests; orphans → report
//! ```
//! [`check`] changes nothing, whatever it finds; [`rebuild`] is asked for by name. Findings are of three kinds ([`Severity`]). Memory is bounded: some
//! pages of a few files at a time, and a few hundred bytes for each object of the store.

mod audit;
mod describe;
mod file;
mod index;
mod inventory;
mod manifests;
mod rebuild;
mod report;
mod requests;
mod segments;
mod tenant;

use std::collections::BTreeMap;

use futures::StreamExt;
use parking_lot::Mutex;

use crate::cluster::Cluster;
use crate::entry::TenantId;
use crate::error::ReadError;
use crate::store::{ListedObject, Store, paths};

use file::FileVerdict;
use inventory::Inventory;
pub use rebuild::{RebuildError, RebuildOptions, Rebuilt, rebuild};
pub use report::{Finding, Report, Severity};
use tenant::TenantCheck;

/// Objects that are read at once.
const AT_ONCE: usize = 4;

/// How far a check is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FsckProgress {
    pub done: u64,
    /// Objects in all.
    pub total: u64,
    pub bytes_done: u64,
    pub bytes_total: u64,
}

/// Verifies every object of a store; of tenants only those in `tenants`, if it is given. Fails only if the store cannot be read at all.
pub async fn check(store: &Store, tenants: Option<&[TenantId]>, progress: impl Fn(FsckProgress)) -> Result<Report, ReadError> {
    let inventory = Inventory::list(store, tenants).await?;
    let mut report = Report { objects: inventory.objects, bytes: inventory.bytes, ..Report::default() };
    let told = Told::new(&inventory, progress);
    inventory.unknown.iter().for_each(|object| {
        report.leak(&object.key, "no object of this program has such a name", "delete it, if nobody else needs it");
        told.done(object.size);
    });
    check_cluster(store, &inventory, &mut report).await?;
    inventory.cluster.iter().for_each(|object| told.done(object.size));
    inventory.probes.iter().for_each(|object| {
        report.note(&object.key, "an object of a start-up probe was left behind", "it may be deleted");
        told.done(object.size);
    });
    let mut checks: BTreeMap<TenantId, TenantCheck> = BTreeMap::new();
    for (tenant, objects) in &inventory.tenants {
        let check = TenantCheck::begin(store, tenant, objects, &mut report).await?;
        objects.manifests.iter().chain(&objects.requests).for_each(|object| told.done(object.size));
        checks.insert(tenant.clone(), check);
    }
    let data =
        inventory.tenants.iter().flat_map(|(tenant, objects)| objects.data.iter().map(|object| (Some(tenant.clone()), object.clone())));
    let files: Vec<(Option<TenantId>, ListedObject)> =
        inventory.segments.values().flatten().map(|object| (None, object.clone())).chain(data).collect();
    let mut segments = segments::SegmentCheck::default();
    let verdicts = files.into_iter().map(|(tenant, object)| verdict(store.clone(), tenant, object));
    let mut verdicts = futures::stream::iter(verdicts).buffer_unordered(AT_ONCE);
    while let Some((tenant, object, verdict)) = verdicts.next().await {
        report.take(&object.key, &verdict);
        match tenant {
            None => segments.take(&object, &verdict),
            Some(tenant) => {
                if let Some(check) = checks.get_mut(&tenant) {
                    check.take(&object, &verdict, &mut report);
                }
            }
        }
        told.done(object.size);
    }
    checks.values().for_each(|check| check.finish(&mut report));
    segments.finish(&checks, tenants.is_some(), &mut report);
    report.findings.sort_by(|left, right| (right.severity, &left.key).cmp(&(left.severity, &right.key)));
    Ok(report)
}

/// Verifies one file on a thread of its own choice; a panic is a finding like any other.
async fn verdict(store: Store, tenant: Option<TenantId>, object: ListedObject) -> (Option<TenantId>, ListedObject, FileVerdict) {
    let (key, size) = (object.key.clone(), object.size);
    let of_tenant = tenant.clone();
    let checking = tokio::spawn(async move { file::check(&store, of_tenant.as_ref(), &key, size).await });
    let verdict = checking.await.unwrap_or_else(|error| FileVerdict::unreadable(format!("checking it failed: {error}")));
    (tenant, object, verdict)
}

async fn check_cluster(store: &Store, inventory: &Inventory, report: &mut Report) -> Result<(), ReadError> {
    match store.get(paths::CLUSTER).await? {
        Some(bytes) => {
            if let Err(error) = Cluster::parse(&bytes) {
                let advice =
                    "no program starts on this store: restore the object from a copy, or delete it (replicas then agree on a new key)";
                report.damage(paths::CLUSTER, error.to_string(), advice);
            }
        }
        None if inventory.objects > 0 => {
            report.note(paths::CLUSTER, "there is none", "the next program that starts on this store makes one");
        }
        None => {}
    }
    Ok(())
}

/// Tells progress.
struct Told<F> {
    state: Mutex<FsckProgress>,
    tell: F,
}

impl<F: Fn(FsckProgress)> Told<F> {
    fn new(inventory: &Inventory, tell: F) -> Self {
        let state = FsckProgress { total: inventory.objects, bytes_total: inventory.bytes, ..FsckProgress::default() };
        Self { state: Mutex::new(state), tell }
    }

    fn done(&self, bytes: u64) {
        let now = {
            let mut state = self.state.lock();
            state.done += 1;
            state.bytes_done += bytes;
            *state
        };
        (self.tell)(now);
    }
}

#[cfg(test)]
mod tests;
