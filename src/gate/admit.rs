//! The pipeline: every step of a decision in its order, with the reason for the order.
//!
//! Law: the order is the security design. Nobody is told more than the step before allowed, nothing
//! is counted before it is known who pays for it, and only the last line makes something that can
//! be forwarded.

use std::sync::Arc;

use bytes::Bytes;

use super::again::Standing;
use super::agent::{self, AgentRefusal, Grant, Paid, Trail};
use super::authenticate::{Caller, authenticate, is_of_credential};
use super::authorize::{Asked, OfAgent, authorize, organization_of};
use super::body::BodySource;
use super::decision::{Admitted, Answer, Authorization, Decision, Verdict};
use super::dispatch::{self, nowhere, text};
use super::head::{Kind, RequestHead};
use super::hold::{Held, Question};
use super::identity::{Sent, identity_headers};
use super::laps::Laps;
use super::passing::{Judged, Passing, Sending};
use super::pay::Carried;
use super::permit::Permit;
use super::person::Snapshot;
use super::rejection::{Flaw, Rejection};
use super::route::{CredentialUse, Route};
use super::world::{Target, World};
use super::{Gate, application, browser, credential, edge, limit, note, rewrite};
use crate::agent::Status;
use crate::approval::Outcome;
use crate::crypto::digest::sha256;
use crate::http::Access;
use crate::metrics::Stage;
use crate::policy::table::Params;
use crate::principal::ApplicationFacts;

/// Decides about one request.
pub async fn admit(gate: &Gate, head: &RequestHead, body: &mut dyn BodySource) -> Decision {
    let mut laps = Laps::begin(&gate.app.metrics);
    // One world for the whole request: route, policy, rights and settings belong together.
    let world = gate.world();
    // A preflight asks about another request, so that one's route answers, and nobody is asked who
    // they are: a preflight carries no credential.
    let asks = edge::preflight_for(head);
    let method = asks.as_ref().unwrap_or(&head.method);
    match world.find(head.authority.host(), head.target.path(), method) {
        Target::Nothing => nowhere(gate, &world, head, Rejection::NoRoute),
        Target::Ambiguous => Decision::refused(Rejection::Malformed(Flaw::Target)),
        Target::WrongMethod(_) if asks.is_some() => Decision::answered(world.cors.preflight(None)),
        Target::WrongMethod(allow) => nowhere(gate, &world, head, Rejection::MethodNotAllowed { allow }),
        Target::BuiltIn(row, captured) => {
            // Pages are for our own origin alone, whatever other origins may ask of the API.
            let granted = match row.access() {
                Access::Page => None,
                _ => edge::granted(gate, &world.cors, head).await,
            };
            let reply = match asks {
                Some(_) => world.cors.preflight(granted.as_ref()),
                None => dispatch::dispatch(gate, &world, head, row, captured, body).await,
            };
            Decision::answered(edge::with_cors(reply, granted.as_ref()))
        }
        Target::Route(route, params) => {
            let granted = match &route.cors {
                Some(cors) => edge::granted(gate, cors, head).await,
                None => None,
            };
            let mut answer = Answer::of(route, granted);
            laps.end_of(Stage::Route);
            let asking = Asking { gate, world: &world, head, route, params: &params };
            let verdict = match (asks, &route.cors) {
                (Some(_), Some(cors)) => {
                    return Decision::preflight(route, cors.preflight(answer.granted()));
                }
                // The route leaves CORS to its upstream: the question passes, as nobody's.
                (Some(_), None) => match edge::check(&world, route, head, answer.granted()) {
                    Ok(()) => {
                        let permit = Permit::of_nobody(&world, route);
                        asking.forward(permit, Sending::Unread, body, laps).await.map(Verdict::Forward)
                    }
                    Err(rejection) => Err(rejection),
                },
                (None, _) => {
                    let passed = asking.pass(body, &mut answer, laps).await;
                    passed.or_else(|rejection| {
                        gate.note_refused(route, head, &answer, &rejection);
                        browser::led(route, head, rejection)
                    })
                }
            };
            Decision::on_route(route, verdict, answer)
        }
    }
}

/// A request to a route.
pub(super) struct Asking<'a> {
    pub gate: &'a Gate,
    pub world: &'a Arc<World>,
    pub head: &'a RequestHead,
    pub route: &'a Arc<Route>,
    pub params: &'a Params<'a, 'a>,
}

