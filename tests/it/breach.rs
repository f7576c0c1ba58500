//! Passwords known from breaches, on the running gateway and a range server of the test's own: down, slow
//! and lying included. Law: five digits of a digest leave the gateway, and a password that is refused uses
//! nothing up.

use std::time::Duration;

use portcullis::base::Phone;
use portcullis::crypto::digest::sha1_hex;
use serde_json::{Value, json};

use crate::codes::{Post, code_in, text_of};
use crate::support::people::{PASSWORD, User};
use crate::support::raw::Answer;
use crate::support::replica::{in_time, until};
use crate::support::tls::{self, Pair};
use crate::support::{Act, Seen, Upstream};

const KNOWN: &str = "Known-horse-7-staple";
const FINE: &str = "Another-horse-7-staple";

/// What a server does with whatever comes.
type Doing = Box<dyn Fn() -> Act + Send + Sync>;

fn digest(password: &str) -> String {
    sha1_hex(password.as_bytes()).to_uppercase()
}

/// What a range server answers that knows [`KNOWN`], and of [`FINE`] nothing but padding.
fn answer(seen: &Seen) -> Act {
    let mut lines = vec!["0018A45C4D1DEF81644B54AB7F969B88D65:3".to_owned()];
    for (password, times) in [(KNOWN, 1234), (FINE, 0)] {
        let digest = digest(password);
        if seen.target().ends_with(&format!("/range/{}", &digest[..5])) {
            lines.push(format!("{}:{times}", &digest[5..]));
        }
    }
    Act::ok(lines.join("\r\n"))
}

fn yaml(url: &str, more: &str) -> String {
    let timeout = if more.contains("timeout:") { "" } else { ", timeout: 8s" };
    format!(
        "accounts: {{ breach_check: {{ url: '{url}', allow_private: true{timeout}{more} }} }}\n\
         login: {{ otp: {{ log_in: true }}, reset: {{ link: 'https://app.example.com/reset' }} }}\n"
    )
}

impl Post {
    async fn register(&self, name: &str, password: &str) -> Answer {
        let body = json!({"email": format!("{name}@example.com"), "password": password});
        self.call(None, "/register/", body).await
    }

    /// The code that Ada is sent, among the mails to others who registered.
    async fn code_that_resets(&self) -> String {
        self.call(None, "/password/reset/request/", json!({"email": "ada@example.com"})).await;
        let to_ada = || self.mail.taken().into_iter().find(|letter| letter.to == ["ada@example.com"]);
        until(Duration::from_secs(10), "the mail", async || to_ada().is_some()).await;
        code_in(&text_of(&to_ada().unwrap()))
    }

    async fn is_in(&self, user: &User) -> bool {
        let lines = [&self.keys.lines()[..], &[user.bearer()]].concat();
        self.gateway.call("GET", "/me/", &lines, &Value::Null).await.status == 200
    }
}

fn is_breached(answer: &Answer) {
    assert_eq!((answer.status, answer.code().as_str()), (400, "PASSWORD_BREACHED"), "{}", answer.text());
    let text = "This password has appeared in 1,234 data breaches. Please choose a different password.";
    assert_eq!(answer.json()["error"], text);
}

