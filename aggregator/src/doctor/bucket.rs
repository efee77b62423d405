//! The bucket: whether its server is reached, trusts us, and lets us do what a store has to.

use std::time::{Duration, SystemTime};

use reqwest::header::{DATE, HeaderMap};
use reqwest::{Client, Url};
use tailwater_agent::causes::with_causes;
use tailwater_agent::doctor::Finding;
use tailwater_agent::doctor::clock::{self, Tolerance};
use tailwater_agent::doctor::reach::{Advice, PATIENCE, host_of, reach as reached};
use tailwater_storage::store::{ProbeError, Rights, S3Options};

use crate::config::{Config, S3, StorageKind};
use crate::doctor::refusal;
use crate::wiring;

const MOST_SKEW: Option<Duration> = Some(Duration::from_secs(900));
/// Signed requests are refused beyond.
const OF_BUCKET: Tolerance =
    Tolerance { whose: "the bucket's server", ahead: MOST_SKEW, behind: MOST_SKEW, because: "signed requests are refused" };
/// Header of S3's answers: where a bucket really is.
const REGION_HEADER: &str = "x-amz-bucket-region";

/// Name, connection, TLS, clock and region; what was seen until something was broken.
pub(super) async fn reach(s3: &S3) -> Result<Vec<Finding>, Vec<Finding>> {
    let options = wiring::s3_options(s3);
    let server = options.server();
    let Ok(url) = Url::parse(&server) else {
        let evidence = format!("`{server}` is no URL of a server");
        return Err(vec![Finding::problem(
            "bucket",
            evidence,
            "write `storage.s3.endpoint` as in http://minio:9000, or leave it empty for AWS",
        )]);
    };
    let mut findings = Vec::new();
    match reached(&url, advice_of(&options)).await {
        Ok(fine) => findings.push(fine),
        Err(problem) => return Err(vec![problem]),
    }
    let asked_at = SystemTime::now();
    match asked(&url, &options).await {
        Ok(headers) => {
            let answered_at = SystemTime::now();
            if url.scheme() == "https" {
                findings.push(Finding::fine("tls", format!("the certificate of `{}` is trusted", host_of(&url))));
            }
            let date = headers.get(DATE).and_then(|date| date.to_str().ok());
            findings.extend(date.and_then(|date| clock::examine(date, asked_at, answered_at, OF_BUCKET)));
            findings.extend(region(&headers, &s3.region));
            Ok(findings)
        }
        Err(problem) => {
            findings.push(problem);
            Err(findings)
        }
    }
}

fn advice_of(options: &S3Options) -> Advice {
    let name = match options.is_path_style() {
        // Who has no names below its own wants the bucket in the path.
        false if !options.endpoint.is_empty() => {
            "set `storage.s3.force_path_style` to true if the server has no name for each bucket (MinIO and most others); else correct `storage.s3.endpoint`, or the cluster's DNS"
        }
        _ => "correct `storage.s3.endpoint` and `storage.s3.region`, or the cluster's DNS",
    };
    Advice {
        name,
        connection: "check that the server runs, its port in `storage.s3.endpoint`, and network policies on the way (`networkPolicy.egressS3Cidrs`, `egressS3Ports`)",
    }
}

/// Headers of an answer to a request without a signature: any answer will do.
async fn asked(url: &Url, options: &S3Options) -> Result<HeaderMap, Finding> {
    let path = if options.is_path_style() { format!("/{}", options.bucket) } else { "/".to_owned() };
    let mut url = url.clone();
    url.set_path(&path);
    let client = Client::builder().timeout(PATIENCE).redirect(reqwest::redirect::Policy::none()).build();
    let answer = match client {
        Ok(client) => client.head(url.clone()).send().await,
        Err(error) => Err(error),
    };
    answer.map(|answer| answer.headers().clone()).map_err(|error| no_answer(&url, &error))
}

fn no_answer(url: &Url, error: &reqwest::Error) -> Finding {
    let evidence = with_causes(error);
    if url.scheme() == "https" && !error.is_timeout() {
        let advice = "the server's certificate must be of an authority that this machine knows (a public one, or SSL_CERT_FILE), have its name, and not be over; or it speaks plain HTTP: `http://` and `storage.s3.insecure`";
        return Finding::problem("tls", format!("no secure connection to `{}`: {evidence}", host_of(url)), advice);
    }
    let advice = "check that an S3 server is there, whether it wants https://, and proxies on the way";
    Finding::problem("connection", format!("no answer from `{}`: {evidence}", host_of(url)), advice)
}

fn region(headers: &HeaderMap, configured: &str) -> Option<Finding> {
    let real = headers.get(REGION_HEADER)?.to_str().ok()?;
    if real == configured {
        return Some(Finding::fine("region", format!("the bucket is in `{real}`")));
    }
    let advice = format!("set `storage.s3.region` to `{real}`");
    Some(Finding::problem("region", format!("the bucket is in `{real}`, and requests are signed for `{configured}`"), advice))
}

