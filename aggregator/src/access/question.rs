//! What a request can touch, before it is answered: its selectors, their time, and the namespaces that could hold any of it.
//!
//! Read of the parameters alone, in the same way for every reading endpoint, so that an endpoint cannot forget it. This only says which
//! rights are worth asking for; the answer is kept within the rights by the plan, whatever is said here.

use axum::body::Bytes;
use axum::http::HeaderMap;
use tailwater_engine::access::{NAMESPACE_LABELS, POD_LABELS};
use tailwater_engine::request::TimeRange;
use tailwater_logql::ast::{Expr, MatchOp, Selector};
use tailwater_logql::matcher::StreamMatcher;

use crate::http::form::Form;
use crate::http::query_checks::log_ranges;
use crate::http::range::{Bounds, parse_time};

/// The selectors of a request and the time that they are asked over.
#[derive(Debug, Clone)]
pub struct Question {
    selectors: Vec<Asked>,
    /// Windows of metric queries included.
    pub range: TimeRange,
}

#[derive(Debug, Clone)]
struct Asked {
    selector: Selector,
    matchers: Vec<StreamMatcher>,
}

impl Question {
    /// `None` for a request that its endpoint refuses: there is nothing to be asked for.
    pub fn of(headers: &HeaderMap, query: Option<&str>, body: &Bytes, now: i64) -> Option<Self> {
        let form = Form::new(headers, query, body);
        let texts = ["query", "match", "match[]"].into_iter().flat_map(|name| form.all(name));
        let (mut selectors, mut lookback) = (Vec::new(), 0);
        for text in texts.filter(|text| !text.is_empty()) {
            lookback = lookback.max(add_selectors(text, &mut selectors)?);
        }
        if selectors.is_empty() {
            selectors.push(Selector { matchers: Vec::new() });
        }
        let compiled = selectors.into_iter().map(|selector| {
            let matchers = StreamMatcher::all(&selector.matchers).ok()?;
            Some(Asked { selector, matchers })
        });
        Some(Self { selectors: compiled.collect::<Option<_>>()?, range: range(&form, now, lookback)? })
    }

    pub fn selectors(&self) -> impl Iterator<Item = &Selector> {
        self.selectors.iter().map(|asked| &asked.selector)
    }

    /// Whether streams of a namespace can match any of the selectors.
    pub fn can_touch(&self, namespace: &str) -> bool {
        self.selectors.iter().any(|asked| asked.can_touch(namespace))
    }

    /// The one namespace that every selector names, if that is so.
    pub fn named_namespace(&self) -> Option<&str> {
        self.named(NAMESPACE_LABELS)
    }

    /// The one pod that every selector names, if that is so.
    pub fn named_pod(&self) -> Option<&str> {
        self.named(POD_LABELS)
    }

    fn named(&self, labels: [&str; 2]) -> Option<&str> {
        let mut named = self.selectors.iter().map(|asked| asked.named(labels));
        let first = named.next()??;
        named.all(|other| other == Some(first)).then_some(first)
    }
}

impl Asked {
    /// The namespace is the first of the labels that a stream has.
    fn can_touch(&self, namespace: &str) -> bool {
        let [own, other] = NAMESPACE_LABELS;
        let fits =
            |label: &str, value: &str| self.matchers.iter().filter(|matcher| matcher.name() == label).all(|matcher| matcher.matches(value));
        // With a label `namespace` the other one may hold anything.
        fits(own, namespace) || (fits(own, "") && fits(other, namespace))
    }

    fn named(&self, labels: [&str; 2]) -> Option<&str> {
        let equal = |label: &str| {
            let named = self.selector.matchers.iter().find(|matcher| matcher.op == MatchOp::Equal && matcher.name == *label)?;
            (!named.value.is_empty()).then_some(named.value.as_str())
        };
        labels.into_iter().find_map(equal)
    }
}

/// Adds the selectors of a query, and gives how far its windows look back, in nanoseconds.
fn add_selectors(text: &str, selectors: &mut Vec<Selector>) -> Option<i64> {
    match tailwater_logql::parse(text) {
        Ok(Expr::Log(log)) => selectors.push(log.selector),
        Ok(Expr::Metric(metric)) => {
            let mut ranges = Vec::new();
            log_ranges(&metric, &mut ranges);
            selectors.extend(ranges.iter().map(|range| range.log.selector.clone()));
            return Some(ranges.iter().map(|range| range.range.saturating_add(range.offset)).max().unwrap_or(0));
        }
        // `{}` is no query, but some endpoints take it.
        Err(_) => selectors.push(tailwater_logql::parse_any_selector(text).ok()?),
    }
    Some(0)
}

