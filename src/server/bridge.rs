//! Between the gate's words and the proxy's: which rules are in force, and where a route leads.
//!
//! Law: what belongs together (rules, routes, upstreams) is one value that is swapped whole, so a
//! request sees one configuration from its head to its last byte.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::http::HeaderValue;
use arc_swap::ArcSwap;
use async_trait::async_trait;

use super::StartError;
use crate::config::{Config, Route, UpstreamHost};
use crate::gate::body::BodySource;
use crate::gate::head::{EdgeRules, Kind, RequestHead};
use crate::gate::target::{Doubtful, TargetRules};
use crate::gate::{CanonicalTarget, Flaw, Rejection};
use crate::metrics::{Metrics, RouteMetrics};
use crate::policy::{Allow, Found, Table, table::Entry};
use crate::proxy::upstream::{Tls, Upstream, watch_over};
use crate::proxy::{Credential, Decide, Decision, Forward, Until, foreign_cookies};
use crate::tasks::Tasks;

/// One configuration, ready to decide with.
pub(super) struct World {
    rules: Arc<EdgeRules>,
    upstreams: BTreeMap<String, Arc<Upstream>>,
    routes: Table<Ready>,
}

/// A route with everything resolved that can be.
struct Ready {
    route: Route,
    name: Arc<str>,
    metrics: Arc<RouteMetrics>,
    upstream: Arc<Upstream>,
}

impl World {
    /// Makes a world; upstreams that did not change keep their connections and what is known of
    /// their servers.
    pub(super) async fn new(
        config: &Config,
        before: Option<&Self>,
        metrics: &Metrics,
        tasks: &Tasks,
    ) -> Result<Self, StartError> {
        let listen = Arc::new(config.listen.clone());
        let mut upstreams = BTreeMap::new();
        for (name, plan) in &config.upstreams {
            let old = before.and_then(|world| world.upstreams.get(name)).filter(|old| old.plan() == plan);
            if let Some(old) = old {
                upstreams.insert(name.clone(), Arc::clone(old));
                continue;
            }
            let tls = plan.tls.as_ref().map(Tls::load).transpose();
            let tls = tls.map_err(|cause| StartError::Upstream { name: name.clone(), cause })?;
            let made = Upstream::new(plan.clone(), tls, metrics.upstream(name));
            watch_over(&made, &listen, tasks).await;
            upstreams.insert(name.clone(), made);
        }
        let entries = config.routes.iter().filter_map(|route| {
            let upstream = Arc::clone(upstreams.get(&route.upstream)?);
            let ready = Ready {
                name: route.name.as_str().into(),
                metrics: metrics.route(&route.name),
                upstream,
                route: route.clone(),
            };
            let (host, pattern, methods) = (route.host.clone(), route.path.clone(), route.methods);
            Some(Entry { host, pattern, methods, value: ready })
        });
        let routes = Table::build(entries).map_err(|_| StartError::Routes)?;
        Ok(Self { rules: Arc::new(rules(config)), upstreams, routes })
    }
}

/// What the edge demands; spellings that any route lets through pass it, and are judged again by
/// the route that is found.
fn rules(config: &Config) -> EdgeRules {
    let any = |wants: fn(&Route) -> bool| {
        if config.routes.iter().any(wants) { Doubtful::Keep } else { Doubtful::Refuse }
    };
    let head = &config.limits.head;
    let length = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    EdgeRules {
        hosts: config.listen.hosts.clone(),
        trusted_proxies: config.listen.trusted_proxies.clone(),
        target: TargetRules {
            encoded_slash: any(|route| route.target.encoded_slash),
            params: any(|route| route.target.params),
            max: length(head.target),
        },
        head_max: length(head.bytes),
        fields_max: length(head.fields.into()),
    }
}

/// The gate as the proxy asks it.
pub(super) struct Bridge {
    pub(super) world: ArcSwap<World>,
}

#[async_trait]
impl Decide for Bridge {
    fn rules(&self) -> Arc<EdgeRules> {
        Arc::clone(&self.world.load().rules)
    }

    async fn decide(&self, head: &RequestHead, _body: &mut dyn BodySource) -> Decision {
        let world = self.world.load_full();
        match world.routes.find(head.authority.host(), head.target.path(), &head.method) {
            Found::Nothing => Decision::Reject(Rejection::NoRoute),
            Found::WrongMethod(methods) => {
                let names: Vec<_> = methods.names().collect();
                let allow = HeaderValue::try_from(names.join(", ")).unwrap_or(HeaderValue::from_static(""));
                Decision::Reject(Rejection::MethodNotAllowed { allow })
            }
            Found::Entry(ready, _) if ready.route.allow != Allow::Anyone => {
                Decision::Reject(Rejection::CredentialMissing)
            }
            Found::Entry(ready, _) => match forward(ready, head, &world.rules) {
                Ok(forward) => Decision::Forward(Box::new(forward)),
                Err(rejection) => Decision::Reject(rejection),
            },
        }
    }
}

fn forward(ready: &Ready, head: &RequestHead, rules: &EdgeRules) -> Result<Forward, Rejection> {
    let own = ready.route.target;
    let keep = |is_kept: bool| if is_kept { Doubtful::Keep } else { Doubtful::Refuse };
    let target_rules = TargetRules {
        encoded_slash: keep(own.encoded_slash),
        params: keep(own.params),
        max: rules.target.max,
    };
    if !head.target.fits(target_rules) {
        return Err(Rejection::Malformed(Flaw::Target));
    }
    if head.kind == Kind::WebSocket && !ready.route.websocket {
        return Err(Rejection::Malformed(Flaw::Upgrade));
    }
    Ok(Forward {
        route: Arc::clone(&ready.metrics),
        route_name: Arc::clone(&ready.name),
        upstream: Arc::clone(&ready.upstream),
        target: rewritten(&ready.route, &head.target, target_rules)?,
        host: host(ready, head),
        stamps: Vec::new(),
        authorization: if ready.route.forward_authorization {
            Credential::Forwarded
        } else {
            Credential::Dropped
        },
        cookie: head.presented.cookie.as_ref().and_then(foreign_cookies),
        body_max: ready.route.body,
        timeouts: ready.route.timeouts,
        answer: Vec::new(),
        answer_without: Vec::new(),
        until: Until::default(),
        subject: None,
    })
}

/// The path as the upstream gets it: read again as strictly as a client's.
fn rewritten(
    route: &Route,
    target: &CanonicalTarget,
    rules: TargetRules,
) -> Result<CanonicalTarget, Rejection> {
    let Some(rewrite) = &route.rewrite else { return Ok(target.clone()) };
    let path = target.path();
    let rest =
        rewrite.strip_prefix.as_deref().map_or(path, |prefix| path.strip_prefix(prefix).unwrap_or(path));
    let path = format!("{}{}", rewrite.add_prefix.as_deref().unwrap_or_default(), rest);
    let path = if path.starts_with('/') { path } else { format!("/{path}") };
    target.with_path(&path, rules).map_err(|_| Rejection::Malformed(Flaw::Target))
}

fn host(ready: &Ready, head: &RequestHead) -> Option<HeaderValue> {
    let own = ready.route.rewrite.as_ref().and_then(|rewrite| rewrite.host.as_ref());
    match (own, &ready.upstream.plan().host) {
        (Some(name), _) | (None, UpstreamHost::Name(name)) => HeaderValue::try_from(name.as_str()).ok(),
        (None, UpstreamHost::Keep) => Some(head.authority.value().clone()),
        (None, UpstreamHost::Server) => None,
    }
}