/// What may be done, and whether what is stored can be read.
pub(super) fn rights(rights: &Rights, config: &Config) -> (Vec<Finding>, bool) {
    let is_folder = config.storage.kind == StorageKind::Filesystem;
    let refused = |tried: &str, reason: &str| if is_folder { of_folder(config, tried, reason) } else { refusal::finding(tried, reason) };
    let mut findings = Vec::new();
    if let Err(reason) = &rights.list {
        findings.push(refused("to list objects", reason));
    }
    match &rights.create {
        Ok(()) => findings.push(Finding::fine("conditional put", "of creates that race one wins")),
        Err(ProbeError::ConditionIgnored) => {
            let evidence = "the store ignores `If-None-Match: *`: a create overwrites what is there";
            let advice = "use a store that honours it (AWS, MinIO, SeaweedFS, Ceph 19 or newer); the aggregator does not start on this one";
            findings.push(Finding::problem("conditional put", evidence, advice));
        }
        // With the same cause as the list's, it is told already.
        Err(ProbeError::Unusable(_)) if rights.list.is_err() => {}
        Err(ProbeError::Unusable(reason)) => findings.push(refused("to create an object", reason)),
    }
    for (tried, outcome) in [("to read an object", &rights.read), ("to remove an object", &rights.delete)] {
        if let Some(Err(reason)) = outcome {
            findings.push(refused(tried, reason));
        }
    }
    let is_whole = findings.iter().all(|finding| finding.advice.is_empty());
    if is_whole {
        findings.insert(0, Finding::fine("rights", "objects can be listed, created, read and removed"));
    }
    (findings, rights.list.is_ok() && !matches!(rights.read, Some(Err(_))))
}

fn of_folder(config: &Config, tried: &str, reason: &str) -> Finding {
    let folder = config.storage.filesystem.path.display();
    let is_full = ["No space left", "os error 28", "os error 122"].iter().any(|word| reason.contains(word));
    let (check, advice) = if is_full {
        ("quota", "make room there, or shorten retention; lines wait in the nodes' files meanwhile")
    } else {
        ("rights", "make it writable for this user (65532 in the chart), and look whether the disk is read-only")
    };
    Finding::problem(check, format!("{tried} below `{folder}` was refused: {reason}"), advice)
}

#[cfg(test)]
mod tests {
    use tailwater_agent::doctor::Verdict;

    use super::*;

    fn checks(given: &Rights) -> Vec<(&'static str, Verdict)> {
        let mut config = Config::default();
        config.storage.kind = StorageKind::S3;
        rights(given, &config).0.iter().map(|finding| (finding.check, finding.verdict)).collect()
    }

    #[test]
    fn each_right_that_lacks_is_named_once() {
        let denied = || Err("AccessDenied: no".to_owned());
        let unusable = |reason: &str| Err(ProbeError::Unusable(reason.to_owned()));
        let whole = Rights { list: Ok(()), create: Ok(()), read: Some(Ok(())), delete: Some(Ok(())) };
        assert_eq!(checks(&whole), [("rights", Verdict::Fine), ("conditional put", Verdict::Fine)]);
        let keeps = Rights { list: Ok(()), create: Ok(()), read: Some(Ok(())), delete: Some(denied()) };
        assert_eq!(checks(&keeps), [("conditional put", Verdict::Fine), ("rights", Verdict::Problem)]);
        let unknown =
            Rights { list: Err("InvalidAccessKeyId: x".to_owned()), create: unusable("InvalidAccessKeyId: x"), read: None, delete: None };
        assert_eq!(checks(&unknown), [("credentials", Verdict::Problem)]);
        let full = Rights { list: Ok(()), create: unusable("XMinioStorageFull: x"), read: None, delete: None };
        assert_eq!(checks(&full), [("quota", Verdict::Problem)]);
        let ignored = Rights { list: Ok(()), create: Err(ProbeError::ConditionIgnored), read: Some(Ok(())), delete: Some(Ok(())) };
        assert_eq!(checks(&ignored), [("conditional put", Verdict::Problem)]);
    }

    #[test]
    fn a_bucket_of_another_region_is_named() {
        let headers = HeaderMap::from_iter([(REGION_HEADER.parse().expect("a name"), "eu-central-1".parse().expect("a value"))]);
        assert_eq!(region(&headers, "eu-central-1").map(|found| found.verdict), Some(Verdict::Fine));
        assert!(region(&headers, "us-east-1").is_some_and(|found| found.advice.contains("`eu-central-1`")));
        assert_eq!(region(&HeaderMap::new(), "us-east-1"), None);
    }

    #[test]
    fn a_folder_that_is_full_or_closed_is_told_apart() {
        let config = Config::default();
        assert_eq!(of_folder(&config, "to create an object", "No space left on device (os error 28)").check, "quota");
        assert_eq!(of_folder(&config, "to create an object", "Permission denied (os error 13)").check, "rights");
    }
}
