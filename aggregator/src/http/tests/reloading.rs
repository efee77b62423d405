//! Limits that are read again while requests are answered.

use std::path::Path;
use std::sync::Arc;

use super::Surface;
use crate::cli::ConfigSource;
use crate::config::Config;
use crate::reload::LimitsReload;

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("written");
}

#[tokio::test]
async fn limits_are_taken_over_and_mistakes_change_nothing() {
    let surface = Surface::new("{tenancy: {enabled: true}}").await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("aggregator.yaml");
    let source = ConfigSource { file: Some(file.clone()), ..ConfigSource::default() };
    let mut reload = LimitsReload::new(source, Config::default(), Arc::clone(&surface.parts.retention));
    let ask = async |tenant: &str| {
        let parameters = [("query", r#"{app="a"}"#), ("limit", "20")];
        surface.get_as("/loki/api/v1/query_range", &parameters, &[("x-scope-orgid", tenant)]).await.status
    };
    assert_eq!((ask("a").await, ask("b").await), (200, 200));
    for (text, is_taken, status) in [
        ("overrides: {a: {max_entries_limit_per_query: 10}}", true, 400),
        ("overrides: {a: {max_entries_limit_per_query: many}}", false, 400),
        ("overrides: {a: {max_entries_limit_per_query: 30, retention_stream: [{selector: '{', period: 24h}]}}", false, 400),
        ("listen: 127.0.0.1:1\noverrides: {a: {max_entries_limit_per_query: 30}}", true, 200),
        ("overrides: {a: {max_entries_limit_per_query: 15}}", true, 400),
        ("{}", true, 200),
    ] {
        write(&file, text);
        assert_eq!(reload.reload(), is_taken, "{text}");
        assert_eq!((ask("a").await, ask("b").await), (status, 200), "{text}");
    }
    std::fs::remove_file(&file).expect("removed");
    assert!(!reload.reload());
}

#[tokio::test]
async fn retention_follows() {
    let surface = Surface::new("{}").await;
    surface.push(serde_json::json!([{"stream": {"app": "a"}, "values": [[super::nanoseconds(-7200), "old"]]}])).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("aggregator.yaml");
    write(&file, "limits: {retention_period: 1h}");
    let source = ConfigSource { file: Some(file), ..ConfigSource::default() };
    let mut reload = LimitsReload::new(source, Config::default(), Arc::clone(&surface.parts.retention));
    let series = async || surface.get("/loki/api/v1/series", &[("since", "5h")]).await.json()["data"].as_array().map(Vec::len);
    assert_eq!(series().await, Some(1));
    assert!(reload.reload());
    assert_eq!(series().await, Some(0));
}
