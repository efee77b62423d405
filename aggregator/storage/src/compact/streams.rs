//! Merges all streams of some objects, one after the other, in the order of a data file.

use std::collections::BTreeMap;

use crate::compact::error::CompactError;
use crate::compact::merge::{Input, LeftOut, Sink, merge};
use crate::compact::source::Source;
use crate::entry::StreamId;
use crate::manifest::FileId;
use crate::pairs::Pairs;

/// The order of streams in a data file: namespace, app, container, id.
type StreamKey = (String, String, String, StreamId);

/// Which streams are merged, and between which stamps (ns, both included).
pub(crate) struct Streams<'a> {
    pub(crate) first: i64,
    pub(crate) last: i64,
    /// By labels as stored.
    pub(crate) wanted: &'a (dyn Fn(&Pairs) -> bool + Send + Sync),
}

impl Streams<'_> {
    pub(crate) fn all() -> Self {
        Self { first: i64::MIN, last: i64::MAX, wanted: &|_| true }
    }
}

/// Merges the wanted streams of `sources`, which stand in the order in which they count. Those with an id are witnesses. Pages go over
/// whole or in part: a sink that minds the stamps looks at them itself.
pub(crate) async fn merge_streams(
    sources: &mut [(Source, Option<FileId>)],
    which: &Streams<'_>,
    sink: &mut impl Sink,
) -> Result<LeftOut, CompactError> {
    let mut left_out = LeftOut::default();
    for ((_, _, _, id), Extent { labels, first, last, bytes }) in streams_of(sources, which) {
        sink.begin_stream(id, &labels, bytes);
        let (mut inputs, mut places) = (Vec::new(), Vec::new());
        for (place, (source, witness)) in sources.iter_mut().enumerate() {
            let stretches = source.stretches(id, first, last);
            if !stretches.is_empty() {
                inputs.push(Input { source, stretches, is_witness: witness.is_some() });
                places.push(place);
            }
        }
        let of_stream = merge(inputs, sink).await?;
        left_out.duplicates += of_stream.duplicates;
        for (input, duplicates) in of_stream.duplicates_of {
            *left_out.duplicates_of.entry(places[input]).or_default() += duplicates;
        }
        left_out.relied_on.extend(of_stream.relied_on.into_iter().map(|input| places[input]));
        sources.iter_mut().for_each(|(source, _)| source.keep_within_bounds());
    }
    Ok(left_out)
}

/// What the sources have of a stream.
struct Extent {
    labels: Pairs,
    first: i64,
    last: i64,
    bytes: u64,
}

/// The wanted streams of the sources that give rows, in their order.
fn streams_of(sources: &[(Source, Option<FileId>)], which: &Streams<'_>) -> BTreeMap<StreamKey, Extent> {
    let mut streams: BTreeMap<StreamKey, Extent> = BTreeMap::new();
    for (source, _) in sources.iter().filter(|(_, witness)| witness.is_none()) {
        for span in source.parts().iter().flat_map(|part| &part.table().streams) {
            let (first, last) = (span.min_timestamp.max(which.first), span.max_timestamp.min(which.last));
            if first > last || !(which.wanted)(&span.labels) {
                continue;
            }
            let nothing = || Extent { labels: span.labels.clone(), first, last, bytes: 0 };
            let known = streams.entry(stream_key(span.id, &span.labels)).or_insert_with(nothing);
            (known.first, known.last) = (known.first.min(first), known.last.max(last));
            known.bytes += span.bytes;
        }
    }
    streams
}

fn stream_key(id: StreamId, labels: &Pairs) -> StreamKey {
    let label = |name: &str| labels.get(name).unwrap_or_default().to_owned();
    (labels.namespace().unwrap_or_default().to_owned(), label("app"), label("container"), id)
}
