//! From the last batches of a plan to an answer.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap, HashSet};

use arrow::array::{BinaryArray, RecordBatch, TimestampNanosecondArray, UInt32Array, UInt64Array};
use datafusion_common::Result;
use tailwater_logql::labels::LabelSet;

use crate::answer::{ListedEntry, LogEntry, LogStream, Point, Series};
use crate::batch;
use crate::operators::grid::StepGrid;
use crate::operators::points::Points;
use crate::request::{Direction, EqualStamps, LogRequest};

/// The entries of a log query, and whether rows are missing for more of them.
pub(crate) struct GatheredStreams {
    pub(crate) streams: Vec<LogStream>,
    /// Rows that show what one before them shows.
    pub(crate) repeated: usize,
    pub(crate) taken: usize,
}

/// Entries in the order of the batches, by their shown labels; streams in the order of label text. As in Loki, entries of one stream and
/// stamp that stages made equal are one.
pub(crate) fn log_streams(batches: &[RecordBatch], request: &LogRequest, pace: Pace) -> Result<GatheredStreams> {
    let mut streams: BTreeMap<Vec<u8>, LogStream> = BTreeMap::new();
    let mut last_kept = None;
    let (mut place, mut shown) = (None, HashSet::new());
    let (mut taken, mut repeated) = (0, 0);
    for rows in batches {
        let [line, labels, metadata, parsed] = columns(rows)?;
        let stream_of: &UInt32Array = batch::column(rows, batch::STREAM)?;
        let stamps: &TimestampNanosecondArray = batch::column(rows, batch::TIMESTAMP)?;
        for row in 0..rows.num_rows() {
            let timestamp = stamps.value(row);
            if taken == request.limit {
                break;
            }
            if request.equal_stamps == EqualStamps::AsLoki {
                let here = Some((timestamp, stream_of.value(row)));
                if std::mem::replace(&mut place, here) != here {
                    shown.clear();
                }
                if !shown.insert([line.value(row), labels.value(row), metadata.value(row), parsed.value(row)]) {
                    repeated += 1;
                    continue;
                }
            }
            if request.interval > 0 && !pace.is_due(&mut last_kept, timestamp, request) {
                continue;
            }
            taken += 1;
            let stream = streams
                .entry(labels.value(row).to_vec())
                .or_insert_with(|| LogStream { labels: batch::decode_labels(labels.value(row)), entries: Vec::new() });
            stream.entries.push(LogEntry {
                timestamp,
                line: line.value(row).to_vec(),
                structured_metadata: batch::decode_labels(metadata.value(row)),
                parsed: batch::decode_labels(parsed.value(row)),
            });
        }
    }
    let mut streams: Vec<LogStream> = streams.into_values().collect();
    streams.sort_by(|left, right| left.labels.cmp(&right.labels));
    Ok(GatheredStreams { streams, repeated, taken })
}

/// An entry of a rendered batch and its place: stamp, stream, arrival.
pub(crate) struct PlacedEntry {
    pub(crate) place: (i64, u32, u64),
    pub(crate) listed: ListedEntry,
}

/// Entries in the order of the batches.
pub(crate) fn entries(batches: &[RecordBatch]) -> Result<Vec<PlacedEntry>> {
    let mut known: HashMap<&[u8], LabelSet> = HashMap::new();
    let mut found = Vec::with_capacity(batches.iter().map(RecordBatch::num_rows).sum());
    for rows in batches {
        let [line, labels, metadata, parsed] = columns(rows)?;
        let stream_of: &UInt32Array = batch::column(rows, batch::STREAM)?;
        let stamps: &TimestampNanosecondArray = batch::column(rows, batch::TIMESTAMP)?;
        let arrivals: &UInt64Array = batch::column(rows, batch::ARRIVAL)?;
        for row in 0..rows.num_rows() {
            let bytes = labels.value(row);
            let labels = known.entry(bytes).or_insert_with(|| batch::decode_labels(bytes)).clone();
            let entry = LogEntry {
                timestamp: stamps.value(row),
                line: line.value(row).to_vec(),
                structured_metadata: batch::decode_labels(metadata.value(row)),
                parsed: batch::decode_labels(parsed.value(row)),
            };
            let place = (entry.timestamp, stream_of.value(row), arrivals.value(row));
            found.push(PlacedEntry { place, listed: ListedEntry { labels, entry } });
        }
    }
    Ok(found)
}

/// Entries, which are in order, as streams in the order of label text.
pub(crate) fn in_streams<'e>(entries: impl IntoIterator<Item = &'e ListedEntry>) -> Vec<LogStream> {
    let mut streams: HashMap<&LabelSet, Vec<LogEntry>> = HashMap::new();
    for listed in entries {
        streams.entry(&listed.labels).or_default().push(listed.entry.clone());
    }
    let mut streams: Vec<LogStream> = streams.into_iter().map(|(labels, entries)| LogStream { labels: labels.clone(), entries }).collect();
    streams.sort_by(|left, right| left.labels.cmp(&right.labels));
    streams
}

