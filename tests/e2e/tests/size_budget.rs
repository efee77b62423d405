//! A store that may hold so many bytes loses its oldest files, and nothing that is younger than what it still has.
//!
//! The real program on a folder; once the limit is of the store, once of a tenant. Days are pushed one after the other, so whatever is
//! there at any moment must be all lines from some line on.
#![allow(clippy::disallowed_methods, reason = "drills run in real time")]

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use tailwater_e2e::aggregator::{Aggregator, folder_invocation};
use tailwater_e2e::api::{Api, ListedEntry, metric};
use tailwater_e2e::chain::files_below;
use tailwater_e2e::deadline::eventually;
use tailwater_e2e::drill::{Folder, drill, report};
use tailwater_e2e::random::Random;

const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400 * SECOND;
const FIRST_DAYS: i64 = 6;
const LATER_DAYS: i64 = 2;
/// Lines of a day; half of each is digits that do not compress below the half.
const LINES: i64 = 4_000;
const NOISE: usize = 256;
/// About two and a half days.
const BUDGET: u64 = 1_600_000;
/// Sizes are looked at every ten seconds.
const BACKGROUND_LIMIT: Duration = Duration::from_secs(180);

/// All lines that were pushed, the oldest first.
struct Pushed {
    start: i64,
    lines: Vec<ListedEntry>,
    random: Random,
}

impl Pushed {
    async fn push_day(&mut self, api: &Api, day: i64) -> Result<()> {
        let of_day: Vec<ListedEntry> = (0..LINES)
            .map(|number| {
                let noise: String = (0..NOISE / 16).map(|_| format!("{:016x}", self.random.draw())).collect();
                ListedEntry { timestamp: self.start + day * DAY + number * SECOND, line: format!("day {day} line {number} {noise}") }
            })
            .collect();
        for some in of_day.chunks(1_000) {
            let some: Vec<(i64, &str)> = some.iter().map(|entry| (entry.timestamp, entry.line.as_str())).collect();
            api.push_lines(&[("app", "noisy")], &some).await?;
        }
        self.lines.extend(of_day);
        Ok(())
    }

    /// How many of the oldest lines are gone; none is missing behind them.
    async fn gone(&self, api: &Api) -> Result<usize> {
        let end = self.start + (FIRST_DAYS + LATER_DAYS) * DAY;
        let found = api.lines(r#"{app="noisy"}"#, self.start, end).await?;
        let gone = gone_of(&self.lines, &found)?;
        let counted = api.number(&format!(r#"sum(count_over_time({{app="noisy"}}[{}d]))"#, FIRST_DAYS + LATER_DAYS), end - SECOND).await?;
        ensure!(counted <= self.lines.len() as u64, "{counted} lines are counted of {}", self.lines.len());
        Ok(gone)
    }

    /// Until what is left fits, and not a day less. Dropped files stay in the folder for a day, so what is left is told by its share of the lines.
    async fn fitted(&self, api: &Api, store: &Path) -> Result<usize> {
        eventually("what is left fits", BACKGROUND_LIMIT, || async {
            let gone = self.gone(api).await?;
            let mut bytes = 0;
            for file in files_below(store)?.iter().filter(|file| file.extension().is_some_and(|extension| extension == "parquet")) {
                bytes += file.metadata()?.len();
            }
            let of_lines = |lines: usize| bytes * lines as u64 / self.lines.len() as u64;
            let left = self.lines.len() - gone;
            ensure!(of_lines(left) <= BUDGET, "of {bytes} bytes {} are left", of_lines(left));
            ensure!(of_lines(left + LINES as usize) > BUDGET, "more is gone than has to: {} bytes are left", of_lines(left));
            Ok(gone)
        })
        .await
    }
}

/// How many of the first lines are not found; all others have to be, each once.
fn gone_of(lines: &[ListedEntry], found: &[ListedEntry]) -> Result<usize> {
    ensure!(lines.ends_with(found), "{} lines are there, and they are not the last ones of {}", found.len(), lines.len());
    Ok(lines.len() - found.len())
}

async fn keep_to(folder: &Folder, name: &str, limit: &str) -> Result<()> {
    let store = folder.below(name)?;
    let file = folder.path().join(format!("{name}.yaml"));
    let compaction = "compaction: {compact_after: 1s, settle: 1s, retire_after: 1s}";
    fs::write(&file, format!("{compaction}\n{limit}\n"))?;
    let (port, mut invocation) = folder_invocation(&store)?;
    invocation.arguments.extend(["--config".to_owned(), file.display().to_string()]);
    let mut aggregator = Aggregator::start(folder.path(), port, invocation).await?;
    let api = aggregator.api()?;

    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())?;
    let start = (now / DAY - FIRST_DAYS - LATER_DAYS) * DAY;
    let mut pushed = Pushed { start, lines: Vec::new(), random: Random::of_this_run() };
    for day in 0..FIRST_DAYS {
        pushed.push_day(&api, day).await?;
        pushed.gone(&api).await?;
    }
    let first = pushed.fitted(&api, &store).await?;
    for day in FIRST_DAYS..FIRST_DAYS + LATER_DAYS {
        pushed.push_day(&api, day).await?;
        pushed.gone(&api).await?;
    }
    let last = pushed.fitted(&api, &store).await?;
    ensure!(last > first, "{last} lines are gone after two more days, {first} before");
    let dropped = metric(api.base(), "tailwater_retention_dropped_files_total").await?.context("there is no count of dropped files")?;
    ensure!(dropped > 0.0, "no file was counted as dropped");

    aggregator.kill_now()?;
    aggregator.start_again()?;
    aggregator.ready().await?;
    let after = pushed.gone(&aggregator.api()?).await?;
    ensure!(after >= last, "{} lines are back after a new start", last - after);
    report(&format!("{name}: of {} lines the oldest {last} are gone, {dropped} files, for {BUDGET} bytes", pushed.lines.len()));
    aggregator.stop().await
}

#[test]
fn the_oldest_lines_go_first_when_a_store_or_a_tenant_is_too_large() {
    drill("size-budget", |folder| async move {
        let store = format!("retention: {{size_budget: {BUDGET}}}\nlimits: {{reject_old_samples_max_age: 30d}}");
        let tenant = format!("limits: {{reject_old_samples_max_age: 30d, retention_bytes: {BUDGET}}}");
        tokio::try_join!(keep_to(&folder, "store", &store), keep_to(&folder, "tenant", &tenant)).map(drop)
    });
}

#[test]
fn a_hole_a_doubled_line_and_a_lost_end_are_noticed() {
    let lines: Vec<ListedEntry> = (0..4).map(|number| ListedEntry { timestamp: number, line: number.to_string() }).collect();
    let picked = |numbers: &[usize]| numbers.iter().map(|number| lines[*number].clone()).collect::<Vec<_>>();
    assert_eq!(gone_of(&lines, &picked(&[2, 3])).ok(), Some(2));
    for wrong in [&[0, 1, 3][..], &[2, 3, 3], &[0, 1, 2], &[3, 2]] {
        assert!(gone_of(&lines, &picked(wrong)).is_err(), "{wrong:?}");
    }
}
