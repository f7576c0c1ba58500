//! A person's whole way through the gateway, as a client walks it (security bar 2.E, 2.F).
//!
//! Law: what one step gives, the next one uses; what one step takes away is gone for the upstream
//! too. On SQLite and on PostgreSQL, the whole way on MariaDB too.

use std::sync::Arc;
use std::time::Duration;

use portcullis::account::{self, Activity};
use portcullis::audit;
use portcullis::base::{Clock as _, Id, SystemClock, TestClock};
use portcullis::store::Dialect;
use serde_json::{Value, json};

use crate::on_one_and_on_two;
use crate::support::people::{Keys, PASSWORD, TRUSTING, elsewhere};
use crate::support::raw::{Answer, get};
use crate::support::replica::{in_time, until, within};
use crate::support::smtp::Smtp;
use crate::support::{Act, Client, Gateway, Replicas, Upstream};

const NEW: &str = "Another-horse-7-staple";
const SECOND: Duration = Duration::from_secs(1);

/// A client: what it knows, and the gateways that it may meet.
struct Scene {
    upstream: Upstream,
    clock: Arc<TestClock>,
    replicas: Replicas,
    keys: Keys,
}

/// The tokens that an answer gave.
#[derive(Debug, Clone)]
struct Tokens {
    access: String,
    refresh: String,
}

impl Tokens {
    #[track_caller]
    fn of(answer: &Answer) -> Self {
        let told = answer.json();
        let text =
            |key: &str| told[key].as_str().unwrap_or_else(|| panic!("no {key} in {answer:?}")).to_owned();
        Self { access: text("access_token"), refresh: text("refresh_token") }
    }

    fn bearer(&self) -> String {
        format!("Authorization: Bearer {}", self.access)
    }
}

async fn scene(dialect: Dialect, more: &str, upstream: Upstream) -> Scene {
    let yaml = format!(
        "preset: medium\n{TRUSTING}{more}
upstreams: {{ up: {{ servers: ['{}'] }} }}
routes: [ {{ name: mine, match: {{ path: '/mine/**' }}, upstream: up, allow: signed_in }} ]
",
        upstream.address
    );
    let clock = Arc::new(TestClock::at(SystemClock.now()));
    let replicas = Replicas::start_by(Arc::clone(&clock) as _, dialect, &yaml).await;
    let keys = replicas.here.application("web", &[]).await;
    Scene { upstream, clock, replicas, keys }
}

impl Scene {
    fn here(&self) -> &Gateway {
        &self.replicas.here
    }

    async fn call(&self, method: &str, path: &str, tokens: Option<&Tokens>, body: Value) -> Answer {
        let [key, secret] = self.keys.lines();
        let mut lines = vec![key, secret, elsewhere()];
        lines.extend(tokens.map(Tokens::bearer));
        self.here().call(method, path, &lines, &body).await
    }

    async fn log_in(&self, email: &str, password: &str) -> Answer {
        self.call("POST", "/login/email/", None, json!({"email": email, "password": password})).await
    }

    async fn enter(&self, password: &str) -> Tokens {
        Tokens::of(&self.log_in("ada@example.com", password).await)
    }

    async fn refresh(&self, token: &str) -> Answer {
        self.call("POST", "/refresh/", None, json!({"refresh_token": token})).await
    }

    /// What the proxied route says, on the replica where nothing was done.
    async fn proxied(&self, tokens: &Tokens) -> u16 {
        self.replicas.there.send("GET", "/mine", &[tokens.bearer()]).await.status
    }

    /// Both replicas refuse these tokens from now on, and the upstream never sees them.
    async fn dead(&self, tokens: &Tokens) {
        let mine = self.here().send("GET", "/mine", &[tokens.bearer()]).await;
        assert_eq!(mine.status, 401, "the next request");
        within(SECOND, "refused there too", async || self.proxied(tokens).await == 401).await;
        let before = self.upstream.count();
        assert_eq!(self.call("GET", "/me/", Some(tokens), Value::Null).await.status, 401);
        assert_eq!(self.refresh(&tokens.refresh).await.status, 401);
        assert_eq!((self.proxied(tokens).await, self.upstream.count()), (401, before));
    }

