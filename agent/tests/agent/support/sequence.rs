//! Numbered lines, `<container> <stream> <sequence> <nanoseconds> <payload>`, and the check by arithmetic that each is stored once, in order, with its
//! stamp and its labels.

use std::collections::{BTreeMap, HashMap};

use super::{Container, Entry, Recorder, label};

/// 2026-11-21T09:00:00Z, where the containers' clocks begin.
pub(super) const BASE_NANOS: i64 = 1_795_251_600 * 1_000_000_000;
/// What payloads are made of.
pub(super) const PAYLOAD: &str = "abcdefghij";

/// A container that writes numbered lines to both streams.
pub(crate) struct Sequence {
    pub(crate) container: Container,
    pub(crate) name: String,
    /// Lines written so far to stdout and stderr.
    pub(crate) written: [usize; 2],
    pub(crate) payload: usize,
}

impl Sequence {
    pub(crate) fn new(container: Container) -> Self {
        let name = container.directory.file_name().unwrap().to_string_lossy().into_owned();
        Self { container, name, written: [0, 0], payload: 60 }
    }

    /// The next line of a stream and its record.
    pub(crate) fn next(&mut self, stream: usize) -> (String, String) {
        let stamp = self.container.stamp();
        let stream_name = ["stdout", "stderr"][stream];
        let sequence = self.written[stream];
        self.written[stream] += 1;
        let payload = PAYLOAD.repeat(self.payload / PAYLOAD.len());
        let line = format!("{} {stream_name} {sequence} {} {payload}", self.name, self.container.nanos);
        (format!("{stamp} {stream_name} F {line}\n"), line)
    }

    /// Writes lines, every fifth to stderr.
    pub(crate) fn lines(&mut self, count: usize) {
        let mut records = String::new();
        for number in 0..count {
            let (record, _) = self.next(usize::from(number % 5 == 4));
            records.push_str(&record);
        }
        self.container.raw(records.as_bytes());
    }

    pub(crate) fn total(&self) -> usize {
        self.written[0] + self.written[1]
    }
}

/// What of the sequences is not as it should be; empty if every line is stored once, in order, with its stamp and labels.
pub(crate) fn faults(recorder: &Recorder, sequences: &[&Sequence]) -> Vec<String> {
    let expected = sequences.iter().flat_map(|sequence| {
        let of = |stream: usize| (format!("{}/{}", sequence.name, ["stdout", "stderr"][stream]), sequence.written[stream]);
        [of(0), of(1)]
    });
    faults_of(recorder, &expected.collect())
}

/// The same, for lines counted by `container/stream`.
pub(crate) fn faults_of(recorder: &Recorder, expected: &BTreeMap<String, usize>) -> Vec<String> {
    if let Some(faults) = recorder.tally(|tally| tally.faults(expected)) {
        return faults;
    }
    let mut faults = Vec::new();
    let mut streams: BTreeMap<String, Vec<(i64, usize)>> = BTreeMap::new();
    for entry in recorder.stored() {
        match read(&entry) {
            Ok((stream, sequence)) => streams.entry(stream).or_default().push((entry.timestamp, sequence)),
            Err(fault) => faults.push(fault),
        }
    }
    for (stream, count) in expected.iter().filter(|(_, count)| **count > 0) {
        let mut seen = streams.remove(stream).unwrap_or_default();
        seen.sort_unstable();
        let sequences: Vec<usize> = seen.into_iter().map(|(_, sequence)| sequence).collect();
        let sum = |numbers: &[usize]| numbers.iter().sum::<usize>();
        if sequences.len() != *count || sum(&sequences) != count * (count - 1) / 2 || !sequences.is_sorted() {
            let missing = (0..*count).filter(|number| !sequences.contains(number)).take(5).collect::<Vec<_>>();
            let first_disorder = sequences.windows(2).position(|pair| pair[0] >= pair[1]).map(|at| &sequences[at..at + 2]);
            faults.push(format!(
                "{stream}: {} of {count} lines, first missing {missing:?}, first disorder {first_disorder:?}",
                sequences.len()
            ));
        }
    }
    faults.extend(streams.keys().map(|stream| format!("{stream}: not written by anyone")));
    faults.extend(disorder_on_the_wire(recorder));
    faults
}

/// Panics with what is wrong, if anything is.
pub(crate) fn assert_exact(recorder: &Recorder, sequences: &[&Sequence]) {
    let faults = faults(recorder, sequences);
    assert!(faults.is_empty(), "{} faults: {}", faults.len(), faults[..faults.len().min(10)].join("; "));
}

/// Stream and number of an entry that is what was written.
fn read(entry: &Entry) -> Result<(String, usize), String> {
    let fault = |what: &str| format!("{what}: `{}` at {} with {}", &entry.line[..entry.line.len().min(60)], entry.timestamp, entry.labels);
    let mut words = entry.line.split(' ');
    let (Some(container), Some(stream), Some(sequence), Some(nanos)) = (words.next(), words.next(), words.next(), words.next()) else {
        return Err(fault("not a line that was written"));
    };
    if label(&entry.labels, "container") != container || label(&entry.labels, "stream") != stream {
        return Err(fault("labels of another stream"));
    }
    let nanos: i64 = nanos.parse().map_err(|_| fault("torn line"))?;
    if entry.timestamp != BASE_NANOS + nanos {
        return Err(fault("another stamp than written"));
    }
    Ok((format!("{container}/{stream}"), sequence.parse().map_err(|_| fault("torn line"))?))
}

/// Lines that came, for the first time, before an earlier one of their stream.
fn disorder_on_the_wire(recorder: &Recorder) -> Vec<String> {
    let mut last: HashMap<String, usize> = HashMap::new();
    let mut seen = std::collections::HashSet::new();
    let mut faults = Vec::new();
    for entry in recorder.all() {
        let Ok((stream, sequence)) = read(&entry) else { continue };
        if !seen.insert((stream.clone(), sequence)) {
            continue;
        }
        if let Some(before) = last.insert(stream.clone(), sequence)
            && before > sequence
        {
            faults.push(format!("{stream}: {sequence} came after {before}"));
        }
    }
    faults
}
