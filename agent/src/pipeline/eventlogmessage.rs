//! `eventlogmessage`: `name: value` lines of an event's message into extracted values.

use super::entry::{Entry, Value};
use super::settings::Settings;
use crate::promtail::report::Report;
use crate::promtail::yaml::Node;
use crate::relabel::is_label_name;

#[derive(Debug, Clone)]
pub(crate) struct EventLogMessage {
    source: String,
    drops_invalid: bool,
    overwrites: bool,
}

impl EventLogMessage {
    pub(crate) fn from_config(node: &Node, report: &mut Report) -> Option<Self> {
        let mut settings = Settings::of("eventlogmessage", node, report)?;
        let source = settings.source().unwrap_or_else(|| "message".to_owned());
        let drops_invalid = settings.boolean("drop_invalid_labels").unwrap_or(false);
        let overwrites = settings.boolean("overwrite_existing").unwrap_or(false);
        settings.finish().then_some(Self { source, drops_invalid, overwrites })
    }

    pub(crate) fn apply(&self, entry: &mut Entry) {
        let Some(message) = entry.extracted.text(&self.source).map(std::borrow::Cow::into_owned) else { return };
        for (name, value) in message.split("\r\n").filter_map(|line| line.split_once(':')) {
            if self.drops_invalid && !is_label_name(name) {
                continue;
            }
            let mut name = label_name(name);
            if !self.overwrites && entry.extracted.contains(&name) {
                name.push_str("_extracted");
            }
            entry.extracted.set(&name, Value::Text(value.trim().to_owned()));
        }
    }
}

/// `text` with everything that a label name cannot hold as `_`.
fn label_name(text: &str) -> String {
    let mut name: String = text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect();
    if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) {
        name.insert(0, '_');
    }
    name
}

#[cfg(test)]
mod tests {
    use crate::pipeline::tests::run_lines;

    #[test]
    fn pairs_of_a_message_become_values() {
        let stages = "- json: {expressions: {message: , User: }}\n- eventlogmessage: {}";
        let line = "{\"User\":\"a\",\"message\":\"User:  b \\r\\nLogon Type: 3\\r\\nnothing\\r\\n1st: x\"}";
        let entry = run_lines(stages, &[line]).remove(0);
        for (name, expected) in [("User", "a"), ("User_extracted", "b"), ("Logon_Type", "3"), ("_1st", "x")] {
            assert_eq!(entry.extracted.text(name).as_deref(), Some(expected), "{name}");
        }
    }
}
