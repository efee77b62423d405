//! Lines past their retention and lines that were deleted are hidden at once, erased later, and never come back; no other line is ever missed.
//!
//! The real program on a folder, with periods of seconds. It is killed in between, and the deleted lines are sent again at the end.
#![allow(clippy::disallowed_methods, reason = "drills run in real time")]

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use tailwater_e2e::aggregator::{Aggregator, folder_invocation};
use tailwater_e2e::api::{Api, metric};
use tailwater_e2e::deadline::eventually;
use tailwater_e2e::drill::{Folder, drill, report};

const SECOND: i64 = 1_000_000_000;
/// Lines of each app.
const LINES: i64 = 300;
/// Every so many lines one is to be deleted.
const SECRET_EVERY: i64 = 7;
/// How long lines of the short-lived app are kept.
const SHORT: i64 = 20;
/// More than ten times what a few hundred lines take.
const BACKGROUND_LIMIT: Duration = Duration::from_secs(180);

const CONFIGURATION: &str = r#"
compaction: {compact_after: 1s, settle: 1s}
retention: {cancel_period: 10s}
limits:
  retention_stream: [{selector: '{app="short"}', priority: 1, period: 20s}]
"#;

/// What was pushed, and with that what has to be seen.
struct Ledger {
    /// Stamp of the first line of each app; the others follow each millisecond.
    start: i64,
    is_deleted: bool,
}

impl Ledger {
    fn lines(&self, app: &str) -> Vec<(i64, String)> {
        let text = |number: i64| match number % SECRET_EVERY {
            0 => format!("{app} line {number} with a secret"),
            _ => format!("{app} line {number}"),
        };
        (0..LINES).map(|number| (self.start + number * SECOND / 1000, text(number))).collect()
    }

    fn expected(&self) -> Vec<String> {
        let kept = |line: &String| !self.is_deleted || !line.contains("secret");
        self.lines("long").into_iter().map(|(_, line)| line).filter(kept).collect()
    }

    async fn push(&self, api: &Api, app: &str) -> Result<()> {
        let lines = self.lines(app);
        for some in lines.chunks(50) {
            let some: Vec<(i64, &str)> = some.iter().map(|(stamp, line)| (*stamp, line.as_str())).collect();
            api.push_lines(&[("app", app)], &some).await?;
        }
        Ok(())
    }

    /// All lines of the long-lived app are listed and counted, and nothing else of it.
    async fn check(&self, api: &Api) -> Result<()> {
        let (from, to) = (self.start - SECOND, self.start + 600 * SECOND);
        let listed: Vec<String> = api.lines(r#"{app="long"}"#, from, to).await?.into_iter().map(|entry| entry.line).collect();
        let expected = self.expected();
        ensure!(listed == expected, "{} lines are listed instead of {}", listed.len(), expected.len());
        let counted = api.number(r#"sum(count_over_time({app="long"}[10m]))"#, to - SECOND).await?;
        ensure!(counted == expected.len() as u64, "{counted} lines are counted instead of {}", expected.len());
        Ok(())
    }
}

async fn figure(api: &Api, name: &str) -> Result<f64> {
    metric(api.base(), name).await?.with_context(|| format!("there is no metric `{name}`"))
}

/// Waits until a request is processed; what is visible is right all the while.
async fn processed(api: &Api, ledger: &Ledger, id: &str) -> Result<()> {
    let waited = eventually("the delete request is processed", BACKGROUND_LIMIT, || async {
        let status = api.delete_requests().await?.remove(id).context("the delete request is not listed")?;
        ensure!(status == "processed", "it is {status}");
        Ok(())
    });
    let watched = async {
        loop {
            if let Err(error) = ledger.check(api).await {
                return error;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        waited = waited => waited?,
        error = watched => return Err(error),
    }
    ledger.check(api).await
}

async fn keep_and_delete(folder: Folder) -> Result<()> {
    let store = folder.below("store")?;
    let file = folder.path().join("aggregator.yaml");
    fs::write(&file, CONFIGURATION)?;
    let (port, mut invocation) = folder_invocation(&store)?;
    invocation.arguments.extend(["--config".to_owned(), file.display().to_string()]);
    let mut aggregator = Aggregator::start(folder.path(), port, invocation).await?;
    let api = aggregator.api()?;

    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())?;
    let mut ledger = Ledger { start: (now / SECOND - 5) * SECOND, is_deleted: false };
    ledger.push(&api, "long").await?;
    ledger.push(&api, "short").await?;
    ledger.check(&api).await?;

    // One that is withdrawn, then one that stays.
    let (first, last) = (ledger.start / SECOND, ledger.start / SECOND + 1);
    let withdrawn = api.delete_entries(r#"{app="long"}"#, first, last).await?;
    ensure!(api.lines(r#"{app="long"}"#, ledger.start, now + SECOND).await?.is_empty(), "a deleted line is still listed");
    let (reply, _) = api.send(reqwest::Method::DELETE, "/loki/api/v1/delete", &[("request_id", &withdrawn)]).await?;
    ensure!(reply.status == 204, "withdrawing is answered with {}: {}", reply.status, reply.text);
    ledger.check(&api).await?;
    let id = api.delete_entries(r#"{app="long"} |= "secret""#, first, last).await?;
    ledger.is_deleted = true;
    ledger.check(&api).await?;

    aggregator.kill_now()?;
    aggregator.start_again()?;
    aggregator.ready().await?;
    processed(&api, &ledger, &id).await?;
    let rewritten = figure(&api, "tailwater_retention_rewritten_files_total").await?;
    let erased = figure(&api, "tailwater_compaction_erased_rows_total").await?;
    ensure!(erased > 0.0, "no row was erased, so nothing shows that more than a filter was at work");

    let expected = ledger.start + SHORT * SECOND;
    eventually("lines past their retention are hidden", BACKGROUND_LIMIT, || async {
        let left = api.lines(r#"{app="short"}"#, ledger.start, expected).await?.len();
        ensure!(left == 0, "{left} are listed");
        Ok(())
    })
    .await?;
    eventually("their rows are erased", BACKGROUND_LIMIT, || async {
        ledger.check(&api).await?;
        let erased_since = figure(&api, "tailwater_compaction_erased_rows_total").await? - erased;
        let dropped = figure(&api, "tailwater_retention_dropped_files_total").await?;
        ensure!(erased_since >= 1.0 || dropped >= 1.0, "nothing is rewritten or dropped");
        Ok(())
    })
    .await?;

    ledger.push(&api, "long").await?;
    ledger.push(&api, "short").await?;
    ledger.check(&api).await?;
    let back = api.lines(r#"{app=~"short|long"} |= "secret""#, ledger.start, now + 600 * SECOND).await?.len();
    ensure!(back == 0, "{back} lines are back after they were sent again");
    report(&format!("retention: {erased} rows erased for a delete request, {rewritten} files rewritten, none missed, none back"));
    aggregator.stop().await
}

#[test]
fn deleted_and_expired_lines_go_and_stay_gone_and_others_stay() {
    drill("retention", keep_and_delete);
}
