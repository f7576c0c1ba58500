//! Browsers that come to a route by themselves: led to the page to log in, and back with its cookie.
//! Law: the cookie counts only where the route says so, never for what another site made the browser send,
//! and no upstream sees it.

use std::sync::Arc;
use std::time::Duration;

use portcullis::base::{Clock as _, SystemClock, TestClock};
use serde_json::json;

use crate::support::chromium::Tab;
use crate::support::forms::{Browser, LOGIN, cookie_of, form};
use crate::support::people::{PASSWORD, TRUSTING, elsewhere, permission};
use crate::support::raw::{Answer, get};
use crate::support::replica::in_time;
use crate::support::{Act, Client, Gateway, Upstream};

const NAVIGATES: &str = "Sec-Fetch-Mode: navigate";

fn yaml(upstream: &Upstream, more: &str) -> String {
    format!(
        "{TRUSTING}{more}permissions: [ {{ code: reports.read }} ]
upstreams: {{ up: {{ servers: ['{}'] }} }}
routes:
  - {{ name: reports, match: {{ path: /reports/** }}, upstream: up, allow: {{ permission: reports.read }}, browser: true }}
  - {{ name: live, match: {{ path: /live }}, upstream: up, allow: signed_in, browser: true, websocket: true }}
  - {{ name: open, match: {{ path: /open }}, upstream: up, allow: anyone, identity: optional, browser: true }}
  - {{ name: api, match: {{ path: /api }}, upstream: up, allow: signed_in }}
",
        upstream.address
    )
}

async fn setting(more: &str) -> (Upstream, Gateway) {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::start(&yaml(&upstream, more)).await;
    let keys = gateway.application("web", &[]).await;
    let ada = gateway.user("ada", &keys).await;
    gateway.grant(ada.id, permission("reports.read")).await;
    gateway.user("bob", &keys).await;
    (upstream, gateway)
}

fn told(answer: &Answer) -> String {
    format!("{} {}", answer.status, answer.code())
}

/// The same on a page, which is what a browser gets that navigates.
fn is_page_of(answer: &Answer, told: (u16, &str)) -> bool {
    let is_page = answer.header("content-type").is_some_and(|kind| kind.starts_with("text/html"));
    is_page && answer.status == told.0 && answer.text().contains(told.1)
}

#[tokio::test]
async fn who_navigates_is_led_to_the_login_and_back_to_what_was_asked_for() {
    let (upstream, gateway) = setting("").await;
    let mut browser = Browser::new(&gateway);
    let navigates = [NAVIGATES.to_owned(), elsewhere()];
    let led = browser.ask("GET", "/reports/7?from=a&to=b%20c", &navigates, "").await;
    assert_eq!(led.status, 303, "{}", led.text());
    let door = led.header("location").expect("a place").to_owned();
    assert_eq!(door, "/portcullis/login/?next=%2Freports%2F7%3Ffrom%3Da%26to%3Db%2520c");
    assert_eq!(led.header("cache-control"), Some("no-store"));
    let page = browser.get(&door).await.text();
    assert!(page.contains(r#"name="next" value="/reports/7?from=a&amp;to=b%20c""#), "{page}");
    let fields =
        [("email", "ada@example.com"), ("password", PASSWORD), ("next", "/reports/7?from=a&to=b%20c")];
    let origin = format!("Origin: {}", browser.origin());
    let inside = browser.ask("POST", LOGIN, &[origin, elsewhere()], &form(&fields)).await;
    assert_eq!(inside.header("location"), Some("/reports/7?from=a&to=b%20c"));
    assert_eq!(upstream.count(), 0, "nobody was let through until now");
    browser.cookie = Some(cookie_of(&inside));
    let there = browser.ask("GET", "/reports/7?from=a&to=b%20c", &navigates, "").await;
    assert_eq!(there.status, 200, "{}", there.text());
    let seen = upstream.last();
    assert_eq!(seen.header("x-user-email"), Some("ada@example.com"));
    assert_eq!(seen.header("cookie"), None, "the cookie is the gateway's own");
}

#[tokio::test]
async fn only_who_navigates_is_led_and_only_where_the_route_says_so() {
    let (upstream, gateway) = setting("").await;
    let browser = Browser::new(&gateway);
    let ask = async |method: &str, path: &str, lines: &[&str]| {
        let lines: Vec<_> = lines.iter().map(|&line| line.to_owned()).chain([elsewhere()]).collect();
        browser.ask(method, path, &lines, "").await
    };
    assert_eq!(
        ask("GET", "/reports/7", &["Accept: text/html,*/*;q=0.8"]).await.status,
        303,
        "an old browser"
    );
    for lines in [&["Sec-Fetch-Mode: cors", "Accept: text/html"][..], &["Accept: application/json"], &[]] {
        assert_eq!(told(&ask("GET", "/reports/7", lines).await), "401 AUTH_REQUIRED", "{lines:?}");
    }
    assert_eq!(told(&ask("POST", "/reports/7", &[NAVIGATES]).await), "401 AUTH_REQUIRED");
    let socket = ["Sec-Fetch-Mode: websocket", "Upgrade: websocket", "Connection: Upgrade"];
    assert_eq!(told(&ask("GET", "/live", &socket).await), "401 AUTH_REQUIRED");
    assert!(is_page_of(&ask("GET", "/api", &[NAVIGATES]).await, (401, "AUTH_REQUIRED")));
    let broken = ask("GET", "/reports/7", &[NAVIGATES, "Authorization: Bearer x.y.z"]).await;
    assert!(is_page_of(&broken, (401, "TOKEN_INVALID")), "who shows a token wants to know that it is over");
    let agent = format!("Authorization: AgentBearer {}", "x".repeat(48));
    let agents = ask("GET", "/reports/7", &[NAVIGATES, &agent]).await;
    assert_eq!(agents.status, 403, "agents are never led anywhere");
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn a_cookie_opens_browser_routes_with_the_rights_of_its_session_and_no_others() {
    let (upstream, gateway) = setting("").await;
    let (mut ada, mut bob) = (Browser::new(&gateway), Browser::new(&gateway));
    ada.log_in("ada").await;
    bob.log_in("bob").await;
    assert_eq!(ada.get("/reports/7").await.status, 200);
    let refused = bob.ask("GET", "/reports/7", &[NAVIGATES.to_owned()], "").await;
    let is_told = is_page_of(&refused, (403, "PERMISSION_REQUIRED"));
    assert!(is_told, "another login does not help whoever is known: {}", refused.text());
    assert_eq!(told(&ada.get("/api").await), "401 AUTH_REQUIRED", "this route takes tokens only");
    assert_eq!(ada.get("/open").await.status, 200);
    assert_eq!(upstream.last().header("x-user-email"), Some("ada@example.com"));
    let before = upstream.count();
    assert_eq!(ada.post("/portcullis/logout/", &[]).await.status, 303);
    let after = ada.ask("GET", "/reports/7", &[NAVIGATES.to_owned()], "").await;
    assert_eq!(after.status, 303, "the session is over: to the login");
    assert_eq!((ada.get("/open").await.status, upstream.count()), (200, before + 1));
    assert_eq!(upstream.last().header("x-user-email"), None, "nobody, as far as the upstream is told");
}

#[tokio::test]
async fn who_shows_a_token_is_whom_it_names_whatever_cookie_comes_along() {
    let (upstream, gateway) = setting("").await;
    let mut bob = Browser::new(&gateway);
    bob.log_in("bob").await;
    let keys = gateway.application("script", &[]).await;
    let grace = gateway.user("grace", &keys).await;
    gateway.grant(grace.id, permission("reports.read")).await;
    // Her token beside his cookie: hers are the rights, and it is she whom the upstream is told of.
    for path in ["/reports/7", "/open"] {
        let both = bob.ask("GET", path, &[grace.bearer(), elsewhere()], "").await;
        assert_eq!(both.status, 200, "{path}: {}", both.text());
        assert_eq!(upstream.last().header("x-user-email"), Some("grace@example.com"), "{path}");
        assert_eq!(upstream.last().header("x-user-id"), Some(grace.id.to_string().as_str()), "{path}");
    }
    let before = upstream.count();
    let bad = "Authorization: Bearer x.y.z".to_owned();
    for lines in [vec![bad.clone()], vec![bad, NAVIGATES.to_owned()]] {
        let refused = bob.ask("GET", "/live", &lines, "").await;
        assert_eq!(refused.status, 401, "a good cookie mends no bad token: {}", refused.text());
    }
    assert_eq!(upstream.count(), before);
    assert_eq!(bob.get("/live").await.status, 200, "and is good where it comes alone");
    assert_eq!(upstream.last().header("x-user-email"), Some("bob@example.com"));
}

#[tokio::test]
async fn what_another_site_makes_a_browser_send_changes_nothing() {
    let (upstream, gateway) =
        setting("cors: { origins: [https://app.example.com], credentials: true }\n").await;
    let mut ada = Browser::new(&gateway);
    ada.log_in("ada").await;
    let before = upstream.count();
    let own = ada.origin();
    for origin in
        ["https://evil.example", "https://app.example.com", "null", &format!("{own}.evil.example"), ""]
    {
        let line = if origin.is_empty() { elsewhere() } else { format!("Origin: {origin}") };
        for method in ["POST", "DELETE"] {
            let answer = ada.ask(method, "/reports/7", std::slice::from_ref(&line), "").await;
            assert_eq!(told(&answer), "403 CSRF_FAILED", "{method} {origin:?}");
        }
    }
    let handshake = |origin: &str| {
        let lines = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"];
        let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
        let lines = lines.into_iter().chain([key]).map(str::to_owned);
        lines.chain([format!("Origin: {origin}")]).collect::<Vec<_>>()
    };
    let listed = ada.ask("GET", "/live", &handshake("https://app.example.com"), "").await;
    assert_eq!(told(&listed), "403 CSRF_FAILED", "a page elsewhere opens no socket with this cookie");
    let read = ada.ask("GET", "/reports/7", &["Origin: https://app.example.com".to_owned()], "").await;
    assert_eq!(told(&read), "403 CSRF_FAILED", "nor does its script read what is ours");
    assert_eq!(upstream.count(), before, "nothing of that arrived");
    assert_eq!(ada.post("/reports/7", &[("a", "1")]).await.status, 200, "a form of our own origin does");
    // Where nobody need be known, a foreign request is nobody's.
    let foreign = ada.ask("POST", "/open", &["Origin: https://evil.example".to_owned()], "").await;
    assert_eq!(foreign.status, 200);
    assert_eq!(upstream.last().header("x-user-email"), None);
}

#[tokio::test]
async fn a_script_of_a_backend_on_this_origin_reads_no_page_of_ours_and_sends_no_form() {
    let (_upstream, gateway) = setting("").await;
    let mut ada = Browser::new(&gateway);
    ada.log_in("ada").await;
    let account = "/portcullis/account/";
    for mode in ["cors", "same-origin", "no-cors"] {
        let lines = [format!("Sec-Fetch-Mode: {mode}"), "Sec-Fetch-Site: same-origin".to_owned()];
        let read = ada.ask("GET", account, &lines, "").await;
        assert_eq!((read.status, read.text().contains("csrf")), (303, false), "{mode}");
        let secret = ada.secret(account).await;
        let lines = [&lines[..], &[format!("Origin: {}", ada.origin())]].concat();
        let sent = ada.ask("POST", "/portcullis/logout/", &lines, &form(&[("csrf", &secret)])).await;
        assert_eq!(sent.header("set-cookie"), None, "{mode}");
    }
    // A form that its script made and sent, without the secret that it cannot read.
    let lines = [NAVIGATES.to_owned(), format!("Origin: {}", ada.origin())];
    assert_eq!(ada.ask("POST", "/portcullis/logout/", &lines, "").await.status, 403);
    let read = ada.ask("GET", account, &[NAVIGATES.to_owned()], "").await;
    assert_eq!(read.status, 200, "and people go on");
}

#[tokio::test]
async fn a_browser_that_comes_by_itself_is_asked_for_no_application_keys_and_others_are() {
    let (upstream, gateway) = setting("applications: { required: everywhere }\n").await;
    let mut ada = Browser::new(&gateway);
    let led = ada.ask("GET", "/reports/7", &[NAVIGATES.to_owned()], "").await;
    assert_eq!(led.status, 303);
    assert_eq!(told(&ada.get("/reports/7").await), "401 APP_AUTH_REQUIRED");
    assert_eq!(told(&ada.get("/open").await), "401 APP_AUTH_REQUIRED", "nobody needs keys");
    assert_eq!(upstream.count(), 0);
    ada.log_in("ada").await;
    assert_eq!(ada.get("/reports/7").await.status, 200);
    let beside = ada.ask("GET", "/reports/7", &["X-Access-Key: nobody".to_owned()], "").await;
    assert_eq!(beside.status, 401, "keys that are sent must be right: {}", beside.text());
}

#[tokio::test]
async fn a_real_browser_logs_in_on_the_way_to_a_page() {
    let (upstream, gateway) = setting("").await;
    let mut tab = Tab::open(1000, 700).await;
    tab.go(&format!("http://{}/reports/7?a=1&b=2", gateway.public())).await;
    assert_eq!(tab.read("location.pathname").await, LOGIN);
    tab.write("ada@example.com").await;
    tab.press("Tab").await;
    tab.write(PASSWORD).await;
    tab.press_on("Enter").await;
    let place = tab.read("location.pathname + location.search").await;
    assert_eq!(place, json!("/reports/7?a=1&b=2"));
    assert_eq!(upstream.last().header("x-user-email"), Some("ada@example.com"));
    // Browsers ask for a picture of the site by themselves, sooner or later, and here is none.
    let complaints: Vec<_> = tab.complaints.iter().filter(|one| !one.contains("/favicon.ico")).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
}

#[tokio::test]
async fn a_websocket_that_a_cookie_let_in_is_cut_when_the_cookie_is_over() {
    let upstream = Upstream::start(|_| {
        let switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        Act::Tunnel(switch.to_vec())
    })
    .await;
    let clock = Arc::new(TestClock::at(SystemClock.now()));
    let yaml = format!(
        "{TRUSTING}sessions: {{ idle_for: 30d }}
upstreams: {{ up: {{ servers: ['{}'] }} }}
routes: [ {{ name: live, match: {{ path: /live }}, upstream: up, allow: signed_in, browser: true, websocket: true }} ]
",
        upstream.address
    );
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::start_by(Arc::clone(&clock) as _, folder, &yaml).await.expect("it starts");
    let keys = gateway.application("web", &[]).await;
    gateway.user("ada", &keys).await;
    let mut ada = Browser::new(&gateway);
    ada.log_in("ada").await;
    clock.advance(Duration::from_hours(12).saturating_sub(Duration::from_secs(1)));
    let (cookie, origin) = (ada.cookie.clone().unwrap(), format!("Origin: {}", ada.origin()));
    let cookie = format!("Cookie: portcullis_session={cookie}");
    let mut socket = Client::connect(gateway.public()).await;
    let lines = ["Connection: Upgrade", "Upgrade: websocket", &cookie, &origin];
    socket.send(get("/live", &lines)).await;
    assert_eq!(socket.answer().await.unwrap().status, 101);
    // It is asked again after that second, and by the gateway's clock nothing is over.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    socket.send(b"\x81\x02hi").await;
    assert_eq!(socket.exactly(4).await.unwrap(), b"\x81\x02hi");
    clock.advance(Duration::from_secs(2));
    let ended = in_time(Duration::from_secs(5), socket.exactly(1)).await;
    assert_eq!(ended.expect("it ends with the cookie"), None);
    assert_eq!(ada.get("/live").await.status, 401, "and so does everything else that it opened");
}

#[tokio::test]
async fn what_a_cookie_opened_is_kept_by_no_cache_that_others_share() {
    let upstream = Upstream::start(|seen| match seen.target() {
        "/reports/said" => Act::with("Cache-Control: no-store\r\nVary: Accept\r\n", "x"),
        "/reports/public" | "/open?public" => {
            let lines =
                "Cache-Control: public, s-maxage=600, max-age=60\r\nCDN-Cache-Control: max-age=600\r\n";
            Act::with(lines, "x")
        }
        _ => Act::ok("x"),
    })
    .await;
    let gateway = Gateway::start(&yaml(&upstream, "")).await;
    let keys = gateway.application("web", &[]).await;
    let user = gateway.user("ada", &keys).await;
    gateway.grant(user.id, permission("reports.read")).await;
    let nobody = Browser::new(&gateway);
    let mut ada = Browser::new(&gateway);
    ada.log_in("ada").await;
    let told = |answer: &Answer| {
        let all = |name: &str| answer.all(name).collect::<Vec<_>>().join(" + ");
        format!("{}; {}", all("cache-control"), all("vary"))
    };
    assert_eq!(told(&ada.get("/reports/7").await), "private; Origin + Cookie", "the upstream says nothing");
    assert_eq!(told(&ada.get("/reports/said").await), "no-store; Accept + Origin + Cookie");
    let narrowed = ada.get("/reports/public").await;
    assert_eq!(told(&narrowed), "private, max-age=60; Origin + Cookie");
    assert_eq!(narrowed.header("cdn-cache-control"), None);
    assert_eq!(told(&ada.get("/open?public").await), "private, max-age=60; Origin + Cookie");
    // What everybody gets may be kept for everybody else without a cookie.
    assert_eq!(told(&nobody.get("/open?public").await), "public, s-maxage=600, max-age=60; Origin + Cookie");
    let bearer = [user.bearer(), elsewhere()];
    let as_said = "public, s-maxage=600, max-age=60; Origin + Cookie";
    assert_eq!(told(&nobody.ask("GET", "/reports/public", &bearer, "").await), as_said, "its own choice");
    assert_eq!(told(&nobody.ask("GET", "/api", &bearer, "").await), "; Origin", "no browser comes there");
}
