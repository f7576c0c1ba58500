//! What agents do not get to read, on the running gateway, in every frame that an answer comes in.
//! Law: whatever the upstream sends, no secret of it reaches an agent, and no broken text looks whole.

use std::time::Duration;

use http::{Method, Request, header};
use serde_json::{Value, json};

use crate::agent::{Scene, bearer, scene};
use crate::agent_gate::{reader, told};
use crate::support::h2::{H2Client, H2Upstream};
use crate::support::people::request;
use crate::support::raw::{Answer, get};
use crate::support::upstream::Seen;
use crate::support::{Act, Client, Upstream, exchange};

const SECRET: &str = "ada@example.com";

fn routes(servers: &str) -> String {
    format!(
        "agents: {{ redact_pii: true, redact: {{ buffer: 4KiB }} }}
listen: {{ public: '127.0.0.1:0', admin: '127.0.0.1:0', h2c: true }}
upstreams: {{ up: {{ {servers}, breaker: 'off' }} }}
routes:
  - {{ name: clean, match: {{ path: '/clean/**' }}, upstream: up, allow: {{ permission: reports.read }}, agents: {{ permission: reports.read }}, websocket: true }}
  - {{ name: pass, match: {{ path: '/pass/**' }}, upstream: up, allow: signed_in, agents: {{ permission: reports.read, redact: {{ keys: [iban], on_other: pass }} }} }}
  - {{ name: 'off', match: {{ path: '/off/**' }}, upstream: up, allow: signed_in, agents: {{ permission: reports.read, redact: 'off' }}, websocket: true }}
"
    )
}

/// A gateway in front of what `handler` makes, and the token of an agent.
async fn with(handler: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> (Upstream, Scene, String) {
    let upstream = Upstream::start(handler).await;
    let scene = scene(&routes(&format!("servers: ['{}']", upstream.address))).await;
    let limits = json!({"circuit_breaker": {"max_requests_per_minute": 500, "max_failed_requests": 100}});
    let token = scene.mint(&reader(&limits)).await.1;
    (upstream, scene, token)
}

fn person() -> Value {
    json!({"id": 7, "email": SECRET, "children": [{"E-Mail": SECRET, "name": "Bob"}], "Phone": {"work": SECRET}})
}

fn cleaned() -> Value {
    let hidden = "***REDACTED***";
    json!({"id": 7, "email": hidden, "children": [{"E-Mail": hidden, "name": "Bob"}], "Phone": hidden})
}

fn json_with(lines: &str, body: impl AsRef<[u8]>) -> Act {
    Act::with(&format!("Content-Type: application/json\r\n{lines}"), body)
}

/// In chunks of so many bytes.
fn chunked(status: &str, lines: &str, body: &[u8], size: usize) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\n{lines}\r\n").into_bytes();
    for chunk in body.chunks(size) {
        bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
        bytes.extend(chunk);
        bytes.extend(b"\r\n");
    }
    bytes
}

impl Scene {
    async fn read(&self, path: &str, token: &str) -> Answer {
        self.ask(path, token, &[]).await
    }
}

#[tokio::test]
async fn values_under_the_keys_are_hidden_from_agents_and_shown_to_people() {
    let body = person().to_string();
    let (upstream, scene, token) = with(move |_| {
        json_with(
            "ETag: \"v1\"\r\nDigest: sha-256=x\r\nContent-Digest: sha-256=:x:\r\nAccept-Ranges: bytes\r\n",
            &body,
        )
    })
    .await;
    let asked = [
        "Accept-Encoding: gzip",
        "Range: bytes=0-9",
        "If-Range: \"v1\"",
        "If-None-Match: \"v1\"",
        "If-Modified-Since: Sat, 29 Oct 1994 19:43:31 GMT",
        "X-Other: kept",
    ];
    let answer = scene.ask("/clean/7", &token, &asked).await;
    assert_eq!((answer.status, answer.json()), (200, cleaned()));
    assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()));
    for name in ["etag", "digest", "content-digest", "accept-ranges"] {
        assert_eq!(answer.header(name), None, "{name}");
    }
    let seen = upstream.last();
    for name in ["accept-encoding", "range", "if-range", "if-none-match", "if-modified-since"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
    assert_eq!(seen.header("x-other"), Some("kept"));
    // The same for Ada herself is what the upstream said.
    let lines = [&scene.lines(&scene.ada)[..], &["If-None-Match: \"v1\"".to_owned()]].concat();
    let answer = scene.gateway.send("GET", "/clean/7", &lines).await;
    assert_eq!((answer.json(), answer.header("etag")), (person(), Some("\"v1\"")));
    assert_eq!(upstream.last().header("if-none-match"), Some("\"v1\""));
}

