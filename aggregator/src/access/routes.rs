//! What each route asks of who calls it. A route that is not listed is closed to all but those who may read everything.

/// What a route asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteNeeds {
    /// Nothing: it tells nothing of what is stored, or decides by itself.
    Nothing,
    /// To be known, no more: it tells what is the same for everybody of a tenant.
    Identity,
    /// Rights to what the parameters ask for.
    Logs,
    /// The same, for as long as the connection lasts.
    LiveLogs,
    /// The right to everything.
    Everything,
}

const NOTHING: [&str; 15] = [
    // Probes, scrapes, and what says no more than which program this is.
    "/ready",
    "/live",
    "/metrics",
    "/loki/api/v1/status/buildinfo",
    "/loki/api/v1/format_query",
    // It looks at the token itself.
    "/internal/authz",
    // Writing is decided about before it gets here.
    "/loki/api/v1/push",
    "/api/prom/push",
    "/otlp/v1/logs",
    // What a pod's hooks call. They store what waits and tell nothing; gateways do not pass them on.
    "/flush",
    "/ingester/flush_shutdown",
    "/ingester/shutdown",
    "/ingester/prepare_shutdown",
    "/loki/api/v1/cache/generation_numbers",
    "/services",
];

const IDENTITY: [&str; 10] = [
    "/config/tenant/v1/limits",
    "/loki/api/v1/drilldown-limits",
    "/prometheus/api/v1/rules",
    "/prometheus/api/v1/alerts",
    "/loki/api/v1/rules",
    "/loki/api/v1/rules/{namespace}",
    "/loki/api/v1/rules/{namespace}/{group}",
    "/api/prom/rules",
    "/api/prom/rules/{namespace}",
    "/api/prom/rules/{namespace}/{group}",
];

const LOGS: [&str; 18] = [
    "/loki/api/v1/query",
    "/loki/api/v1/query_range",
    "/api/prom/query",
    "/loki/api/v1/labels",
    "/loki/api/v1/label",
    "/api/prom/label",
    "/loki/api/v1/label/{name}/values",
    "/api/prom/label/{name}/values",
    "/loki/api/v1/series",
    "/api/prom/series",
    "/loki/api/v1/index/stats",
    "/loki/api/v1/index/shards",
    "/loki/api/v1/index/volume",
    "/loki/api/v1/index/volume_range",
    "/loki/api/v1/patterns",
    "/loki/api/v1/detected_fields",
    "/loki/api/v1/detected_field/{name}/values",
    "/loki/api/v1/detected_labels",
];

const LIVE_LOGS: [&str; 2] = ["/loki/api/v1/tail", "/api/prom/tail"];

impl RouteNeeds {
    /// By the pattern of a route.
    pub fn of(route: &str) -> Self {
        for (routes, needs) in
            [(&NOTHING[..], Self::Nothing), (&IDENTITY, Self::Identity), (&LOGS, Self::Logs), (&LIVE_LOGS, Self::LiveLogs)]
        {
            if routes.contains(&route) {
                return needs;
            }
        }
        Self::Everything
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_listed_is_closed() {
        assert_eq!(RouteNeeds::of("/loki/api/v1/query"), RouteNeeds::Logs);
        assert_eq!(RouteNeeds::of("/loki/api/v1/label/{name}/values"), RouteNeeds::Logs);
        assert_eq!(RouteNeeds::of("/ready"), RouteNeeds::Nothing);
        for route in ["/loki/api/v1/delete", "/config", "/log_level", "/loki/api/v1/query/", "/brand/new"] {
            assert_eq!(RouteNeeds::of(route), RouteNeeds::Everything, "{route}");
        }
    }
}
