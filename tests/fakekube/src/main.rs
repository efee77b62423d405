//! `tailwater-fakekube`: the server as a program, for tests that are not written in Rust. Prints `ready at URL` once it answers, and runs until it is killed.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use tailwater_fakekube::{FakeKube, Options, objects_at};

/// The parts of a Kubernetes API server that tests need.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where to listen; port 0 is a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Objects to begin with: a YAML or JSON file, or a folder of such.
    #[arg(long)]
    objects: Vec<PathBuf>,
    /// A YAML list of {token, user, uid, groups, extra}.
    #[arg(long)]
    users: Option<PathBuf>,
    /// A folder like /var/log/pods.
    #[arg(long)]
    pod_logs: Option<PathBuf>,
    /// Where to write kubeconfig, kubeconfigs/USER, ca.crt and url.
    #[arg(long)]
    state: PathBuf,
    /// Seconds between bookmarks of a watch.
    #[arg(long, default_value_t = 5.0)]
    bookmark_interval: f64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let mut options = Options { listen: arguments.listen, pod_logs: arguments.pod_logs, ..Options::default() };
    options.bookmark_interval = Duration::try_from_secs_f64(arguments.bookmark_interval).context("--bookmark-interval is no time")?;
    for path in &arguments.objects {
        options.objects.extend(objects_at(path)?);
    }
    if let Some(path) = &arguments.users {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        options.users = serde_yaml_ng::from_str(&text).with_context(|| format!("cannot parse `{}`", path.display()))?;
    }
    let server = FakeKube::start(options).await?;
    server.write_state(&arguments.state)?;
    for object in server.left_out() {
        println!("left out: {object}");
    }
    println!("ready at {}", server.url());
    std::future::pending().await
}
