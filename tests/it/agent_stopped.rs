//! What is open when an agent is stopped, on every kind of connection (T9, T15; security bar 2.I).
//! Law: within a second of the stop nothing more comes, and whoever reads can see that it broke off; what
//! was sent when it happened is never sent again.

use std::time::Duration;

use portcullis::account;
use portcullis::approval::{self, Reference, State};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::agent::{Scene, bearer, scene};
use crate::agent_gate::{endless, reader, streaming, told};
use crate::agent_hold::PENDING;
use crate::privacy::delete;
use crate::support::h2::H2Client;
use crate::support::raw::get;
use crate::support::replica::{in_time, until};
use crate::support::upstream::spawn;
use crate::support::{Act, Client, Upstream};

const SECOND: Duration = Duration::from_secs(1);
/// Longer than the gateway waits before it watches.
const WATCHED: Duration = Duration::from_millis(1200);

/// Whatever stops an agent at once. The last one leaves no human.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Suspend,
    Revoke,
    Kill,
    Lock,
    Delete,
}

impl Stop {
    const ALL: [Self; 5] = [Self::Suspend, Self::Revoke, Self::Kill, Self::Lock, Self::Delete];
}

impl Scene {
    async fn stop(&self, id: i64, how: Stop) {
        let human = self.ada.id;
        match how {
            Stop::Suspend => {
                drop(self.call("POST", &format!("/ai/tokens/{id}/suspend/"), &Value::Null).await);
            }
            Stop::Revoke => drop(self.call("DELETE", &format!("/ai/tokens/{id}/"), &Value::Null).await),
            Stop::Kill => drop(self.call("POST", "/ai/tokens/revoke-all/", &Value::Null).await),
            Stop::Lock => {
                assert!(
                    self.gateway
                        .change(async |change| account::lock(change, human, None).await.unwrap())
                        .await
                );
            }
            Stop::Delete => delete(self).await,
        }
    }
}

fn upgraded() -> Act {
    Act::Tunnel(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
          Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
            .to_vec(),
    )
}

async fn open_socket(scene: &Scene, token: &str) -> Client<TcpStream> {
    let mut socket = Client::connect(scene.gateway.public()).await;
    let lines = [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        &bearer(token),
    ];
    socket.send(get("/ws", &lines)).await;
    assert_eq!(socket.answer().await.expect("an answer").status, 101);
    echoes(&mut socket).await;
    socket
}

async fn echoes(socket: &mut Client<TcpStream>) {
    socket.send(b"\x81\x02hi").await;
    assert_eq!(socket.exactly(4).await.expect("four bytes"), b"\x81\x02hi");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t9_t15_an_agents_websocket_is_cut_within_a_second_of_whatever_stops_it() {
    let upstream = Upstream::start(|_| upgraded()).await;
    let yaml = format!(
        "upstreams: {{ up: {{ servers: ['{}'] }} }}
routes: [ {{ name: ws, match: {{ path: /ws }}, upstream: up, allow: signed_in, websocket: true, agents: {{ permission: reports.read }} }} ]
",
        upstream.address
    );
    for how in Stop::ALL {
        let scene = scene(&yaml).await;
        let (id, token) = scene.mint(&reader(&json!({}))).await;
        let mut sibling = match how {
            Stop::Suspend | Stop::Revoke => {
                let other = scene.mint(&reader(&json!({}))).await.1;
                Some(open_socket(&scene, &other).await)
            }
            _ => None,
        };
        let mut socket = open_socket(&scene, &token).await;
        tokio::time::sleep(WATCHED).await;
        echoes(&mut socket).await;
        scene.stop(id, how).await;
        assert_eq!(in_time(SECOND, socket.closes()).await, Some(true), "{how:?}");
        if let Some(sibling) = &mut sibling {
            echoes(sibling).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t9_t15_an_agents_http2_stream_is_cut_within_a_second_of_whatever_stops_it() {
    let upstream = streaming().await;
    let yaml = format!(
        "listen: {{ public: '127.0.0.1:0', admin: '127.0.0.1:0', h2c: true }}
upstreams: {{ up: {{ servers: ['{}'] }} }}
routes: [ {{ name: live, match: {{ path: /live }}, upstream: up, allow: signed_in, agents: {{ permission: reports.read }} }} ]
",
        upstream.address
    );
    for how in Stop::ALL {
        let scene = scene(&yaml).await;
        let client = H2Client::cleartext(scene.gateway.public()).await;
        let (id, token) = scene.mint(&reader(&json!({}))).await;
        let ask = http::Request::builder()
            .uri("http://gw.test/live")
            .header("authorization", format!("AgentBearer {token}"))
            .body(())
            .unwrap();
        let before = upstream.count();
        let mut stream = spawn(async move { client.send(ask, None).await });
        until(SECOND, "it has begun", async || upstream.count() > before).await;
        assert!(tokio::time::timeout(WATCHED, &mut stream).await.is_err(), "{how:?}: it goes on");
        scene.stop(id, how).await;
        let ended = in_time(SECOND, stream).await.unwrap_or_else(|| panic!("{how:?}: it goes on"));
        let error = ended.unwrap().expect_err("an end that looks like one would hide that it was cut");
        assert!(error.is_reset(), "{how:?}: {error:?}");
    }
}

/// The agent is stopped while the upstream answers what the gateway sent for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sealed_exchange_whose_agent_is_stopped_half_way_ends_and_is_not_sent_again() {
    for (how, idempotent) in [
        (Stop::Suspend, false),
        (Stop::Revoke, true),
        (Stop::Kill, false),
        (Stop::Lock, true),
        (Stop::Delete, false),
    ] {
        let stream = endless();
        let upstream = Upstream::start(move |_| stream.clone()).await;
        let yaml = format!(
            "upstreams: {{ up: {{ servers: ['{}'], breaker: off }} }}
routes: [ {{ name: act, match: {{ path: /act }}, upstream: up, allow: signed_in, agents: {{ permission: reports.read, hold: always, mode: sealed, idempotent: {idempotent} }} }} ]
",
            upstream.address
        );
        let scene = scene(&yaml).await;
        let (id, token) = scene.mint(&reader(&json!({}))).await;
        let named = scene.approved("/act", &token, "{}").await;
        until(5 * SECOND, "it was sent", async || upstream.count() == 1).await;
        tokio::time::sleep(WATCHED).await;
        let app = &scene.gateway.running.app;
        let state = async || {
            let reference = Reference::of(&named);
            let found = approval::find(&app.db, &reference).await.unwrap();
            found.map(|approval| approval.state_at(app.now()))
        };
        assert_eq!(state().await, Some(State::Executing), "{how:?}");
        scene.stop(id, how).await;
        let executing = Some(State::Executing);
        until(3 * SECOND, "it is over", async || state().await != executing).await;
        let after = state().await;
        for _ in 0..4 {
            scene.clock.advance(15 * SECOND);
            tokio::time::sleep(Duration::from_millis(600)).await;
        }
        assert_eq!(upstream.count(), 1, "{how:?}: once, whatever became of it");
        assert_eq!(state().await, after, "{how:?}");
        let polled = scene.as_agent("GET", &format!("{PENDING}{named}/"), &token).await;
        assert!([401, 403, 404].contains(&polled.status), "{how:?}: {:?}", told(&polled));
        let is_known = matches!(after, Some(State::Executed | State::Indeterminate | State::Failed));
        assert!(is_known || how == Stop::Delete, "{how:?}: {after:?}");
    }
}
