//! The gate on the real slices, in two processes on one store: whatever is taken away is gone at
//! the next request here, and as soon as the other process has read of it there.

use serde_json::Map;

use super::*;
use crate::account::{self, Account, Activity, MustChange, NewAccount, NewPassword, PasswordHash};
use crate::app::Change;
use crate::application::{self, Credentials, NewApplication};
use crate::audit::{Actor, How};
use crate::organization::{self, New};
use crate::rbac::{self, Granted};
use crate::session::{self, Device, Login, Session};

const ROUTES: &str = "
routes:
  - { name: mine, match: { path: /mine }, upstream: app, allow: signed_in }
  - { name: reports, match: { path: /reports }, upstream: app, allow: { permission: reports.read } }
  - { name: pay, match: { path: /pay }, upstream: app, allow: { permission: pay } }
  - { name: org, match: { path: /org }, upstream: app, allow: { org: member } }
  - { name: app, match: { path: /app }, upstream: app, allow: { application: any } }
  - { name: files, match: { path: /files/** }, upstream: app, allow: signed_in }
";

/// Two processes, and a person with everything that can be taken away.
struct Scene {
    here: Setting,
    there: Gate,
    other: Arc<App>,
    account: Account,
    session: Session,
    token: String,
    keys: Credentials,
    organization: Id,
}

fn gate_of(app: &Arc<App>) -> Gate {
    let built_in = Arc::new(Table::new(&app.config().api.prefix, rows()));
    Gate::new(app.clone(), Arc::new(FromSlices::new(app.clone())), app.config(), built_in).unwrap()
}

fn with(yaml: &'static str) -> With {
    With { yaml, reactions: vec![session::react], appliers: vec![rbac::apply] }
}

impl Scene {
    async fn new() -> Self {
        let mut here = setting_with(ROUTES, with).await;
        here.gate = gate_of(&here.app.app);
        let yaml = format!("{BEGINNING}upstreams: {{ app: {{ servers: [127.0.0.1:9000] }} }}\n{ROUTES}");
        let other = here.app.another(with(yaml.leak())).await;
        other.set_keyring(ring());
        let app = here.app.app.clone();
        let mut change = app.change(Actor::system()).await.unwrap();
        let new = NewAccount {
            email: Some(Email::parse("ada@example.com").unwrap()),
            ..NewAccount::of(DEFAULT_SITE)
        };
        let account = account::create(&mut change, &new, How::Owner).await.unwrap();
        let new = NewApplication {
            site: DEFAULT_SITE,
            name: "web".to_owned(),
            description: String::new(),
            allowed_origins: Vec::new(),
            redirect_uris: Vec::new(),
        };
        let (client, keys) = application::create(&mut change, new).await.unwrap();
        let definitions = app.catalogue().definitions().clone();
        for granted in [Granted::Role(code("analyst")), Granted::Permission(code("pay"))] {
            rbac::grant(&mut change, &definitions, account.id, &granted).await.unwrap();
        }
        let organization = organization_with(&mut change, account.id).await;
        let device = Device::parse("").unwrap();
        let login = Login {
            account: &account,
            application: Some(client.id),
            device: &device,
            address: None,
            method: session::Method::Password,
            scope: None,
            claims: Map::new(),
        };
        let config = app.config();
        let (session, pair) =
            session::start(&mut change, &config.sessions, &config.tokens, login).await.unwrap();
        change.commit().await.unwrap();
        let token = pair.access.token.expose().clone();
        let there = gate_of(&other);
        other.catch_up().await.unwrap();
        Self { here, there, other, account, session, token, keys, organization }
    }

    fn request(&self, path: &str) -> Request {
        let request = request("GET", path).bearer(&self.token);
        if path == "/org" { request.with("x-org-slug", "acme") } else { request }
    }

    async fn outcomes(&self, path: &str) -> [String; 2] {
        let request = self.request(path);
        let head = self.here.head(&request).unwrap();
        let there = admit(&self.there, &head, &mut Bytes::new()).await.verdict;
        [self.here.outcome(&request).await, told(there)]
    }

    /// Makes a change here and says what becomes of `path` here, there, and there once it has read.
    async fn after(&self, path: &str, change: impl AsyncFnOnce(&Self, &mut Change<'_>)) -> [String; 3] {
        assert_eq!(self.outcomes(path).await, ["200", "200"], "{path} before");
        let app = self.here.app.app.clone();
        let mut making = app.change(Actor::system()).await.unwrap();
        change(self, &mut making).await;
        making.commit().await.unwrap();
        let [here, before] = self.outcomes(path).await;
        self.other.catch_up().await.unwrap();
        let [_, after] = self.outcomes(path).await;
        [here, before, after]
    }
}

async fn organization_with(change: &mut Change<'_>, member: Id) -> Id {
    let new =
        NewAccount { email: Some(Email::parse("boss@example.com").unwrap()), ..NewAccount::of(DEFAULT_SITE) };
    let owner = account::create(change, &new, How::Owner).await.unwrap().id;
    let slug = Some(Slug::parse("acme").unwrap());
    let new =
        New { site: DEFAULT_SITE, name: "Acme", slug, description: "", parent: None, owner, max_depth: 5 };
    let made = organization::create(change, new).await.unwrap();
    let definitions = change.app().catalogue().definitions().clone();
    organization::add_member(change, &definitions, made.id, member, &code("member")).await.unwrap();
    made.id
}

const GONE: [&str; 3] = ["401 TOKEN_INVALID", "200", "401 TOKEN_INVALID"];

#[tokio::test]
async fn whatever_ends_a_session_ends_it_everywhere() {
    for row in 0..6 {
        let scene = Scene::new().await;
        let outcome = scene.after("/mine", async |scene, change| {
            let account = scene.account.id;
            match row {
                0 => assert!(session::log_out(change, account, scene.session.id).await.unwrap()),
                1 => assert_eq!(session::log_out_everywhere(change, account).await.unwrap(), 1),
                2 => new_password(change, account).await,
                3 => assert!(account::lock(change, account, None).await.unwrap()),
                4 => assert!(account::set_activity(change, account, Activity::Inactive).await.unwrap()),
                _ => {
                    let client = scene.session.application.unwrap();
                    assert!(
                        application::set_activity(change, client, application::Activity::Disabled)
                            .await
                            .unwrap()
                    );
                }
            }
        });
        assert_eq!(outcome.await, GONE, "row {row}");
    }
}

async fn new_password(change: &mut Change<'_>, account: Id) {
    let hash = PasswordHash::new("$argon2id$v=19$m=64,t=1,p=1$AAAAAAAAAAA$AAAAAAAAAAA".to_owned());
    let new =
        NewPassword { was: None, hash: &hash, must_change: MustChange::No, how: How::Owner, history: 5 };
    assert!(account::set_password(change, account, new).await.unwrap());
}

#[tokio::test]
async fn whatever_takes_a_right_away_takes_it_everywhere() {
    let denied = ["403 PERMISSION_REQUIRED", "200", "403 PERMISSION_REQUIRED"];
    let scene = Scene::new().await;
    let outcome = scene.after("/reports", async |scene, change| {
        rbac::revoke(change, scene.account.id, &Granted::Role(code("analyst"))).await.unwrap();
    });
    assert_eq!(outcome.await, denied);
    let outcome = scene.after("/pay", async |scene, change| {
        rbac::revoke(change, scene.account.id, &Granted::Permission(code("pay"))).await.unwrap();
    });
    assert_eq!(outcome.await, denied);
    let outcome = scene.after("/org", async |scene, change| {
        organization::remove_member(change, scene.organization, scene.account.id).await.unwrap();
    });
    assert_eq!(outcome.await, ["404 ORG_NOT_FOUND", "200", "404 ORG_NOT_FOUND"]);
    assert_eq!(scene.outcomes("/mine").await, ["200", "200"], "the session itself lives");
}

#[tokio::test]
async fn what_is_explained_is_what_is_decided() {
    let scene = Scene::new().await;
    // As where another route lets such spellings in.
    let rules = TargetRules { encoded_slash: Doubtful::Keep, params: Doubtful::Keep, max: 8192 };
    let ask = async |path: &str, account: Option<&Account>, organization| {
        let target = CanonicalTarget::parse(path.as_bytes(), rules).unwrap();
        let (method, host) = (Method::GET, "gw.example.com");
        let agent = None;
        let question = Question {
            method,
            host,
            target,
            account,
            imagined: None,
            agent,
            organization,
            application: None,
            body: None,
        };
        explain(&scene.here.gate, &question).await.unwrap()
    };
    for path in ["/mine", "/reports", "/pay", "/org", "/app", "/nothing", "/files/a%2Fb", "/files/a"] {
        let told = ask(path, Some(&scene.account), (path == "/org").then_some("acme")).await;
        let decided = match scene.here.decide(&scene.request(path)).await.verdict {
            Verdict::Reject(rejection) => Some(rejection),
            _ => None,
        };
        assert_eq!(told.refusal, decided, "{path}\n{told}");
    }
    let nobody = ask("/reports", None, None).await;
    assert_eq!(nobody.refusal, Some(Rejection::CredentialMissing));
    assert!(nobody.to_string().contains("unknown   permission reports.read"), "{nobody}");
    let mut change = scene.here.app.change(Actor::system()).await.unwrap();
    rbac::revoke(&mut change, scene.account.id, &Granted::Role(code("analyst"))).await.unwrap();
    change.commit().await.unwrap();
    let told = ask("/reports", Some(&scene.account), None).await.to_string();
    assert!(
        told.contains("missing: reports.read") && told.contains("no        permission reports.read"),
        "{told}"
    );
}

#[tokio::test]
async fn a_regenerated_application_has_no_old_keys() {
    let scene = Scene::new().await;
    let keys = |keys: &Credentials| {
        let request = request("GET", "/app").with("x-access-key", keys.access_key.as_str());
        request.with("x-access-secret", keys.access_secret.expose())
    };
    assert_eq!(scene.here.outcome(&keys(&scene.keys)).await, "200");
    let mut change = scene.here.app.change(Actor::system()).await.unwrap();
    let client = scene.session.application.unwrap();
    let anew = application::regenerate(&mut change, client).await.unwrap().unwrap();
    change.commit().await.unwrap();
    assert_eq!(scene.here.outcome(&keys(&scene.keys)).await, "401 APP_AUTH_INVALID");
    assert_eq!(scene.here.outcome(&keys(&anew)).await, "200");
}

#[tokio::test]
async fn a_route_that_is_audited_leaves_a_row_before_it_passes() {
    let yaml =
        "routes: [ { name: seen, match: { path: /seen }, upstream: app, allow: anyone, audit: required } ]";
    let setting = setting(yaml).await;
    assert_eq!(setting.outcome(&request("GET", "/seen")).await, "200");
    let rows = crate::audit::latest(&setting.app.db, 1).await.unwrap();
    assert_eq!(rows[0].code, "request_passed");
}

#[tokio::test]
async fn a_route_that_is_audited_tells_of_refusals_too_and_is_not_flooded_by_them() {
    let yaml = "routes:
  - { name: seen, match: { path: /seen }, upstream: app, allow: { permission: reports }, audit: required }
  - { name: plain, match: { path: /plain }, upstream: app, allow: { permission: reports } }
";
    let setting = setting(yaml).await;
    let ada = setting.person("ada", |_| {});
    for _ in 0..40 {
        assert!(setting.outcome(&request("GET", "/seen")).await.starts_with("401"));
    }
    assert!(setting.outcome(&request("GET", "/plain")).await.starts_with("401"));
    assert!(setting.outcome(&request("GET", "/seen").bearer(&ada)).await.starts_with("403"));
    setting.gate.note_withheld();
    setting.app.write_notes().await.unwrap();
    let rows = crate::audit::latest(&setting.app.db, 100).await.unwrap();
    assert!(
        rows.iter().all(|row| row.code == "request_refused" && row.personal["detail"]["route"] == "seen")
    );
    assert_eq!(rows.len(), 32, "thirty strangers, one row for the other ten, and hers");
    let times = rows.iter().map(|row| row.personal["detail"]["times"].as_u64().unwrap_or(1));
    assert_eq!(times.sum::<u64>(), 41);
    let hers: Vec<_> = rows.iter().filter(|row| row.account.is_some()).collect();
    assert_eq!(hers.len(), 1);
    assert_eq!((hers[0].actor, hers[0].actor_kind.as_str()), (hers[0].account, "account"));
    assert_eq!(hers[0].personal["detail"]["status"], 403);
    assert!(hers[0].request_id.is_some() && hers[0].personal["address"] == "192.0.2.1");
    assert!(rows.iter().all(|row| row.stream == crate::audit::Stream::DataPlane));
}
