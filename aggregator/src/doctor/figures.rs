//! What a server's own figures say about what is wrong with it. Pure; the bounds are those of the alerts in deploy/prometheus/rules.yaml, over the time since
//! the start of the process.

use tailwater_agent::doctor::Finding;

use crate::config::size::ByteSize;
use crate::doctor::exposition::{Exposition, Sample};

/// A gauge that must not be above a bound.
struct Bound {
    metric: &'static str,
    most: f64,
    check: &'static str,
    what: &'static str,
    advice: &'static str,
}

const BOUNDS: [Bound; 6] = [
    Bound {
        metric: "tailwater_segment_flush_age_seconds",
        most: 10.0,
        check: "open buffer",
        what: "is the age in seconds of the oldest line that is not stored",
        advice: "the bucket does not take it: see its checks above; nothing is acknowledged that is not stored",
    },
    Bound {
        metric: "tailwater_segments_uncompacted",
        most: 5000.0,
        check: "compaction",
        what: "segments wait to become data files",
        advice: "give the aggregators CPU, and look in their logs for compactions that fail",
    },
    Bound {
        metric: "tailwater_manifest_age_seconds",
        most: 600.0,
        check: "manifest",
        what: "seconds ago segments began to wait for a commit of their tenant's manifest",
        advice: "folds fail or do not end: look in the log of every replica",
    },
    Bound {
        metric: "tailwater_damaged_segments",
        most: 0.0,
        check: "damage",
        what: "segments were found that cannot be read",
        advice: "list them with `tailwater-aggregator fsck`, and bring them back from a backup or a versioned bucket; `X-Tailwater-Read: partial` answers without them",
    },
    Bound {
        metric: "tailwater_checksum_failures_total",
        most: 0.0,
        check: "damage",
        what: "reads found other bytes than were stored",
        advice: "list damaged objects with `tailwater-aggregator fsck`, and look for errors of the storage itself",
    },
    Bound {
        metric: "tailwater_invariant_violations_total",
        most: 0.0,
        check: "invariants",
        what: "checks failed that only a bug can fail, and what they were about is not stored",
        advice: "look for `an invariant does not hold` in its log, go back to the version before, and report it",
    },
];

/// A share of what was done that may fail.
struct Share {
    metric: &'static str,
    label: &'static str,
    failed: &'static str,
    most: f64,
    check: &'static str,
    what: &'static str,
    advice: &'static str,
}

const SHARES: [Share; 3] = [
    Share {
        metric: "tailwater_segment_puts_total",
        label: "outcome",
        failed: "failed",
        most: 0.1,
        check: "segment puts",
        what: "segments could not be stored",
        advice: "the bucket refuses them or does not answer: see its checks above; pushes are answered with 503",
    },
    Share {
        metric: "tailwater_object_store_requests_total",
        label: "outcome",
        failed: "error",
        most: 0.1,
        check: "bucket requests",
        what: "requests to the bucket failed",
        advice: "see the checks of the bucket above; `op` of tailwater_object_store_requests_total tells which fail",
    },
    Share {
        metric: "tailwater_access_reviews_total",
        label: "outcome",
        failed: "error",
        most: 0.05,
        check: "access reviews",
        what: "questions to the Kubernetes API were not answered, and so denied",
        advice: "look for its network policy (`networkPolicy.apiServerCidrs`) and the ClusterRoleBinding tailwater:aggregator-reviews",
    },
];

/// Work that has to succeed now and then.
const WORK: [(&str, f64, &str); 2] = [
    ("tailwater_compaction_last_success_timestamp_seconds", 10_800.0, "compaction"),
    ("tailwater_retention_last_success_timestamp_seconds", 129_600.0, "retention"),
];

/// `now` in seconds since the epoch.
pub(super) fn judge(page: &Exposition, now: f64) -> Vec<Finding> {
    let mut findings: Vec<Finding> = BOUNDS.iter().filter_map(|bound| over(bound, page)).collect();
    findings.extend(SHARES.iter().filter_map(|share| failing(share, page)));
    findings.extend(pushes(page));
    findings.extend(WORK.iter().filter_map(|work| overdue(work, page, now)));
    findings.extend(held(page));
    findings.extend(quota(page));
    findings.extend(certificate(page, now));
    findings.extend(discards(page));
    if findings.is_empty() {
        let evidence = "the open buffer, requests to the bucket, segments, manifest, quota and discards are within their bounds";
        findings.push(Finding::fine("figures", evidence));
    }
    findings.push(received(page));
    findings
}

