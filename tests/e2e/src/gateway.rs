//! nginx with the configuration that ships, made from its template.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::api::{Api, get_text};
use crate::deadline::eventually;
use crate::ports;
use crate::process::{Invocation, Process};
use crate::programs;

const START_LIMIT: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct Gateway {
    process: Process,
    port: u16,
}

/// Values of the template's variables.
#[derive(Debug, Clone)]
pub struct GatewayVariables {
    pub listen: String,
    pub listen_ipv6: String,
    pub aggregator: String,
    pub resolver: String,
    pub resolve: String,
    pub max_body: String,
    pub log_all: String,
    pub tmp: PathBuf,
}

impl GatewayVariables {
    /// As on the test machine: one address, every request logged.
    pub fn new(port: u16, aggregator: &str, tmp: &Path) -> Self {
        Self {
            listen: format!("127.0.0.1:{port}"),
            listen_ipv6: String::new(),
            aggregator: aggregator.to_owned(),
            resolver: String::new(),
            resolve: String::new(),
            max_body: "16m".to_owned(),
            log_all: "1".to_owned(),
            tmp: tmp.to_owned(),
        }
    }

    /// The template with these values in it; none of its variables may be left.
    pub fn render(&self) -> Result<String> {
        let path = programs::repository().join("deploy/gateway/nginx.conf.template");
        let mut text = fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
        let tmp = self.tmp.display().to_string();
        let nothing = String::new();
        for (name, value) in [
            ("GATEWAY_LISTEN_IPV6", &self.listen_ipv6),
            ("GATEWAY_LISTEN", &self.listen),
            ("GATEWAY_AGGREGATOR", &self.aggregator),
            ("GATEWAY_SCHEME", &"http".to_owned()),
            ("GATEWAY_RESOLVER", &self.resolver),
            ("GATEWAY_RESOLVE", &self.resolve),
            ("GATEWAY_MAX_BODY", &self.max_body),
            ("GATEWAY_LOG_ALL", &self.log_all),
            ("GATEWAY_TMP", &tmp),
            ("GATEWAY_HTTP", &nothing),
            ("GATEWAY_SERVER", &nothing),
            ("GATEWAY_TENANT", &nothing),
            ("GATEWAY_PUSH", &nothing),
            ("GATEWAY_READ", &nothing),
            ("GATEWAY_ACCESS", &"\"\"".to_owned()),
            ("GATEWAY_LOCATION", &nothing),
        ] {
            let variable = format!("${{{name}}}");
            ensure!(text.contains(&variable), "the template has no {variable}");
            text = text.replace(&variable, value);
        }
        ensure!(!text.contains("${"), "the template has a variable that nobody sets");
        Ok(text)
    }
}

impl Gateway {
    /// In front of the aggregator at `aggregator` (`host:port`).
    pub async fn start(folder: &Path, aggregator: &str) -> Result<Self> {
        let port = ports::free()?;
        let tmp = folder.join("gateway");
        fs::create_dir_all(&tmp)?;
        Self::start_with(folder, port, &GatewayVariables::new(port, aggregator, &tmp)).await
    }

    pub async fn start_with(folder: &Path, port: u16, variables: &GatewayVariables) -> Result<Self> {
        let configuration = folder.join("nginx.conf");
        fs::write(&configuration, variables.render()?)?;
        require_valid(&configuration)?;
        let program = programs::in_path("nginx")?;
        let file = configuration.display().to_string();
        let process = Process::start("nginx", &Invocation::new(program, ["-c", &file, "-g", "daemon off;"]), folder)?;
        let mut gateway = Self { process, port };
        let url = format!("http://127.0.0.1:{port}/");
        let answers = eventually("the gateway answers", START_LIMIT, || get_text(&url)).await;
        gateway.process.require_running()?;
        ensure!(answers? == "OK\n", "the gateway's `/` does not say OK");
        Ok(gateway)
    }

    pub fn api(&self) -> Result<Api> {
        Api::new(&format!("http://{}", self.address()))
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Access and error log.
    pub fn log(&self) -> String {
        self.process.errors()
    }
}

/// `nginx -t`
fn require_valid(configuration: &Path) -> Result<()> {
    let checked = Command::new(programs::in_path("nginx")?).args(["-t", "-c"]).arg(configuration).output().context("cannot run nginx")?;
    ensure!(checked.status.success(), "nginx refuses the configuration: {}", String::from_utf8_lossy(&checked.stderr));
    Ok(())
}