#[tokio::test]
async fn a_known_password_is_refused_wherever_one_is_chosen_and_uses_nothing_up() {
    let ranges = Upstream::start(answer).await;
    let post = Post::start(&yaml(&format!("http://{}", ranges.address), "")).await;
    let ada = post.gateway.user("ada", &post.keys).await;
    // For known and unknown addresses alike.
    is_breached(&post.register("bob", KNOWN).await);
    is_breached(&post.register("ada", KNOWN).await);
    let seen = &ranges.seen()[0];
    assert_eq!(seen.target(), format!("/range/{}", &digest(KNOWN)[..5]));
    assert_eq!(seen.header("add-padding"), Some("true"));
    assert!(seen.line().starts_with("GET "));
    assert!(seen.header("authorization").is_none() && seen.header("cookie").is_none());
    assert!(!seen.head.contains(&digest(KNOWN)[5..]));
    let login = json!({"email": "bob@example.com", "password": KNOWN});
    assert_eq!(post.call(None, "/login/email/", login).await.code(), "LOGIN_FAILED", "nobody was made");
    assert_eq!(post.register("bob", FINE).await.status, 201, "padding knows nothing");

    let change = |new: &str| json!({"current_password": PASSWORD, "new_password": new});
    is_breached(&post.call(Some(&ada), "/password/change/", change(KNOWN)).await);
    assert!(post.is_in(&ada).await);
    // A wrong present password is told first, and nobody is asked.
    let count = ranges.count();
    let wrong = json!({"current_password": "wrong", "new_password": KNOWN});
    assert_eq!(post.call(Some(&ada), "/password/change/", wrong).await.code(), "INVALID_PASSWORD");
    assert_eq!(ranges.count(), count);

    let code = post.code_that_resets().await;
    let reset = |new: &str| json!({"email": "ada@example.com", "otp_code": code, "new_password": new});
    is_breached(&post.call(None, "/password/reset/confirm/", reset(KNOWN)).await);
    let done = post.call(None, "/password/reset/confirm/", reset(FINE)).await;
    assert_eq!((done.status, &done.json()["password_safe"]), (200, &json!(true)), "{}", done.text());
    assert!(!post.is_in(&ada).await);
    let log = format!("{:?}", post.gateway.access_log().await);
    assert!(!log.contains("staple") && !log.contains(&digest(KNOWN)[..5]));
}

#[tokio::test]
async fn a_first_password_and_a_forced_one_are_looked_up_too() {
    let ranges = Upstream::start(answer).await;
    let post = Post::start(&yaml(&format!("http://{}", ranges.address), "")).await;
    post.gateway
        .account("ada", |new| {
            (new.password_hash, new.phone) = (None, Some(Phone::parse("+33612345678").unwrap()));
        })
        .await;
    let phone = json!({"phone_country_code": "33", "phone_number": "612345678"});
    let code = async |number: usize| {
        post.clock.advance(Duration::from_secs(61));
        post.call(None, "/login/otp/request/", phone.clone()).await;
        code_in(&post.message(number).await.1)
    };
    let mut body = phone.clone();
    body["otp_code"] = json!(code(1).await);
    let entered = post.call(None, "/login/otp/verify/", body).await.json();
    let text = |key: &str| entered[key].as_str().expect("a token").to_owned();
    let ada = User {
        id: portcullis::base::Id::from_u128(0),
        access: text("access_token"),
        refresh: text("refresh_token"),
    };
    let code = code(2).await;
    let set = |new: &str| json!({"otp_code": code, "new_password": new});
    is_breached(&post.call(Some(&ada), "/password/set-initial/", set(KNOWN)).await);
    let done = post.call(Some(&ada), "/password/set-initial/", set(FINE)).await;
    assert_eq!(done.status, 200, "the code was not used up: {}", done.text());

    post.gateway.account("eve", |new| new.must_change_password = true).await;
    let eve = post.gateway.log_in("eve", ada.id, &post.keys).await;
    let change = |new: &str| json!({"current_password": PASSWORD, "new_password": new});
    is_breached(&post.call(Some(&eve), "/password/change/", change(KNOWN)).await);
    assert_eq!(post.call(Some(&eve), "/password/change/", change(FINE)).await.status, 200);
}

