//! One rule and what it does to a set of labels.

use md5::{Digest, Md5};
use regex::bytes::Regex;
use tailwater_logql::regex_dialect::{self, Anchoring, RegexError, Translated};

use super::{Labels, is_label_name};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Replace,
    Keep,
    Drop,
    KeepEqual,
    DropEqual,
    HashMod,
    LabelMap,
    LabelDrop,
    LabelKeep,
    Lowercase,
    Uppercase,
}

impl Action {
    const ALL: [(&str, Self); 11] = [
        ("replace", Self::Replace),
        ("keep", Self::Keep),
        ("drop", Self::Drop),
        ("keepequal", Self::KeepEqual),
        ("dropequal", Self::DropEqual),
        ("hashmod", Self::HashMod),
        ("labelmap", Self::LabelMap),
        ("labeldrop", Self::LabelDrop),
        ("labelkeep", Self::LabelKeep),
        ("lowercase", Self::Lowercase),
        ("uppercase", Self::Uppercase),
    ];

    /// By name, in any case.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        Self::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, action)| action)
    }

    pub(crate) fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, action)| *action == self).map_or("", |(name, _)| name)
    }
}

/// A regular expression that takes a whole value.
#[derive(Debug, Clone)]
pub(crate) struct WholeRegex {
    translated: Translated,
    regex: Regex,
}

impl WholeRegex {
    pub(crate) fn new(pattern: &str) -> Result<Self, RegexError> {
        let translated = regex_dialect::translate_anchored(pattern, Anchoring::Matcher)?;
        let regex = translated.compile()?;
        Ok(Self { translated, regex })
    }

    fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text.as_bytes())
    }

    /// Each template with the groups of a match filled in, or `None` without one.
    fn expand<const N: usize>(&self, text: &str, templates: [&str; N]) -> Option<[String; N]> {
        let captures = self.regex.captures(text.as_bytes())?;
        Some(templates.map(|template| {
            let mut out = Vec::new();
            self.translated.expand(template, &captures, &mut out);
            String::from_utf8_lossy(&out).into_owned()
        }))
    }
}

/// A rule that was checked.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) source_labels: Vec<String>,
    pub(crate) separator: String,
    pub(crate) regex: WholeRegex,
    /// Not 0 for a [`Action::HashMod`].
    pub(crate) modulus: u64,
    pub(crate) target_label: String,
    pub(crate) replacement: String,
    pub(crate) action: Action,
}

/// Runs `rules` in order; `None` if one of them drops the target.
pub(crate) fn relabel(mut labels: Labels, rules: &[Rule]) -> Option<Labels> {
    labels.retain(|_, value| !value.is_empty());
    for rule in rules {
        if !rule.apply(&mut labels) {
            return None;
        }
    }
    Some(labels)
}

fn set(labels: &mut Labels, name: String, value: String) {
    if value.is_empty() {
        labels.remove(&name);
    } else {
        labels.insert(name, value);
    }
}

impl Rule {
    /// Changes `labels`; `false` drops the target.
    fn apply(&self, labels: &mut Labels) -> bool {
        let get = |name: &str| labels.get(name).map_or("", String::as_str);
        let value = self.source_labels.iter().map(|name| get(name)).collect::<Vec<_>>().join(&self.separator);
        match self.action {
            Action::Keep => return self.regex.is_match(&value),
            Action::Drop => return !self.regex.is_match(&value),
            Action::KeepEqual => return get(&self.target_label) == value,
            Action::DropEqual => return get(&self.target_label) != value,
            Action::Replace => {
                if let Some([target, result]) = self.regex.expand(&value, [&self.target_label, &self.replacement])
                    && is_label_name(&target)
                {
                    set(labels, target, result);
                }
            }
            Action::Lowercase => set(labels, self.target_label.clone(), value.to_lowercase()),
            Action::Uppercase => set(labels, self.target_label.clone(), value.to_uppercase()),
            Action::HashMod => set(labels, self.target_label.clone(), (hash(&value) % self.modulus).to_string()),
            Action::LabelMap => self.map_names(labels),
            Action::LabelDrop => labels.retain(|name, _| !self.regex.is_match(name)),
            Action::LabelKeep => labels.retain(|name, _| self.regex.is_match(name)),
        }
        true
    }

    fn map_names(&self, labels: &mut Labels) {
        let renamed = labels.iter().filter_map(|(name, value)| {
            let [name] = self.regex.expand(name, [&self.replacement])?;
            Some((name, value.clone()))
        });
        for (name, value) in renamed.collect::<Vec<_>>() {
            set(labels, name, value);
        }
    }
}

/// The last eight bytes of the MD5 of `value`, as Prometheus shards by.
fn hash(value: &str) -> u64 {
    let digest: [u8; 16] = Md5::digest(value.as_bytes()).into();
    let (_, last) = digest.split_at(8);
    u64::from_be_bytes(last.try_into().expect("half of sixteen bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(action: Action, sources: &[&str], regex: &str, target: &str, replacement: &str) -> Rule {
        Rule {
            source_labels: sources.iter().map(|name| (*name).to_owned()).collect(),
            separator: ";".to_owned(),
            regex: WholeRegex::new(regex).unwrap(),
            modulus: 8,
            target_label: target.to_owned(),
            replacement: replacement.to_owned(),
            action,
        }
    }

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn actions_change_labels_as_prometheus_does() {
        use Action::{DropEqual, HashMod, Keep, KeepEqual, LabelDrop, LabelKeep, LabelMap, Lowercase, Replace, Uppercase};
        let start = labels(&[("a", "Web-1"), ("b", "Web-1"), ("meta_x", "1")]);
        for (rule, expected) in [
            (rule(Replace, &["a"], "(.*)-(.*)", "t", "$2/${1}"), Some(vec![("t", "1/Web")])),
            (rule(Replace, &["a"], "web", "t", "x"), Some(vec![])),
            (rule(Replace, &["a", "none"], "(.*)", "t", "$1"), Some(vec![("t", "Web-1;")])),
            (rule(Replace, &["none"], "(.*)", "b", "$1"), Some(vec![("-b", "")])),
            (rule(Replace, &["a"], "(.*)", "not-a-name", "$1"), Some(vec![])),
            (rule(Lowercase, &["a"], "(.*)", "t", "$1"), Some(vec![("t", "web-1")])),
            (rule(Uppercase, &["a"], "(.*)", "t", "$1"), Some(vec![("t", "WEB-1")])),
            (rule(LabelMap, &[], "meta_(.+)", "", "$1"), Some(vec![("x", "1")])),
            (rule(LabelDrop, &[], "meta_.+|b", "", "$1"), Some(vec![("-b", ""), ("-meta_x", "")])),
            (rule(LabelKeep, &[], "a|b", "", "$1"), Some(vec![("-meta_x", "")])),
            (rule(Keep, &["a"], "Web", "", "$1"), None),
            (rule(KeepEqual, &["a"], "(.*)", "b", "$1"), Some(vec![])),
            (rule(DropEqual, &["a"], "(.*)", "b", "$1"), None),
            (rule(HashMod, &["a"], "(.*)", "t", "$1"), Some(vec![("t", "2")])),
        ] {
            let wanted = expected.map(|changes| {
                let mut labels = start.clone();
                for (name, value) in changes {
                    match name.strip_prefix('-') {
                        Some(name) => drop(labels.remove(name)),
                        None => drop(labels.insert(name.to_owned(), value.to_owned())),
                    }
                }
                labels
            });
            assert_eq!(relabel(start.clone(), std::slice::from_ref(&rule)), wanted, "{rule:?}");
        }
    }
}
