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
use crate::wiring;

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
    let place = Place::of(&options.place, &config)?;
    match options.action {
        BackupAction::Create => create(options, &place).await?,
        BackupAction::List => list(options, &place.open()?).await?,
        BackupAction::Verify => return verify(options, &place.open()?).await,
        BackupAction::Restore => restore(options, &place).await?,
        BackupAction::Prune { keep, within } => {
            let since = within.map(|within| SystemClock.now().saturating_sub(within.nanoseconds()));
            prune(&place.open()?, Keep { newest: keep, since }).await?;
        }
    }
    Ok(Verdict::Whole)
}

async fn create(options: &BackupOptions, place: &Place) -> Result<(), OfflineError> {
    let opened = Opened::open(&options.source, true).await?;
    let place = place.beside(&opened)?;
    place.probe().await?;
    let progress = Progress::new("backing up");
    let created = backup::create(&opened.store, &place, Ulid::new(), opened.clock.now(), |at| copied(&progress, at)).await?;
    drop(progress);
    let (record, new) = (&created.record, mebibytes(created.bytes_copied));
    let whole = mebibytes(record.bytes());
    let (id, objects, copied, by_store) = (&record.id, record.objects.len(), created.copied, by_store(created.bytes_by_store));
    println!("backup {id}: {objects} objects with {whole}, of which {copied} with {new} were copied now{by_store}");
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

async fn restore(options: &BackupOptions, place: &Place) -> Result<(), OfflineError> {
    let opened = Opened::open(&options.source, false).await?;
    let place = place.beside(&opened)?;
    let record = chosen(options, &place).await?;
    opened.store.probe().await?;
    let progress = Progress::new("restoring");
    let done = backup::restore(&place, &record, &opened.store, |at| copied(&progress, at)).await?;
    drop(progress);
    let (id, objects, bytes) = (&record.id, done.total, mebibytes(done.bytes_total));
    let (copied, by_store) = (done.copied, by_store(done.bytes_by_store));
    println!(
        "backup {id}: {objects} objects with {bytes} are in the store, {copied} of them were copied now{by_store}; `fsck` checks them"
    );
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

/// What of it did not pass through this process.
fn by_store(bytes: u64) -> String {
    if bytes == 0 { String::new() } else { format!(" ({} by the store itself)", mebibytes(bytes)) }
}

fn copied(progress: &Progress, at: BackupProgress) {
    let detail = || format!("{} of {} objects, {} of {}", at.done, at.total, mebibytes(at.bytes_done), mebibytes(at.bytes_total));
    progress.set(at.bytes_done, Some(at.bytes_total), detail);
}

/// Where backups are.
#[derive(Debug)]
struct Place {
    options: StoreOptions,
    prefix: String,
}

impl Place {
    /// Of `/folder`, `file:///folder`, `s3://bucket/prefix` (the configured server), `http(s)://server/bucket/prefix` (an S3 server). Credentials are the
    /// store's.
    fn of(url: &str, config: &Config) -> Result<Self, OfflineError> {
        let refused = || OfflineError::BackupPlace { url: url.to_owned() };
        let (scheme, rest) = url.split_once("://").unwrap_or(("file", url));
        if scheme == "file" {
            let is_absolute = rest.starts_with('/') && rest.len() > 1;
            let options = StoreOptions::Folder { path: rest.into() };
            return if is_absolute { Ok(Self { options, prefix: String::new() }) } else { Err(refused()) };
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
        let own = S3Options { bucket: bucket.to_owned(), ..wiring::s3_options(configured) };
        let options = match scheme {
            "s3" => own,
            // Another server has other keys for encryption.
            _ => S3Options {
                endpoint: format!("{scheme}://{server}"),
                force_path_style: true,
                insecure: scheme == "http",
                encryption: None,
                ..own
            },
        };
        Ok(Self { options: StoreOptions::S3(options), prefix: prefix.trim_matches('/').to_owned() })
    }

    fn open(&self) -> Result<Store, OfflineError> {
        Ok(store::open(&self.options, &self.prefix)?)
    }

    /// The same, next to an opened store: in one bucket, objects are copied by the server.
    fn beside(&self, opened: &Opened) -> Result<Store, OfflineError> {
        let is_same = self.options == wiring::store_options(&opened.config) && matches!(self.options, StoreOptions::S3(_));
        if is_same { Ok(opened.store.elsewhere(&self.prefix)) } else { self.open() }
    }
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
            assert!(Place::of(url, &config).and_then(|place| place.open()).is_ok(), "{url}");
        }
        for url in ["", "/", "folder", "file://folder", "s3://", "http://server", "https://server/", "ftp://a/b"] {
            assert!(matches!(Place::of(url, &config), Err(OfflineError::BackupPlace { .. })), "{url}");
        }
        let folder = tempfile::tempdir().expect("a folder");
        assert!(Place::of(folder.path().to_str().expect("text"), &config).is_ok());
        assert!(Place::of(&format!("file://{}", folder.path().display()), &config).is_ok());
    }
}
