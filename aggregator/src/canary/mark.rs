//! What the canary writes: `canary=RUN number=N`, RUN another one at each start.

use serde_json::Value;
use ulid::Ulid;

/// Of a line, counted from 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Number(u64);

impl Number {
    pub(super) fn after(self) -> Self {
        Self(self.0 + 1)
    }
}

/// One run of the canary.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    run: String,
}

impl Mark {
    pub(super) fn new(run: Ulid) -> Self {
        Self { run: run.to_string() }
    }

    pub(super) fn line(&self, number: Number) -> String {
        format!("canary={} number={}", self.run, number.0)
    }

    /// LogQL that finds the lines of this run.
    pub(super) fn query(&self, selector: &str) -> String {
        format!("{selector} |= `canary={} `", self.run)
    }

    /// The numbers of an answer, in order of their stamps.
    pub(super) fn numbers(&self, answer: &Value) -> Vec<Number> {
        let prefix = format!("canary={} number=", self.run);
        let mut found: Vec<(i64, Number)> = Vec::new();
        for stream in answer["data"]["result"].as_array().into_iter().flatten() {
            for value in stream["values"].as_array().into_iter().flatten() {
                let stamp = value[0].as_str().and_then(|stamp| stamp.parse().ok());
                let number = value[1].as_str().and_then(|line| line.trim_end().strip_prefix(&prefix)?.parse().ok());
                found.extend(stamp.zip(number.map(Number)));
            }
        }
        found.sort_by_key(|(stamp, _)| *stamp);
        found.into_iter().map(|(_, number)| number).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_are_read_from_the_lines_of_this_run() {
        let mark = Mark::new(Ulid::from_parts(1, 2));
        let (first, second) = (mark.line(Number(0)), mark.line(Number(1)));
        let other = Mark::new(Ulid::from_parts(9, 9)).line(Number(7));
        let answer = json!({"data": {"result": [
            {"stream": {}, "values": [["20", second], ["5", other]]},
            {"stream": {}, "values": [["10", first], ["30", "canary"]]},
        ]}});
        assert_eq!(mark.numbers(&answer), [Number(0), Number(1)]);
        assert!(tailwater_logql::parse(&mark.query(r#"{app="x"}"#)).is_ok());
    }
}
