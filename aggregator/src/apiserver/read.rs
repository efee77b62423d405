//! One read: who, whether they may, and on to the aggregator.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::connect_info::ConnectInfo;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tailwater_engine::access::AllowedNamespaces;
use tokio::sync::watch;

use crate::access::AccessRefused;
use crate::access::allowed::AllowedClaim;
use crate::access::authorizer::{Authorizer, covers};
use crate::access::identity::Identity;
use crate::access::question::Question;
use crate::access::signature::{AccessSigner, Claim};
use crate::apiserver::audit::Audit;
use crate::apiserver::events::{Events, EventsQuestion};
use crate::apiserver::forward::{Passed, Upstream};
use crate::apiserver::front_proxy::FrontProxy;
use crate::apiserver::live_log::StillHolds;
use crate::apiserver::pod_log::{PodLog, PodLogQuestion};
use crate::apiserver::pod_watch::{PodWatch, WatchQuestion};
use crate::apiserver::pods::{Pods, PodsQuestion};
use crate::apiserver::shape::Shape;
use crate::apiserver::status::Refused;
use crate::apiserver::target::{Kind, Target};
use crate::apiserver::{discovery, follow, identity};
use crate::clock::Clock;
use crate::http::form::{Form, MAX_FORM_BYTES};
use crate::tls::Peer;

/// What reads work with. Cheap to clone.
#[derive(Clone)]
pub(super) struct ReadState {
    pub(super) authorizer: Authorizer,
    pub(super) signer: watch::Receiver<Option<AccessSigner>>,
    pub(super) front_proxy: watch::Receiver<Option<FrontProxy>>,
    pub(super) upstream: Upstream,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) is_audited: bool,
}

/// Everything there is.
pub(super) fn router(state: ReadState) -> Router {
    let reading = Router::new().route("/readyz", get(ready)).fallback(read).with_state(state);
    discovery::routes().merge(reading)
}

/// Before the front proxy is known, nobody who comes through it could be told from anybody else.
async fn ready(State(state): State<ReadState>) -> (StatusCode, &'static str) {
    match state.front_proxy.borrow().is_some() {
        true => (StatusCode::OK, "ok"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "the front proxy's certificate is not known yet"),
    }
}

async fn read(State(state): State<ReadState>, ConnectInfo(peer): ConnectInfo<Peer>, request: Request) -> Response {
    let Some(target) = Target::of(request.uri().path()) else { return Refused::NotFound.into_response() };
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_FORM_BYTES).await else { return Refused::TooLarge { limit: MAX_FORM_BYTES }.into_response() };
    let asked = String::from_utf8_lossy(&body);
    let mut audit = Audit::new(state.is_audited, &target, &format!("{}\n{asked}", parts.uri.query().unwrap_or_default()));
    drop(asked);
    match state.answer(&peer, &target, parts, body, &mut audit).await {
        Ok(response) => response,
        Err(refused) => {
            audit.write(refused.decision(), 0, 0);
            refused.into_response()
        }
    }
}

/// Who reads, what, and what of it.
#[derive(Debug, Clone)]
struct Reading {
    identity: Arc<Identity>,
    target: Target,
    /// `None` if no endpoint could make sense of it.
    question: Option<Question>,
}

impl Reading {
    /// The one pod that is asked about, if it is one.
    fn pod(&self) -> Option<&str> {
        match &self.target.kind {
            Kind::PodLog { pod } | Kind::Pod { pod } => Some(pod),
            Kind::Events => None,
            Kind::Endpoint | Kind::Tail | Kind::Pods => self.question.as_ref().and_then(Question::named_pod),
        }
    }
}

impl ReadState {
    async fn answer(&self, peer: &Peer, target: &Target, parts: Parts, body: Bytes, audit: &mut Audit) -> Result<Response, Refused> {
        if !matches!(parts.method, Method::GET | Method::POST) {
            return Err(Refused::Method);
        }
        let front_proxy = self.front_proxy.borrow().clone();
        let identity = identity::identify(peer, front_proxy.as_ref(), &parts.headers, &self.authorizer).await?;
        audit.by(&identity.user);
        let now = self.clock.now();
        let form = Form::new(&parts.headers, parts.uri.query(), &body);
        let asked = Asked::of(target, &form, now)?;
        let question = match asked.selector() {
            Some(selector) => of_selector(&selector, now),
            None => Question::of(&parts.headers, parts.uri.query(), &body, now),
        };
        let reading = Reading { identity, target: target.clone(), question };
        let allowed = self.allowed(&reading).await?;
        let signer = self.signer.borrow().clone();
        let signer = signer.ok_or_else(|| Refused::Unavailable { reason: "the store's key is not known yet".to_owned() })?;
        let (audit, namespaces) = (audit.clone(), count(&allowed));
        let done = move |bytes| audit.write("allowed", namespaces, bytes);
        let (claim, clock) = (Claim::Allowed(AllowedClaim::from(&allowed)), self.clock.clone());
        let sign = move || signer.sign(claim.clone(), clock.now());
        let upstream = self.upstream.clone();
        match asked {
            Asked::Endpoint => {
                let (path, query, headers) = (target.path.as_str(), parts.uri.query(), &parts.headers);
                let passed = Passed { method: parts.method, path, query, headers, body, access: sign() };
                upstream.pass(passed, done).await
            }
            Asked::Tail => self.follow(reading, allowed, parts, sign(), done).await,
            Asked::PodLog(question) => {
                let still_holds = Some(self.looks(reading, allowed));
                PodLog { upstream, question, sign, still_holds }.answer(done).await
            }
            Asked::Objects(_) if parts.method != Method::GET => Err(Refused::Method),
            Asked::Objects(objects) => {
                let shape = Shape::wanted(&parts.headers, form.get("includeObject")).map_err(|text| Refused::BadRequest { text })?;
                let document = match objects {
                    Objects::Events(question) => Events { upstream, question, sign }.page().await?.document(shape),
                    Objects::Watch(question, watch) => {
                        let (pods, clock, still_holds) =
                            (Pods { upstream, question, sign }, self.clock.clone(), self.looks(reading, allowed));
                        return PodWatch { pods, question: watch, shape, clock, still_holds }.answer(done).await;
                    }
                    Objects::Pods(question) => shape.list(&Pods { upstream, question, sign }.page().await?),
                    Objects::Pod(pod, question) => {
                        let page = Pods { upstream, question, sign }.page().await?;
                        shape.one(page.pods.first().ok_or(Refused::NoPod { name: pod })?, page.version)
                    }
                };
                let text = document.to_string();
                done(text.len() as u64);
                Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
            }
        }
    }

