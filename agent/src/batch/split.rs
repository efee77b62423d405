//! Halving a request that a receiver refuses as a whole.
//!
//! The halves hold the same entries in the same order, with the labels and metadata they had; only who shares a request changes.

use bytes::Bytes;
use tailwater_proto::read::{self, WireError};
use tailwater_proto::snappy::{self, SnappyError};
use tailwater_proto::write::{EntriesBuffer, RequestBuffer, SharedMetadata};

use super::builder::MAX_REQUEST_BYTES;
use crate::parse::text;

/// What cutting an entry adds to its request, at most: a pair of metadata, and the frame of what does not compress.
const SHORTENED_OVERHEAD: usize = 96;
/// An entry of which less would be left is not worth sending.
const LEAST_LEFT: usize = 64;

/// A request built by this agent that cannot be read back: a bug.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SplitError {
    #[error("cannot decompress a request of our own")]
    Snappy(#[from] SnappyError),
    #[error("cannot read a request of our own")]
    Wire(#[from] WireError),
    #[error("a request of our own holds text that is not UTF-8")]
    Text(#[from] std::str::Utf8Error),
}

/// A part of a request: compressed bytes and how much they hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) body: Bytes,
    pub(crate) entries: u64,
}

/// Bytes of a request before it was compressed.
pub(crate) fn request_bytes(body: &[u8]) -> usize {
    snap::raw::decompress_len(body).unwrap_or(0)
}

/// Splits `body`, a snappy block with `entries` entries, into two halves by number of entries.
pub(crate) fn halve(body: &[u8], entries: u64) -> Result<[Part; 2], SplitError> {
    let mut request = Vec::new();
    // A single line may be longer than the limit and go alone.
    snappy::decompress(body, 16 * MAX_REQUEST_BYTES, &mut request)?;
    let middle = entries / 2;
    Ok([part(&request, 0, middle)?, part(&request, middle, u64::MAX)?])
}

/// Cuts the line of `body`, a snappy block with one entry, so that all of it takes no more than `limit` bytes. Returns the request and the bytes left out;
/// `None` if next to nothing of the line would be left, or if it fits already.
pub(crate) fn shorten(body: &[u8], limit: usize) -> Result<Option<(Bytes, u64)>, SplitError> {
    let mut request = Vec::new();
    snappy::decompress(body, 16 * MAX_REQUEST_BYTES, &mut request)?;
    let Some(stream) = read::streams(&request).next().transpose()? else { return Ok(None) };
    let Some(entry) = stream.entries().next().transpose()? else { return Ok(None) };
    let rest = request.len() - entry.line.len() + SHORTENED_OVERHEAD + limit / 1000;
    let Some(room) = limit.checked_sub(rest).filter(|room| (LEAST_LEFT..entry.line.len()).contains(room)) else { return Ok(None) };
    let (line, left_out) = text::truncate(entry.line, entry.line.len() as u64, room);
    let count = left_out.to_string();
    let (mut metadata, shared) = (text_pairs(entry.metadata())?, text_pairs(stream.shared_metadata())?);
    // To a receiver that takes any.
    if !(metadata.is_empty() && shared.is_empty()) {
        metadata.retain(|(name, _)| *name != "truncated");
        metadata.push(("truncated", &count));
    }
    let (mut out, mut buffer) = (RequestBuffer::default(), EntriesBuffer::default());
    buffer.push_with_metadata(entry.timestamp().unwrap_or_default(), &line, &metadata);
    out.push_stream(stream.labels()?, &buffer, &SharedMetadata::new(shared));
    Ok(Some((compressed(&out), left_out)))
}

fn compressed(request: &RequestBuffer) -> Bytes {
    let mut compressed = Vec::new();
    snappy::compress(&mut snap::raw::Encoder::new(), request.as_bytes(), &mut compressed);
    Bytes::from(compressed)
}

/// Bytes of the lines in `body`, a snappy block.
pub(crate) fn line_bytes(body: &[u8]) -> Result<u64, SplitError> {
    let mut request = Vec::new();
    snappy::decompress(body, 16 * MAX_REQUEST_BYTES, &mut request)?;
    let mut bytes = 0;
    for stream in read::streams(&request) {
        for entry in stream?.entries() {
            bytes += entry?.line.len() as u64;
        }
    }
    Ok(bytes)
}

/// The entries numbered `from..to` of `request`.
fn part(request: &[u8], from: u64, to: u64) -> Result<Part, SplitError> {
    let mut out = RequestBuffer::default();
    let (mut number, mut kept) = (0, 0);
    for stream in read::streams(request) {
        let stream = stream?;
        let mut buffer = EntriesBuffer::default();
        for entry in stream.entries() {
            let entry = entry?;
            if (from..to).contains(&number) {
                let metadata = text_pairs(entry.metadata())?;
                buffer.push_with_metadata(entry.timestamp().unwrap_or_default(), entry.line, &metadata);
            }
            number += 1;
        }
        if !buffer.is_empty() {
            kept += buffer.count() as u64;
            let shared = SharedMetadata::new(text_pairs(stream.shared_metadata())?);
            out.push_stream(stream.labels()?, &buffer, &shared);
        }
    }
    Ok(Part { body: compressed(&out), entries: kept })
}

fn text_pairs(pairs: read::PairViews<'_>) -> Result<Vec<(&str, &str)>, SplitError> {
    pairs
        .map(|pair| {
            let (name, value) = pair?;
            Ok((std::str::from_utf8(name)?, std::str::from_utf8(value)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Flat = Vec<(String, i64, Vec<u8>, Vec<(String, String)>)>;

    fn flatten(body: &[u8]) -> Flat {
        let mut request = Vec::new();
        snappy::decompress(body, 1 << 24, &mut request).unwrap();
        let mut flat = Flat::new();
        for stream in read::streams(&request) {
            let stream = stream.unwrap();
            let labels = String::from_utf8(stream.labels().unwrap().to_vec()).unwrap();
            for entry in stream.entries() {
                let entry = entry.unwrap();
                let own = text_pairs(entry.metadata()).unwrap();
                let shared = text_pairs(stream.shared_metadata()).unwrap();
                let pairs = own.into_iter().chain(shared).map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
                flat.push((labels.clone(), entry.timestamp().unwrap(), entry.line.to_vec(), pairs));
            }
        }
        flat
    }

    fn request(streams: &[Vec<Vec<u8>>]) -> (Vec<u8>, u64) {
        let mut request = RequestBuffer::default();
        let mut stamp = 0;
        for (index, lines) in streams.iter().enumerate() {
            let mut buffer = EntriesBuffer::default();
            for line in lines {
                stamp += 1;
                buffer.push_with_metadata(stamp, line, if stamp % 3 == 0 { &[("truncated", "7")] } else { &[] });
            }
            request.push_stream(format!("{{s=\"{index}\"}}").as_bytes(), &buffer, &SharedMetadata::new([("pod_uid", "u")]));
        }
        let mut compressed = Vec::new();
        snappy::compress(&mut snap::raw::Encoder::new(), request.as_bytes(), &mut compressed);
        (compressed, stamp.unsigned_abs())
    }

    #[test]
    fn an_entry_is_cut_to_the_limit_with_its_suffix_and_keeps_the_rest() {
        let line: Vec<u8> = (0..50_000_u32)
            .flat_map(|number| (number.wrapping_mul(2_654_435_761) % 90 + 33).to_le_bytes())
            .filter(|byte| *byte > 0)
            .collect();
        let (body, _) = request(&[vec![line.clone()]]);
        let (short, left_out) = shorten(&body, 10_000).unwrap().unwrap();
        assert!(short.len() <= 10_000 && request_bytes(&short) <= 10_000, "{}", short.len());
        let (before, after) = (flatten(&body).remove(0), flatten(&short).remove(0));
        let suffix = format!("...[truncated {left_out} bytes]");
        assert!(after.2.ends_with(suffix.as_bytes()) && line.starts_with(&after.2[..after.2.len() - suffix.len()]));
        assert_eq!(line.len() as u64, left_out + (after.2.len() - suffix.len()) as u64);
        assert_eq!((after.0, after.1), (before.0, before.1));
        assert_eq!(after.3, [("truncated".to_owned(), left_out.to_string()), ("pod_uid".to_owned(), "u".to_owned())]);
        for limit in [10, 200_000] {
            assert_eq!(shorten(&body, limit).unwrap(), None, "{limit}");
        }
    }

    proptest! {
        #[test]
        fn the_halves_hold_the_same_entries(streams in proptest::collection::vec(proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..9), 1..6), 1..5)) {
            let (body, entries) = request(&streams);
            let [first, second] = halve(&body, entries).unwrap();
            prop_assert_eq!(first.entries, entries / 2);
            prop_assert_eq!(first.entries + second.entries, entries);
            prop_assert_eq!([flatten(&first.body), flatten(&second.body)].concat(), flatten(&body));
        }
    }
}
