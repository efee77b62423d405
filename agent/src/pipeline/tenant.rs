//! `tenant`: which tenant an entry belongs to, carried as a reserved label that is never sent as one.

use super::entry::Entry;
use super::settings::Settings;
use crate::promtail::report::Report;
use crate::promtail::yaml::Node;

/// The label that names an entry's tenant.
pub(crate) const TENANT_LABEL: &str = "__tenant_id__";

#[derive(Debug, Clone)]
pub(crate) enum Tenant {
    Label(String),
    Source(String),
    Value(String),
}

impl Tenant {
    pub(crate) fn from_config(node: &Node, report: &mut Report) -> Option<Self> {
        let mut settings = Settings::of("tenant", node, report)?;
        let mut text = |key: &str| settings.text(key).filter(|text| !text.is_empty());
        let written = [text("label").map(Self::Label), text("source").map(Self::Source), text("value").map(Self::Value)];
        let mut given: Vec<Self> = written.into_iter().flatten().collect();
        if given.len() != 1 {
            let line = settings.line();
            settings.wrong(line, "give exactly one of `label`, `source` and `value`");
        }
        let is_right = settings.finish();
        given.pop().filter(|_| is_right)
    }

    pub(crate) fn apply(&self, entry: &mut Entry) {
        let tenant = match self {
            Self::Label(label) => entry.labels.get(label).cloned(),
            Self::Source(source) => entry.extracted.text(source).map(std::borrow::Cow::into_owned),
            Self::Value(value) => Some(value.clone()),
        };
        if let Some(tenant) = tenant.filter(|tenant| !tenant.is_empty()) {
            entry.set_label(TENANT_LABEL, tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::tests::{problems, run_lines};

    #[test]
    fn an_empty_value_changes_nothing() {
        let stages = "- tenant: {value: first}\n- regex: {expression: 't=(?P<t>\\w*)'}\n- tenant: {source: t}";
        let tenants: Vec<_> = run_lines(stages, &["t=x", "t=", "none"]).iter().map(|entry| entry.labels[TENANT_LABEL].clone()).collect();
        assert_eq!(tenants, ["x", "first", "first"]);
        assert!(problems("- tenant: {value: a, source: b}")[0].contains("tenant"));
    }
}