fn over(bound: &Bound, page: &Exposition) -> Option<Finding> {
    let value = page.value(bound.metric)?;
    (value > bound.most)
        .then(|| Finding::problem(bound.check, format!("{} {} ({})", value.round(), bound.what, bound.metric), bound.advice))
}

fn failing(share: &Share, page: &Exposition) -> Option<Finding> {
    let (all, failed) = (page.sum(share.metric, |_| true), page.sum(share.metric, |sample| sample.label(share.label) == share.failed));
    if failed == 0.0 {
        return None;
    }
    let evidence = format!("{failed} of {all} {} ({})", share.what, share.metric);
    Some(graded(share.check, failed / all > share.most, evidence, share.advice))
}

fn graded(check: &'static str, is_problem: bool, evidence: String, advice: impl Into<String>) -> Finding {
    if is_problem { Finding::problem(check, evidence, advice) } else { Finding::warning(check, evidence, advice) }
}

fn is_push(sample: &Sample) -> bool {
    ["loki_api_v1_push", "api_prom_push", "otlp_v1_logs"].contains(&sample.label("route"))
}

/// A kind of answer to pushes that stored nothing.
struct Unstored {
    status: fn(u16) -> bool,
    check: &'static str,
    what: &'static str,
    advice: &'static str,
}

/// Answers to pushes that stored nothing, by their status.
fn pushes(page: &Exposition) -> Vec<Finding> {
    const METRIC: &str = "tailwater_request_duration_seconds_count";
    let all = page.sum(METRIC, is_push);
    let answered =
        |status: fn(u16) -> bool| page.sum(METRIC, |sample| is_push(sample) && sample.label("status_code").parse().is_ok_and(status));
    let kinds = [
        Unstored {
            status: |status| status >= 500,
            check: "pushes",
            what: "were answered with 5xx",
            advice: "the bucket is behind it: see its checks above, and the log",
        },
        Unstored {
            status: |status| status == 429,
            check: "rate",
            what: "were answered with 429",
            advice: "raise `limits.ingestion_rate_mb` and `limits.ingestion_burst_size_mb`, or give the aggregators memory; senders try again",
        },
        Unstored {
            status: |status| status == 401,
            check: "tenant",
            what: "were answered with 401",
            advice: "with `tenancy.enabled` a push needs X-Scope-OrgID: `agent.push.tenantID`, `tenant_id` of a client",
        },
    ];
    let found = kinds.into_iter().map(|kind| (answered(kind.status), kind)).filter(|(count, _)| *count > 0.0);
    found
        .map(|(count, kind)| graded(kind.check, count / all > 0.05, format!("{count} of {all} pushes {}", kind.what), kind.advice))
        .collect()
}

fn overdue((metric, most, check): &(&'static str, f64, &'static str), page: &Exposition, now: f64) -> Option<Finding> {
    let last = page.value(metric).filter(|last| *last > 0.0)?;
    let hours = (now - last) / 3600.0;
    let advice = "look in the log of every replica for what fails";
    (now - last > *most).then(|| Finding::problem(check, format!("it last succeeded {hours:.1} hours ago ({metric})"), advice))
}

fn held(page: &Exposition) -> Option<Finding> {
    let advice = "look at the clocks of the nodes; it goes on by itself when it is sure which time it is";
    (page.value("tailwater_retention_held")? > 0.0).then(|| {
        Finding::warning("retention", "nothing is dropped for its age, because the clock jumped (tailwater_retention_held)", advice)
    })
}

fn quota(page: &Exposition) -> Option<Finding> {
    let (used, quota) = (page.value("tailwater_bucket_bytes")?, page.value("tailwater_bucket_quota_bytes")?);
    let shown = |bytes: f64| ByteSize::bytes(bytes as u64).rounded();
    let evidence = format!("{} of {} are used (`storage.quota_bytes`)", shown(used), shown(quota));
    let advice = "shorten `limits.retention_period`, set `retention.size_budget`, or make room and raise `storage.quota_bytes`";
    (used > quota * 0.8).then(|| graded("quota", used >= quota, evidence, advice))
}

fn certificate(page: &Exposition, now: f64) -> Option<Finding> {
    const FORTNIGHT: f64 = 14.0 * 86_400.0;
    let left = page.value("tailwater_tls_certificate_not_after_seconds").filter(|end| *end > 0.0)? - now;
    let evidence = format!("the server's certificate ends in {:.1} days", left / 86_400.0);
    let advice = "renew the files of `tls.certificate` and `tls.key`: they are read again for each connection";
    (left < FORTNIGHT).then(|| graded("certificate", left <= 0.0, evidence, advice))
}

