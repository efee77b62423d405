//! Push requests made and altered by hand, below what a correct sender would send.

use anyhow::{Context, Result};
use tailwater_proto::write::{EntriesBuffer, RequestBuffer, SharedMetadata};
use tailwater_proto::{read, snappy};

/// More than any request of a drill decompresses to.
const LONGEST_REQUEST: usize = 256 << 20;

/// A request with one stream, not compressed.
pub fn request(labels: &str, entries: &[(i64, &str)]) -> Vec<u8> {
    let mut buffer = EntriesBuffer::default();
    entries.iter().for_each(|(timestamp, line)| buffer.push(*timestamp, line.as_bytes()));
    let mut request = RequestBuffer::default();
    request.push_stream(labels.as_bytes(), &buffer, &SharedMetadata::default());
    request.as_bytes().to_vec()
}

/// As a snappy block.
pub fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    snappy::compress(&mut snap::raw::Encoder::new(), bytes, &mut out);
    out
}

pub fn decompressed(block: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    snappy::decompress(block, LONGEST_REQUEST, &mut out).context("a push is no snappy block")?;
    Ok(out)
}

/// A compressed push whose first entry has a stamp one nanosecond off, later or earlier.
pub fn with_altered_stamp(block: &[u8]) -> Result<Vec<u8>> {
    rebuilt(block, |timestamp, line| (timestamp ^ 1, line.to_vec()))
}

/// A compressed push whose first entry has lost the last letter of its line.
pub fn with_altered_line(block: &[u8]) -> Result<Vec<u8>> {
    rebuilt(block, |timestamp, line| (timestamp, line[..line.len().saturating_sub(1)].to_vec()))
}

/// Writes a push anew, with its first entry changed.
fn rebuilt(block: &[u8], change: impl Fn(i64, &[u8]) -> (i64, Vec<u8>)) -> Result<Vec<u8>> {
    let bytes = decompressed(block)?;
    let mut request = RequestBuffer::default();
    let mut is_changed = false;
    for stream in read::streams(&bytes) {
        let stream = stream?;
        let mut entries = EntriesBuffer::default();
        for entry in stream.entries() {
            let entry = entry?;
            let timestamp = entry.timestamp().context("an entry has no stamp")?;
            let metadata = pairs(entry.metadata())?;
            let metadata: Vec<(&str, &str)> = metadata.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let (timestamp, line) = if is_changed { (timestamp, entry.line.to_vec()) } else { change(timestamp, entry.line) };
            is_changed = true;
            entries.push_with_metadata(timestamp, &line, &metadata);
        }
        let shared = pairs(stream.shared_metadata())?;
        let shared = SharedMetadata::new(shared.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        request.push_stream(stream.labels()?, &entries, &shared);
    }
    Ok(compressed(request.as_bytes()))
}

fn pairs(views: read::PairViews<'_>) -> Result<Vec<(String, String)>> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    views.map(|pair| pair.map(|(name, value)| (text(name), text(value))).map_err(Into::into)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(block: &[u8]) -> Vec<(i64, Vec<u8>)> {
        let bytes = decompressed(block).unwrap();
        let mut found = Vec::new();
        for stream in read::streams(&bytes) {
            for entry in stream.unwrap().entries() {
                let entry = entry.unwrap();
                found.push((entry.timestamp().unwrap(), entry.line.to_vec()));
            }
        }
        found
    }

    #[test]
    fn only_the_first_entry_is_altered() {
        let block = compressed(&request("{a=\"b\"}", &[(1_000_000_000, "one"), (2_000_000_000, "two")]));
        let two = (2_000_000_000, b"two".to_vec());
        assert_eq!(entries(&with_altered_stamp(&block).unwrap()), [(1_000_000_001, b"one".to_vec()), two.clone()]);
        assert_eq!(entries(&with_altered_line(&block).unwrap()), [(1_000_000_000, b"on".to_vec()), two]);
    }
}
