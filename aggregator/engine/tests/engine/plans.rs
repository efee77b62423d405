//! What plans look like: every operator visible, every leaf bound to an access.

use crate::world::{self, Entry};
use tailwater_engine::request::Direction;
use tailwater_engine::{Access, QueryError};

const SECOND: i64 = 1_000_000_000;

fn segments() -> Vec<Vec<Entry>> {
    vec![
        vec![Entry::new("prod", "web", 10 * SECOND, "GET /"), Entry::new("prod", "db", 11 * SECOND, "vacuum")],
        vec![Entry::new("prod", "web", 20 * SECOND, "GET /a"), Entry::new("dev", "web", 20 * SECOND, "GET /b")],
    ]
}

/// Plans name the number of threads by the machine: it is cut out.
async fn metric_plan(query: &str, access: &Access) -> Result<String, QueryError> {
    let request = world::metric_request(query, 0, 60 * SECOND, 15 * SECOND);
    world::engine(&segments()).await.explain_metric(access, &request, &world::limits()).await
}

async fn log_plan(query: &str) -> Result<String, QueryError> {
    let request = world::log_request(query, 0, 60 * SECOND, 100, Direction::Backward);
    world::engine(&segments()).await.explain_logs(&world::everything(), &request, &world::limits()).await
}

#[tokio::test]
async fn a_metric_plan_shows_scan_pipeline_partial_and_final_aggregate() {
    let plan = metric_plan(r#"sum by (app) (rate({namespace="prod"} |= "GET" | logfmt | status="500" [1m]))"#, &world::everything()).await;
    insta::assert_snapshot!(plan.expect("plans"));
}

#[tokio::test]
async fn counting_without_filters_reads_neither_lines_nor_metadata() {
    let plan = metric_plan(r#"sum by (app) (count_over_time({namespace=~".+"}[1m]))"#, &world::everything()).await;
    insta::assert_snapshot!(plan.expect("plans"));
}

#[tokio::test]
async fn bytes_are_counted_of_lines_as_the_pipeline_leaves_them() {
    let plan = metric_plan(r#"bytes_over_time({namespace="prod"} | json [30s] offset 5s)"#, &world::everything()).await;
    insta::assert_snapshot!(plan.expect("plans"));
}

#[tokio::test]
async fn a_log_plan_sorts_and_limits_before_it_renders() {
    insta::assert_snapshot!(log_plan(r#"{app="web"} |= "GET" != "b" | json"#).await.expect("plans"));
}

#[tokio::test]
async fn the_callers_namespaces_stand_in_every_leaf() {
    let plan = metric_plan(r#"max(sum by (namespace) (bytes_rate({app=~".+"}[1m])))"#, &world::only(&["dev"])).await.expect("plans");
    let leaves: Vec<&str> = plan.lines().filter(|line| line.contains("ScanExec")).collect();
    assert!(!leaves.is_empty());
    for leaf in leaves {
        assert!(leaf.contains(r#"tenant=t, namespaces={"dev"}, streams=1,"#), "{leaf}");
    }
}

#[tokio::test]
async fn operators_over_points_stand_over_a_scan_for_each_range() {
    let query = r#"topk by (app) (2, label_replace(quantile_over_time(0.9, {app="web"} | logfmt | unwrap ms [1m]), "a", "$1", "app", "(.).*"))
        / on (app) group_left (x) (sum by (app) (last_over_time({app="db"} | logfmt | unwrap ms [1m])) > bool 5)
        or vector(1)"#;
    insta::assert_snapshot!(metric_plan(query, &world::everything()).await.expect("plans"));
}
