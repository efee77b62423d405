//! What our own log tells of queries.

use std::io::{Result, Write};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use super::{Surface, nanoseconds};

/// What is logged on this thread.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Logged {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Logged {
    /// The line of the last query.
    fn last(&self) -> String {
        let text = String::from_utf8_lossy(&self.0.lock()).into_owned();
        text.lines().rfind(|line| line.contains("tailwater::query")).unwrap_or_default().to_owned()
    }
}

#[tokio::test]
async fn each_query_is_a_line_of_the_log() {
    let logged = Logged::default();
    let subscriber = tracing_subscriber::fmt().with_writer(logged.clone()).with_ansi(false).finish();
    let _while_this_lives = tracing::subscriber::set_default(subscriber);
    // With one subscriber alone, whichever thread comes to a line first decides if anybody wants it: tests beside this one have none.
    let _another = tracing::Dispatch::new(tracing_subscriber::registry());
    let surface = Surface::new("{}").await;
    let values = json!([[nanoseconds(-30), "a line"], [nanoseconds(-29), "another"]]);
    surface.push(json!([{"stream": {"app": "a"}, "values": values}])).await;
    let tags = [("x-query-tags", "Source=logvolhist,Dashboard=<a>")];
    let ask = async |path: &str, query: &str| surface.get_as(path, &[("query", query), ("step", "15s")], &tags).await.status;
    let require = |parts: &[&str]| {
        let line = logged.last();
        parts.iter().for_each(|part| assert!(line.contains(part), "{part} is missing in {line}"));
    };
    assert_eq!(ask("/loki/api/v1/query_range", r#"{app="a"} |= "a line""#).await, 200);
    require(&[
        r#"org_id="fake""#,
        r#"query="{app=\"a\"} |= \"a line\"""#,
        r#"query_type="filter""#,
        r#"range_type="range""#,
        r#"length="1h0m0s""#,
        r#"start_delta="1h0m0s""#,
        r#"step="15s""#,
        "status=200",
        "limit=100",
        "returned_lines=1",
        "total_bytes=13",
        r#"source="logvolhist""#,
        r#"tags="source=logvolhist,dashboard=_a_""#,
    ]);
    assert_eq!(ask("/loki/api/v1/query", r#"rate({app="a"}[1m])"#).await, 200);
    require(&[r#"query_type="metric""#, r#"range_type="instant""#, r#"length="0s""#, "status=200"]);
    assert_eq!(ask("/loki/api/v1/query_range", "{app=").await, 400);
    require(&[r#"query_type="""#, "status=400"]);
    assert_eq!(ask("/api/prom/query", r#"{app="a"}"#).await, 200);
    require(&[r#"query_type="limited""#, "status=200", "returned_lines=2"]);
}