#[tokio::test]
async fn a_route_says_itself_what_is_hidden() {
    let body = json!({"email": SECRET, "IBAN": "FR76"}).to_string();
    let (_upstream, scene, token) = with(move |_| json_with("", &body)).await;
    assert_eq!(
        scene.read("/pass/7", &token).await.json(),
        json!({"email": SECRET, "IBAN": "***REDACTED***"})
    );
    assert_eq!(scene.read("/off/7", &token).await.json()["IBAN"], "FR76");
}

#[tokio::test]
async fn what_the_frame_is_and_what_the_upstream_answers_makes_no_difference() {
    let body = person().to_string();
    let (_upstream, scene, token) = with(move |seen| {
        let kind = "Content-Type: application/problem+json; charset=utf-8\r\n";
        match seen.target() {
            "/clean/chunked" => {
                let mut bytes = chunked("200 OK", kind, body.as_bytes(), 3);
                bytes.extend(b"0\r\n\r\n");
                Act::Answer(bytes)
            }
            "/clean/slow" => {
                let whole = chunked("200 OK", kind, body.as_bytes(), 16);
                let mut pieces: Vec<_> =
                    whole.chunks(50).map(|piece| (Duration::from_millis(5), piece.to_vec())).collect();
                pieces.push((Duration::ZERO, b"0\r\n\r\n".to_vec()));
                Act::Pieces(pieces)
            }
            "/clean/close" => Act::AnswerAndClose(
                format!("HTTP/1.1 200 OK\r\n{kind}Connection: close\r\n\r\n{body}").into_bytes(),
            ),
            "/clean/404" | "/clean/500" => {
                let status = &seen.target()[7..];
                let head =
                    format!("HTTP/1.1 {status} No\r\n{kind}Content-Length: {}\r\n\r\n{body}", body.len());
                Act::Answer(head.into_bytes())
            }
            _ => Act::Close,
        }
    })
    .await;
    for (path, status) in
        [("chunked", 200), ("slow", 200), ("close", 200), ("404", 404), ("500", 500), ("chunked", 200)]
    {
        let answer = scene.read(&format!("/clean/{path}"), &token).await;
        assert_eq!((answer.status, answer.json()), (status, cleaned()), "{path}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_at_the_head() {
    let (_upstream, scene, token) = with(|seen| {
        let of = |kind: &str, more: &str| Act::with(&format!("Content-Type: {kind}\r\n{more}"), SECRET);
        match seen.target().rsplit('/').next().unwrap() {
            "html" => of("text/html", ""),
            "events" => of("text/event-stream", ""),
            "lines" => of("application/x-ndjson", ""),
            "gzip" => of("application/json", "Content-Encoding: gzip\r\n"),
            "utf16" => of("application/json; charset=utf-16", ""),
            "part" => {
                let head = "HTTP/1.1 206 Partial Content\r\nContent-Type: application/json\r\nContent-Range: bytes 0-14/99\r\n";
                Act::Answer(format!("{head}Content-Length: {}\r\n\r\n{SECRET}", SECRET.len()).into_bytes())
            }
            _ => Act::with("", SECRET),
        }
    })
    .await;
    for kind in ["html", "events", "lines", "gzip", "utf16", "part", "none"] {
        let answer = scene.read(&format!("/clean/{kind}"), &token).await;
        assert_eq!(told(&answer), (502, "REDACTION_IMPOSSIBLE".to_owned()), "{kind}");
        assert!(!answer.text().contains(SECRET), "{kind}");
    }
    for (kind, passes) in
        [("html", true), ("events", true), ("lines", true), ("none", true), ("gzip", false), ("part", false)]
    {
        let answer = scene.read(&format!("/pass/{kind}"), &token).await;
        assert_eq!((answer.status == 200, answer.text().contains(SECRET)), (passes, passes), "{kind}");
    }
}

#[tokio::test]
async fn answers_without_a_body_have_nothing_to_hide() {
    let (_upstream, scene, token) = with(|seen| {
        let is_head = seen.line().starts_with("HEAD");
        let answer = |text: &str| Act::Answer(text.as_bytes().to_vec());
        match seen.target() {
            "/clean/head" if is_head => {
                answer("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 999\r\nETag: \"x\"\r\n\r\n")
            }
            "/clean/204" => answer("HTTP/1.1 204 No Content\r\nETag: \"x\"\r\n\r\n"),
            "/clean/304" => answer("HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n"),
            "/clean/empty" => answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nETag: \"x\"\r\n\r\n"),
            _ => Act::Close,
        }
    })
    .await;
    for (method, path, status) in [
        ("HEAD", "head", 200),
        ("GET", "204", 204),
        ("GET", "304", 304),
        ("GET", "empty", 200),
        ("HEAD", "head", 200),
    ] {
        let answer = scene.gateway.send(method, &format!("/clean/{path}"), &[bearer(&token)]).await;
        assert_eq!((answer.status, answer.header("etag")), (status, None), "{path}");
        assert_ne!(answer.header("content-length"), Some("999"), "it would not be true");
    }
}

/// JSON of at least so many bytes, with a secret at its end.
fn long(bytes: usize) -> String {
    let item = json!({"name": "x".repeat(100), "email": SECRET}).to_string();
    let items = vec![item; bytes / 130];
    format!("[{},{}]", items.join(","), person())
}

#[tokio::test]
async fn a_long_answer_is_rewritten_as_it_streams() {
    let body = long(3_000_000);
    let told: Value =
        serde_json::from_str(&body.replace(&format!("\"{SECRET}\""), "\"***REDACTED***\"")).unwrap();
    let (_upstream, scene, token) = with(move |_| json_with("", &body)).await;
    let mut client = Client::connect(scene.gateway.public()).await;
    for _ in 0..2 {
        client.send(get("/clean/7", &[&bearer(&token)])).await;
        let answer = client.answer().await.unwrap();
        assert_eq!(
            (answer.header("content-length"), answer.header("transfer-encoding")),
            (None, Some("chunked"))
        );
        let read = answer.json();
        assert_eq!(read[0], told[0]);
        assert_eq!(read.as_array().unwrap().last().unwrap(), &cleaned());
        assert_eq!(read.as_array().unwrap().len(), told.as_array().unwrap().len());
    }
    let h2 = H2Client::cleartext(scene.gateway.public()).await;
    let answer = h2.send(h2_get(&scene, "/clean/7", &token), None).await.unwrap();
    assert!(!String::from_utf8(answer.body).unwrap().contains(SECRET));
}

fn h2_get(scene: &Scene, path: &str, token: &str) -> Request<()> {
    let uri = format!("http://{}{path}", scene.gateway.public());
    let request = Request::builder().uri(uri).header("authorization", format!("AgentBearer {token}"));
    request.body(()).unwrap()
}

#[tokio::test]
async fn a_text_that_turns_out_broken_is_refused_or_seen_to_break_off() {
    let (upstream, scene, token) = with(|seen| match seen.target() {
        "/clean/short" => json_with("", format!("{{\"email\":\"{SECRET}\"}}, oops")),
        "/clean/cut" => json_with("", "{\"email\": "),
        "/clean/left" => Act::AnswerAndClose(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{\"a\":1"
                .to_vec(),
        ),
        "/clean/long" => json_with("", format!("{} oops", long(100_000))),
        _ => json_with("", &long(100_000)[..50_000]),
    })
    .await;
    for path in ["short", "cut"] {
        let answer = scene.read(&format!("/clean/{path}"), &token).await;
        assert_eq!(told(&answer), (502, "REDACTION_IMPOSSIBLE".to_owned()), "{path}");
    }
    assert_eq!(scene.read("/clean/left", &token).await.code(), "UPSTREAM_FAILED");
    for path in ["/clean/long", "/clean/half"] {
        let mut client = Client::connect(scene.gateway.public()).await;
        client.send(get(path, &[&bearer(&token)])).await;
        let all = String::from_utf8_lossy(&client.rest().await).into_owned();
        assert!(all.starts_with("HTTP/1.1 200") && all.contains("***REDACTED***"), "{path}");
        assert!(!all.ends_with("0\r\n\r\n") && !all.contains(SECRET), "{path}: cut, and it shows");
        let h2 = H2Client::cleartext(scene.gateway.public()).await;
        let answer = h2.send(h2_get(&scene, path, &token), None).await;
        assert!(answer.is_err_and(|error| error.is_reset()), "{path}: reset, and it shows");
    }
    // Whoever has no chunks would take a cut for an end.
    let old = format!("GET /clean/long HTTP/1.0\r\nHost: gw.test\r\n{}\r\n\r\n", bearer(&token));
    let answer = exchange(scene.gateway.public(), old).await.unwrap();
    assert_eq!(told(&answer), (502, "REDACTION_IMPOSSIBLE".to_owned()));
    assert_eq!(upstream.count(), 8);
}

#[tokio::test]
async fn an_upstream_that_cannot_be_redacted_is_no_failure_of_the_agent() {
    let (_upstream, scene, _) = with(|_| Act::with("Content-Type: text/html\r\n", SECRET)).await;
    let limits = json!({"circuit_breaker": {"max_requests_per_minute": 100, "max_failed_requests": 0}});
    let (id, token) = scene.mint(&reader(&limits)).await;
    for _ in 0..3 {
        assert_eq!(scene.read("/clean/7", &token).await.code(), "REDACTION_IMPOSSIBLE");
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(scene.state(id).await.0, "ACTIVE");
}

#[tokio::test]
async fn an_upstream_that_speaks_http2_is_redacted_too() {
    let upstream = H2Upstream::start().await;
    let scene = scene(&routes(&format!("servers: ['{}'], http2: true", upstream.address))).await;
    let token = scene.mint(&reader(&json!({}))).await.1;
    for body in [person().to_string(), long(50_000)] {
        let lines = [bearer(&token), "If-Match: \"v1\"".to_owned()];
        let text = request("POST", "/clean/7", &lines, &body);
        let answer = exchange(scene.gateway.public(), text).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(!answer.text().contains(SECRET) && answer.text().contains("***REDACTED***"));
        let seen = upstream.last();
        assert_eq!(seen.body, body.as_bytes(), "the request is nobody's to change");
        assert_eq!(seen.headers.get(header::IF_MATCH).unwrap(), "\"v1\"", "a guard of a write stays");
        let h2 = H2Client::cleartext(scene.gateway.public()).await;
        let mut request = h2_get(&scene, "/clean/7", &token);
        *request.method_mut() = Method::POST;
        request.headers_mut().insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
        let answer = h2.send(request, Some(body.as_bytes())).await.unwrap();
        assert!(!String::from_utf8_lossy(&answer.body).contains(SECRET));
    }
}

#[tokio::test]
async fn agents_get_no_tunnel_where_something_is_hidden() {
    let (upstream, scene, token) = with(|_| {
        Act::Tunnel(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
              Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
                .to_vec(),
        )
    })
    .await;
    let own = bearer(&token);
    let lines = |bearer: &str| {
        let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
        format!("{bearer}\r\n{upgrade}")
    };
    let answer = exchange(scene.gateway.public(), get("/clean/ws", &[&lines(&own)])).await.unwrap();
    assert_eq!((told(&answer), upstream.count()), ((403, "UPGRADE_REFUSED".to_owned()), 0));
    let hers = scene.lines(&scene.ada).join("\r\n");
    for (path, bearer) in [("/clean/ws", &hers), ("/off/ws", &own)] {
        let answer = exchange(scene.gateway.public(), get(path, &[&lines(bearer)])).await.unwrap();
        assert_eq!(answer.status, 101, "{path}");
    }
}
