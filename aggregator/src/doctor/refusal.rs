//! What a refusal of an S3 server means: pure, from the reason in one line that `Store::examine` gives.

use tailwater_agent::doctor::Finding;

/// A cause: words of the reason, what it is called, what to do.
struct Cause {
    words: &'static [&'static str],
    check: &'static str,
    advice: &'static str,
}

const KEYS: &str = "correct the keys: files of `storage.s3.credentials_dir`, else AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, else the role of the platform";
const REGION: &str = "set `storage.s3.region` to the bucket's, and `storage.s3.endpoint` to a server of that region or to nothing";

/// In the order in which they are looked for.
const CAUSES: [Cause; 12] = [
    Cause {
        words: &["RequestTimeTooSkewed", "RequestExpired"],
        check: "clock",
        advice: "set the clock of this node by NTP (chrony, systemd-timesyncd)",
    },
    Cause { words: &["NoSuchBucket"], check: "bucket", advice: "correct `storage.s3.bucket`, or make the bucket" },
    Cause {
        words: &["PermanentRedirect", "AuthorizationHeaderMalformed", "TemporaryRedirect", "IllegalLocationConstraint", "InvalidRegion"],
        check: "region",
        advice: REGION,
    },
    Cause {
        words: &["ExpiredToken", "InvalidToken", "TokenRefreshRequired"],
        check: "credentials",
        advice: "the session's token has ended: renew the Secret, or take AWS_SESSION_TOKEN out of it",
    },
    Cause { words: &["InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidSecurity", "AuthFailure"], check: "credentials", advice: KEYS },
    Cause {
        words: &["cannot read the bucket's keys"],
        check: "credentials",
        advice: "mount the Secret with the bucket's keys at `storage.s3.credentials_dir`",
    },
    Cause {
        words: &["169.254.169.254", "169.254.170", "AssumeRoleWithWebIdentity", "token file"],
        check: "credentials",
        advice: "there are no keys, and the platform gives none: name a Secret (`storage.s3.existingSecret`), or give the service account a role",
    },
    Cause {
        words: &[
            "QuotaExceeded",
            "XMinioAdminBucketQuotaExceeded",
            "XMinioStorageFull",
            "InsufficientStorage",
            "507 ",
            "No space left",
            "os error 28",
        ],
        check: "quota",
        advice: "make room, raise the bucket's quota, or shorten retention; lines wait in the nodes' files meanwhile",
    },
    Cause {
        words: &["KMS", "InvalidEncryptionAlgorithm", "ServerSideEncryption"],
        check: "encryption",
        advice: "correct `storage.s3.sse` and `storage.s3.kms_key_id`, and let this user use the key",
    },
    Cause {
        words: &["AccessDenied", "AllAccessDisabled", "403 Forbidden", "UnauthorizedAccess"],
        check: "rights",
        advice: "give the user what deploy/docs/s3-policy.json lists, for this bucket and `storage.prefix`",
    },
    Cause {
        words: &["certificate", "UnknownIssuer", "InvalidCertificate"],
        check: "tls",
        advice: "the server's certificate must be of an authority that this machine knows, and have its name",
    },
    Cause {
        words: &["SlowDown", "ServiceUnavailable", "503 Service", "InternalError", "500 Internal"],
        check: "store",
        advice: "the server is overloaded or broken: look at its own log and disks",
    },
];

/// What was tried, and what was answered.
pub(super) fn finding(tried: &str, reason: &str) -> Finding {
    let evidence = format!("{tried} was refused: {reason}");
    match CAUSES.iter().find(|cause| cause.words.iter().any(|word| reason.contains(word))) {
        Some(cause) => Finding::problem(cause.check, evidence, cause.advice),
        None => Finding::problem("store", evidence, "look at the server's own log, and at proxies on the way"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_servers_are_told_apart() {
        for (reason, check, advice) in [
            ("InvalidAccessKeyId: The AWS Access Key Id you provided does not exist in our records.", "credentials", "correct the keys"),
            ("SignatureDoesNotMatch: The request signature we calculated does not match", "credentials", "correct the keys"),
            ("ExpiredToken: The provided token has expired.", "credentials", "AWS_SESSION_TOKEN"),
            ("AccessDenied: Access Denied. (PUT http://minio:9000/logs/v1/probe/X)", "rights", "s3-policy.json"),
            ("RequestTimeTooSkewed: The difference between the request time and the server's time is too large.", "clock", "NTP"),
            ("NoSuchBucket: The specified bucket does not exist (PUT http://minio:9000/logz/v1/probe/X)", "bucket", "storage.s3.bucket"),
            (
                "PermanentRedirect: The bucket you are attempting to access must be addressed using the specified endpoint.",
                "region",
                "storage.s3.region",
            ),
            ("AuthorizationHeaderMalformed: the region 'us-east-1' is wrong; expecting 'eu-central-1'", "region", "storage.s3.region"),
            ("XMinioStorageFull: Storage backend has reached its minimum free drive threshold.", "quota", "make room"),
            ("KMS.NotFoundException: Invalid keyId", "encryption", "kms_key_id"),
            ("SlowDown: Please reduce your request rate.", "store", "overloaded"),
            ("connection closed before message completed", "store", "proxies"),
        ] {
            let finding = finding("to create an object", reason);
            assert!(finding.check == check && finding.advice.contains(advice), "{finding}");
            assert!(finding.evidence.contains(reason));
        }
    }
}