fn columns(rows: &RecordBatch) -> Result<[&BinaryArray; 4]> {
    Ok([
        batch::column(rows, "line")?,
        batch::column(rows, "labels")?,
        batch::column(rows, "structured_metadata")?,
        batch::column(rows, "parsed")?,
    ])
}

/// How the interval of a log query is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    Throughout,
    /// Anew in each hour, as in Loki, which answers hour by hour.
    Hourly,
}

impl Pace {
    /// Whether an entry is far enough from the last one kept, whatever its stream.
    fn is_due(self, last_kept: &mut Option<i64>, timestamp: i64, request: &LogRequest) -> bool {
        const HOUR: i64 = 3_600_000_000_000;
        let is_new_hour = |last: i64| self == Self::Hourly && last.div_euclid(HOUR) != timestamp.div_euclid(HOUR);
        let is_due = last_kept.is_none_or(|last| match request.direction {
            _ if is_new_hour(last) => true,
            Direction::Forward => timestamp >= last.saturating_add(request.interval),
            Direction::Backward => timestamp <= last.saturating_sub(request.interval),
        });
        if is_due {
            *last_kept = Some(timestamp);
        }
        is_due
    }
}

/// How the rows of points become series.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SeriesShape {
    /// Labels without a value are not shown. They still tell series apart, so several may show the same labels.
    pub(crate) hides_empty_labels: bool,
    /// Series stay in the order of the rows.
    pub(crate) is_ordered: bool,
}

/// The points of one label set: (step, value).
type Steps = Vec<(u32, f64)>;

/// Collects points by their label sets.
#[derive(Default)]
pub(crate) struct SeriesGatherer<'l> {
    numbers: HashMap<&'l [u8], usize>,
    all: Vec<(&'l [u8], Steps)>,
}

impl<'l> SeriesGatherer<'l> {
    /// Adds the points of a plan whose first step is `first`.
    pub(crate) fn add_batch(&mut self, rows: &'l RecordBatch, first: u32) -> Result<()> {
        let points = Points::of(rows)?;
        let label_sets: Vec<&'l [u8]> = points.label_sets().collect();
        points.rows().for_each(|(key, step, value)| self.add(label_sets[key], first + step, value));
        Ok(())
    }

    pub(crate) fn add(&mut self, labels: &'l [u8], step: u32, value: f64) {
        let number = *self.numbers.entry(labels).or_insert_with(|| {
            self.all.push((labels, Vec::new()));
            self.all.len() - 1
        });
        self.all[number].1.push((step, value));
    }

    /// Series with their points ascending. Rows of one label set are one series, unless their times collide: then each is one.
    pub(crate) fn into_series(self, grid: StepGrid, shape: SeriesShape) -> Vec<Series> {
        let mut series = Vec::with_capacity(self.all.len());
        for (labels, mut points) in self.all {
            #[cfg(feature = "planted-faults")]
            if tailwater_planted::Fault::LastStepLost.is_planted() && grid.count > 1 {
                points.retain(|(step, _)| *step + 1 < grid.count);
            }
            let labels = batch::decode_labels(labels);
            let labels = if shape.hides_empty_labels { labels.without_empty() } else { labels };
            // Points of one step come in an order that follows from how the work was shared out.
            points.sort_by(|left, right| {
                left.0.cmp(&right.0).then_with(|| if shape.is_ordered { Ordering::Equal } else { left.1.total_cmp(&right.1) })
            });
            series.extend(apart(points).into_iter().map(|points| Series { labels: labels.clone(), points: timed(&points, grid) }));
        }
        if !shape.is_ordered {
            series.sort_by(|left, right| left.labels.cmp(&right.labels).then_with(|| by_points(left, right)));
        }
        series
    }
}

/// An order of series that show the same labels.
fn by_points(left: &Series, right: &Series) -> Ordering {
    let mut orders = left.points.iter().zip(&right.points).map(|(l, r)| l.timestamp.cmp(&r.timestamp).then(l.value.total_cmp(&r.value)));
    orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

/// Lists without two points of one step.
fn apart(points: Steps) -> Vec<Steps> {
    if points.windows(2).all(|pair| pair[0].0 < pair[1].0) {
        return vec![points];
    }
    let mut lists: Vec<Steps> = Vec::new();
    let (mut last_step, mut repetition) = (None, 0);
    for point in points {
        repetition = if last_step == Some(point.0) { repetition + 1 } else { 0 };
        last_step = Some(point.0);
        if lists.len() == repetition {
            lists.push(Vec::new());
        }
        lists[repetition].push(point);
    }
    lists
}

fn timed(points: &[(u32, f64)], grid: StepGrid) -> Vec<Point> {
    points.iter().map(|(step, value)| Point { timestamp: grid.time(*step), value: *value }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_of_one_step_are_put_apart() {
        assert_eq!(apart(vec![(1, 1.0), (3, 2.0)]), [vec![(1, 1.0), (3, 2.0)]]);
        assert_eq!(
            apart(vec![(1, 1.0), (1, 2.0), (2, 3.0), (3, 4.0), (3, 5.0)]),
            [vec![(1, 1.0), (2, 3.0), (3, 4.0)], vec![(1, 2.0), (3, 5.0)]]
        );
    }
}
