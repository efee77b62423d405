//! `docker`: a record of docker's json-file driver into stream, stamp and text.

use std::sync::Arc;

use super::context::StageContext;
use super::cri::set_runtime_stamp;
use super::entry::{Entry, Value};
use super::json;
use super::settings::Settings;
use crate::parse::time::StampReader;
use crate::promtail::report::Report;
use crate::promtail::yaml::Node;

const SALT: u64 = 0x646f_636b;

#[derive(Debug, Clone, Default)]
pub(crate) struct Docker {
    stamps: StampReader,
}

impl Docker {
    pub(crate) fn from_config(node: &Node, report: &mut Report) -> Option<Self> {
        // Keys below `docker` have never had a meaning.
        let settings = Settings::of("docker", node, report)?;
        settings.finish().then(Self::default)
    }

    pub(crate) fn apply(&mut self, entry: &mut Entry, context: &mut StageContext<'_>) {
        let Some(record) = json::object(&entry.line) else { return };
        for (name, key) in [("output", "log"), ("stream", "stream"), ("timestamp", "time")] {
            let value = record.as_object().and_then(|object| object.get(key)).map_or(Value::Null, |field| json::value(Arc::clone(field)));
            entry.extracted.set(name, value);
        }
        if let Some(stream) = entry.extracted.text("stream").map(std::borrow::Cow::into_owned) {
            entry.set_label("stream", stream);
        }
        let time = entry.extracted.text("timestamp").map(std::borrow::Cow::into_owned).unwrap_or_default();
        let raw = self.stamps.read(time.as_bytes()).filter(|(_, length)| *length == time.len()).map(|(stamp, _)| stamp);
        set_runtime_stamp(entry, raw, false, SALT, context);
        if let Some(output) = entry.extracted.text("output").map(std::borrow::Cow::into_owned) {
            entry.line = output;
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::pipeline::tests::run_lines;

    #[test]
    fn records_give_stream_stamp_and_text_and_others_pass() {
        let lines = ["{\"log\":\"hi\\n\",\"stream\":\"stderr\",\"time\":\"2026-03-01T10:00:00.5Z\"}", "plain", "{\"stream\":\"stdout\"}"];
        let entries = run_lines("- docker: {}", &lines);
        let seen: Vec<_> = entries.iter().map(|entry| (entry.line.as_str(), entry.labels.get("stream").map(String::as_str))).collect();
        assert_eq!(seen, [("hi\n", Some("stderr")), ("plain", None), ("{\"stream\":\"stdout\"}", Some("stdout"))]);
        assert_eq!(entries[0].timestamp, Some(1_772_359_200_500_000_000));
    }
}
