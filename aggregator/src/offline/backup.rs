//! `backup`: copies of a store, made while servers work on it, and stores made of them.

use std::io::{self, Write};

use serde::Serialize;
use tailwater_storage::backup::{self, BackupError, BackupProgress, BackupRecord, Keep};
use tailwater_storage::store::{self, S3Options, Store, StoreOptions};
use ulid::Ulid;

use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::offline::fsck::{Verdict, show, tell};
use crate::offline::opened::Opened;
use crate::offline::progress::{Progress, mebibytes};
use crate::offline::{BackupAction, BackupOptions, OfflineError};

/// One backup, as `backup list --json` tells it.
#[derive(Debug, Serialize)]
struct Told<'a> {
    id: &'a str,
    /// RFC 3339.
    begun: String,
    objects: usize,
    bytes: u64,
    tenants: &'a [backup::BackupTenant],
}

/// Does one of these things; `Damaged` comes of `verify` alone.
pub async fn backup(options: &BackupOptions) -> Result<Verdict, OfflineError> {
    let config = options.source.load()?.config;
    let place = place(&options.place, &config)?;
    match options.action {
        BackupAction::Create => create(options, &place).await?,
        BackupAction::List => list(options, &place).await?,
        BackupAction::Verify => return verify(options, &place).await,
        BackupAction::Restore => restore(options, &place).await?,
        BackupAction::Prune { keep, within } => {
            let since = within.map(|within| SystemClock.now().saturating_sub(within.nanoseconds()));
            prune(&place, Keep { newest: keep, since }).await?;
        }
    }
    Ok(Verdict::Whole)
}

async fn create(options: &BackupOptions, place: &Store) -> Result<(), OfflineError> {
    let opened = Opened::open(&options.source, true).await?;
    place.probe().await?;
    let progress = Progress::new("backing up");
    let created = backup::create(&opened.store, place, Ulid::new(), opened.clock.now(), |at| copied(&progress, at)).await?;
    drop(progress);
    let (record, new) = (&created.record, mebibytes(created.bytes_copied));
    let whole = mebibytes(record.bytes());
    println!("backup {}: {} objects with {whole}, of which {} with {new} were copied now", record.id, record.objects.len(), created.copied);
    Ok(())
}

async fn list(options: &BackupOptions, place: &Store) -> Result<(), OfflineError> {
    let records = backup::records(place).await?;
    let mut output = io::stdout().lock();
    if options.json {
        let told: Vec<Told<'_>> = records.iter().map(Told::new).collect();
        serde_json::to_writer_pretty(&mut output, &told).map_err(io::Error::from)?;
        return Ok(writeln!(output)?);
    }
    for record in &records {
        let Told { id, begun, objects, bytes, tenants } = Told::new(record);
        writeln!(output, "{id}  {begun}  {objects} objects, {}, {} tenants", mebibytes(bytes), tenants.len())?;
    }
    Ok(writeln!(output, "{} backups", records.len())?)
}

async fn verify(options: &BackupOptions, place: &Store) -> Result<Verdict, OfflineError> {
    let record = chosen(options, place).await?;
    let progress = Progress::new("checking");
    let report = backup::verify(place, &record, |at| show(&progress, at)).await?;
    drop(progress);
    let mut output = io::stdout().lock();
    tell(&mut output, &[], &report)?;
    writeln!(output, "backup {} is {}", record.id, if report.is_clean() { "whole" } else { "damaged" })?;
    Ok(if report.is_clean() { Verdict::Whole } else { Verdict::Damaged })
}

async fn restore(options: &BackupOptions, place: &Store) -> Result<(), OfflineError> {
    let record = chosen(options, place).await?;
    let opened = Opened::open(&options.source, false).await?;
    opened.store.probe().await?;
    let progress = Progress::new("restoring");
    let done = backup::restore(place, &record, &opened.store, |at| copied(&progress, at)).await?;
    drop(progress);
    let (id, objects, bytes) = (&record.id, done.total, mebibytes(done.bytes_total));
    println!("backup {id}: {objects} objects with {bytes} are in the store, {} of them were copied now; `fsck` checks them", done.copied);
    Ok(())
}

