//! Whole configurations: what is taken, and what is told about the rest.

use super::*;

fn report_of(text: &str) -> Vec<String> {
    let (_, report) = parse(text, "host".to_owned());
    report.to_string().lines().map(str::to_owned).collect()
}

const GOOD: &str = "server: {http_listen_port: 3101}\nclients:\n- url: http://h/loki/api/v1/push\nscrape_configs:\n- job_name: j\n  static_configs:\n  - labels: {__path__: /a}\n";

#[test]
fn a_plain_configuration_has_promtails_defaults() {
    let (config, report) = parse(GOOD, "host".to_owned());
    let config = config.unwrap_or_else(|| panic!("{report}"));
    assert_eq!(report, Report::default());
    let client = &config.clients[0].config;
    assert_eq!((client.batchwait.as_secs(), client.timeout.as_secs(), client.batchsize), (1, 10, 1 << 20));
    assert_eq!(config.listen().map(|address| address.port()), Some(3101));
    assert_eq!(config.scrape.jobs[0].name, "j");
}

#[test]
fn everything_unknown_and_unsupported_is_listed_with_its_line() {
    let text = "server:\n  http_port: 1\n  grpc_listen_port: 0\nclients:\n- url: http://h/p\n  batch_wait: 1s\n  batchwait: soon\nlimits_config:\n  max_lines_size: 1\nscrape_configs:\n- job_name: a\n  syslog: {path: /x}\n  pipeline_stages:\n  - jsonn: {}\n- job_name: a\n  kafka: {}\n- just-text\nscrape_config: []\n";
    let found = report_of(text);
    for expected in [
        "error: line 2: server.http_port: unknown key `http_port` in `server`",
        "error: line 6: clients[0].batch_wait: unknown key `batch_wait` in `clients`",
        "error: line 7: clients[0].batchwait: `clients.batchwait`: expected a duration like `500ms` or `1m30s`, found `soon`",
        "error: line 9: limits_config.max_lines_size: unknown key `max_lines_size` in `limits_config`",
        "error: line 14: scrape_configs[0].pipeline_stages[0].jsonn: job `a`: unknown pipeline stage `jsonn`",
        "error: line 15: scrape_configs[1]: two scrape configurations have the job name `a`",
        "error: line 18: scrape_config: unknown key `scrape_config` in `promtail.yaml`",
        "note: line 3: server.grpc_listen_port: `server.grpc_listen_port` has no effect: the agent has its own",
    ] {
        assert!(found.iter().any(|line| line == expected), "{expected} in {found:#?}");
    }
    assert!(found.iter().any(|line| line.starts_with("error: line 12: scrape_configs[0].syslog: `syslog` is not supported")), "{found:#?}");
    assert!(found.iter().any(|line| line.starts_with("error: line 17: scrape_configs[2]: ")), "{found:#?}");
}

#[test]
fn broken_yaml_and_missing_clients_are_errors() {
    assert!(report_of("a: [\n")[0].contains("yaml"));
    assert!(report_of("scrape_configs: []\n")[0].contains("client"));
}

#[test]
fn headers_of_a_client_come_from_values_secrets_and_files() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, "of-file\n").unwrap();
    let client = |headers: &str| format!("clients: [{{url: 'http://h/push', headers: {{a: b}}, http_headers: {headers}}}]\n");
    let text = client(&format!("{{X-One: {{values: [v, w]}}, X-Two: {{secrets: [s], files: ['{}']}}}}", file.display()));
    let (config, report) = parse(&text, "host".to_owned());
    let headers = config.unwrap_or_else(|| panic!("{report}")).clients[0].config.headers.clone();
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(headers, [("X-One", "v, w"), ("X-Two", "s, of-file"), ("a", "b")]);
    assert!(report_of(&client("{X: {value: v}}"))[0].contains("unknown key `value`"));
    assert!(report_of(&client("{X: {files: [/none]}}"))[0].contains("cannot read `/none`"));
}

/// What stands in a client and in a discovery of pods, with what is told about it.
#[test]
fn credentials_of_clients_and_of_the_kubernetes_api() {
    let oauth2 = "oauth2: {client_id: a, client_secret: b, token_url: 'http://t/token', scopes: [x], endpoint_params: {y: z}}";
    for (client, problem) in [
        (oauth2, None),
        ("oauth2: {client_id: a, token_url: 'http://t/token'}", Some("give one of `client_secret`")),
        ("oauth2: {client_secret: b, token_url: x}", Some("`clients.oauth2.client_id` is missing")),
        ("bearer_token: t, oauth2: {client_id: a, client_secret: b, token_url: 'http://t'}", Some("give one of `basic_auth`")),
        ("authorization: {type: Token, credentials: c}", None),
        ("authorization: {type: Basic, credentials: c}", Some("use `basic_auth`")),
        ("tls_config: {server_name: loki, min_version: TLS12, max_version: TLS13, ca: PEM}", None),
        ("tls_config: {min_version: TLS10}", None),
        ("tls_config: {max_version: TLS11}", Some("is not spoken any more")),
        ("tls_config: {cert_file: /c}", Some("a certificate needs its key")),
        ("tls_config: {ca: PEM, ca_file: /c}", Some("give one of `ca` and `ca_file`")),
    ] {
        let found = report_of(&format!("clients: [{{url: 'http://h/push', {client}}}]\n"));
        assert_eq!((found.is_empty(), problem), (problem.is_none(), problem), "{client}: {found:?}");
        assert!(problem.is_none_or(|problem| found.iter().any(|line| line.contains(problem))), "{client}: {found:?}");
    }
    for (discovery, problem) in [
        ("api_server: 'https://k:6443', bearer_token_file: /t, tls_config: {ca_file: /c, server_name: kubernetes}", None),
        ("api_server: 'https://k:6443', basic_auth: {username: u, password: p}", None),
        ("bearer_token: t", Some("credentials need their `api_server`")),
        ("api_server: 'https://k', kubeconfig_file: /k", Some("give one of `api_server` and `kubeconfig_file`")),
        ("api_server: 'https://k', authorization: {type: Token, credentials: c}", Some("or a bearer token alone")),
    ] {
        let text = format!(
            "clients: [{{url: 'http://h/push'}}]\nscrape_configs: [{{job_name: j, kubernetes_sd_configs: [{{role: pod, {discovery}}}]}}]\n"
        );
        let found = report_of(&text);
        assert_eq!((found.is_empty(), problem), (problem.is_none(), problem), "{discovery}: {found:?}");
        assert!(problem.is_none_or(|problem| found.iter().any(|line| line.contains(problem))), "{discovery}: {found:?}");
    }
}
