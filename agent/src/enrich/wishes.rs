//! What pods and namespaces ask for by annotation: to be left out, or not; to be limited, or sampled; to be a tenant's; that their lines be joined; how their records are
//! read.
//!
//! `tailwater.io/exclude` and `tailwater.io/include` take `true`, `false` or names of containers; names that other agents know are read too. What a pod asks
//! for goes before what its namespace does. Values that cannot be understood are counted and have no effect.

use std::collections::BTreeMap;

use crate::parse::format::RecordFormat;
use crate::pipeline::first_line::FirstLine;

const EXCLUDE: &str = "tailwater.io/exclude";
const INCLUDE: &str = "tailwater.io/include";
const FLUENT_BIT: &str = "fluentbit.io/exclude";
/// Bytes a second, like `1MiB`.
const RATE_LIMIT: &str = "tailwater.io/rate-limit";
/// Whose lines they are.
const TENANT: &str = "tailwater.io/tenant";
/// Which share of the lines is kept, between 0 and 1.
const SAMPLE: &str = "tailwater.io/sample";
/// How lines are joined to blocks: a language whose stack traces are known, `auto`, an expression that first lines match, or `none`.
const MULTILINE: &str = "tailwater.io/multiline";
/// In which format its records are, as the key `format` has it.
const PARSER: &str = "tailwater.io/parser";
const VECTOR: &str = "vector.dev/exclude";
const VECTOR_CONTAINERS: &str = "vector.dev/exclude-containers";

/// No lines are joined, whatever the namespace asks for.
pub(crate) const NOT_JOINED: &str = "none";
/// Longer expressions are no first lines.
const MAX_EXPRESSION_BYTES: usize = 1024;

/// Names of annotations, and of the one label, that are honoured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedAnnotations {
    All,
    /// None of the others.
    Named(Vec<String>),
}

impl AllowedAnnotations {
    /// `all`, `none`, or names with commas between them. The error says what would be right.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        const KNOWN: [&str; 10] = [EXCLUDE, INCLUDE, RATE_LIMIT, TENANT, SAMPLE, PARSER, MULTILINE, FLUENT_BIT, VECTOR, VECTOR_CONTAINERS];
        let known = |name: &str| KNOWN.contains(&name);
        let names = || text.split(',').map(str::trim).filter(|name| !name.is_empty());
        match text.trim() {
            "all" => Ok(Self::All),
            "none" | "" => Ok(Self::Named(Vec::new())),
            _ if names().all(known) => Ok(Self::Named(names().map(str::to_owned).collect())),
            _ => Err(format!("`all`, `none`, or some of `{}`", KNOWN.join("`, `"))),
        }
    }

    fn allows(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.iter().any(|allowed| allowed == name || name.starts_with(&format!("{allowed}-"))),
        }
    }
}

impl std::fmt::Display for AllowedAnnotations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Named(names) if names.is_empty() => f.write_str("none"),
            Self::Named(names) => f.write_str(&names.join(",")),
        }
    }
}

/// Which containers are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Containers {
    All,
    Named(Vec<String>),
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Wishes {
    exclude: Vec<Containers>,
    include: Option<Containers>,
    /// Bytes a second that each of its containers may write.
    pub(crate) rate_limit: Option<u64>,
    pub(crate) tenant: Option<String>,
    /// As it is written, between 0 and 1.
    pub(crate) sample: Option<String>,
    /// Name of a format.
    pub(crate) parser: Option<String>,
    /// A name or an expression, as it is written.
    pub(crate) multiline: Option<String>,
    /// Says something about being left out, were it that it is not.
    is_explicit: bool,
    /// Values that cannot be understood.
    pub(crate) invalid: u64,
}

impl Wishes {
    pub(crate) fn of(annotations: &BTreeMap<String, String>, labels: &BTreeMap<String, String>, allowed: &AllowedAnnotations) -> Self {
        let mut wishes = Self::default();
        for (name, value) in annotations.iter().filter(|(name, _)| allowed.allows(name)) {
            match name.as_str() {
                EXCLUDE | FLUENT_BIT | VECTOR_CONTAINERS => wishes.exclude(value),
                RATE_LIMIT => wishes.limit_rate(value),
                TENANT => wishes.name_tenant(value.trim()),
                SAMPLE => wishes.sample(value.trim()),
                MULTILINE => wishes.multiline(value.trim()),
                PARSER => wishes.parser(value.trim()),
                INCLUDE => wishes.include = wishes.read(value).flatten(),
                _ => {
                    if let Some(container) = name.strip_prefix(FLUENT_BIT).and_then(|rest| rest.strip_prefix('-'))
                        && wishes.read(value) == Some(Some(Containers::All))
                    {
                        wishes.exclude.push(Containers::Named(vec![container.to_owned()]));
                    }
                }
            }
        }
        if let Some(value) = labels.get(VECTOR).filter(|_| allowed.allows(VECTOR)) {
            wishes.exclude(value);
        }
        wishes
    }

    fn limit_rate(&mut self, value: &str) {
        match value.trim().parse::<bytesize::ByteSize>().map(|size| size.as_u64()) {
            Ok(bytes) if bytes >= 1024 => self.rate_limit = Some(bytes),
            _ => self.invalid += 1,
        }
    }

    fn name_tenant(&mut self, value: &str) {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"!-_.*'()".contains(&byte);
        if (1..=150).contains(&value.len()) && value.bytes().all(is_part) && !matches!(value, "." | "..") {
            self.tenant = Some(value.to_owned());
        } else {
            self.invalid += 1;
        }
    }

    fn sample(&mut self, value: &str) {
        match value.parse::<f64>() {
            Ok(share) if (0.0..=1.0).contains(&share) => self.sample = Some(value.to_owned()),
            _ => self.invalid += 1,
        }
    }

