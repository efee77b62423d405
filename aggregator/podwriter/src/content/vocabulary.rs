//! The words lines are made of. Needles are built from words that do not stand here.

pub(super) const PATHS: &[&str] = &[
    "/api/v1/orders",
    "/api/v1/orders/search",
    "/api/v1/basket",
    "/api/v1/customers",
    "/api/v2/prices",
    "/api/v2/stock",
    "/checkout/confirm",
    "/login",
    "/logout",
    "/assets/app.4f1c9e.js",
    "/assets/theme.77ab01.css",
    "/images/banner.webp",
    "/healthz",
    "/metrics",
    "/graphql",
    "/",
];
pub(super) const METHODS: &[&str] = &["GET", "GET", "GET", "GET", "GET", "POST", "POST", "PUT", "PATCH", "DELETE"];
pub(super) const AGENTS: &[&str] = &[
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.4 Safari/605.1.15",
    "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/137.0.0.0 Mobile Safari/537.36",
    "kube-probe/1.33",
    "curl/8.14.1",
    "Go-http-client/2.0",
    "python-requests/2.32.4",
];
pub(super) const NOUNS: &[&str] = &[
    "order",
    "basket",
    "payment",
    "refund",
    "invoice",
    "customer",
    "session",
    "voucher",
    "shipment",
    "parcel",
    "price list",
    "stock level",
    "mail",
    "webhook",
    "address",
    "subscription",
];
pub(super) const VERBS: &[&str] = &[
    "accepted",
    "created",
    "updated",
    "cancelled",
    "reserved",
    "released",
    "confirmed",
    "queued",
    "delivered",
    "archived",
    "validated",
    "looked up",
];
pub(super) const FAULTS: &[&str] = &[
    "connection refused",
    "context deadline exceeded",
    "unexpected end of file",
    "too many open connections",
    "broken pipe",
    "no such host",
    "certificate has expired",
    "lock wait timeout exceeded",
];
/// Not all of it ASCII, for whatever counts bytes where it should count characters.
pub(super) const CITIES: &[&str] = &["Berlin", "Zürich", "São Paulo", "Århus", "東京", "Łódź", "Lyon", "Leeds"];
pub(super) const COMPONENTS: &[&str] = &["compactor", "scraper", "rule-engine", "remote-write", "index", "gateway", "scheduler"];
pub(super) const CLASSES: &[&str] =
    &["OrderService", "LedgerRepository", "PaymentGateway", "InvoiceRenderer", "AccountController", "RetryTemplate", "TaxCalculator"];
pub(super) const JAVA_METHODS: &[&str] = &["post", "load", "findAll", "execute", "lambda$render$3", "doFilter", "invoke", "retry"];
pub(super) const EXCEPTIONS: &[&str] = &[
    "java.lang.IllegalStateException",
    "java.net.SocketTimeoutException",
    "java.sql.SQLTransientConnectionException",
    "com.example.ledger.BalanceMismatchException",
    "java.util.concurrent.TimeoutException",
];
pub(super) const SOURCES: &[&str] = &["reconciler.go", "proxier.go", "kubelet.go", "scheduler.go", "leaderelection.go", "garbage.go"];
pub(super) const EVENTS: &[&str] = &[
    "Started container",
    "Syncing iptables rules",
    "Successfully bound pod to node",
    "Observed pod startup duration",
    "Probe failed",
    "Renewed lease",
    "Removed orphaned volume",
];