/// Lines that were refused one by one, while the rest of their push was stored.
fn discards(page: &Exposition) -> Vec<Finding> {
    let of_tenant = |tenant: &str| page.sum("tailwater_received_lines_total", |sample| sample.label("tenant") == tenant);
    let refused = page.all("tailwater_discarded_lines_total").filter(|sample| sample.value > 0.0);
    let told = refused.map(|sample| {
        let (tenant, reason) = (sample.label("tenant"), sample.label("reason"));
        let evidence = format!("{} lines of tenant `{tenant}` were refused for `{reason}` since the start", sample.value);
        graded("discards", sample.value > of_tenant(tenant) * 0.01, evidence, advice_of(reason))
    });
    told.collect()
}

/// By Loki's word for the reason.
fn advice_of(reason: &str) -> &'static str {
    match reason {
        "greater_than_max_sample_age" | "too_far_behind" => {
            "they are too old: look at the sender's clock, or raise `limits.reject_old_samples_max_age`"
        }
        "too_far_in_future" => "they are of the future: set the sender's clock by NTP, or raise `limits.creation_grace_period`",
        "rate_limited" => "raise `limits.ingestion_rate_mb` and `limits.ingestion_burst_size_mb` of this tenant",
        "per_stream_rate_limit" => "raise `limits.per_stream_rate_limit` of this tenant, or split the stream",
        "stream_limit" => "raise `limits.max_global_streams_per_user` of this tenant, or use fewer values of labels",
        "line_too_long" => "raise `limits.max_line_size` of this tenant, or set `limits.max_line_size_truncate`",
        "missing_enforced_labels" | "missing_labels" => "the sender leaves out labels that are asked for (`limits.enforced_labels`)",
        "duplicate_label_names" => "the sender gives a label twice: correct its configuration",
        "max_label_names_per_series" | "label_name_too_long" | "label_value_too_long" => {
            "use fewer and shorter labels, or raise `limits.max_label_names_per_series`, `max_label_name_length`, `max_label_value_length`"
        }
        "structured_metadata_too_large" | "structured_metadata_too_many" | "disallowed_structured_metadata" => {
            "raise `limits.max_structured_metadata_size` and `…_entries_count`, or set `limits.allow_structured_metadata`"
        }
        _ => "the answer to the push has the words: see the sender's log",
    }
}

fn received(page: &Exposition) -> Finding {
    let lines = page.sum("tailwater_received_lines_total", |_| true);
    if lines == 0.0 {
        let advice = "the fault is on the way here: run `tailwater-agent doctor` on a node, and look at the gateway's log";
        return Finding::warning("received", "no line was received since this server started", advice);
    }
    let tenants: Vec<&str> = page.all("tailwater_received_lines_total").map(|sample| sample.label("tenant")).take(10).collect();
    Finding::fine("received", format!("{lines} lines since the start, of tenants {}", tenants.join(", ")))
}

#[cfg(test)]
mod tests {
    use tailwater_agent::doctor::Verdict;

    use super::*;
    use crate::ingest::rejection::Reason;

    const NOW: f64 = 2_000_000_000.0;
    const RECEIVED: &str = "tailwater_received_lines_total{tenant=\"shop\"} 1000\n";

    fn judged(lines: &str) -> Vec<Finding> {
        judge(&Exposition::parse(&format!("{RECEIVED}{lines}")), NOW)
    }

    #[test]
    fn a_server_without_trouble_is_fine() {
        let lines = concat!(
            "tailwater_segment_flush_age_seconds 0.05\ntailwater_segments_uncompacted 12\ntailwater_damaged_segments 0\n",
            "tailwater_segment_puts_total{outcome=\"ok\"} 9\ntailwater_segment_puts_total{outcome=\"failed\"} 0\n",
            "tailwater_compaction_last_success_timestamp_seconds 1999999000\ntailwater_bucket_bytes 5\ntailwater_bucket_quota_bytes 100\n",
            "tailwater_request_duration_seconds_count{route=\"loki_api_v1_push\",method=\"POST\",status_code=\"204\"} 5\n"
        );
        let findings = judged(lines);
        assert!(findings.iter().all(|finding| finding.verdict == Verdict::Fine) && findings.len() == 2, "{findings:?}");
        assert!(findings[1].evidence.contains("1000 lines") && findings[1].evidence.contains("shop"));
    }