#[tokio::test]
async fn a_service_that_is_down_slow_or_lying_is_none() {
    let long = "0018A45C4D1DEF81644B54AB7F969B88D65:3\r\n".repeat(20_000);
    let digests = digest(FINE);
    let hidden = format!("{}:9\r\n<p>and so on</p>", &digests[5..]);
    let moved = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n".to_vec();
    let failing = b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n".to_vec();
    let pieces = (0..20).map(|_| (Duration::from_millis(100), b"0".to_vec())).collect::<Vec<_>>();
    let mut drip = vec![(Duration::ZERO, b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n".to_vec())];
    drip.extend(pieces);
    let acts: Vec<(&str, Doing)> = vec![
        ("silent", Box::new(|| Act::Hang)),
        ("dripping", Box::new(move || Act::Pieces(drip.clone()))),
        ("closing", Box::new(|| Act::Close)),
        ("failing", Box::new(move || Act::Answer(failing.clone()))),
        ("moved", Box::new(move || Act::Answer(moved.clone()))),
        ("long", Box::new(move || Act::ok(&long))),
        ("no list", Box::new(|| Act::ok("<html>Welcome to our hotel</html>"))),
        ("half a list", Box::new(move || Act::ok(&hidden))),
        ("empty", Box::new(|| Act::ok(""))),
    ];
    let count = acts.len();
    let acts = std::sync::Arc::new(acts);
    let turn = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let (served, next) = (acts.clone(), turn.clone());
    let ranges = Upstream::start(move |_| (served[next.load(std::sync::atomic::Ordering::SeqCst)].1)()).await;
    let url = format!("http://{}", ranges.address);
    let taking = Post::start(&yaml(&url, ", timeout: 400ms")).await;
    let refusing = Post::start(&yaml(&url, ", timeout: 400ms, on_unavailable: refuse")).await;
    for number in 0..count {
        turn.store(number, std::sync::atomic::Ordering::SeqCst);
        let name = acts[number].0;
        let who = format!("a{number}");
        let both = async { (taking.register(&who, FINE).await, refusing.register(&who, FINE).await) };
        let (taken, refused) = in_time(Duration::from_secs(6), both).await.expect(name);
        assert_eq!(taken.status, 201, "{name}: {}", taken.text());
        assert_eq!((refused.status, refused.code().as_str()), (503, "SERVICE_UNAVAILABLE"), "{name}");
        assert!(refused.header("retry-after").is_some(), "{name}");
    }
    drop(ranges);
    let gone = refusing.register("gone", FINE).await;
    assert_eq!(gone.code(), "SERVICE_UNAVAILABLE", "nobody listens");
    // A reset says that nobody could tell, and logins ask nobody.
    taking.gateway.account("ada", |_| {}).await;
    let code = taking.code_that_resets().await;
    let body = json!({"email": "ada@example.com", "otp_code": code, "new_password": FINE});
    let reset = taking.call(None, "/password/reset/confirm/", body).await;
    assert_eq!((reset.status, &reset.json()["password_safe"]), (200, &json!(false)), "{}", reset.text());
    let eve = refusing.gateway.user("eve", &refusing.keys).await;
    assert!(refusing.is_in(&eve).await);
}

#[tokio::test]
async fn a_service_of_ones_own_is_believed_by_the_authority_that_is_named_and_by_no_other() {
    let ranges = Upstream::start(answer).await;
    let pair = Pair::for_name("localhost");
    let secure = tls::in_front_of(ranges.address, &pair, None).await;
    let folder = tempfile::tempdir().unwrap();
    pair.write(folder.path(), "own");
    Pair::for_name("localhost").write(folder.path(), "other");
    let url = format!("https://localhost:{}", secure.port());
    let by =
        |name: &str| format!(", on_unavailable: refuse, ca_file: '{}'", folder.path().join(name).display());
    let own = Post::start(&yaml(&url, &by("own.crt"))).await;
    is_breached(&own.register("bob", KNOWN).await);
    assert_eq!(own.register("bob", FINE).await.status, 201);
    let count = ranges.count();
    for more in [by("other.crt"), ", on_unavailable: refuse".to_owned()] {
        let strange = Post::start(&yaml(&url, &more)).await;
        let refused = strange.register("bob", FINE).await;
        assert_eq!((refused.status, refused.code().as_str()), (503, "SERVICE_UNAVAILABLE"), "{more}");
    }
    assert_eq!(ranges.count(), count, "nothing was asked of a stranger");
}

#[tokio::test]
async fn whoever_holds_no_more_than_a_code_learns_no_password_by_it() {
    let ranges = Upstream::start(|seen| {
        let digest = digest(PASSWORD);
        let is_it = seen.target().ends_with(&format!("/range/{}", &digest[..5]));
        Act::ok(if is_it {
            format!("{}:9", &digest[5..])
        } else {
            "0018A45C4D1DEF81644B54AB7F969B88D65:3".to_owned()
        })
    })
    .await;
    let post = Post::start(&yaml(&format!("http://{}", ranges.address), "")).await;
    let ada = post.gateway.user("ada", &post.keys).await;
    // It is the present password, and known: that it is known is said of any.
    let change = json!({"current_password": PASSWORD, "new_password": PASSWORD});
    assert_eq!(post.call(Some(&ada), "/password/change/", change).await.code(), "PASSWORD_BREACHED");
    let code = post.code_that_resets().await;
    let reset = json!({"email": "ada@example.com", "otp_code": code, "new_password": PASSWORD});
    assert_eq!(post.call(None, "/password/reset/confirm/", reset).await.code(), "PASSWORD_BREACHED");
}
