//! How far events are acknowledged: up to a version of the API's objects, and up to a time where that version is not known any more.

use thin_vec::ThinVec;

use crate::positions::keeper::SharedPositions;
use crate::positions::table::{FileEntry, FileId, InstanceKey, Progress};
use crate::tail::fingerprint::Fingerprint;

/// As which the positions know the events.
pub(crate) const CONTAINER: &str = "kubernetes-events";
/// Place of the client that gets them.
const FIRST: usize = 0;
/// Events come out of order by so much; nanoseconds.
const MARGIN: i64 = 120 * 1_000_000_000;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct ResumePoint {
    /// Where a watch goes on; `None`: events must be listed.
    pub(super) version: Option<String>,
    /// Of the newest event, nanoseconds since the epoch.
    last_seen: Option<i64>,
}

impl ResumePoint {
    pub(super) fn saw(&mut self, time: i64) {
        self.last_seen = self.last_seen.max(Some(time));
    }

    /// Whether an event that is listed may have happened since.
    pub(super) fn may_be_new(&self, time: i64) -> bool {
        self.last_seen.is_none_or(|last| time >= last - MARGIN)
    }

    /// The one of two that is further.
    pub(super) fn later(self, other: Self) -> Self {
        if other.last_seen > self.last_seen || self.version.is_none() { other } else { self }
    }

    /// As it stands beside the Lease.
    pub(super) fn text(&self) -> String {
        format!("{} {}", self.version.as_deref().unwrap_or("-"), self.last_seen.unwrap_or(0))
    }

    pub(super) fn parse(text: &str) -> Self {
        let Some((version, last_seen)) = text.split_once(' ') else { return Self::default() };
        Self {
            version: Some(version.to_owned()).filter(|version| version != "-" && !version.is_empty()),
            last_seen: last_seen.parse().ok().filter(|time| *time > 0),
        }
    }

    /// As it stands in the positions.
    pub(super) fn entry(&self) -> FileEntry {
        FileEntry {
            instance: InstanceKey { container: CONTAINER.into(), number: 0 },
            name: self.text().into(),
            device: 0,
            inode: 0,
            fingerprint: Fingerprint::default(),
            progress: Progress::start(self.last_seen),
            cuts: ThinVec::new(),
        }
    }
}

/// What the first client has acknowledged, to which events go, and as which file.
pub(super) fn remembered(positions: &SharedPositions) -> (FileId, ResumePoint) {
    let mut positions = positions.lock();
    match positions.files_of_client(FIRST, CONTAINER).pop() {
        Some((file, entry)) => (file, ResumePoint::parse(&entry.name)),
        None => {
            let file = positions.new_file();
            positions.acknowledge(FIRST, &crate::positions::table::Mark { file, entry: ResumePoint::default().entry() });
            (file, ResumePoint::default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_survives_its_text_and_the_further_one_counts() {
        let mut point = ResumePoint { version: Some("17".to_owned()), last_seen: None };
        assert_eq!(ResumePoint::parse(&point.text()), point);
        point.saw(500 * 1_000_000_000);
        assert_eq!(ResumePoint::parse(&point.text()), point);
        assert_eq!(ResumePoint::parse("nonsense"), ResumePoint::default());
        let newer = ResumePoint { version: Some("19".to_owned()), last_seen: Some(501 * 1_000_000_000) };
        assert_eq!(point.clone().later(newer.clone()), newer);
        assert_eq!(newer.clone().later(point.clone()), newer);
        assert!(point.may_be_new(499 * 1_000_000_000) && !point.may_be_new(100 * 1_000_000_000));
    }
}
