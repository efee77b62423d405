//! Entries as text, for a run that sends nothing.

use jiff::Timestamp;
use tailwater_proto::read;
use tailwater_proto::snappy::{self};

use crate::batch::builder::MAX_REQUEST_BYTES;
use crate::batch::split::SplitError;

/// The entries of `body`, a snappy block, a line each: stamp, labels, text, and structured metadata if there is some.
pub(crate) fn render(body: &[u8], tenant: Option<&str>) -> Result<String, SplitError> {
    let mut request = Vec::new();
    snappy::decompress(body, 16 * MAX_REQUEST_BYTES, &mut request)?;
    let mut out = String::new();
    for stream in read::streams(&request) {
        let stream = stream?;
        let labels = String::from_utf8_lossy(stream.labels()?);
        for entry in stream.entries() {
            let entry = entry?;
            let nanos = entry.timestamp().unwrap_or_default();
            let stamp = Timestamp::from_nanosecond(i128::from(nanos)).map_or_else(|_| nanos.to_string(), |stamp| format!("{stamp:.9}"));
            out.push_str(&format!("{stamp} {labels}"));
            let pairs = stream.shared_metadata().chain(entry.metadata());
            for (name, value) in pairs.filter_map(Result::ok) {
                out.push_str(&format!(" {}={}", String::from_utf8_lossy(name), String::from_utf8_lossy(value)));
            }
            if let Some(tenant) = tenant {
                out.push_str(&format!(" tenant={tenant}"));
            }
            out.push_str(&format!("\t{}\n", String::from_utf8_lossy(entry.line)));
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;
    use crate::batch::builder::{BatchBuilder, BatchLimits};
    use tailwater_proto::write::SharedMetadata;

    #[test]
    fn an_entry_is_a_line_with_its_stamp_and_labels() {
        let mut builder = BatchBuilder::new(BatchLimits { batch_bytes: 1000, max_line_bytes: 1000 });
        let slot = builder.open(&Arc::from(&b"{a=\"1\"}"[..]), &Arc::new(SharedMetadata::new([("k", "v")])));
        builder.push(slot, 1_772_359_200_000_000_005, b"hello");
        let body = builder.finish(Instant::now()).body;
        assert_eq!(render(&body, Some("t")).unwrap(), "2026-03-01T10:00:00.000000005Z {a=\"1\"} k=v tenant=t\thello\n");
    }
}
