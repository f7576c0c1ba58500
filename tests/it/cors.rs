//! CORS on the running gateway (security bar 2.N 167): which pages may call, and read what.
//! Law: what an upstream answers cannot widen what the route grants.

use crate::support::people::request;
use crate::support::{Act, Client, Gateway, Upstream, exchange};

async fn scene() -> (Upstream, Gateway) {
    let widening =
        "Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Credentials: true\r\nVary: Accept\r\n";
    let upstream = Upstream::start(move |_| Act::with(widening, "hello")).await;
    let gateway = Gateway::start(&format!(
        "cors: {{ origins: ['https://app.example.com'], credentials: true, expose: [x-request-id] }}
upstreams: {{ up: {{ servers: ['{}'] }} }}
routes:
  - {{ name: mine, match: {{ path: /mine }}, upstream: up, allow: signed_in }}
  - {{ name: open, match: {{ path: /open }}, upstream: up, allow: anyone }}
  - {{ name: own, match: {{ path: /own }}, upstream: up, allow: anyone, cors: {{ origins: ['https://own.example.com'] }} }}
  - {{ name: off, match: {{ path: /off }}, upstream: up, allow: signed_in, cors: off }}
",
        upstream.address
    ))
    .await;
    gateway.application("shop", &["https://shop.example.com"]).await;
    (upstream, gateway)
}

fn origin(text: &str) -> String {
    format!("Origin: {text}")
}

async fn preflight(gateway: &Gateway, path: &str, from: &str) -> crate::support::raw::Answer {
    let lines = [origin(from), "Access-Control-Request-Method: GET".to_owned()];
    exchange(gateway.public(), request("OPTIONS", path, &lines, "")).await.unwrap()
}

const REFUSED: [&str; 7] = [
    "null",
    "https://app.example.com.evil.org",
    "https://evil-app.example.com",
    "http://app.example.com",
    "https://app.example.com:8443",
    "https://example.com",
    "https://sub.app.example.com",
];

#[tokio::test]
async fn preflights_are_answered_without_a_credential_and_never_forwarded() {
    let (upstream, gateway) = scene().await;
    for path in ["/mine", "/open", "/api/v1/auth/me/", "/api/v1/auth/login/email/"] {
        for from in ["https://app.example.com", "https://shop.example.com"] {
            let lines = if path.contains("login") { "POST" } else { "GET" };
            let asks = [origin(from), format!("Access-Control-Request-Method: {lines}")];
            let answer = exchange(gateway.public(), request("OPTIONS", path, &asks, "")).await.unwrap();
            assert_eq!(
                (answer.status, answer.header("access-control-allow-origin")),
                (200, Some(from)),
                "{path}"
            );
            assert!(answer.header("access-control-allow-methods").unwrap().contains(lines));
            assert!(answer.header("vary").unwrap().contains("Origin"));
        }
        for from in REFUSED {
            let answer = preflight(&gateway, path, from).await;
            assert_eq!(answer.header("access-control-allow-origin"), None, "{path} {from}");
        }
    }
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn an_upstream_cannot_widen_what_the_route_grants() {
    let (_upstream, gateway) = scene().await;
    let from = async |path: &str, text: &str| gateway.send("GET", path, &[origin(text)]).await;
    let answer = from("/open", "https://app.example.com").await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example.com"));
    assert_eq!(answer.header("access-control-expose-headers"), Some("x-request-id"));
    let vary: Vec<&str> = answer.all("vary").collect();
    assert_eq!(vary, ["Accept", "Origin"]);
    for text in REFUSED {
        let answer = from("/open", text).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, None), "{text}");
        assert_eq!(answer.header("access-control-allow-credentials"), None);
    }
    assert!(from("/own", "https://app.example.com").await.header("access-control-allow-origin").is_none());
    assert!(from("/own", "https://own.example.com").await.header("access-control-allow-origin").is_some());
}

#[tokio::test]
async fn a_page_may_read_why_it_was_refused() {
    let (_upstream, gateway) = scene().await;
    for path in ["/mine", "/api/v1/auth/me/"] {
        let answer = gateway.send("GET", path, &[origin("https://app.example.com")]).await;
        assert_eq!(
            (answer.status, answer.header("access-control-allow-origin")),
            (401, Some("https://app.example.com"))
        );
    }
}

#[tokio::test]
async fn a_route_may_leave_cors_to_its_upstream() {
    let (upstream, gateway) = scene().await;
    let answer = preflight(&gateway, "/off", "https://anyone.example.com").await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, Some("*")));
    assert_eq!(upstream.last().line(), "OPTIONS /off HTTP/1.1");
    assert_eq!(gateway.send("GET", "/off", &[origin("https://anyone.example.com")]).await.status, 401);
    assert_eq!(gateway.send("OPTIONS", "/off", &[]).await.status, 401, "only a preflight");
}

#[tokio::test]
async fn a_page_opens_a_websocket_only_where_its_origin_is_listed() {
    let taken = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let upstream = Upstream::start(move |_| Act::Tunnel(taken.into())).await;
    let gateway = Gateway::start(&format!(
        "cors: {{ origins: ['https://app.example.com'] }}
upstreams: {{ up: {{ servers: ['{}'] }} }}
routes: [ {{ name: live, match: {{ path: /live }}, upstream: up, allow: anyone, websocket: true }} ]
",
        upstream.address
    ))
    .await;
    gateway.application("shop", &["https://shop.example.com"]).await;
    let open = async |origin: Option<&str>| {
        let mut lines = vec![
            "Connection: Upgrade".to_owned(),
            "Upgrade: websocket".to_owned(),
            "Sec-WebSocket-Version: 13".to_owned(),
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==".to_owned(),
        ];
        lines.extend(origin.map(|origin| format!("Origin: {origin}")));
        let mut client = Client::connect(gateway.public()).await;
        client.send(request("GET", "/live", &lines, "")).await;
        let answer = client.answer().await.expect("an answer");
        if answer.status == 101 {
            client.send(b"\x81\x02hi").await;
            assert_eq!(client.exactly(4).await.as_deref(), Some(&b"\x81\x02hi"[..]), "{origin:?}");
        }
        answer
    };
    for from in REFUSED {
        let refused = open(Some(from)).await;
        assert_eq!((refused.status, refused.code().as_str()), (403, "ORIGIN_DENIED"), "{from}");
    }
    assert_eq!(upstream.count(), 0, "none of them was asked");
    for from in [Some("https://app.example.com"), Some("https://shop.example.com"), None] {
        assert_eq!(open(from).await.status, 101, "{from:?}");
    }
    assert_eq!(upstream.count(), 3);
}
