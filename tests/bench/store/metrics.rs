//! The program's own figures, from `/metrics`.

use anyhow::Result;
use tailwater_e2e::api::get_text;

/// Bytes waiting to be compacted.
pub(crate) const COMPACTION_PENDING_BYTES: &str = "tailwater_compaction_pending_bytes";
/// Objects that nothing refers to any more and that are not deleted yet.
pub(crate) const RETIRED_OBJECTS: &str = "tailwater_retired_objects";
/// Bytes read from the store.
pub(crate) const STORE_READ_BYTES: &str = "tailwater_store_read_bytes_total";

#[derive(Debug, Clone)]
pub(crate) struct Metrics(String);

impl Metrics {
    pub(crate) async fn read(base: &str) -> Result<Self> {
        Ok(Self(get_text(&format!("{base}/metrics")).await?))
    }

    /// The sum over all label sets; nothing if the program does not tell it.
    pub(crate) fn sum(&self, name: &str) -> Option<f64> {
        let values: Vec<f64> = self.0.lines().filter_map(|line| value_of(line, name)).collect();
        if values.is_empty() { None } else { Some(values.iter().sum()) }
    }
}

fn value_of(line: &str, name: &str) -> Option<f64> {
    let rest = line.strip_prefix(name)?;
    let value = match rest.as_bytes().first()? {
        b' ' => rest,
        b'{' => &rest[rest.rfind('}')? + 1..],
        _ => return None,
    };
    value.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_summed_over_label_sets() {
        let metrics = Metrics("# HELP a b\na 1\na_more 7\nb{x=\"1\"} 2\nb{x=\"} 2\"} 3.5\n# EOF".to_owned());
        assert_eq!((metrics.sum("a"), metrics.sum("b"), metrics.sum("c")), (Some(1.0), Some(5.5), None));
    }
}