    /// Asks whether a right still holds.
    fn looks(&self, reading: Reading, allowed: AllowedNamespaces) -> StillHolds {
        let asked = Arc::new((self.clone(), reading, allowed));
        Box::new(move || {
            let asked = Arc::clone(&asked);
            Box::pin(async move {
                let (state, reading, allowed) = &*asked;
                state.still_holds(reading, allowed).await
            })
        })
    }

    /// What the answer is to be kept within.
    async fn allowed(&self, reading: &Reading) -> Result<AllowedNamespaces, AccessRefused> {
        let Reading { identity, target, question } = reading;
        match (&target.namespace, question) {
            (Some(namespace), _) => self.authorizer.allowed_within(identity, namespace, reading.pod()).await,
            (None, Some(question)) => self.authorizer.allowed(identity, question, None).await,
            // The aggregator has its own words for it.
            (None, None) => Ok(AllowedNamespaces::Only(BTreeMap::new())),
        }
    }

    /// Whether all of it still is allowed.
    async fn still_holds(&self, reading: &Reading, then: &AllowedNamespaces) -> bool {
        let Reading { identity, target, question } = reading;
        let now = match (&target.namespace, question) {
            (Some(namespace), _) => self.authorizer.allowed_within_still(identity, namespace, reading.pod()).await,
            (None, Some(question)) => self.authorizer.allowed_still(identity, question).await,
            (None, None) => return true,
        };
        now.is_ok_and(|now| covers(&now, then))
    }

    async fn follow(
        &self,
        reading: Reading,
        allowed: AllowedNamespaces,
        mut parts: Parts,
        access: HeaderValue,
        done: impl FnOnce(u64) + Send + 'static,
    ) -> Result<Response, Refused> {
        let headers = self.upstream.headers(&parts.headers, access);
        let url = self.upstream.url(&reading.target.path, parts.uri.query());
        let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, self).await;
        let upgrade = upgrade.map_err(|_| Refused::BadRequest { text: "a tail is followed over a WebSocket".to_owned() })?;
        let following = follow::open(&url, headers).await?;
        let state = self.clone();
        Ok(upgrade.on_upgrade(move |socket| async move {
            done(follow::pass(socket, following, || state.still_holds(&reading, &allowed)).await);
        }))
    }
}

/// What is asked of a target.
enum Asked {
    Endpoint,
    Tail,
    PodLog(PodLogQuestion),
    Objects(Objects),
}

/// What is answered as objects of Kubernetes.
enum Objects {
    Pods(PodsQuestion),
    /// The newest of a name.
    Pod(String, PodsQuestion),
    Watch(PodsQuestion, WatchQuestion),
    Events(EventsQuestion),
}

impl Asked {
    fn of(target: &Target, form: &Form, now: i64) -> Result<Self, Refused> {
        let namespace = target.namespace.as_deref();
        let bad = |text| Refused::BadRequest { text };
        let objects = match &target.kind {
            Kind::Endpoint => return Ok(Self::Endpoint),
            Kind::Tail => return Ok(Self::Tail),
            Kind::PodLog { pod } => {
                return PodLogQuestion::of(form, namespace.unwrap_or_default(), pod, now).map(Self::PodLog).map_err(bad);
            }
            Kind::Events => Objects::Events(EventsQuestion::of(form, namespace, now).map_err(bad)?),
            Kind::Pod { pod } => Objects::Pod(pod.clone(), PodsQuestion::of(form, namespace, Some(pod), now).map_err(bad)?),
            Kind::Pods => {
                let question = PodsQuestion::of(form, namespace, None, now).map_err(bad)?;
                match WatchQuestion::of(form).map_err(bad)? {
                    Some(watch) => Objects::Watch(question, watch),
                    // No list of a former state is kept.
                    None if form.get("resourceVersionMatch") == "Exact" => return Err(Refused::Expired),
                    None => Objects::Pods(question),
                }
            }
        };
        Ok(Self::Objects(objects))
    }

    /// The streams that are asked for, where it is not the parameters that say it.
    fn selector(&self) -> Option<String> {
        match self {
            Self::Objects(Objects::Pods(question) | Objects::Pod(_, question) | Objects::Watch(question, _)) => Some(question.selector()),
            Self::Objects(Objects::Events(question)) => Some(question.selector()),
            Self::Endpoint | Self::Tail | Self::PodLog(_) => None,
        }
    }
}

/// What streams of a selector can touch, at any time.
fn of_selector(selector: &str, now: i64) -> Option<Question> {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("query", selector).append_pair("start", "0").finish();
    Question::of(&HeaderMap::new(), Some(&query), &Bytes::new(), now)
}

/// Namespaces of an allowed set; 0: all there are.
fn count(allowed: &AllowedNamespaces) -> usize {
    match allowed {
        AllowedNamespaces::All => 0,
        AllowedNamespaces::Only(grants) => grants.len(),
    }
}
