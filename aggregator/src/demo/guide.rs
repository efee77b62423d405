//! What the demo tells a person: where to look, in lines that work when they are pasted.

use std::net::SocketAddr;

use crate::demo::DemoOptions;

/// The text printed once everything runs.
pub(super) fn text(address: SocketAddr, options: &DemoOptions, is_writing: bool) -> String {
    let url = format!("http://{address}");
    let source = match (&options.pods_dir, is_writing) {
        (Some(pods_dir), _) => format!("the logs below {}", pods_dir.display()),
        (None, _) => {
            format!("a dozen made-up pods, {} lines a second, below {}", options.lines_per_second, options.data.join("pods").display())
        }
    };
    format!(
        r#"
tailwater is running: {source}
  → agent → {url} → {store}

Ask it (Loki's API; a Loki datasource in Grafana takes the same address, {url}):

  # the newest lines that hold "error"
  curl -sG '{url}/loki/api/v1/query_range' --data-urlencode 'query={{namespace=~".+"}} |= `error`' --data-urlencode 'limit=5'

  # lines a second, by namespace and container
  curl -sG '{url}/loki/api/v1/query' --data-urlencode 'query=sum by (namespace, container) (rate({{namespace=~".+"}}[1m]))'

  # which labels there are
  curl -s '{url}/loki/api/v1/labels'

  logcli --addr={url} query '{{namespace=~".+"}} | logfmt | level="warn"' --limit=20

Ctrl-C stops it; the data stays in {data}.

"#,
        store = options.data.join("store").display(),
        data = options.data.display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_query_that_is_shown_parses() {
        let options = DemoOptions {
            data: "./tailwater-demo".into(),
            listen: SocketAddr::from(([127, 0, 0, 1], 3100)),
            pods_dir: None,
            lines_per_second: 50.0,
        };
        let text = text(options.listen, &options, true);
        let shown = text.lines().filter_map(|line| line.split("'query=").nth(1)?.split('\'').next());
        let logcli = text.lines().filter_map(|line| line.split(" query '").nth(1)?.split('\'').next());
        let queries: Vec<&str> = shown.chain(logcli).collect();
        assert_eq!(queries.len(), 3);
        for query in queries {
            tailwater_logql::parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
        }
    }
}
