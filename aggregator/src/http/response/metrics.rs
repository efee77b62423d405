//! `"resultType"` `matrix`, `vector` and `scalar`.

use tailwater_engine::answer::{MetricAnswer, MetricValue, Point, Series};

use crate::http::response::Answer;
use crate::http::response::statistics::write_statistics;
use crate::http::response::text::{write_labels, write_seconds, write_value, write_warnings};

/// How points are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `values`: the points of every series.
    Matrix,
    /// `value`: one point of every series.
    Vector,
    /// A single number at this time (nanoseconds since the epoch).
    Scalar { time: i64 },
}

/// Writes an answer series by series.
pub struct MetricsBody {
    answer: MetricAnswer,
    layout: Layout,
    /// `None` before the beginning.
    next: Option<usize>,
}

impl MetricsBody {
    /// The answer of an instant query at `time`.
    pub fn instant(answer: MetricAnswer, time: i64) -> Self {
        let layout = match answer.value {
            MetricValue::Scalar(_) => Layout::Scalar { time },
            MetricValue::Series(_) => Layout::Vector,
        };
        Self { answer, layout, next: None }
    }

    /// The answer of a query over `start..=end` by `step`; a bare number becomes a series of it.
    pub fn range(mut answer: MetricAnswer, start: i64, end: i64, step: i64) -> Self {
        if let MetricValue::Scalar(value) = answer.value {
            let points = (0..).map_while(|index: i64| {
                let timestamp = start.checked_add(index.checked_mul(step)?)?;
                (timestamp <= end).then_some(Point { timestamp, value })
            });
            answer.value = MetricValue::Series(vec![Series { labels: Default::default(), points: points.collect() }]);
        }
        Self { answer, layout: Layout::Matrix, next: None }
    }

    fn write_beginning(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(br#"{"status":"success","#);
        write_warnings(out, &self.answer.warnings);
        out.extend_from_slice(br#""data":{"resultType":"#);
        out.extend_from_slice(match self.layout {
            Layout::Matrix => br#""matrix","result":["#,
            Layout::Vector => br#""vector","result":["#,
            Layout::Scalar { .. } => br#""scalar","result":["#,
        });
        if let (Layout::Scalar { time }, MetricValue::Scalar(value)) = (self.layout, &self.answer.value) {
            write_point_parts(out, Point { timestamp: time, value: *value });
        }
    }

    fn series(&self) -> &[Series] {
        match &self.answer.value {
            MetricValue::Scalar(_) => &[],
            MetricValue::Series(series) => series,
        }
    }

    fn write_series(&self, out: &mut Vec<u8>, series: &Series) {
        out.extend_from_slice(br#"{"metric":"#);
        write_labels(out, &series.labels);
        if self.layout == Layout::Matrix {
            out.extend_from_slice(br#","values":["#);
            for (index, point) in series.points.iter().enumerate() {
                out.extend_from_slice(if index > 0 { b",[" } else { b"[" });
                write_point_parts(out, *point);
                out.push(b']');
            }
            out.push(b']');
        } else if let Some(point) = series.points.first() {
            out.extend_from_slice(br#","value":["#);
            write_point_parts(out, *point);
            out.push(b']');
        }
        out.push(b'}');
    }
}

fn write_point_parts(out: &mut Vec<u8>, point: Point) {
    write_seconds(out, point.timestamp);
    out.extend_from_slice(b",\"");
    write_value(out, point.value);
    out.push(b'"');
}

impl Answer for MetricsBody {
    fn write_piece(&mut self, out: &mut Vec<u8>) -> bool {
        let Some(index) = self.next else {
            self.write_beginning(out);
            self.next = Some(0);
            return true;
        };
        let Some(series) = self.series().get(index) else {
            out.extend_from_slice(b"],");
            write_statistics(out, &self.answer.statistics);
            out.extend_from_slice(b"}}\n");
            return false;
        };
        out.extend_from_slice(if index > 0 { b"," } else { b"" });
        self.write_series(out, series);
        self.next = Some(index + 1);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::response::tests::whole;
    use serde_json::{Value, json};
    use tailwater_engine::answer::Statistics;
    use tailwater_logql::labels::LabelSet;

    const SECOND: i64 = 1_000_000_000;

    fn answer(value: MetricValue) -> MetricAnswer {
        MetricAnswer { value, warnings: Vec::new(), statistics: Statistics::default() }
    }

    fn series(app: &str, points: &[(i64, f64)]) -> Series {
        let points = points.iter().map(|&(second, value)| Point { timestamp: second * SECOND, value }).collect();
        Series { labels: LabelSet::from_pairs([("app", app)]), points }
    }

    fn data(body: MetricsBody) -> Value {
        let mut whole: Value = serde_json::from_str(&whole(body)).expect("JSON");
        let data = whole.get_mut("data").and_then(Value::as_object_mut).expect("data");
        assert!(data.remove("stats").is_some());
        whole
    }

    #[test]
    fn each_kind_has_its_layout() {
        let both = || MetricValue::Series(vec![series("a", &[(60, 5.0), (120, 3.5)]), series("b", &[(60, f64::NAN)])]);
        assert_eq!(
            data(MetricsBody::range(answer(both()), 0, 0, 1)),
            json!({"status": "success", "data": {"resultType": "matrix", "result": [
                {"metric": {"app": "a"}, "values": [[60, "5"], [120, "3.5"]]},
                {"metric": {"app": "b"}, "values": [[60, "NaN"]]},
            ]}})
        );
        let one = MetricValue::Series(vec![series("a", &[(60, 9.0)])]);
        assert_eq!(
            data(MetricsBody::instant(answer(one), 60 * SECOND))["data"],
            json!({"resultType": "vector", "result": [{"metric": {"app": "a"}, "value": [60, "9"]}]})
        );
        assert_eq!(
            data(MetricsBody::instant(answer(MetricValue::Scalar(2.0)), 1_768_471_260_250_000_000))["data"],
            json!({"resultType": "scalar", "result": [1_768_471_260.25, "2"]})
        );
        assert_eq!(
            data(MetricsBody::instant(answer(MetricValue::Series(Vec::new())), 0))["data"],
            json!({"resultType": "vector", "result": []})
        );
    }

    #[test]
    fn a_number_over_a_range_is_a_series_of_it() {
        assert_eq!(
            data(MetricsBody::range(answer(MetricValue::Scalar(2.0)), 0, 30 * SECOND, 15 * SECOND))["data"]["result"],
            json!([{"metric": {}, "values": [[0, "2"], [15, "2"], [30, "2"]]}])
        );
    }

    #[test]
    fn warnings_follow_the_status() {
        let warned = MetricAnswer { warnings: vec!["partial".to_owned()], ..answer(MetricValue::Series(Vec::new())) };
        assert_eq!(data(MetricsBody::instant(warned, 0))["warnings"], json!(["partial"]));
    }
}