impl Asking<'_> {
    /// The steps that every request to a route takes.
    async fn pass(
        &self,
        body: &mut dyn BodySource,
        answer: &mut Answer,
        mut laps: Laps<'_>,
    ) -> Result<Verdict, Rejection> {
        let Self { gate, world, head, route, .. } = *self;
        // What the route takes at all: no use in asking who sends what nobody may send.
        let fits = edge::check(world, route, head, answer.granted());
        // An agent is never taken for nobody, on whatever route, and leaves a trail whatever it sends.
        if credential::is_agents(head.presented.authorization.as_ref()) {
            return Box::pin(self.pass_agent(fits, body, answer, laps)).await;
        }
        fits?;
        // Applications before people: keys that are sent must be right whoever calls.
        let application = application::of_route(gate, head, route).await?;
        let caller = self.caller().await?;
        answer.asked_by(caller.as_ref().map(|caller| &*caller.snapshot.principal));
        if caller.is_none() {
            application::check_required(route, application.as_deref())?;
        }
        let is_somebodys = caller.is_some() || application.is_some();
        answer.keep_private(is_somebodys && head.presented.authorization.is_none());
        let cookie_until = caller.as_ref().and_then(|caller| caller.cookie_until);
        laps.end_of(Stage::Authenticate);
        // A token opens only what it was issued for: its application, and everything or one purpose.
        if let Some(caller) = &caller {
            application::check_match(&caller.snapshot, application.as_deref())?;
            if let Some(scope) = caller.scope {
                return Err(Rejection::ScopeInsufficient(scope));
            }
        }
        // After the caller: what an organization is, is told only to those who belong to it.
        let organization = match &caller {
            Some(caller) => {
                let sent = head.presented.org_slug.as_ref().map(text);
                let wish = sent.as_deref().or(caller.organization.as_deref());
                organization_of(gate, world, &caller.snapshot, wish).await?
            }
            None => None,
        };
        let asked = Asked {
            route,
            params: self.params,
            caller: caller.as_ref().map(|caller| &caller.snapshot),
            organization: organization.as_ref(),
            application: application.as_ref(),
            now: head.at,
            agent: None,
        };
        let permit = authorize(world, &asked)?.shown_by_cookie(cookie_until);
        // The path that the upstream sees may be another route's: then that one must agree.
        let beyond = rewrite::check(world, &asked, head.authority.host(), head.target.path(), &head.method)?;
        let permit = permit.in_shadow(beyond);
        laps.end_of(Stage::Authorize);
        // Counted last: who may not pass does not use up the share of those who may.
        let caller = asked.caller.map(|snapshot| &**snapshot);
        answer.pace(limit::of_route(gate, route, head, caller).await?);
        laps.end_of(Stage::Limit);
        note::passing(gate, &permit, head).await?;
        self.forward(permit, Sending::Unread, body, laps).await.map(Verdict::Forward)
    }

    /// The steps that an agent's request takes; what becomes of it goes into the trail.
    async fn pass_agent(
        &self,
        fits: Result<(), Rejection>,
        body: &mut dyn BodySource,
        answer: &mut Answer,
        laps: Laps<'_>,
    ) -> Result<Verdict, Rejection> {
        let mut trail = Trail::default();
        let judged = self.judge_agent(fits, &mut trail, body, laps).await;
        answer.leaves_row(trail.is_known());
        match judged {
            Ok(Judged::Passes(passing)) => self.dispatch(Ok(*passing), &trail, body, answer).await,
            Ok(Judged::Answered(reply)) => {
                trail.decided(self.gate, self.route, self.head, None, None);
                Ok(Verdict::Answer(reply))
            }
            Err(rejection) => self.dispatch(Err(rejection), &trail, body, answer).await,
        }
    }

    /// An agent's request that may be sent, and who waits for its end. What became of it goes into the
    /// trail when nothing here can refuse it any more.
    pub(super) async fn dispatch(
        &self,
        judged: Result<Passing<'_>, Rejection>,
        trail: &Trail,
        body: &mut dyn BodySource,
        answer: &mut Answer,
    ) -> Result<Verdict, Rejection> {
        let sent = match judged {
            Ok(passing) => self.send(passing, body, answer).await,
            Err(rejection) => Err(rejection),
        };
        let charge = sent.as_ref().ok().and_then(|admitted| Some(admitted.spent.as_ref()?.charge()));
        let entry = trail.decided(self.gate, self.route, self.head, charge, sent.as_ref().err());
        let mut admitted = sent?;
        if let Some((spent, entry)) = admitted.spent.as_mut().zip(entry) {
            spent.entered(entry);
        }
        Ok(Verdict::Forward(admitted))
    }

    /// Everything that is written on an agent's request, with what it takes.
    async fn send(
        &self,
        passing: Passing<'_>,
        body: &mut dyn BodySource,
        answer: &mut Answer,
    ) -> Result<Box<Admitted>, Rejection> {
        let Passing { permit, has_failures, paid: Paid { spent, left }, sending, laps } = passing;
        answer.budget_left(left);
        let mut admitted = self.forward(permit, sending, body, laps).await?;
        admitted.has_failures = has_failures;
        admitted.spent = Some(spent);
        Ok(admitted)
    }

    async fn judge_agent<'l>(
        &self,
        fits: Result<(), Rejection>,
        trail: &mut Trail,
        body: &mut dyn BodySource,
        mut laps: Laps<'l>,
    ) -> Result<Judged<'l>, Rejection> {
        let Self { gate, world, head, route, .. } = *self;
        // Who is it, may the token and its human act at all, is it alive?
        let agent::Caller { snapshot, grant, application } =
            agent::authenticate(gate, world, head, route, fits, trail).await?;
        gate.note_use(&grant, head.at);
        laps.end_of(Stage::Authenticate);
        // Route, delegation, human and organization are judged before the rate is counted and told after
        // it: where nothing else can stop the request, the question that counts it also pays for it.
        let judged = match application {
            Ok(application) => self.judge_delegation(&snapshot, &grant, application.as_ref()).await,
            Err(rejection) => Err(rejection),
        };
        laps.end_of(Stage::Authorize);
        let is_reached = gate.has_somebody(&route.rule.upstream);
        let at_once = if judged.is_ok() && is_reached && route.pays_at_once() {
            agent::purchase(&grant, route.charge).ok()
        } else {
            None
        };
        // Everything counts, whatever comes of it: asking is work too.
        let (rated, bought) = agent::rate(gate, &grant, at_once.as_ref()).await?;
        trail.counted();
        let permit = judged?;
        // Nobody is asked to approve, and nothing taken, for what could not be sent.
        if !is_reached {
            return Err(Rejection::UpstreamUnavailable);
        }
        let paid = match at_once.zip(bought) {
            Some((purchase, bought)) => Some(agent::spend(gate, &grant, &purchase, Some(bought)).await?),
            None => None,
        };
        laps.end_of(Stage::Limit);
        limit::of_route(gate, route, head, Some(&snapshot)).await?;
        // What waits for people costs nothing yet.
        let actor = agent::actor_of(&grant, head);
        let (mut sending, mut due) = (Sending::Unread, None);
        if let Some(holding) = &route.hold {
            let whole = self.whole(&permit, body, holding.body_max, &mut laps).await?;
            let target = rewrite::target(world, route, head)?;
            let question =
                Question { gate, head, route, holding, grant: &grant, target: &target, actor: &actor };
            let came = question.read(body);
            match question.judge(came, whole).await? {
                Held::Free(whole) => sending = Sending::Read(whole),
                Held::Due(approved) => {
                    trail.approved(approved.id());
                    due = Some(approved);
                }
                Held::Waits(reply, approval) => {
                    trail.waits(approval);
                    route.metrics.held();
                    return Ok(Judged::Answered(reply));
                }
                Held::Replayed(reply, approval) => {
                    trail.replayed(approval);
                    return Ok(Judged::Answered(reply));
                }
            }
        }
        note::passing(gate, &permit, head).await?;
        // Taken before it is paid for: who comes second with the same approval finds it taken, and not a
        // purse that the first one has emptied. Where it cannot be paid for, it is given back.
        let held = match due {
            Some(due) => Some((due.body(), due.claim(gate, &actor).await?)),
            None => None,
        };
        // Last of all: only what is dispatched is spent.
        let paid = if let Some(paid) = paid {
            paid
        } else {
            let approved = held.as_ref().map(|(approved, _)| approved);
            let mut carried = Carried { body, sending: &mut sending, laps: &mut laps };
            match self.pay(&permit, &grant, approved, &mut carried).await {
                Ok(paid) => paid,
                Err(rejection) => {
                    if let Some((_, kept)) = held {
                        kept.claim.settled(Outcome::Unsent).await;
                    }
                    return Err(rejection);
                }
            }
        };
        if let Some((_, kept)) = held {
            sending = Sending::Kept(Box::new(kept));
        }
        let has_failures = rated.standing.failures > 0 || rated.standing.is_unsure;
        Ok(Judged::Passes(Box::new(Passing { permit, has_failures, paid, sending, laps })))
    }

    /// Whether agent and human may do this here, in one judgement that names what fails.
    pub(super) async fn judge_delegation(
        &self,
        snapshot: &Arc<Snapshot>,
        grant: &Grant,
        application: Option<&Arc<ApplicationFacts>>,
    ) -> Result<Permit, Rejection> {
        let Self { gate, world, head, route, .. } = *self;
        let named = head.presented.org_slug.as_ref().map(text);
        let (organization, standing) =
            agent::organization(gate, world, named.as_deref(), snapshot, grant).await?;
        let asked = Asked {
            route,
            params: self.params,
            caller: Some(snapshot),
            organization: organization.as_ref(),
            application,
            now: head.at,
            agent: Some(OfAgent { grant, standing }),
        };
        let permit = authorize(world, &asked)?;
        rewrite::check(world, &asked, head.authority.host(), head.target.path(), &head.method)?;
        // What passes through a tunnel is read by nobody, so nothing of it could be hidden.
        if permit.redaction().is_some() && head.kind == Kind::WebSocket {
            return Err(Rejection::UpgradeRefused);
        }
        Ok(permit)
    }

    /// The whole body, and then once more whether what was permitted is permitted still: the client
    /// took its time.
    pub(super) async fn whole(
        &self,
        permit: &Permit,
        body: &mut dyn BodySource,
        most: usize,
        laps: &mut Laps<'_>,
    ) -> Result<Bytes, Rejection> {
        let whole = body.read_all(most).await?;
        laps.skip();
        if let Some(standing) = Standing::new(permit, self.head)
            && standing.holds_until(self.gate).await.is_none()
        {
            return Err(match permit.agent() {
                Some(_) => Rejection::Agent(AgentRefusal::Status(Status::Suspended)),
                None => permit.caller().map_or(Rejection::TokenInvalid, |caller| caller.key.refused()),
            });
        }
        Ok(whole)
    }

    /// Who calls, as far as the route wants to know.
    async fn caller(&self) -> Result<Option<Caller>, Rejection> {
        let Self { gate, world, head, route, .. } = *self;
        if route.credential == CredentialUse::Ignored {
            return Ok(None);
        }
        let found = if browser::comes(route, head) {
            browser::caller(gate, world, head).await
        } else {
            authenticate(gate, world, head).await
        };
        match route.credential {
            CredentialUse::Ignored | CredentialUse::Judged => found,
            CredentialUse::Optional => match found {
                Err(refusal) if is_of_credential(&refusal) => Ok(None),
                Ok(Some(caller)) if caller.scope.is_some() => Ok(None),
                found => found,
            },
        }
    }

    /// Everything that is written on a permitted request.
    async fn forward(
        &self,
        permit: Permit,
        sending: Sending,
        body: &mut dyn BodySource,
        mut laps: Laps<'_>,
    ) -> Result<Box<Admitted>, Rejection> {
        let Self { gate, world, head, route, .. } = *self;
        let target = rewrite::target(world, route, head)?;
        // A stamp that covers the body waits for it, and so does whoever must read the answer before
        // a byte of it passes: the framework's own path cannot.
        let (body, kept) = match sending {
            Sending::Unread if permit.binds_body() || permit.redaction().is_some() => {
                let most = usize::try_from(route.rule.body).unwrap_or(usize::MAX);
                (Some(self.whole(&permit, body, most, &mut laps).await?), None)
            }
            Sending::Unread => (None, None),
            Sending::Read(whole) => (Some(whole), None),
            Sending::Kept(kept) => (Some(kept.body.clone()), Some(kept)),
        };
        let mut stamps = Vec::with_capacity(10);
        let at = if body.is_some() { gate.app.now() } else { head.at };
        let bound = body.as_deref().filter(|_| permit.binds_body()).map(sha256);
        let sent = Sent { target: &target, body: bound, at };
        identity_headers(gate, &permit, head, sent, &mut |name, value| stamps.push((name, value)))?;
        stamps.extend(kept.iter().flat_map(|kept| kept.stamps.clone()));
        let passes_on =
            route.rule.forward_authorization && kept.is_none() && !credential::is_ours(head, world);
        let authorization = if passes_on { Authorization::Forwarded } else { Authorization::Removed };
        laps.end_of(Stage::Identity);
        let admitted =
            Admitted { permit, target, stamps, authorization, has_failures: false, spent: None, kept };
        Ok(Box::new(admitted))
    }
}
