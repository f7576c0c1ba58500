//! What an approval promises, on every database.

mod asking;
mod executing;
mod listing;
mod policy;
mod replicas;

use std::sync::Arc;

use futures::future::join_all;

use super::*;
use crate::account::{self, NewAccount};
use crate::agent::{self, AgentToken, Limits, Mint};
use crate::app::testing::{TestApp, With};
use crate::audit::{self, Actor, How, Suspension, Voided};
use crate::base::MicroUsd;
use crate::crypto::key::{Algorithm, SigningKey};
use crate::crypto::keyring::{Keyring, Member, Purpose};
use crate::on_every_store;
use crate::policy::approver::Group;
use crate::policy::{Approver, Approvers};
use crate::principal::Principal;
use crate::rbac::{self, Granted};
use crate::session::{self, Device, Login, Method};
use crate::store::DEFAULT_SITE;
use crate::store::testing::TestStore;

const MINUTE: Duration = Duration::from_mins(1);

const YAML: &str = "
permissions: [ { code: pay } ]
roles: [ { code: finance }, { code: legal } ]
upstreams: { up: { servers: ['127.0.0.1:9'] } }
routes: [ { name: pay, match: { path: '/pay/**' }, upstream: up, allow: signed_in, agents: { permission: pay } } ]
";

struct Scene {
    app: TestApp,
    /// The human behind the agent.
    ada: Principal,
    token: AgentToken,
    approvers: Approvers,
    mode: Mode,
    is_idempotent: bool,
}

fn code(text: &str) -> Code {
    Code::parse(text).unwrap()
}

fn role(text: &str, need: u32) -> Group {
    Group { any_of: vec![Approver::Role(code(text))], need }
}

fn ring() -> Keyring {
    let random = crate::base::random::SeededRandom::new(3);
    let key = SigningKey::generate(Algorithm::EdDsa, &random).unwrap();
    let (active_from, published_until) = (Timestamp::from_millis(0), None);
    Keyring::new(vec![Member { purpose: Purpose::Access, key, active_from, published_until }])
}

async fn person(app: &App, granted: &[Granted]) -> Principal {
    let config = app.config();
    let mut change = app.change(Actor::system()).await.unwrap();
    let account = account::create(&mut change, &NewAccount::of(DEFAULT_SITE), How::Owner).await.unwrap();
    let login = Login {
        account: &account,
        application: None,
        device: &Device::parse("").unwrap(),
        address: None,
        method: Method::Password,
        scope: None,
        claims: serde_json::Map::new(),
    };
    let (session, _) = session::start(&mut change, &config.sessions, &config.tokens, login).await.unwrap();
    let catalogue = app.catalogue();
    for granted in granted {
        rbac::grant(&mut change, catalogue.definitions(), account.id, granted).await.unwrap();
    }
    change.commit().await.unwrap();
    let assignments = rbac::assignments(&app.db, account.id).await.unwrap();
    Principal {
        account: account.facts().into(),
        session: session.facts(),
        rights: catalogue.rights(&assignments).into(),
        assignments: assignments.into(),
        memberships: [].into(),
    }
}

async fn minted(app: &App, human: &Principal) -> AgentToken {
    let ask = Mint {
        human,
        organization: None,
        application: None,
        agent: "robot".to_owned(),
        permissions: vec![code("pay")],
        limits: Limits {
            per_minute: 30,
            total: 500,
            failures: 3,
            suspend_after: 1,
            heartbeat_every: None,
            budget: MicroUsd::default(),
        },
        lifetime: Duration::from_hours(1),
    };
    agent::mint(app, Actor::system(), ask).await.unwrap().0
}

fn content_of(body: &str) -> Content {
    Content {
        method: "POST".to_owned(),
        authority: "gw.test".to_owned(),
        asked: "/pay/7?to=zoe".to_owned(),
        target: "/pay/7?to=zoe".to_owned(),
        headers: vec![("content-type".to_owned(), b"application/json".to_vec())],
        body: body.as_bytes().to_vec(),
        client: "192.0.2.7".parse().unwrap(),
        is_https: false,
        idempotency_key: None,
    }
}

impl Scene {
    async fn on(store: TestStore) -> Self {
        let app = TestApp::on(store, With { yaml: YAML, reactions: vec![react], ..With::default() }).await;
        app.set_keyring(ring());
        rbac::configure(&app, app.config().definitions.clone()).await.unwrap();
        let ada = person(&app, &[Granted::Permission(code("pay"))]).await;
        let token = minted(&app, &ada).await;
        let approvers = Approvers::delegator();
        Self { app, ada, token, approvers, mode: Mode::Retry, is_idempotent: false }
    }

    fn policy(&self) -> String {
        let config = self.app.config();
        policy_digest(&config, &config.routes[0])
    }

