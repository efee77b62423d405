//! The keys of a client: where to push, as whom, how.

use super::keys::{Key, MASKED};
use super::values::{at_least_1k, chosen, duration, name_of, path, shown, size, truth, whole};
use super::{OnClientError, Secret};

const ON_4XX: [(&str, OnClientError); 2] = [("hold", OnClientError::Hold), ("drop", OnClientError::Drop)];

/// All scalar keys of the client.
pub(super) const CLIENT_KEYS: &[Key] = &[
    Key {
        path: "clients[0].url",
        about: "Push endpoint of the receiver",
        set: |config, text| {
            text.clone_into(&mut config.client.url);
            Ok(())
        },
        get: |config| Some(config.client.url.clone()),
    },
    Key {
        path: "clients[0].name",
        about: "What its positions are named after, where there are several clients",
        set: |config, text| {
            config.client.name = Some(text.to_owned()).filter(|name| !name.is_empty());
            Ok(())
        },
        get: |config| config.client.name.clone(),
    },
    Key {
        path: "clients[0].tenant_id",
        about: "Tenant, sent as X-Scope-OrgID",
        set: |config, text| {
            config.client.tenant_id = Some(text.to_owned()).filter(|tenant| !tenant.is_empty());
            Ok(())
        },
        get: |config| config.client.tenant_id.clone(),
    },
    Key {
        path: "clients[0].batchwait",
        about: "Age of the oldest line at which a batch is sent",
        set: |config, text| duration(text).map(|value| config.client.batchwait = value),
        get: |config| Some(shown(config.client.batchwait)),
    },
    Key {
        path: "clients[0].batchsize",
        about: "Bytes at which a batch is sent",
        set: |config, text| size(text).and_then(at_least_1k).map(|value| config.client.batchsize = value),
        get: |config| Some(config.client.batchsize.to_string()),
    },
    Key {
        path: "clients[0].timeout",
        about: "Longest wait for an answer",
        set: |config, text| duration(text).map(|value| config.client.timeout = value),
        get: |config| Some(shown(config.client.timeout)),
    },
    Key {
        path: "clients[0].backoff_config.min_period",
        about: "Bound of the first wait after a failure",
        set: |config, text| duration(text).map(|value| config.client.backoff.min_period = value),
        get: |config| Some(shown(config.client.backoff.min_period)),
    },
    Key {
        path: "clients[0].backoff_config.max_period",
        about: "Bound of every wait after a failure",
        set: |config, text| duration(text).map(|value| config.client.backoff.max_period = value),
        get: |config| Some(shown(config.client.backoff.max_period)),
    },
    Key {
        path: "clients[0].backoff_config.max_retries",
        about: "Attempts before a batch is dropped; 0 is without end",
        set: |config, text| whole(text).map(|value| config.client.backoff.max_retries = value),
        get: |config| Some(config.client.backoff.max_retries.to_string()),
    },
    Key {
        path: "clients[0].basic_auth.username",
        about: "User of basic authentication",
        set: |config, text| {
            let password = config.client.basic_auth.take().map_or(Secret(String::new()), |(_, password)| password);
            config.client.basic_auth = Some((text.to_owned(), password));
            Ok(())
        },
        get: |config| config.client.basic_auth.as_ref().map(|(user, _)| user.clone()),
    },
    Key {
        path: "clients[0].basic_auth.password",
        about: "Password of basic authentication",
        set: |config, text| {
            let user = config.client.basic_auth.take().map_or(String::new(), |(user, _)| user);
            config.client.basic_auth = Some((user, Secret(text.to_owned())));
            Ok(())
        },
        get: |config| config.client.basic_auth.as_ref().map(|_| MASKED.to_owned()),
    },
    Key {
        path: "clients[0].basic_auth.password_file",
        about: "File with that password, read before every request",
        set: |config, text| path(text).map(|value| config.client.password_file = Some(value)),
        get: |config| config.client.password_file.as_ref().map(|path| path.display().to_string()),
    },
    Key {
        path: "clients[0].tls_config.ca_file",
        about: "PEM file of authorities that the receiver's certificate may be of",
        set: |config, text| path(text).map(|value| config.client.tls.ca_file = Some(value)),
        get: |config| config.client.tls.ca_file.as_ref().map(|path| path.display().to_string()),
    },
    Key {
        path: "clients[0].tls_config.cert_file",
        about: "PEM file of this agent's own certificate",
        set: |config, text| path(text).map(|value| config.client.tls.cert_file = Some(value)),
        get: |config| config.client.tls.cert_file.as_ref().map(|path| path.display().to_string()),
    },
    Key {
        path: "clients[0].tls_config.key_file",
        about: "PEM file of its key",
        set: |config, text| path(text).map(|value| config.client.tls.key_file = Some(value)),
        get: |config| config.client.tls.key_file.as_ref().map(|path| path.display().to_string()),
    },
    Key {
        path: "clients[0].tls_config.insecure_skip_verify",
        about: "Whether any certificate of the receiver is taken: true or false",
        set: |config, text| truth(text).map(|value| config.client.tls.skips_verification = value),
        get: |config| Some(config.client.tls.skips_verification.to_string()),
    },
    Key {
        path: "clients[0].proxy_url",
        about: "Proxy on the way to the receiver",
        set: |config, text| {
            config.client.proxy_url = Some(text.to_owned()).filter(|url| !url.is_empty());
            Ok(())
        },
        get: |config| config.client.proxy_url.as_ref().map(|_| MASKED.to_owned()),
    },
    Key {
        path: "clients[0].follow_redirects",
        about: "Whether redirects on the same host are followed: true or false",
        set: |config, text| truth(text).map(|value| config.client.follows_redirects = value),
        get: |config| Some(config.client.follows_redirects.to_string()),
    },
    Key {
        path: "clients[0].drop_rate_limited_batches",
        about: "Whether entries answered with 429 are dropped and counted instead of sent again: true or false",
        set: |config, text| truth(text).map(|value| config.client.drops_rate_limited = value),
        get: |config| Some(config.client.drops_rate_limited.to_string()),
    },
    Key {
        path: "clients[0].bearer_token",
        about: "Token sent as Authorization: Bearer",
        set: |config, text| {
            config.client.bearer_token = Some(Secret(text.to_owned()));
            Ok(())
        },
        get: |config| config.client.bearer_token.as_ref().map(|_| MASKED.to_owned()),
    },
    Key {
        path: "clients[0].bearer_token_file",
        about: "File with that token, read before every request",
        set: |config, text| path(text).map(|value| config.client.bearer_token_file = Some(value)),
        get: |config| config.client.bearer_token_file.as_ref().map(|path| path.display().to_string()),
    },
    Key {
        path: "clients[0].on_4xx",
        about: "Batches refused with 401, 403, 404 and the like: hold or drop",
        set: |config, text| chosen(text, &ON_4XX).map(|value| config.client.on_4xx = value),
        get: |config| name_of(&config.client.on_4xx, &ON_4XX),
    },
];
