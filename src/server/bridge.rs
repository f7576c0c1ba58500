//! Between the gate's words and the proxy's: the rules in force, and where a permit leads.
//!
//! Law: nothing is decided here. What the gate permitted is looked up and handed on; what it
//! refused never becomes anything else.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use ::http::HeaderValue;
use arc_swap::ArcSwap;
use async_trait::async_trait;
use futures::future::join_all;

use super::StartError;
use crate::app::{App, Signal};
use crate::approval::Approval;
use crate::base::Id;
use crate::config::{self, Config, UpstreamHost};
use crate::gate::body::BodySource;
use crate::gate::head::{Kind, RequestHead};
use crate::gate::request_id::RequestId;
use crate::gate::rules::{EdgeRules, Hardening};
use crate::gate::target::{Doubtful, TargetRules};
use crate::gate::{self, Admitted, Errand, Gate, Kept, Permit, Rejection, Standing, Verdict, admit};
use crate::metrics::Metrics;
use crate::proxy::upstream::{Lookup, Names, Tls, Upstream, watch_over};
use crate::proxy::{Decide, Decided, Decision, Forward, Found, Held, Subject, Until, foreign_cookies};
use crate::tasks::Tasks;

/// A request that is over by then needs no watching.
const WATCH_AFTER: Duration = Duration::from_secs(1);

/// For a request that a configuration before decides, until its upstream is looked up.
const DECIDED_WITHIN: Duration = Duration::from_secs(1);

/// The upstreams of a configuration by name, and the rules of its edge.
#[derive(Clone)]
pub(super) struct Reach {
    config: Arc<Config>,
    rules: Arc<EdgeRules>,
    upstreams: BTreeMap<String, Arc<Upstream>>,
    /// Of the configuration before, while some requests may still be decided by it.
    former: Option<Arc<Self>>,
}

impl Reach {
    /// Makes the upstreams of a configuration; those that did not change keep their connections
    /// and what is known of their servers.
    pub(super) async fn new(
        config: &Arc<Config>,
        before: Option<&Self>,
        names: &Arc<dyn Names>,
        metrics: &Metrics,
        tasks: &Tasks,
    ) -> Result<Self, StartError> {
        let lookup = Lookup { names: Arc::clone(names), listen: Arc::new(config.listen.clone()) };
        let mut upstreams = BTreeMap::new();
        let mut fresh = Vec::new();
        for (name, plan) in &config.upstreams {
            let tls = plan.tls.as_ref().map(Tls::load).transpose();
            let tls = tls.map_err(|cause| StartError::Upstream { name: name.clone(), cause })?;
            let old = before.and_then(|reach| reach.upstreams.get(name));
            if let Some(old) = old.filter(|old| old.is_as(plan, tls.as_ref())) {
                upstreams.insert(name.clone(), Arc::clone(old));
                continue;
            }
            let made = Upstream::new(plan.clone(), tls, metrics.upstream(name));
            fresh.push(Arc::clone(&made));
            upstreams.insert(name.clone(), made);
        }
        join_all(fresh.iter().map(|upstream| watch_over(upstream, &lookup, tasks))).await;
        Ok(Self { config: Arc::clone(config), rules: Arc::new(rules(config)), upstreams, former: None })
    }

    /// Lets metrics show its upstreams, or no more: others may have their names.
    pub(super) fn shows(&self, is_shown: bool) {
        for upstream in self.upstreams.values() {
            upstream.shows(is_shown);
        }
    }

    /// The same, and behind it what was in force before.
    pub(super) fn after(&self, before: &Self) -> Self {
        Self { former: Some(Arc::new(before.alone())), ..self.clone() }
    }

    /// The same without what was before.
    pub(super) fn alone(&self) -> Self {
        Self { former: None, ..self.clone() }
    }

    /// Where requests go that were decided by this configuration: what one permits never goes to an
    /// upstream that another one has under the same name.
    fn upstream(&self, config: &Arc<Config>, name: &str) -> Option<&Arc<Upstream>> {
        let mut known = [Some(self), self.former.as_deref()].into_iter().flatten();
        if let Some(reach) = known.find(|reach| Arc::ptr_eq(&reach.config, config)) {
            return reach.upstreams.get(name);
        }
        // One of longer ago is good for what has not changed since.
        let plan = config.upstreams.get(name)?;
        self.upstreams.get(name).filter(|upstream| upstream.plan() == plan)
    }
}

/// What the edge demands; spellings that any route lets through pass it, and are judged again by
/// the route that is found.
pub fn rules(config: &Config) -> EdgeRules {
    let any = |wants: fn(&config::Route) -> bool| {
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
        hardening: if config.security_headers { Hardening::On } else { Hardening::Off },
    }
}

/// The gate as the proxy asks it.
pub(super) struct Bridge {
    pub(super) app: Arc<App>,
    pub(super) gate: Arc<Gate>,
    pub(super) reach: Arc<InForce>,
}

/// Where the configuration in force leads.
pub(super) struct InForce(ArcSwap<Reach>);

impl InForce {
    pub(super) fn new(reach: Reach) -> Arc<Self> {
        Arc::new(Self(ArcSwap::from_pointee(reach)))
    }

    /// Puts this in force.
    pub(super) fn turn(&self, reach: Reach) -> Arc<Reach> {
        let reach = Arc::new(reach);
        self.0.store(Arc::clone(&reach));
        reach
    }

