//! What `/metrics` tells of the store and of the work on it.

use super::*;

/// The value of a metric, with its labels as they are written.
async fn value(surface: &Surface, name: &str) -> Option<f64> {
    let metrics = surface.get("/metrics", &[]).await.text;
    metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

async fn push_line(surface: &Surface) {
    let pushed = surface.push(json!([{"stream": {"app": "a"}, "values": [[nanoseconds(-1), "line"]]}])).await;
    assert_eq!(pushed.status, 204, "{}", pushed.text);
}

#[tokio::test]
async fn the_store_is_told_in_bytes_versions_and_requests() {
    let surface = Surface::new("storage: {quota_bytes: 1GiB}\ncompaction: {compact_after: 1h}").await;
    assert_eq!(value(&surface, "tailwater_bucket_bytes").await, Some(0.0));
    push_line(&surface).await;
    assert!(value(&surface, "tailwater_bucket_bytes").await > Some(100.0));
    assert_eq!(value(&surface, "tailwater_bucket_quota_bytes").await, Some(f64::from(1 << 30)));
    assert!(value(&surface, "tailwater_cache_bytes{cache=\"recent_rows\"}").await > Some(0.0));
    assert_eq!(value(&surface, "tailwater_manifest_version").await, Some(0.0));
    assert_eq!(value(&surface, "tailwater_checksum_failures_total").await, Some(0.0));
    assert_eq!(value(&surface, "tailwater_invariant_violations_total").await, Some(0.0));
    assert!(value(&surface, "tailwater_object_store_requests_total{op=\"put\",outcome=\"ok\"}").await > Some(0.0));
    assert_eq!(value(&surface, "tailwater_object_store_requests_total{op=\"put\",outcome=\"error\"}").await, Some(0.0));
    surface.clock.set(NOW + 700 * 1_000_000_000);
    assert_eq!(value(&surface, "tailwater_manifest_age_seconds").await, Some(700.0), "a segment waits for so long");
}

#[tokio::test]
async fn compaction_commits_and_leaves_nothing_waiting() {
    let surface = Surface::new("compaction: {compact_after: 0s}").await;
    push_line(&surface).await;
    surface.eventually("tailwater_manifest_version", 1.0).await;
    assert_eq!(value(&surface, "tailwater_manifest_age_seconds").await, Some(0.0));
    surface.eventually("tailwater_compaction_last_success_timestamp_seconds", 1.0).await;
    assert_eq!(value(&surface, "tailwater_bucket_quota_bytes").await, None, "nothing is configured");
}

#[tokio::test]
async fn repetitions_are_counted_where_they_are_left_out() {
    let metric = |place: &str| format!("tailwater_duplicates_merged_total{{where=\"{place}\"}}");
    let folder = Arc::new(tempfile::tempdir().expect("a folder"));
    let entry = json!([nanoseconds(-1), "line"]);
    let surface = Surface::on(folder.clone(), "compaction: {compact_after: 1h}").await;
    for entries in [json!([entry, entry]), json!([entry])] {
        assert_eq!(surface.push(json!([{"stream": {"app": "a"}, "values": entries}])).await.status, 204);
    }
    assert_eq!(value(&surface, &metric("flush")).await, Some(1.0), "twice in one push");
    assert_eq!(value(&surface, &metric("read")).await, Some(0.0), "nobody has asked");
    let (start, end) = (nanoseconds(-10), nanoseconds(1));
    let question = [("query", r#"{app="a"}"#), ("start", &*start), ("end", &*end)];
    assert_eq!(surface.get("/loki/api/v1/query_range", &question).await.status, 200);
    assert_eq!(value(&surface, &metric("read")).await, Some(1.0), "once in each of two segments");
    assert_eq!(value(&surface, &metric("compaction")).await, Some(0.0), "nothing was compacted");
    drop(surface);
    let surface = Surface::on(folder, "compaction: {compact_after: 0s}").await;
    surface.eventually(&metric("compaction"), 1.0).await;
}

#[tokio::test]
async fn an_object_that_does_not_check_is_counted() {
    let folder = Arc::new(tempfile::tempdir().expect("a folder"));
    let surface = Surface::on(folder.clone(), "compaction: {compact_after: 1h}").await;
    push_line(&surface).await;
    let writer = std::fs::read_dir(folder.path().join("v1/seg")).expect("segments").next().expect("a writer").expect("a folder").path();
    let segment = std::fs::read_dir(writer).expect("segments").next().expect("a segment").expect("a file").path();
    let mut bytes = std::fs::read(&segment).expect("bytes");
    let middle_of_the_footer = bytes.len() - 60;
    bytes[middle_of_the_footer] ^= 1;
    std::fs::write(&segment, bytes).expect("written");
    let other = Surface::on(folder, "compaction: {compact_after: 1h}").await;
    assert!(value(&other, "tailwater_checksum_failures_total").await > Some(0.0));
}
