//! `output`: an extracted value becomes the line.

use super::entry::Entry;
use super::settings::Settings;
use crate::promtail::report::Report;
use crate::promtail::yaml::Node;

#[derive(Debug, Clone)]
pub(crate) struct Output {
    source: String,
}

impl Output {
    pub(crate) fn from_config(node: &Node, report: &mut Report) -> Option<Self> {
        let mut settings = Settings::of("output", node, report)?;
        let source = settings.required("source");
        let is_right = settings.finish();
        source.filter(|_| is_right).map(|source| Self { source })
    }

    pub(crate) fn apply(&self, entry: &mut Entry) {
        if let Some(text) = entry.extracted.text(&self.source) {
            entry.line = text.into_owned();
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::pipeline::tests::run_lines;

    #[test]
    fn a_missing_value_or_a_null_leaves_the_line() {
        let stages = "- json: {expressions: {m: }}\n- output: {source: m}";
        let lines: Vec<String> = run_lines(stages, &["{\"m\":7}", "{\"m\":null}", "x"]).into_iter().map(|entry| entry.line).collect();
        assert_eq!(lines, ["7", "{\"m\":null}", "x"]);
    }
}