    /// Lets the upstreams of the configuration before go once no request is decided by it any more.
    pub(super) fn forget_former(self: &Arc<Self>, both: Arc<Reach>, tasks: &Tasks) {
        let (this, mut stopping) = (Arc::clone(self), tasks.stopping());
        tasks.spawn("former upstreams", async move {
            tokio::select! {
                () = stopping.wait() => {}
                () = tokio::time::sleep(DECIDED_WITHIN) => {}
            }
            // Another reload may have been quicker.
            drop(this.0.compare_and_swap(&both, Arc::new(both.alone())));
        });
    }
}

impl Deref for InForce {
    type Target = ArcSwap<Reach>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl gate::Reach for InForce {
    /// One that is gone is the gate's to judge.
    fn has_somebody(&self, upstream: &str) -> bool {
        self.0.load().upstreams.get(upstream).is_none_or(|upstream| upstream.has_somebody())
    }
}

#[async_trait]
impl Decide for Bridge {
    fn rules(&self) -> Arc<EdgeRules> {
        Arc::clone(&self.reach.load().rules)
    }

    async fn decide(&self, head: &RequestHead, body: &mut dyn BodySource) -> Decided {
        let decision = admit(&self.gate, head, body).await;
        self.decided(decision, head)
    }

    async fn decide_errand(&self, approval: &Approval, id: RequestId) -> Option<(Box<RequestHead>, Decided)> {
        // Nothing is paid for and nothing taken where nobody can be asked.
        if !self.can_be_sent(approval) {
            return None;
        }
        let rules = self.rules();
        let Errand { head, decision } = gate::errand(&self.gate, approval, &rules, id).await?;
        let decided = self.decided(decision, &head);
        Some((head, decided))
    }
}

impl Bridge {
    /// Whether somebody can be asked where this leads.
    fn can_be_sent(&self, approval: &Approval) -> bool {
        let config = self.app.config();
        let route = config.routes.iter().find(|route| route.name == approval.route);
        route.is_none_or(|route| gate::Reach::has_somebody(&*self.reach, &route.upstream))
    }

    fn decided(&self, decision: gate::Decision, head: &RequestHead) -> Decided {
        let gate::Decision { verdict, route, answer, answer_without } = decision;
        let found = match (route, &verdict) {
            (Some(route), _) => Found::Route(route),
            (None, Verdict::Answer(_)) => Found::BuiltIn,
            (None, _) => Found::Nothing,
        };
        let decision = match verdict {
            Verdict::Forward(admitted) => match self.forward(*admitted, head) {
                Ok(forward) => Decision::Forward(Box::new(forward)),
                Err(rejection) => Decision::Reject(rejection),
            },
            Verdict::Answer(reply) => Decision::Answer(reply),
            Verdict::Reject(rejection) => Decision::Reject(rejection),
        };
        Decided { decision, found, answer, answer_without }
    }

    fn forward(&self, admitted: Admitted, head: &RequestHead) -> Result<Forward, Rejection> {
        let Admitted { permit, target, stamps, authorization, has_failures, spent, kept } = admitted;
        let rule = &permit.route().rule;
        let reach = self.reach.load();
        let upstream = reach.upstream(&permit.world().config, &rule.upstream);
        let upstream = upstream.ok_or(Rejection::UpstreamUnavailable)?;
        let (claim, held) = match kept.map(|kept| *kept) {
            Some(Kept { claim, headers, body, .. }) => (Some(claim), Some(Held { headers, body })),
            None => (None, None),
        };
        // What people have approved has no cookie.
        let cookie = head.presented.cookie.as_ref().filter(|_| held.is_none());
        Ok(Forward {
            upstream: Arc::clone(upstream),
            target,
            host: host(rule, upstream, head),
            stamps,
            authorization,
            cookie: cookie.and_then(foreign_cookies),
            held,
            body_max: rule.body,
            redaction: permit.redaction().cloned(),
            timeouts: rule.timeouts,
            until: self.until(&permit, head),
            shadow: permit.shadow(),
            subject: permit.session().map(|session| subject(session, permit.agent())),
            watch: permit.watch(&self.gate, has_failures, spent, claim),
        })
    }

    /// Ends with the session, however that ends, or when the request would no longer be let in.
    fn until(&self, permit: &Permit, head: &RequestHead) -> Until {
        let Some(standing) = Standing::new(permit, head) else { return Until::default() };
        let (app, gate) = (Arc::clone(&self.app), Arc::clone(&self.gate));
        let session = standing.session();
        let is_lasting = head.kind == Kind::WebSocket;
        let after = if is_lasting { Duration::ZERO } else { WATCH_AFTER };
        Until::new(after, async move {
            let mut handle = app.stops.register(session.sid, session.account);
            // Asked after it was registered: what changed in between is seen here, what changes
            // later is told. That a session's time is over is told by nobody.
            while let Some(until) = standing.holds_until(&gate).await {
                tokio::select! {
                    signal = handle.next() => if signal == Signal::Ended { return },
                    () = tokio::time::sleep(until.since(app.now())) => {}
                }
            }
        })
    }
}

/// The key of an agent is its token, not a session.
fn subject(key: gate::SessionKey, agent: Option<Id>) -> Subject {
    let session = if agent.is_none() { Some(key.sid) } else { None };
    Subject { account: key.account, session, agent }
}

fn host(rule: &config::Route, upstream: &Upstream, head: &RequestHead) -> Option<HeaderValue> {
    let own = rule.rewrite.as_ref().and_then(|rewrite| rewrite.host.as_ref());
    match (own, &upstream.plan().host) {
        (Some(name), _) | (None, UpstreamHost::Name(name)) => HeaderValue::try_from(name.as_str()).ok(),
        (None, UpstreamHost::Keep) => Some(head.authority.value().clone()),
        (None, UpstreamHost::Server) => None,
    }
}