    fn digest(&self, content: &Content) -> String {
        request_digest(&Bound {
            site: DEFAULT_SITE,
            organization: None,
            agent_token: self.token.id,
            account: self.ada.account.id,
            route: "pay",
            policy: &self.policy(),
            upstream: "up",
            method: &content.method,
            authority: &content.authority,
            target: &content.target,
            headers: &content.headers,
            body: &content.body,
        })
    }

    async fn asked(&self, body: &str) -> Asked {
        self.asked_of(&self.app, body).await
    }

    /// A replica is asked.
    async fn asked_of(&self, app: &App, body: &str) -> Asked {
        let content = content_of(body);
        let rules = Rules { approvers: self.approvers.clone(), mfa: false, max_age: None };
        let ask = Ask {
            token: &self.token,
            route: "pay",
            permission: &code("pay"),
            mode: self.mode,
            is_idempotent: self.is_idempotent,
            rules: &rules,
            policy: &self.policy(),
            request: &self.digest(&content),
            trace: Some("t-1"),
            decide_within: 10 * MINUTE,
            execute_within: 5 * MINUTE,
            content: &content,
        };
        request(app, &Actor::system(), ask).await.unwrap()
    }

    async fn ask(&self, body: &str) -> Approval {
        match self.asked(body).await {
            Asked::Open(approval) => *approval,
            other => panic!("{other:?}"),
        }
    }

    async fn now(&self, approval: &Approval) -> Approval {
        find(&self.app.db, &Reference::Id(approval.id)).await.unwrap().unwrap()
    }

    async fn state(&self, approval: &Approval) -> State {
        self.now(approval).await.state_at(self.app.now())
    }

    async fn decide(
        &self,
        by: &Principal,
        approval: &Approval,
        decision: Decision,
    ) -> Result<Decided, DecideError> {
        let actor = Actor::system();
        decide(&self.app, &actor, by, &Reference::Id(approval.id), decision).await
    }

    async fn approve(&self, by: &Principal, approval: &Approval) -> Result<Decided, DecideError> {
        self.decide(by, approval, Decision::Approve).await
    }

    async fn deny(&self, approval: &Approval) -> Result<Decided, DecideError> {
        self.decide(&self.ada, approval, Decision::Deny { reason: Some("too much".to_owned()) }).await
    }

    async fn claim(&self, approval: &Approval) -> Result<Claim, ClaimError> {
        let app: &Arc<App> = &self.app;
        claim(app, &Actor::system(), &self.now(approval).await).await
    }

    async fn approved(&self, body: &str) -> Approval {
        let approval = self.ask(body).await;
        self.approve(&self.ada, &approval).await.unwrap();
        self.now(&approval).await
    }

    async fn suspend(&self) {
        let mut change = self.app.change(Actor::system()).await.unwrap();
        assert!(agent::suspend(&mut change, self.token.delegation(), Suspension::Manual).await.unwrap());
        change.commit().await.unwrap();
    }

    async fn resume(&self) {
        let mut change = self.app.change(Actor::system()).await.unwrap();
        assert!(agent::resume(&mut change, &self.token).await.unwrap());
        change.commit().await.unwrap();
    }

    async fn count(&self, event: &str) -> usize {
        let rows = audit::tail(&self.app.db, 0, 10_000).await.unwrap();
        rows.iter().filter(|row| row.code == event).count()
    }
}

