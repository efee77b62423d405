//! Selectors of pods by their labels, as Kubernetes writes them: `app=web,tier!=test,zone in (a,b),!canary`.

use std::collections::{BTreeMap, BTreeSet};

use kube::core::{Expression, Selector, SelectorExt};

/// What pods' labels must be.
#[derive(Debug, Clone)]
pub(super) struct PodLabelSelector(Selector);

impl PodLabelSelector {
    /// Reads requirements with commas between them; the error says what would be right.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let requirements: Option<Vec<Expression>> = split_outside(text, '(', ')').map(|text| requirement(text.trim())).collect();
        let requirements = requirements.ok_or("labels of pods like `{app=web,tier!=test}`, `{zone in (a,b)}` or `{!canary}`")?;
        Ok(Self(requirements.into_iter().collect()))
    }

    pub(super) fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.matches(labels)
    }
}

/// The parts of `text` between commas that are not within `open` and `close`.
pub(super) fn split_outside(text: &str, open: char, close: char) -> impl Iterator<Item = &str> {
    let mut is_inside = false;
    text.split(move |character| {
        is_inside = character == open || is_inside && character != close;
        character == ',' && !is_inside
    })
}

fn requirement(text: &str) -> Option<Expression> {
    if let Some(name) = text.strip_prefix('!') {
        return Some(Expression::DoesNotExist(name_of(name)?));
    }
    if let Some((name, value)) = text.split_once("!=") {
        return Some(Expression::NotEqual(name_of(name)?, value_of(value)?));
    }
    if let Some((name, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return Some(Expression::Equal(name_of(name)?, value_of(value)?));
    }
    let Some((before, values)) = text.strip_suffix(')').and_then(|text| text.split_once('(')) else {
        return Some(Expression::Exists(name_of(text)?));
    };
    let values: BTreeSet<String> = values.split(',').map(value_of).collect::<Option<_>>()?;
    let (name, operator) = before.trim_end().rsplit_once(char::is_whitespace)?;
    match operator {
        "in" => Some(Expression::In(name_of(name)?, values)),
        "notin" => Some(Expression::NotIn(name_of(name)?, values)),
        _ => None,
    }
}

fn name_of(text: &str) -> Option<String> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    Some(text.trim()).filter(|name| !name.is_empty() && name.bytes().all(is_part)).map(str::to_owned)
}

/// The same without a slash; values may be empty.
fn value_of(text: &str) -> Option<String> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    Some(text.trim()).filter(|value| value.bytes().all(is_part)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_selected_as_kubernetes_does() {
        let labels =
            BTreeMap::from([("app", "web"), ("example.com/tier", "front"), ("empty", "")].map(|(n, v)| (n.to_owned(), v.to_owned())));
        for (text, expected) in [
            ("app=web", true),
            ("app==web", true),
            ("app = db", false),
            ("app!=web", false),
            ("app!=db, absent!=x", true),
            ("app in (db, web)", true),
            ("app notin (db,web)", false),
            ("absent notin (a)", true),
            ("absent in (a)", false),
            ("example.com/tier", true),
            ("!example.com/tier", false),
            ("!absent,empty=", true),
            ("app in (web),example.com/tier=front", true),
            ("app=web,example.com/tier=back", false),
        ] {
            assert_eq!(PodLabelSelector::parse(text).unwrap().matches(&labels), expected, "{text}");
        }
        for wrong in ["", "app=web,", "=web", "app in web", "app on (web)", "app in (a b)", "a b=c", "app=~w.*"] {
            assert!(PodLabelSelector::parse(wrong).unwrap_err().contains("{app=web"), "{wrong}");
        }
    }
}
