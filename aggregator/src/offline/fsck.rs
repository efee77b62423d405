//! `fsck`: verifies a store, and makes manifests anew if it is told to.

use std::io::{self, Write};

use serde::Serialize;
use tailwater_storage::entry::TenantId;
use tailwater_storage::fsck::{self, FsckProgress, RebuildOptions, Rebuilt, Report, Severity};
use tailwater_storage::manifest;

use crate::offline::opened::Opened;
use crate::offline::progress::{Progress, mebibytes};
use crate::offline::{FsckOptions, OfflineError};

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Whole,
    Damaged,
}

/// All that is told.
#[derive(Debug, Serialize)]
struct Told<'a> {
    rebuilt: &'a [Rebuilt],
    #[serde(flatten)]
    report: &'a Report,
}

/// Checks, after making manifests anew if that was asked for, and reports on standard output.
pub async fn fsck(options: &FsckOptions) -> Result<Verdict, OfflineError> {
    let opened = Opened::open(&options.source, true).await?;
    let tenant = options.tenant.as_deref().map(TenantId::new);
    let mut rebuilt = Vec::new();
    if options.rebuild {
        let tenants = match &tenant {
            Some(tenant) => vec![tenant.clone()],
            None => manifest::tenants(&opened.store).await?,
        };
        for tenant in tenants {
            rebuilt.push(rebuild(&opened, &tenant, options.skip_damaged).await?);
        }
    }
    let progress = Progress::new("checking");
    let report = fsck::check(&opened.store, tenant.as_ref().map(std::slice::from_ref), |at| show(&progress, at)).await?;
    drop(progress);
    let mut output = io::stdout().lock();
    if options.json {
        serde_json::to_writer_pretty(&mut output, &Told { rebuilt: &rebuilt, report: &report }).map_err(io::Error::from)?;
        writeln!(output)?;
    } else {
        tell(&mut output, &rebuilt, &report)?;
    }
    Ok(if report.is_clean() { Verdict::Whole } else { Verdict::Damaged })
}

async fn rebuild(opened: &Opened, tenant: &TenantId, skip_damaged: bool) -> Result<Rebuilt, OfflineError> {
    let progress = Progress::new("rebuilding");
    let options = RebuildOptions { skip_damaged };
    let show = |at| show(&progress, at);
    Ok(fsck::rebuild(&opened.store, tenant, &opened.author, opened.manifest_clock(), &options, show).await?)
}

pub(super) fn show(progress: &Progress, at: FsckProgress) {
    let detail = || format!("{} of {} objects, {} of {}", at.done, at.total, mebibytes(at.bytes_done), mebibytes(at.bytes_total));
    progress.set(at.bytes_done, Some(at.bytes_total), detail);
}

pub(super) fn tell(output: &mut impl Write, rebuilt: &[Rebuilt], report: &Report) -> io::Result<()> {
    for of_tenant in rebuilt {
        let Rebuilt { tenant, version, files, rows, merged, redundant, requests, skipped } = of_tenant;
        writeln!(
            output,
            "rebuilt  tenant `{tenant}`: version {version} of the manifest lists {files} files with {rows} lines and {requests} delete requests; \
             {merged} files were merged because they repeated lines, {redundant} left out because others have all of theirs"
        )?;
        for (key, reason) in skipped {
            writeln!(output, "skipped  {key}: {reason}\n         to keep it, copy it away within a day")?;
        }
    }
    for finding in &report.findings {
        let severity = match finding.severity {
            Severity::Damage => "DAMAGE",
            Severity::Leak => "leak",
            // There is one for each object that waits to be deleted.
            Severity::Note => continue,
        };
        writeln!(output, "{severity:8} {}: {}\n         {}", finding.key, finding.what, finding.advice)?;
    }
    let told = report.findings.iter().filter(|finding| finding.severity > Severity::Note).count() as u64;
    let untold = report.damages + report.leaks - told;
    if untold > 0 {
        writeln!(output, "{untold} more findings are not listed")?;
    }
    let Report { objects, bytes, files, pages, rows, damages, leaks, notes, .. } = report;
    let bytes = mebibytes(*bytes);
    writeln!(output, "{objects} objects, {bytes}: {files} segments and data files with {pages} pages and {rows} lines were read")?;
    writeln!(output, "{damages} damaged, {leaks} in vain, {notes} notes (--json tells them)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tailwater_storage::fsck::Finding;

    #[test]
    fn a_report_is_read_by_people_and_by_programs() {
        let finding = Finding { severity: Severity::Damage, key: "v1/x".into(), what: "it is gone".into(), advice: "look".into() };
        let report = Report { findings: vec![finding], damages: 3, objects: 7, bytes: 1 << 20, rows: 5, ..Report::default() };
        let rebuilt = [Rebuilt { tenant: "t".into(), skipped: vec![("v1/y".into(), "torn".into())], ..Rebuilt::default() }];
        let mut text = Vec::new();
        tell(&mut text, &rebuilt, &report).expect("writes");
        let text = String::from_utf8(text).expect("text");
        for part in
            ["DAMAGE   v1/x: it is gone\n         look\n", "2 more findings", "7 objects, 1.0 MiB", "3 damaged", "skipped  v1/y: torn"]
        {
            assert!(text.contains(part), "{text}");
        }
        let told = serde_json::to_value(Told { rebuilt: &rebuilt, report: &report }).expect("JSON");
        assert_eq!((&told["findings"][0]["severity"], &told["damages"]), (&"damage".into(), &3.into()));
        assert_eq!(told["rebuilt"][0]["skipped"][0][0], "v1/y");
    }
}