/// From the earliest to the latest time that parameters name, and the windows before it. A window may end later by a negative offset.
fn range(form: &Form, now: i64, lookback: i64) -> Option<TimeRange> {
    const DAY: i64 = 86_400_000_000_000;
    let Bounds { start, end } = Bounds::of(form, now).ok()?;
    let time = match form.get("time") {
        "" => now,
        text => parse_time(text).ok()?,
    };
    let (start, end) = (start.min(time), end.max(time));
    Some(TimeRange { start: start.saturating_sub(lookback.max(0)), end: end.saturating_add(DAY) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_768_903_200_000_000_000;

    fn question(parameters: &[(&str, &str)]) -> Option<Question> {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        Question::of(&HeaderMap::new(), Some(&query), &Bytes::new(), NOW)
    }

    #[test]
    fn namespaces_are_touched_by_any_leg() {
        for (query, touched) in [
            (r#"{namespace="a"}"#, &["a"][..]),
            (r#"{namespace=~"a|b"} |= "x""#, &["a", "b"]),
            // A stream that names it by the other label.
            (r#"{namespace!="a", app="x"}"#, &["a", "b", "c"]),
            (r#"{namespace!="a", k8s_namespace_name!="a", app="x"}"#, &["b", "c"]),
            (r#"{app="x"}"#, &["a", "b", "c"]),
            (r#"{k8s_namespace_name="a"}"#, &["a", "b", "c"]),
            (r#"{namespace="", k8s_namespace_name="a"}"#, &["a"]),
            (r#"sum(rate({namespace="a"}[1m])) / sum(rate({namespace="c"}[1h]))"#, &["a", "c"]),
            (r#"variants(count_over_time({namespace="b"}[1m])) of ({namespace="b"}[1m])"#, &["b"]),
            ("", &["a", "b", "c"]),
            ("{}", &["a", "b", "c"]),
        ] {
            let question = question(&[("query", query)]).expect(query);
            let found: Vec<&str> = ["a", "b", "c"].into_iter().filter(|name| question.can_touch(name)).collect();
            assert_eq!(found, touched, "{query}");
        }
        let several = question(&[("match[]", r#"{namespace="a"}"#), ("match", r#"{namespace="b"}"#)]).expect("selectors");
        assert!(several.can_touch("a") && several.can_touch("b") && !several.can_touch("c"));
    }

    #[test]
    fn one_pod_is_named_by_every_leg_or_not_at_all() {
        for (query, pod) in [
            (r#"{namespace="a", pod="p"}"#, Some("p")),
            (r#"{k8s_pod_name="p"}"#, Some("p")),
            (r#"sum(rate({pod="p"}[1m])) / sum(rate({pod="p", app="x"}[1m]))"#, Some("p")),
            (r#"sum(rate({pod="p"}[1m])) / sum(rate({pod="q"}[1m]))"#, None),
            (r#"sum(rate({pod="p"}[1m])) / sum(rate({app="x"}[1m]))"#, None),
            (r#"{pod=~"p"}"#, None),
        ] {
            assert_eq!(question(&[("query", query)]).expect(query).named_pod(), pod, "{query}");
        }
    }

    #[test]
    fn windows_reach_back_beyond_the_range() {
        let range = |parameters: &[(&str, &str)]| question(parameters).map(|question| question.range.start);
        assert_eq!(range(&[("query", r#"rate({a="b"}[2h] offset 1h)"#), ("time", "100000")]), Some((100_000 - 10_800) * 1_000_000_000));
        assert_eq!(range(&[("query", r#"{a="b"}"#), ("start", "500")]), Some(500_000_000_000));
    }

    #[test]
    fn what_no_endpoint_takes_asks_for_nothing() {
        for parameters in [&[("query", "{a=")][..], &[("query", r#"{a="b"}"#), ("start", "x")], &[("match[]", r#"{a="b"} |= "x"#)]] {
            assert!(question(parameters).is_none(), "{parameters:?}");
        }
    }
}
