//! What a receiver needs to keep of numbered lines to check them all, where there are too many to keep: eight bytes of each.
//!
//! Holds for the lines of [`super::sequence::Sequence`]: from container, stream, sequence and stamp follows all of a line, so an entry is known by its labels,
//! metadata and stamp. Payloads of one stream have one length.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use tailwater_proto::{read, snappy};

use super::label;
use super::sequence::{BASE_NANOS, PAYLOAD};

#[derive(Default)]
struct Stream {
    /// By sequence what an entry was first stored as; 0 if it was not.
    seen: Vec<u64>,
    distinct: usize,
    /// Of the newest sequence.
    last_stamp: i64,
    payload: Option<usize>,
}

/// Counts entries as they come; what is not as it should be stands in [`Tally::faults`].
#[derive(Default)]
pub(crate) struct Tally {
    streams: BTreeMap<String, Stream>,
    faults: Vec<String>,
    request: Vec<u8>,
    pub(crate) entries: usize,
    pub(crate) distinct: usize,
}

impl Tally {
    /// Stores a push.
    pub(crate) fn store(&mut self, body: &[u8]) {
        let mut request = std::mem::take(&mut self.request);
        request.clear();
        snappy::decompress(body, 64 << 20, &mut request).expect("a snappy block");
        for stream in read::streams(&request) {
            let stream = stream.unwrap();
            let labels = std::str::from_utf8(stream.labels().unwrap()).unwrap();
            let (container, name) = (label(labels, "container"), label(labels, "stream"));
            let mut shared = DefaultHasher::new();
            labels.hash(&mut shared);
            stream.shared_metadata().for_each(|pair| pair.unwrap().hash(&mut shared));
            let known = self.streams.entry(format!("{container}/{name}")).or_default();
            for entry in stream.entries() {
                let entry = entry.unwrap();
                let mut identity = shared.clone();
                entry.metadata().for_each(|pair| pair.unwrap().hash(&mut identity));
                let timestamp = entry.timestamp().unwrap();
                timestamp.hash(&mut identity);
                self.entries += 1;
                match known.take(&container, &name, entry.line, timestamp, identity.finish().max(1)) {
                    Ok(is_new) => self.distinct += usize::from(is_new),
                    Err(fault) => {
                        let line = String::from_utf8_lossy(&entry.line[..entry.line.len().min(60)]).into_owned();
                        self.faults.push(format!("{fault}: `{line}` at {timestamp} with {labels}"));
                    }
                }
            }
        }
        self.request = request;
    }

    /// Entries of streams whose name begins so.
    pub(crate) fn distinct_of(&self, first: char) -> usize {
        self.streams.iter().filter(|(name, _)| name.starts_with(first)).map(|(_, stream)| stream.distinct).sum()
    }

    /// What is wrong, if exactly so many lines of each `container/stream` were written.
    pub(crate) fn faults(&self, expected: &BTreeMap<String, usize>) -> Vec<String> {
        let mut faults = self.faults.clone();
        for (stream, count) in expected.iter().filter(|(_, count)| **count > 0) {
            let known = self.streams.get(stream);
            let has = |number: &usize| known.is_some_and(|known| known.seen.get(*number).is_some_and(|seen| *seen != 0));
            let missing: Vec<usize> = (0..*count).filter(|number| !has(number)).collect();
            if !missing.is_empty() {
                faults.push(format!("{stream}: {} of {count} lines missing, first {:?}", missing.len(), &missing[..missing.len().min(5)]));
            }
            if known.is_some_and(|known| known.seen.len() > *count) {
                faults.push(format!("{stream}: more than the {count} lines that were written"));
            }
        }
        faults.extend(
            self.streams.keys().filter(|stream| !expected.contains_key(*stream)).map(|stream| format!("{stream}: not written by anyone")),
        );
        faults
    }
}

impl Stream {
    /// Whether the entry is a new one; what is wrong with it.
    fn take(&mut self, container: &str, stream: &str, line: &[u8], timestamp: i64, identity: u64) -> Result<bool, &'static str> {
        let line = std::str::from_utf8(line).map_err(|_| "not a line that was written")?;
        let mut words = line.splitn(5, ' ');
        let (Some(of), Some(on), Some(sequence), Some(nanos), Some(payload)) =
            (words.next(), words.next(), words.next(), words.next(), words.next())
        else {
            return Err("not a line that was written");
        };
        if (of, on) != (container, stream) {
            return Err("labels of another stream");
        }
        let (Ok(sequence), Ok(nanos)) = (sequence.parse::<usize>(), nanos.parse::<i64>()) else { return Err("torn line") };
        if timestamp != BASE_NANOS + nanos {
            return Err("another stamp than written");
        }
        if *self.payload.get_or_insert(payload.len()) != payload.len()
            || !payload.as_bytes().chunks(PAYLOAD.len()).all(|part| part == PAYLOAD.as_bytes())
        {
            return Err("torn line");
        }
        match self.seen.get(sequence) {
            Some(0) => return Err("came after a later one"),
            Some(seen) if *seen != identity => return Err("stored twice, not as it was before"),
            Some(_) => return Ok(false),
            None => {}
        }
        if self.distinct > 0 && timestamp <= self.last_stamp {
            return Err("a stamp that is not later than that of the line before");
        }
        self.seen.resize(sequence, 0);
        self.seen.push(identity);
        self.last_stamp = timestamp;
        self.distinct += 1;
        Ok(true)
    }
}
