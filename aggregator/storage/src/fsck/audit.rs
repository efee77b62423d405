//! Reckons what a stream table should say from the rows themselves, and compares.

use std::collections::BTreeMap;

use crate::entry::StreamLabels;
use crate::error::FileError;
use crate::file::pages::Pages;
use crate::file::read::{FileIdentity, RowGroup};
use crate::file::schema::NAMESPACE_UID;
use crate::file::stream_table::{NamespaceUidShare, StreamSpan};
use crate::store::Day;

/// The label that is derived at ingest and takes no part in a stream's id.
const SERVICE_NAME: &str = "service_name";

/// Looks through the rows of a row group, page by page.
pub(super) struct RowGroupAudit<'a> {
    row_group: &'a RowGroup,
    /// The day and tenant of a data file.
    day: Option<i32>,
    /// Which stream's rows come now.
    span: usize,
    shares: BTreeMap<String, NamespaceUidShare>,
    last_stamp: Option<i64>,
    /// A page could not be read: figures of its streams cannot be compared.
    skipped: bool,
    faults: Vec<String>,
}

impl<'a> RowGroupAudit<'a> {
    pub(super) fn new(identity: &FileIdentity, row_group: &'a RowGroup) -> Self {
        let mut audit =
            Self { row_group, day: None, span: 0, shares: BTreeMap::new(), last_stamp: None, skipped: false, faults: Vec::new() };
        if let FileIdentity::Data { tenant, day, .. } = identity {
            audit.day = Some(*day);
            if row_group.table.tenant != *tenant {
                audit.faults.push(format!("it is of tenant `{}`, the file of `{tenant}`", row_group.table.tenant));
            }
        }
        for span in &row_group.table.streams {
            let pushed = span.labels.without(SERVICE_NAME);
            if [&span.labels, &pushed].iter().all(|labels| StreamLabels::new((*labels).clone(), None).id() != span.id) {
                audit.faults.push(format!("stream {:016x} has the labels of another one, {}", span.id.0, span.labels.canonical_text()));
            }
        }
        audit
    }

    /// Decodes and looks through a page; returns how many rows it has.
    pub(super) fn page(&mut self, pages: &Pages, page: usize, is_segment: bool) -> Result<usize, FileError> {
        let outcome = self.rows(pages, page, is_segment);
        if outcome.is_err() {
            self.skipped = true;
        }
        outcome
    }

    fn rows(&mut self, pages: &Pages, page: usize, is_segment: bool) -> Result<usize, FileError> {
        let stamps = pages.timestamps(page)?;
        let (lines, metadata) = (pages.lines(page)?, pages.metadata(page)?);
        if is_segment {
            pages.line_hashes(page)?;
        }
        let range = self.row_group.pages.rows(page);
        let bounds = stamps.iter().min().copied().zip(stamps.iter().max().copied());
        if bounds != Some(self.row_group.pages.stamps(page)) {
            self.faults.push(format!("the page index tells other stamps of page {page} than its rows"));
        }
        if let Some(day) = self.day
            && bounds.is_some_and(|(least, greatest)| Day::of(least).days() != day || Day::of(greatest).days() != day)
        {
            self.faults.push(format!("page {page} has rows of another day"));
        }
        let uids: Vec<String> = metadata.sets.iter().map(|set| set.get(NAMESPACE_UID).unwrap_or_default().to_owned()).collect();
        for (at, row) in range.clone().enumerate() {
            if std::str::from_utf8(lines.line(at)).is_err() {
                self.faults.push(format!("the line of row {row} is no UTF-8"));
            }
            self.row(row, stamps[at], lines.line(at).len() as u64, &uids[metadata.of[at] as usize]);
        }
        Ok(range.len())
    }

    fn row(&mut self, row: usize, stamp: i64, bytes: u64, uid: &str) {
        while self.row_group.table.streams.get(self.span).is_some_and(|span| row >= span.rows.end) {
            self.close_span();
        }
        if self.last_stamp.is_some_and(|last| last > stamp) {
            self.faults.push(format!("the stamp of row {row} is before that of the row above it"));
        }
        self.last_stamp = Some(stamp);
        if !self.shares.contains_key(uid) {
            self.shares.insert(uid.to_owned(), NamespaceUidShare { uid: uid.into(), min_ts: stamp, max_ts: stamp, rows: 0, bytes: 0 });
        }
        if let Some(share) = self.shares.get_mut(uid) {
            share.max_ts = stamp;
            share.rows += 1;
            share.bytes += bytes;
        }
    }

    fn close_span(&mut self) {
        let span: &StreamSpan = &self.row_group.table.streams[self.span];
        self.span += 1;
        self.last_stamp = None;
        let found = std::mem::take(&mut self.shares);
        let told: BTreeMap<&str, &NamespaceUidShare> = span.by_namespace_uid.iter().map(|share| (share.uid.as_ref(), share)).collect();
        let is_told = told.len() == found.len() && found.iter().all(|(uid, share)| told.get(uid.as_str()) == Some(&share));
        if !is_told && !self.skipped {
            self.faults.push(format!("the stream table tells other rows, bytes or stamps of stream {:016x} than its rows", span.id.0));
        }
    }

    /// What was found, once all pages were looked through.
    pub(super) fn finish(mut self) -> Vec<String> {
        while self.span < self.row_group.table.streams.len() {
            self.close_span();
        }
        self.faults
    }
}
