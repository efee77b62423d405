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
    assert_eq!(config.jobs[0].name, "j");
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