    fn parser(&mut self, value: &str) {
        match RecordFormat::named(value) {
            Some(_) => self.parser = Some(value.to_owned()),
            None => self.invalid += 1,
        }
    }

    fn multiline(&mut self, value: &str) {
        if !value.is_empty() && value.len() <= MAX_EXPRESSION_BYTES && (value == NOT_JOINED || FirstLine::of_wish(value).is_ok()) {
            self.multiline = Some(value.to_owned());
        } else {
            self.invalid += 1;
        }
    }

    fn exclude(&mut self, value: &str) {
        if let Some(read) = self.read(value) {
            self.is_explicit = true;
            self.exclude.extend(read);
        }
    }

    /// The containers meant, none for `false`; `None` if the value cannot be understood.
    fn read(&mut self, value: &str) -> Option<Option<Containers>> {
        let is_name = |name: &&str| {
            let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            !name.is_empty() && name.len() <= 63 && name.bytes().all(is_part)
        };
        match value.trim() {
            "true" => Some(Some(Containers::All)),
            "false" => Some(None),
            text => {
                let names: Vec<&str> = text.split(',').map(str::trim).collect();
                if names.iter().all(is_name) {
                    return Some(Some(Containers::Named(names.into_iter().map(str::to_owned).collect())));
                }
                self.invalid += 1;
                None
            }
        }
    }

    /// Whether `container` is to be left out; `None` if nothing is said.
    pub(crate) fn is_excluded(&self, container: &str) -> Option<bool> {
        let names = |containers: &Containers| match containers {
            Containers::All => true,
            Containers::Named(named) => named.iter().any(|name| name == container),
        };
        if self.include.as_ref().is_some_and(names) {
            return Some(false);
        }
        let is_excluded = self.exclude.iter().any(names);
        (is_excluded || self.is_explicit).then_some(is_excluded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes(pairs: &[(&str, &str)]) -> Wishes {
        let map = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Wishes::of(&map, &BTreeMap::new(), &AllowedAnnotations::All)
    }

    #[test]
    fn names_of_all_agents_are_understood() {
        for (pairs, expected) in [
            (vec![], None),
            (vec![(EXCLUDE, "true")], Some(true)),
            (vec![(EXCLUDE, "false")], Some(false)),
            (vec![(EXCLUDE, "other, app")], Some(true)),
            (vec![(EXCLUDE, "other")], Some(false)),
            (vec![(EXCLUDE, "true"), (INCLUDE, "app")], Some(false)),
            (vec![(EXCLUDE, "true"), (INCLUDE, "other")], Some(true)),
            (vec![("fluentbit.io/exclude", "true")], Some(true)),
            (vec![("fluentbit.io/exclude-app", "true")], Some(true)),
            (vec![("fluentbit.io/exclude-other", "true")], None),
            (vec![(VECTOR_CONTAINERS, "app")], Some(true)),
        ] {
            assert_eq!(wishes(&pairs).is_excluded("app"), expected, "{pairs:?}");
        }
        let label = BTreeMap::from([(VECTOR.to_owned(), "true".to_owned())]);
        assert_eq!(Wishes::of(&BTreeMap::new(), &label, &AllowedAnnotations::All).is_excluded("app"), Some(true));
    }

    #[test]
    fn only_annotations_that_are_allowed_are_honoured() {
        let excluded = |allowed: &str| {
            let map =
                BTreeMap::from([(EXCLUDE.to_owned(), "true".to_owned()), ("fluentbit.io/exclude-other".to_owned(), "true".to_owned())]);
            let wishes = Wishes::of(&map, &BTreeMap::new(), &AllowedAnnotations::parse(allowed).unwrap());
            (wishes.is_excluded("app"), wishes.is_excluded("other"))
        };
        assert_eq!(excluded("all"), (Some(true), Some(true)));
        assert_eq!(excluded("none"), (None, None));
        assert_eq!(excluded("fluentbit.io/exclude"), (None, Some(true)));
        assert_eq!(excluded("tailwater.io/include, tailwater.io/exclude"), (Some(true), Some(true)));
        assert!(AllowedAnnotations::parse("tailwater.io/other").unwrap_err().contains("tailwater.io/exclude"));
    }

    #[test]
    fn what_cannot_be_understood_is_counted_and_has_no_effect() {
        for value in ["", "Yes!", "a,,b", "UPPER"] {
            let wishes = wishes(&[(EXCLUDE, value)]);
            assert_eq!((wishes.is_excluded("app"), wishes.invalid), (None, 1), "{value}");
        }
        for (value, expected) in [("1MiB", (Some(1 << 20), 0)), ("64KiB", (Some(65_536), 0)), ("fast", (None, 1)), ("0", (None, 1))] {
            let wishes = wishes(&[(RATE_LIMIT, value)]);
            assert_eq!((wishes.rate_limit, wishes.invalid), expected, "{value}");
        }
        for (name, value, is_right) in [
            (TENANT, "team-a", true),
            (TENANT, "a|b", false),
            (TENANT, "", false),
            (SAMPLE, "0.25", true),
            (SAMPLE, "2", false),
            (SAMPLE, "half", false),
            (MULTILINE, "java", true),
            (MULTILINE, r"^\[\d+", true),
            (MULTILINE, "none", true),
            (MULTILINE, "(", false),
            (MULTILINE, "", false),
            (PARSER, "docker", true),
            (PARSER, "xml", false),
        ] {
            let wishes = wishes(&[(name, value)]);
            assert_eq!(
                ([wishes.tenant, wishes.sample, wishes.multiline, wishes.parser].iter().any(Option::is_some), wishes.invalid),
                (is_right, u64::from(!is_right)),
                "{name}={value}"
            );
        }
    }
}