    #[test]
    fn each_trouble_is_named_with_its_figure() {
        for (lines, check, verdict, evidence) in [
            ("tailwater_segment_flush_age_seconds 42.4\n", "open buffer", Verdict::Problem, "42 is the age"),
            ("tailwater_segments_uncompacted 5001\n", "compaction", Verdict::Problem, "5001 segments"),
            ("tailwater_manifest_age_seconds 700\n", "manifest", Verdict::Problem, "700 seconds"),
            ("tailwater_damaged_segments 1\n", "damage", Verdict::Problem, "1 segments"),
            ("tailwater_checksum_failures_total 2\n", "damage", Verdict::Problem, "2 reads"),
            ("tailwater_invariant_violations_total 1\n", "invariants", Verdict::Problem, "1 checks failed"),
            (
                "tailwater_segment_puts_total{outcome=\"ok\"} 8\ntailwater_segment_puts_total{outcome=\"failed\"} 2\n",
                "segment puts",
                Verdict::Problem,
                "2 of 10 segments",
            ),
            (
                "tailwater_segment_puts_total{outcome=\"ok\"} 99\ntailwater_segment_puts_total{outcome=\"failed\"} 1\n",
                "segment puts",
                Verdict::Warning,
                "1 of 100",
            ),
            (
                "tailwater_object_store_requests_total{op=\"put\",outcome=\"error\"} 1\ntailwater_object_store_requests_total{op=\"put\",outcome=\"ok\"} 1\n",
                "bucket requests",
                Verdict::Problem,
                "1 of 2",
            ),
            ("tailwater_access_reviews_total{outcome=\"error\"} 3\n", "access reviews", Verdict::Problem, "3 of 3"),
            (
                "tailwater_request_duration_seconds_count{route=\"loki_api_v1_push\",status_code=\"503\"} 3\n",
                "pushes",
                Verdict::Problem,
                "3 of 3 pushes were answered with 5xx",
            ),
            ("tailwater_request_duration_seconds_count{route=\"otlp_v1_logs\",status_code=\"429\"} 3\n", "rate", Verdict::Problem, "429"),
            (
                "tailwater_request_duration_seconds_count{route=\"api_prom_push\",status_code=\"401\"} 1\n",
                "tenant",
                Verdict::Problem,
                "401",
            ),
            ("tailwater_compaction_last_success_timestamp_seconds 1999985600\n", "compaction", Verdict::Problem, "4.0 hours ago"),
            ("tailwater_retention_last_success_timestamp_seconds 1999856000\n", "retention", Verdict::Problem, "40.0 hours ago"),
            ("tailwater_retention_held 1\n", "retention", Verdict::Warning, "the clock jumped"),
            ("tailwater_bucket_bytes 1100\ntailwater_bucket_quota_bytes 1024\n", "quota", Verdict::Problem, "1.1 KiB of 1.0 KiB"),
            ("tailwater_bucket_bytes 900\ntailwater_bucket_quota_bytes 1024\n", "quota", Verdict::Warning, "900 B of 1.0 KiB"),
            ("tailwater_tls_certificate_not_after_seconds 1999990000\n", "certificate", Verdict::Problem, "-0.1 days"),
            ("tailwater_tls_certificate_not_after_seconds 2000086400\n", "certificate", Verdict::Warning, "1.0 days"),
            (
                "tailwater_discarded_lines_total{tenant=\"shop\",reason=\"too_far_in_future\"} 11\n",
                "discards",
                Verdict::Problem,
                "11 lines of tenant `shop` were refused for `too_far_in_future`",
            ),
            (
                "tailwater_discarded_lines_total{tenant=\"shop\",reason=\"line_too_long\"} 9\n",
                "discards",
                Verdict::Warning,
                "line_too_long",
            ),
        ] {
            let findings = judged(lines);
            let found =
                findings.iter().find(|finding| finding.check == check && finding.verdict == verdict && finding.evidence.contains(evidence));
            assert!(found.is_some_and(|finding| !finding.advice.is_empty()), "{lines}: {findings:?}");
            assert_eq!(findings.len(), 2, "{findings:?}");
        }
        assert_eq!(judge(&Exposition::default(), NOW).last().map(|finding| finding.check), Some("received"));
    }

    #[test]
    fn every_reason_for_which_lines_are_refused_has_its_advice() {
        for reason in Reason::ALL.map(Reason::as_str).into_iter().chain(["rate_limited"]) {
            assert_ne!(advice_of(reason), advice_of("unknown"), "{reason}");
        }
    }
}
