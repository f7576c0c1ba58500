//! Which route a request means, on the running gateway (security bar 2.A 8-10, 14-19).
//! Law: what is forwarded is what was matched; everything else reaches no upstream.

use serde_json::json;

use crate::support::raw::get;
use crate::support::{Gateway, Upstream, exchange};

async fn gateway(upstream: &Upstream) -> Gateway {
    Gateway::start(&format!(
        "public_url: http://127.0.0.1:8080
listen: {{ public: '127.0.0.1:0', admin: '127.0.0.1:0', hosts: [gw.test, api.test, 127.0.0.1] }}
upstreams: {{ up: {{ servers: ['{}'] }} }}
routes:
  - {{ name: pub, match: {{ path: '/pub/**' }}, upstream: up, allow: anyone }}
  - {{ name: api, match: {{ path: '/api/**' }}, upstream: up, allow: signed_in }}
  - {{ name: admin, match: {{ path: '/admin/**' }}, upstream: up, allow: {{ superuser: true }} }}
  - {{ name: read, match: {{ path: '/read', methods: [GET] }}, upstream: up, allow: anyone }}
  - {{ name: there, match: {{ host: api.test, path: '/there' }}, upstream: up, allow: anyone }}
  - {{ name: hidden, match: {{ path: '/hidden/**' }}, upstream: up, allow: anyone, rewrite: {{ strip_prefix: /hidden }} }}
",
        upstream.address
    ))
    .await
}

#[tokio::test]
async fn what_no_route_allows_is_not_found_and_goes_nowhere() {
    let upstream = Upstream::echo().await;
    let gateway = gateway(&upstream).await;
    for path in
        ["/", "/pubx", "/PUB/x", "/adminx", "/there", "/read/", "/api/v1/auth/nothing/", "/portcullis/x"]
    {
        let answer = exchange(gateway.public(), get(path, &[])).await.unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (404, "NOT_FOUND"), "{path}");
        let body = answer.json();
        assert!(body["request_id"].is_string() && body["details"] == json!({}), "{body}");
        assert_eq!(body["retryable"], false);
    }
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn health_probes_and_rewritten_paths_are_no_way_in() {
    let upstream = Upstream::echo().await;
    let gateway = gateway(&upstream).await;
    let lines = [
        "User-Agent: kube-probe/1.30",
        "User-Agent: GoogleHC/1.0",
        "X-Original-URL: /pub/x",
        "X-Rewrite-URL: /pub/x",
        "X-Forwarded-Uri: /pub/x",
        "X-Forwarded-Prefix: /pub",
        "X-HTTP-Method-Override: OPTIONS",
    ];
    for line in lines {
        for path in ["/admin/x", "/admin/x?/pub/", "/admin?x=/pub/", "/hidden/admin/x", "/hidden/api/x"] {
            let answer = exchange(gateway.public(), get(path, &[line])).await.unwrap();
            assert_eq!(answer.status, 401, "{line} on {path}");
            assert!(answer.header("www-authenticate").is_some());
        }
    }
    assert_eq!(upstream.count(), 0);
    let answer = exchange(gateway.public(), get("/hidden/other?q=1", &[])).await.unwrap();
    assert_eq!((answer.status, upstream.last().target()), (200, "/other?q=1"));
}

#[tokio::test]
async fn the_host_chooses_and_a_strange_one_is_misdirected() {
    let upstream = Upstream::echo().await;
    let gateway = gateway(&upstream).await;
    let at = async |host: &str, path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        exchange(gateway.public(), request).await.unwrap().status
    };
    assert_eq!(at("api.test", "/there").await, 200);
    assert_eq!(at("API.test", "/there").await, 200);
    assert_eq!(at("gw.test", "/there").await, 404);
    assert_eq!(at("api.test", "/pub/x").await, 200, "a route without a host is every host's");
    assert_eq!(at("evil.test", "/pub/x").await, 421);
}

#[tokio::test]
async fn a_method_that_is_not_allowed_is_told_which_are() {
    let upstream = Upstream::echo().await;
    let gateway = gateway(&upstream).await;
    let request = "POST /read HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 0\r\n\r\n";
    let answer = exchange(gateway.public(), request).await.unwrap();
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")));
    let head = exchange(gateway.public(), "HEAD /read HTTP/1.1\r\nHost: gw.test\r\n\r\n").await.unwrap();
    assert_eq!(head.status, 200);
    let request = "DELETE /api/v1/auth/login/email/ HTTP/1.1\r\nHost: gw.test\r\n\r\n";
    let answer = exchange(gateway.public(), request).await.unwrap();
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
}

#[tokio::test]
async fn nothing_but_the_request_line_says_the_method() {
    let upstream = Upstream::echo().await;
    let gateway = gateway(&upstream).await;
    let lines = "X-HTTP-Method: GET\r\nX-HTTP-Method-Override: GET\r\nX-Method-Override: GET\r\n";
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let post = |path: &str| {
        format!("POST {path} HTTP/1.1\r\nHost: gw.test\r\n{lines}{form}Content-Length: 11\r\n\r\n_method=GET")
    };
    for path in ["/read", "/read?_method=GET", "/read?_HttpMethod=GET"] {
        assert_eq!(exchange(gateway.public(), post(path)).await.unwrap().status, 405, "{path}");
    }
    assert_eq!(upstream.count(), 0);
    let delete = "X-HTTP-Method-Override: DELETE";
    let answer = exchange(gateway.public(), get("/read?_method=DELETE", &[delete])).await.unwrap();
    let seen = upstream.last();
    assert_eq!((answer.status, seen.line()), (200, "GET /read?_method=DELETE HTTP/1.1"));
    assert_eq!(seen.header("x-http-method-override"), None, "nor is it said to the upstream");
}

#[tokio::test]
async fn without_any_route_nothing_is_forwarded_and_only_what_is_built_in_answers() {
    let gateway = Gateway::start("").await;
    let keys = gateway.application("web", &[]).await;
    let ada = gateway.user("ada", &keys).await;
    for path in ["/", "/anything", "/api/v1/auth", "/portcullis/x"] {
        for lines in [vec![], vec![ada.bearer()]] {
            for method in ["GET", "POST", "OPTIONS"] {
                let answer = gateway.send(method, path, &lines).await;
                assert_eq!((answer.status, answer.code().as_str()), (404, "NOT_FOUND"), "{method} {path}");
            }
        }
    }
    assert_eq!(gateway.send("GET", "/api/v1/auth/health/", &[]).await.status, 404);
    assert_eq!(gateway.send("GET", "/api/v1/health/", &[]).await.status, 200);
    let me = [&keys.lines()[..], &[ada.bearer()]].concat();
    assert_eq!(gateway.call("GET", "/me/", &me, &serde_json::Value::Null).await.status, 200);
}