async fn prune(place: &Store, keep: Keep) -> Result<(), OfflineError> {
    let done = backup::prune(place, keep).await?;
    for id in &done.backups {
        println!("backup {id} was taken away");
    }
    println!(
        "{} backups are left; {} objects with {} that none of them needs were deleted",
        done.kept,
        done.objects,
        mebibytes(done.bytes)
    );
    Ok(())
}

/// The named backup, or the newest.
async fn chosen(options: &BackupOptions, place: &Store) -> Result<BackupRecord, OfflineError> {
    let mut records = backup::records(place).await?;
    match &options.id {
        None => records.pop().ok_or_else(|| OfflineError::NoBackup { place: options.place.clone() }),
        Some(id) => {
            let found = records.into_iter().find(|record| record.id == *id);
            found.ok_or_else(|| OfflineError::UnknownBackup { id: id.clone(), place: options.place.clone() })
        }
    }
}

impl<'a> Told<'a> {
    fn new(record: &'a BackupRecord) -> Self {
        let begun = jiff::Timestamp::from_nanosecond(record.begun.into()).map_or_else(|_| String::new(), |stamp| format!("{stamp:.0}"));
        Self { id: &record.id, begun, objects: record.objects.len(), bytes: record.bytes(), tenants: &record.tenants }
    }
}

fn copied(progress: &Progress, at: BackupProgress) {
    let detail = || format!("{} of {} objects, {} of {}", at.done, at.total, mebibytes(at.bytes_done), mebibytes(at.bytes_total));
    progress.set(at.bytes_done, Some(at.bytes_total), detail);
}

/// `/folder`, `file:///folder`, `s3://bucket/prefix` (the configured server), `http(s)://server/bucket/prefix` (an S3 server). Credentials are the store's.
fn place(url: &str, config: &Config) -> Result<Store, OfflineError> {
    let refused = || OfflineError::BackupPlace { url: url.to_owned() };
    let (scheme, rest) = url.split_once("://").unwrap_or(("file", url));
    if scheme == "file" {
        let is_absolute = rest.starts_with('/') && rest.len() > 1;
        let folder = StoreOptions::Folder { path: rest.into() };
        return if is_absolute { Ok(store::open(&folder, "")?) } else { Err(refused()) };
    }
    let configured = &config.storage.s3;
    let (server, rest) = match scheme {
        "s3" => ("", rest),
        "http" | "https" => rest.split_once('/').ok_or_else(refused)?,
        _ => return Err(refused()),
    };
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() {
        return Err(refused());
    }
    let named =
        S3Options { endpoint: format!("{scheme}://{server}"), force_path_style: true, insecure: scheme == "http", ..S3Options::default() };
    let own = S3Options {
        endpoint: configured.endpoint.clone(),
        force_path_style: configured.force_path_style,
        insecure: configured.insecure,
        ..S3Options::default()
    };
    let options = S3Options { region: configured.region.clone(), bucket: bucket.to_owned(), ..if scheme == "s3" { own } else { named } };
    Ok(store::open(&StoreOptions::S3(options), prefix.trim_matches('/'))?)
}

impl From<BackupError> for OfflineError {
    fn from(error: BackupError) -> Self {
        Self::Backup(Box::new(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_folders_or_buckets() {
        let config = Config::default();
        for url in ["s3://bucket", "s3://bucket/a/b", "http://127.0.0.1:9000/bucket/p", "https://s3.example.org/bucket"] {
            assert!(place(url, &config).is_ok(), "{url}");
        }
        for url in ["", "/", "folder", "file://folder", "s3://", "http://server", "https://server/", "ftp://a/b"] {
            assert!(matches!(place(url, &config), Err(OfflineError::BackupPlace { .. })), "{url}");
        }
        let folder = tempfile::tempdir().expect("a folder");
        assert!(place(folder.path().to_str().expect("text"), &config).is_ok());
        assert!(place(&format!("file://{}", folder.path().display()), &config).is_ok());
    }
}
