//! Prometheus' text format, as far as our own server writes it. Pure; a line that is none is left out.

use std::collections::BTreeMap;

/// One number.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) value: f64,
}

/// All numbers of a page.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Exposition(Vec<Sample>);

impl Exposition {
    pub(super) fn parse(text: &str) -> Self {
        Self(text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect())
    }

    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Sample> {
        self.0.iter().filter(move |sample| sample.name == name)
    }

    /// The one number without labels.
    pub(super) fn value(&self, name: &str) -> Option<f64> {
        self.all(name).find(|sample| sample.labels.is_empty()).map(|sample| sample.value)
    }

    /// Of all whose labels are wanted.
    pub(super) fn sum(&self, name: &str, is_wanted: impl Fn(&Sample) -> bool) -> f64 {
        self.all(name).filter(|sample| is_wanted(sample)).map(|sample| sample.value).sum()
    }
}

impl Sample {
    pub(super) fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// `name{label="value",…} 1.5`
fn sample(line: &str) -> Option<Sample> {
    let name_end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(name_end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (BTreeMap::new(), rest),
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample { name: name.to_owned(), labels, value })
}

/// What is behind the opening brace, and what is behind the closing one.
fn labels(mut rest: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        if let Some(behind) = rest.strip_prefix('}') {
            return Some((labels, behind));
        }
        let (name, behind) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut characters = behind.char_indices();
        let end = loop {
            match characters.next()? {
                (place, '"') => break place + 1,
                (_, '\\') => match characters.next()?.1 {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                (_, other) => value.push(other),
            }
        };
        labels.insert(name.trim_start_matches(',').to_owned(), value);
        rest = behind.get(end..)?;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_found_by_name_and_labels() {
        let page = Exposition::parse(concat!(
            "# TYPE a_total counter\na_total{tenant=\"x\\\"y}\",reason=\"too old\"} 3\na_total{tenant=\"b\",reason=\"r\"} 4.5\n",
            "b 7\nc{} 1\nbroken{a=\"\n# EOF\n"
        ));
        assert_eq!((page.value("b"), page.value("c"), page.value("a_total")), (Some(7.0), Some(1.0), None));
        assert_eq!(page.sum("a_total", |_| true), 7.5);
        assert_eq!(page.all("a_total").next().map(|sample| sample.label("tenant")), Some("x\"y}"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in ".*") {
            drop(Exposition::parse(&text));
        }
    }
}