on_every_store! {
    async fn t2_of_many_who_claim_one_executes_and_it_is_over_after_it(store: TestStore) {
        let scene = Scene::on(store).await;
        let approval = scene.approved("{}").await;
        let racing = (0..16).map(|_| scene.claim(&approval));
        let mut won: Vec<Claim> = join_all(racing).await.into_iter().filter_map(Result::ok).collect();
        assert_eq!(won.len(), 1);
        assert_eq!(scene.state(&approval).await, State::Executing);
        won.remove(0).settled(Outcome::Answered(201)).await;
        let over = scene.now(&approval).await;
        assert_eq!((over.state, over.status), (State::Executed, Some(201)));
        assert!(matches!(scene.claim(&approval).await, Err(ClaimError::Over(State::Executed))));
        assert_eq!(content(&scene.app, &over).await.unwrap(), None, "nothing of the request is kept");
        assert_eq!((scene.count("approval_claimed").await, scene.count("approval_executed").await), (1, 1));
    }

    async fn what_was_not_sent_may_be_tried_again_while_its_time_runs(store: TestStore) {
        let scene = Scene::on(store).await;
        let approval = scene.approved("{}").await;
        scene.claim(&approval).await.unwrap().settled(Outcome::Unsent).await;
        assert_eq!(scene.state(&approval).await, State::Approved);
        let again = scene.claim(&approval).await.unwrap();
        scene.app.clock.advance(5 * MINUTE);
        again.settled(Outcome::Unsent).await;
        assert_eq!(scene.state(&approval).await, State::Lapsed, "its time was over meanwhile");
        let failed = scene.approved("1").await;
        scene.claim(&failed).await.unwrap().settled(Outcome::Answered(503)).await;
        assert_eq!(scene.state(&failed).await, State::Failed);
        let unknown = scene.approved("2").await;
        scene.claim(&unknown).await.unwrap().settled(Outcome::Unknown).await;
        assert_eq!(scene.state(&unknown).await, State::Indeterminate);
        assert!(matches!(scene.claim(&unknown).await, Err(ClaimError::Over(State::Indeterminate))));
    }

    async fn t3_both_clocks_are_asked_and_what_they_ended_is_written_down(store: TestStore) {
        let scene = Scene::on(store).await;
        let (late, used) = (scene.ask("1").await, scene.approved("2").await);
        scene.app.clock.advance(5 * MINUTE);
        assert_eq!(scene.state(&used).await, State::Lapsed);
        assert!(matches!(scene.claim(&used).await, Err(ClaimError::Over(State::Lapsed))));
        scene.app.clock.advance(5 * MINUTE);
        assert!(matches!(scene.approve(&scene.ada, &late).await, Err(DecideError::Over(State::Expired))));
        assert!(matches!(scene.deny(&late).await, Err(DecideError::Over(State::Expired))));
        assert_eq!(end_overdue(&scene.app).await.unwrap(), 2);
        assert_eq!(end_overdue(&scene.app).await.unwrap(), 0);
        assert_eq!((scene.count("approval_expired").await, scene.count("approval_lapsed").await), (1, 1));
        assert_eq!(scene.now(&late).await.state, State::Expired);
        assert_ne!(scene.ask("1").await.id, late.id, "the same may be asked anew");
    }

    async fn whoever_dies_while_it_executes_leaves_it_indeterminate(store: TestStore) {
        let scene = Scene::on(store).await;
        let approval = scene.approved("{}").await;
        let claim = scene.claim(&approval).await.unwrap();
        std::mem::forget(claim);
        assert_eq!(end_overdue(&scene.app).await.unwrap(), 0);
        scene.app.clock.advance(15 * Duration::from_secs(1));
        assert_eq!(scene.state(&approval).await, State::Indeterminate);
        assert!(matches!(scene.claim(&approval).await, Err(ClaimError::Over(State::Indeterminate))));
        assert_eq!(end_overdue(&scene.app).await.unwrap(), 1);
        assert_eq!(scene.now(&approval).await.state, State::Indeterminate);
    }

    async fn t4_a_stranger_decides_nothing(store: TestStore) {
        let scene = Scene::on(store).await;
        let eve = person(&scene.app, &[Granted::Role(code("finance"))]).await;
        let approval = scene.ask("{}").await;
        assert!(matches!(scene.approve(&eve, &approval).await, Err(DecideError::Stranger)));
        let no = Decision::Deny { reason: None };
        assert!(matches!(scene.decide(&eve, &approval, no).await, Err(DecideError::Stranger)));
        let nothing = Reference::of("no-such-token");
        let unknown = decide(&scene.app, &Actor::system(), &eve, &nothing, Decision::Approve).await;
        assert!(matches!(unknown, Err(DecideError::Stranger)));
        assert!(open_for(&scene.app, &eve, 200).await.unwrap().is_empty());
        assert_eq!(open_for(&scene.app, &scene.ada, 200).await.unwrap(), std::slice::from_ref(&approval));
        assert_eq!(scene.now(&approval).await, approval);
        let named = Reference::of(token(&scene.app, approval.id).expose());
        assert_eq!(find(&scene.app.db, &named).await.unwrap(), Some(approval));
    }

    async fn of_yes_and_no_at_once_one_counts(store: TestStore) {
        let scene = Scene::on(store).await;
        for round in 0..6 {
            let approval = scene.ask(&round.to_string()).await;
            let racing = (0..8).map(|n| {
                let (scene, approval) = (&scene, &approval);
                async move {
                    if n % 2 == 0 { scene.approve(&scene.ada, approval).await } else { scene.deny(approval).await }
                }
            });
            let decided: Vec<_> = join_all(racing).await.into_iter().filter_map(Result::ok).collect();
            assert_eq!(decided.len(), 1);
            let state = if decided[0] == Decided::Denied { State::Denied } else { State::Approved };
            assert_eq!(scene.state(&approval).await, state);
        }
    }

    async fn an_agent_that_is_stopped_has_nothing_waiting(store: TestStore) {
        let scene = Scene::on(store).await;
        let (pending, approved) = (scene.ask("1").await, scene.approved("2").await);
        let executing = scene.approved("3").await;
        let claim = scene.claim(&executing).await.unwrap();
        scene.suspend().await;
        assert_eq!(scene.state(&pending).await, State::Void);
        assert_eq!(scene.state(&approved).await, State::Void);
        assert_eq!(scene.state(&executing).await, State::Executing, "what is sent cannot be called back");
        claim.settled(Outcome::Answered(200)).await;
        assert!(matches!(scene.asked("4").await, Asked::Stopped));
        assert!(matches!(scene.claim(&approved).await, Err(ClaimError::Void(Voided::AgentStopped))));
        assert_eq!(scene.count("approval_voided").await, 2);
    }

    async fn the_kill_switch_ends_what_waits(store: TestStore) {
        let scene = Scene::on(store).await;
        let (pending, approved) = (scene.ask("1").await, scene.approved("2").await);
        let mut change = scene.app.change(Actor::system()).await.unwrap();
        agent::revoke_all(&mut change, scene.ada.account.id).await.unwrap();
        change.commit().await.unwrap();
        assert_eq!((scene.state(&pending).await, scene.state(&approved).await), (State::Void, State::Void));
        assert!(matches!(scene.approve(&scene.ada, &pending).await, Err(DecideError::Over(State::Void))));
    }

    async fn what_the_human_lost_cannot_be_approved(store: TestStore) {
        let scene = Scene::on(store).await;
        let approval = scene.ask("{}").await;
        let mut change = scene.app.change(Actor::system()).await.unwrap();
        rbac::revoke(&mut change, scene.ada.account.id, &Granted::Permission(code("pay"))).await.unwrap();
        change.commit().await.unwrap();
        let refused = scene.approve(&scene.ada, &approval).await;
        assert!(matches!(refused, Err(DecideError::Void(Voided::RightLost))));
        assert_eq!(scene.state(&approval).await, State::Void);
    }

    async fn a_changed_route_voids(store: TestStore) {
        let scene = Scene::on(store).await;
        let approval = scene.ask("{}").await;
        let other = YAML.replace("allow: signed_in", "allow: { verified: email }");
        scene.app.set_config(crate::config::load_text(&format!("preset: medium\n{other}")).unwrap().config);
        let refused = scene.approve(&scene.ada, &approval).await;
        assert!(matches!(refused, Err(DecideError::Void(Voided::PolicyChanged))));
        assert_eq!(scene.state(&approval).await, State::Void);
    }

    async fn why_somebody_said_no_goes_with_them(store: TestStore) {
        let mut scene = Scene::on(store).await;
        scene.approvers = Approvers(vec![role("finance", 1)]);
        let finance = person(&scene.app, &[Granted::Role(code("finance"))]).await;
        let approval = scene.ask("{}").await;
        let no = Decision::Deny { reason: Some("I am on leave".to_owned()) };
        assert_eq!(scene.decide(&finance, &approval, no).await.unwrap(), Decided::Denied);
        assert_eq!(scene.now(&approval).await.reason.as_deref(), Some("I am on leave"));
        let mut change = scene.app.change(Actor::system()).await.unwrap();
        erase(&mut change, finance.account.id).await.unwrap();
        change.record(audit::PrivacyEvent::Exported { account: finance.account.id }).await.unwrap();
        change.commit().await.unwrap();
        let now = scene.now(&approval).await;
        assert_eq!((now.state, now.reason, now.path), (State::Denied, None, approval.path));
    }

    async fn several_people_must_agree_where_the_rule_says_so(store: TestStore) {
        let mut scene = Scene::on(store).await;
        scene.approvers = Approvers(vec![role("finance", 1), role("legal", 1)]);
        let finance = person(&scene.app, &[Granted::Role(code("finance"))]).await;
        let both = person(&scene.app, &[Granted::Role(code("finance")), Granted::Role(code("legal"))]).await;
        let approval = scene.ask("{}").await;
        assert!(matches!(scene.approve(&scene.ada, &approval).await, Err(DecideError::Stranger)), "not this time");
        assert!(may_see(&scene.app, &approval, &scene.ada).await.unwrap());
        assert_eq!(scene.approve(&both, &approval).await.unwrap(), Decided::Counted { missing: 1 });
        assert_eq!(scene.approve(&both, &approval).await.unwrap(), Decided::Counted { missing: 1 }, "one is one");
        assert_eq!(scene.count("approval_voted").await, 1);
        assert_eq!(open_for(&scene.app, &finance, 200).await.unwrap().len(), 1);
        assert!(matches!(scene.approve(&finance, &approval).await, Ok(Decided::Approved { .. })));
        let mut change = scene.app.change(Actor::system()).await.unwrap();
        rbac::revoke(&mut change, both.account.id, &Granted::Role(code("legal"))).await.unwrap();
        change.commit().await.unwrap();
        assert!(matches!(scene.claim(&approval).await, Err(ClaimError::Void(Voided::ApproversLost))));
        assert_eq!(scene.state(&approval).await, State::Void);
    }
}
