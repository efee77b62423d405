//! Segments beside each other (numbers without gaps) and beside the watermarks of the tenants in them.

use std::collections::BTreeMap;

use crate::entry::TenantId;
use crate::fsck::file::{Described, FileVerdict};
use crate::fsck::inventory::segment_of;
use crate::fsck::report::Report;
use crate::fsck::tenant::TenantCheck;
use crate::store::{ListedObject, paths};

const LOST: &str = "restore the object from a copy; lines of it that agents still have may be sent again";

/// By writer and number, the tenants of each segment; `None`: it cannot be read.
#[derive(Debug, Default)]
pub(super) struct SegmentCheck {
    writers: BTreeMap<String, BTreeMap<u64, Option<Vec<TenantId>>>>,
}

impl SegmentCheck {
    pub(super) fn take(&mut self, object: &ListedObject, verdict: &FileVerdict) {
        let Some((writer, sequence)) = segment_of(&object.key) else { return };
        let tenants = match &verdict.described {
            Some(Described::Segment { tenants }) => Some(tenants.clone()),
            _ => None,
        };
        self.writers.entry(writer).or_default().insert(sequence, tenants);
    }

    /// `is_partial`: manifests of some tenants were not read.
    pub(super) fn finish(&self, checks: &BTreeMap<TenantId, TenantCheck>, is_partial: bool, report: &mut Report) {
        let is_known = !is_partial && !checks.values().any(TenantCheck::is_unknown);
        for (writer, segments) in &self.writers {
            report_gaps(writer, segments.keys().copied(), report);
            if is_known {
                report_missing_below(writer, segments, checks, report);
            }
            for (sequence, tenants) in segments {
                let is_folded = |tenant: &TenantId| {
                    checks.get(tenant).and_then(TenantCheck::manifest).is_some_and(|state| state.is_folded(writer, *sequence))
                };
                if tenants.as_ref().is_some_and(|tenants| tenants.iter().all(is_folded)) {
                    report.note(&paths::segment(writer, *sequence), "its lines are in data files; it waits to be deleted", "nothing");
                }
            }
        }
    }
}

fn report_gaps(writer: &str, numbers: impl Iterator<Item = u64>, report: &mut Report) {
    let mut next = None;
    for number in numbers {
        if let Some(expected) = next
            && number > expected
        {
            let what = format!("segments {expected} to {} of the writer are missing, though later ones are there", number - 1);
            report.damage(&paths::segment(writer, expected), what, LOST);
        }
        next = Some(number.saturating_add(1));
    }
}

/// Segments are deleted only once every tenant in them has folded them, so what is missing below the lowest must be folded by somebody.
fn report_missing_below(
    writer: &str,
    segments: &BTreeMap<u64, Option<Vec<TenantId>>>,
    checks: &BTreeMap<TenantId, TenantCheck>,
    report: &mut Report,
) {
    let Some(lowest) = segments.keys().next() else { return };
    let folded =
        checks.values().filter_map(TenantCheck::manifest).filter_map(|state| state.watermark(writer)).map(|mark| mark.sequence).max();
    match folded {
        Some(folded) if folded.saturating_add(1) < *lowest => {
            let what =
                format!("segments {} to {} of the writer are missing, and no tenant's data files have their lines", folded + 1, lowest - 1);
            report.damage(&paths::segment(writer, folded + 1), what, LOST);
        }
        None if *lowest > 0 => {
            let what = "segments below it are gone, and no manifest tells that their lines are in data files";
            report.note(
                &paths::segment(writer, *lowest),
                what,
                "all is well if the manifest was made anew, or if the writer was idle for a day",
            );
        }
        _ => {}
    }
}