    async fn audited(&self, code: &str) -> usize {
        let rows = audit::tail(&self.here().running.app.db, 0, 1000).await.unwrap();
        rows.iter().filter(|row| row.code == code).count()
    }
}

/// Answers at once, except a stream that never ends.
async fn backend() -> Upstream {
    Upstream::start(|seen| {
        if seen.target() != "/mine/stream" {
            return Act::ok(seen.head.as_bytes());
        }
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n".to_vec();
        Act::Pieces(vec![(Duration::ZERO, head), (Duration::from_mins(1), b"0\r\n\r\n".to_vec())])
    })
    .await
}

on_one_and_on_two! {
    async fn a_person_registers_logs_in_stays_and_leaves(dialect: Dialect) {
        let scene = scene(dialect, "", backend().await).await;
        let body = json!({"email": "Ada@Example.com", "password": PASSWORD, "first_name": "Ada", "login": true});
        let registered = scene.call("POST", "/register/", None, body).await;
        assert_eq!(registered.status, 201, "{}", registered.text());
        assert!(registered.json().get("access_token").is_none());
        let first = scene.enter(PASSWORD).await;
        let me = scene.call("GET", "/me/", Some(&first), Value::Null).await.json();
        assert_eq!((&me["email"], &me["first_name"]), (&json!("ada@example.com"), &json!("Ada")));
        assert_eq!(scene.proxied(&first).await, 200);
        assert_eq!(scene.upstream.last().header("x-user-id"), me["id"].as_str());

        let second = Tokens::of(&scene.refresh(&first.refresh).await);
        assert_ne!(second.refresh, first.refresh);
        scene.clock.advance(9 * SECOND);
        let again = Tokens::of(&scene.refresh(&first.refresh).await);
        assert_eq!((&again.access, &again.refresh), (&second.access, &second.refresh), "within the grace");
        assert_eq!(scene.proxied(&second).await, 200);

        let out = scene.call("POST", "/logout/", None, json!({"refresh_token": second.refresh})).await;
        assert_eq!(out.status, 200);
        scene.dead(&second).await;
        let twice = scene.call("POST", "/logout/", None, json!({"refresh_token": second.refresh})).await;
        assert_eq!(twice.status, 200, "who is out may say so again");

        let (phone, laptop) = (scene.enter(PASSWORD).await, scene.enter(PASSWORD).await);
        assert_eq!(scene.call("POST", "/logout/all/", Some(&phone), Value::Null).await.status, 200);
        scene.dead(&phone).await;
        scene.dead(&laptop).await;
        for code in ["account_created", "login", "token_refresh", "logout", "logout_all"] {
            assert!(scene.audited(code).await > 0, "no row {code}");
        }
    }

    async fn a_stolen_refresh_token_ends_the_session_it_was_stolen_from(dialect: Dialect) {
        let mail = Smtp::plain().await;
        let by = format!("mail: {{ via: smtp, host: 127.0.0.1, port: {}, tls: none, from: gw@example.com }}\n", mail.address.port());
        let scene = scene(dialect, &by, backend().await).await;
        scene.here().account("ada", |_| {}).await;
        let (stolen, other) = (scene.enter(PASSWORD).await, scene.enter(PASSWORD).await);
        let honest = Tokens::of(&scene.refresh(&stolen.refresh).await);
        let mut stream = Client::connect(scene.replicas.there.public()).await;
        stream.send(get("/mine/stream", &[&honest.bearer()])).await;
        stream.until(b"hello").await.unwrap();
        scene.clock.advance(11 * SECOND);
        let reused = scene.refresh(&stolen.refresh).await;
        assert_eq!((reused.status, reused.code().as_str()), (401, "REFRESH_FAILED"));
        let rest = in_time(5 * SECOND, stream.rest()).await.expect("it ends");
        assert!(!rest.ends_with(b"0\r\n\r\n"), "a stream of the family is cut");
        scene.dead(&honest).await;
        scene.dead(&stolen).await;
        assert_eq!(scene.proxied(&other).await, 200, "another login is another family");
        assert_eq!(scene.audited("refresh_reuse").await, 1);
        let told = || mail.taken().into_iter().filter(|letter| letter.text.contains("was used twice"));
        until(10 * SECOND, "the owner is told", async || told().count() == 1).await;
        assert_eq!(told().next().unwrap().to, ["ada@example.com"]);
    }

    async fn a_new_password_ends_every_other_session_and_their_streams(dialect: Dialect) {
        let scene = scene(dialect, "", backend().await).await;
        scene.here().account("ada", |_| {}).await;
        let (ours, theirs) = (scene.enter(PASSWORD).await, scene.enter(PASSWORD).await);
        let mut stream = Client::connect(scene.replicas.there.public()).await;
        stream.send(get("/mine/stream", &[&theirs.bearer()])).await;
        stream.until(b"hello").await.unwrap();
        let change = async |current: &str, new: &str| {
            let body = json!({"current_password": current, "new_password": new});
            scene.call("POST", "/password/change/", Some(&ours), body).await
        };
        let wrong = change("Wrong-horse-1-battery", NEW).await;
        assert!(matches!(wrong.status, 400 | 401 | 403), "{wrong:?}");
        assert_eq!(change(PASSWORD, "short").await.status, 400);
        assert_eq!(change(PASSWORD, PASSWORD).await.status, 400, "not the same again");
        assert_eq!((scene.proxied(&ours).await, scene.proxied(&theirs).await), (200, 200));
        let changed = change(PASSWORD, NEW).await;
        assert_eq!(changed.status, 200, "{}", changed.text());
        assert!(!stream.rest().await.ends_with(b"0\r\n\r\n"), "a stream of a revoked session is cut");
        scene.dead(&ours).await;
        scene.dead(&theirs).await;
        assert_eq!(scene.log_in("ada@example.com", PASSWORD).await.status, 401);
        let anew = scene.enter(NEW).await;
        assert_eq!(scene.proxied(&anew).await, 200);
        assert_eq!(scene.audited("password_change").await, 1);
    }

    async fn a_session_ends_when_nobody_uses_it_and_at_its_end_in_any_case(dialect: Dialect) {
        let spans = "sessions: { idle_for: 1h, end_after: 3h }\ntokens: { access_for: 30m }\n";
        let scene = scene(dialect, spans, backend().await).await;
        scene.here().account("ada", |_| {}).await;
        let minute = Duration::from_mins(1);
        let idle = scene.enter(PASSWORD).await;
        scene.clock.advance(31 * minute);
        assert_eq!(scene.proxied(&idle).await, 401, "the access token is over");
        let mut kept = Tokens::of(&scene.refresh(&idle.refresh).await);
        scene.clock.advance(61 * minute);
        assert_eq!(scene.refresh(&kept.refresh).await.status, 401, "nobody used it for an hour");
        kept = scene.enter(PASSWORD).await;
        let mut rounds = 0;
        loop {
            scene.clock.advance(25 * minute);
            let refreshed = scene.refresh(&kept.refresh).await;
            if refreshed.status != 200 {
                assert_eq!(refreshed.status, 401);
                break;
            }
            kept = Tokens::of(&refreshed);
            assert_eq!(scene.proxied(&kept).await, 200);
            rounds += 1;
        }
        assert_eq!(rounds, 7, "three hours and no more, however busy");
        scene.dead(&kept).await;
    }

    async fn too_many_wrong_passwords_lock_the_door_for_a_while(dialect: Dialect) {
        let lockout = "accounts: { lockout: { after: 3, for: 10m } }\n";
        let scene = scene(dialect, lockout, backend().await).await;
        scene.here().account("ada", |_| {}).await;
        let inside = scene.enter(PASSWORD).await;
        for email in ["ada@example.com", "nobody@example.com"] {
            for _ in 0..3 {
                let wrong = scene.log_in(email, "Wrong-horse-1-battery").await;
                assert_eq!((wrong.status, wrong.code().as_str()), (401, "LOGIN_FAILED"));
            }
            let locked = scene.log_in(email, PASSWORD).await;
            assert_eq!((locked.status, locked.code().as_str()), (423, "ACCOUNT_LOCKED"), "{email}");
            let wait: u64 = locked.header("retry-after").unwrap().parse().unwrap();
            assert!((1..=600).contains(&wait), "{wait}");
        }
        assert_eq!(scene.proxied(&inside).await, 200, "who is in cannot be thrown out by guessing");
        scene.clock.advance(Duration::from_secs(601));
        assert_eq!(scene.log_in("ada@example.com", PASSWORD).await.status, 200);
        assert_eq!(scene.log_in("nobody@example.com", PASSWORD).await.status, 401);
    }

    async fn a_stranger_cannot_tell_who_has_an_account(dialect: Dialect) {
        let scene = scene(dialect, "", backend().await).await;
        let gateway = scene.here();
        scene.here().account("ada", |_| {}).await;
        let inactive = gateway.account("inactive", |_| {}).await;
        let locked = gateway.account("locked", |_| {}).await;
        gateway.account("unverified", |new| new.is_verified = false).await;
        gateway.account("passwordless", |new| new.password_hash = None).await;
        gateway.account("changing", |new| new.must_change_password = true).await;
        stop(gateway, inactive, locked).await;
        let hasher = &gateway.running.app.hasher;
        let mut told = Vec::new();
        for who in ["nobody", "ada", "inactive", "locked", "unverified", "passwordless", "changing"] {
            let before = hasher.performed();
            let answer = scene.log_in(&format!("{who}@example.com"), "Wrong-horse-1-battery").await;
            told.push((who, hasher.performed() - before, face(&answer)));
        }
        assert_eq!((told[0].1, told[0].2.0), (1, 401));
        for (who, hashes, shown) in &told {
            assert_eq!((hashes, shown), (&told[0].1, &told[0].2), "{who}");
        }
        let mut told = Vec::new();
        for who in ["new", "ada", "inactive", "locked", "unverified"] {
            let before = hasher.performed();
            let body = json!({"email": format!("{who}@example.com"), "password": PASSWORD, "login": true});
            let answer = scene.call("POST", "/register/", None, body).await;
            told.push((who, hasher.performed() - before, face(&answer)));
        }
        assert_eq!((told[0].1, told[0].2.0), (1, 201));
        for (who, hashes, (status, headers, body)) in &told {
            let same = body.replace(who, "new");
            assert_eq!((hashes, status, headers, same), (&told[0].1, &told[0].2.0, &told[0].2.1, told[0].2.2.clone()), "{who}");
        }
        assert_eq!(scene.log_in("ada@example.com", PASSWORD).await.status, 200, "and nothing was overwritten");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_does_all_that_over_two_gateways_on_mariadb_and_redis_too() {
    a_person_registers_logs_in_stays_and_leaves::body(Dialect::MySql).await;
}

async fn stop(gateway: &Gateway, inactive: Id, locked: Id) {
    gateway
        .change(async |change| {
            assert!(account::set_activity(change, inactive, Activity::Inactive).await.unwrap());
            assert!(account::lock(change, locked, None).await.unwrap());
        })
        .await;
}

/// An answer without what differs between any two.
fn face(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let each = ["date", "x-request-id", "x-ratelimit-reset"];
    let mut headers: Vec<_> =
        answer.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
    headers.retain(|(name, _)| !each.contains(&name.as_str()) && name != "content-length");
    let mut body = answer.json();
    body.as_object_mut().unwrap().remove("request_id");
    if let Some(user) = body.get_mut("user").and_then(Value::as_object_mut) {
        for key in ["id", "created_at", "updated_at"] {
            user.remove(key);
        }
    }
    (answer.status, headers, body.to_string())
}

/// The cookie that an answer sets: `name=value`, and its attributes.
fn cookie(answer: &Answer) -> (String, String) {
    let (pair, attributes) = answer.header("set-cookie").expect("a cookie").split_once("; ").unwrap();
    (pair.to_owned(), attributes.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_keeps_its_refresh_token_in_a_cookie_that_only_we_may_use() {
    let public = "public_url: https://gw.example.com\nsessions: { refresh_cookie: true }\n";
    let scene = scene(Dialect::Sqlite, public, backend().await).await;
    scene.here().account("ada", |_| {}).await;
    let entered = scene.log_in("ada@example.com", PASSWORD).await;
    assert_eq!(entered.status, 200, "{}", entered.text());
    assert!(entered.json().get("refresh_token").is_none() && entered.json().get("refresh").is_none());
    let (pair, attributes) = cookie(&entered);
    assert!(pair.starts_with("__Secure-portcullis_refresh="), "{pair}");
    for word in ["Path=/api/v1/auth/", "HttpOnly", "Secure", "SameSite=Strict"] {
        assert!(attributes.split("; ").any(|one| one == word), "{word} in {attributes}");
    }
    let send = async |path: &str, cookies: &[&str], origin: Option<&str>| {
        let [key, secret] = scene.keys.lines();
        let mut lines = vec![key, secret, elsewhere()];
        lines.extend(cookies.iter().map(|cookie| format!("Cookie: {cookie}")));
        lines.extend(origin.map(|origin| format!("Origin: {origin}")));
        scene.here().call("POST", path, &lines, &json!({})).await
    };
    let ours = Some("https://gw.example.com");
    let foreign = async |origin: &str| {
        let [key, secret] = scene.keys.lines();
        let lines = vec![key, secret, elsewhere(), format!("Origin: {origin}")];
        let login = json!({"email": "ada@example.com", "password": PASSWORD});
        scene.here().call("POST", "/login/email/", &lines, &login).await
    };
    for origin in ["https://evil.example.com", "null"] {
        let refused = foreign(origin).await;
        assert_eq!((refused.status, refused.code().as_str()), (403, "CSRF_FAILED"), "{origin}");
        assert_eq!(refused.header("set-cookie"), None);
    }
    assert_eq!(foreign("https://gw.example.com").await.status, 200);
    for origin in
        [None, Some("null"), Some("https://evil.example.com"), Some("https://gw.example.com.evil.io")]
    {
        for path in ["/refresh/", "/logout/"] {
            let refused = send(path, &[&pair], origin).await;
            assert_eq!((refused.status, refused.code().as_str()), (403, "CSRF_FAILED"), "{path} {origin:?}");
        }
    }
    let tossed = format!("__Secure-portcullis_refresh=tossed; {pair}");
    for cookies in [&[tossed.as_str()][..], &[pair.as_str(), "__Secure-portcullis_refresh=tossed"], &[]] {
        assert_eq!(
            send("/refresh/", cookies, ours).await.status,
            400,
            "two of one name are none: {cookies:?}"
        );
    }
    let refreshed = send("/refresh/", &[&pair], ours).await;
    assert_eq!(refreshed.status, 200, "{}", refreshed.text());
    let (next, _) = cookie(&refreshed);
    assert_ne!(next, pair, "it rotates");
    let out = send("/logout/", &[&next], ours).await;
    let (gone, attributes) = cookie(&out);
    assert_eq!((out.status, gone.as_str()), (200, "__Secure-portcullis_refresh="));
    assert!(attributes.contains("Max-Age=0"), "{attributes}");
    assert_eq!(send("/refresh/", &[&next], ours).await.status, 401);
    let bearer = format!("Authorization: Bearer {}", refreshed.json()["access_token"].as_str().unwrap());
    assert_eq!(scene.here().send("GET", "/mine", &[bearer]).await.status, 401);
}
