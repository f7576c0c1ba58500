//! What is measured: configurations of the gateway, and who calls.
//! Law: set-up goes through the front door (the command line and the login endpoint), so that a
//! scenario cannot measure a gateway that nobody could run.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis::account::{self, NewAccount};
use portcullis::app::App;
use portcullis::audit::{Actor, How};
use portcullis::base::{Email, Id, SystemClock, SystemRandom};
use portcullis::crypto::jwt;
use portcullis::crypto::keyring::Purpose;
use portcullis::store::DEFAULT_SITE;
use portcullis::{config, server, session};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::load::Request;

const EMAIL: &str = "bench@example.com";
/// More than a run can use up before the first has left the cache of verified tokens.
const FRESH_TOKENS: usize = 60_000;
const PASSWORD: &str = "Ample-Margin-42-Kites";

/// One line of the table.
pub struct Scenario {
    pub name: &'static str,
    pub must: &'static str,
    pub aim: &'static str,
    caller: Caller,
    /// Routes beside the two that are called.
    routes: usize,
    accounts: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Caller {
    Anyone,
    Bearer,
    /// Each request shows a token that the gateway has not seen.
    FreshBearer,
    /// An agent: the double check, and each request counted against a rate, a total and a budget.
    Agent,
}

pub fn public() -> Scenario {
    let (routes, accounts) = (8, 0);
    Scenario { name: "public route", must: "1.20", aim: "1.10", caller: Caller::Anyone, routes, accounts }
}

pub fn warm_bearer() -> Scenario {
    let name = "bearer, permission, identity headers, assertion";
    Scenario { name, must: "1.35", aim: "1.20", caller: Caller::Bearer, routes: 8, accounts: 1 }
}

pub fn agent() -> Scenario {
    let name = "agent, double check, rate, total, flat budget";
    Scenario { name, must: "1.60", aim: "1.35", caller: Caller::Agent, ..warm_bearer() }
}

pub fn all() -> Vec<Scenario> {
    vec![
        public(),
        warm_bearer(),
        Scenario { name: "the same, 10,000 routes", routes: 10_000, ..warm_bearer() },
        Scenario { name: "the same, 100,000 accounts", accounts: 100_000, ..warm_bearer() },
        Scenario {
            name: "tokens never seen (EdDSA)",
            must: "",
            aim: "",
            caller: Caller::FreshBearer,
            ..warm_bearer()
        },
        agent(),
    ]
}

/// A directory with a configuration, a store and an account that may read reports.
pub struct Prepared {
    directory: tempfile::TempDir,
    caller: Caller,
}

impl Scenario {
    pub async fn prepare(&self, backend: SocketAddr) -> Prepared {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let prepared = Prepared { directory, caller: self.caller };
        std::fs::write(prepared.config(), self.yaml(backend, prepared.directory.path()))
            .expect("it is writable");
        prepared.command(&["user", "create", EMAIL, "--verified", "--password-stdin"], PASSWORD);
        prepared.command(&["user", "grant", EMAIL, "--permission", "reports.read"], "");
        if self.accounts > 1 {
            prepared.fill(self.accounts).await;
        }
        prepared
    }

    fn yaml(&self, backend: SocketAddr, directory: &Path) -> String {
        let at = directory.display();
        let mut yaml = format!(
            "preset: development\n\
             listen: {{ public: \"127.0.0.1:0\", admin: \"127.0.0.1:0\" }}\n\
             store: sqlite://{at}/bench.db\n\
             keys: {{ seal_file: {at}/seal.key }}\n\
             applications: {{ required: nowhere }}\n\
             limits: {{ connections: {{ total: 20000, per_address: 20000 }} }}\n\
             permissions: [ {{ code: reports.read }} ]\n\
             upstreams: {{ reports: {{ servers: [\"{backend}\"], assertion: identity }} }}\n\
             routes:\n\
             \x20 - {{ name: open, match: {{ path: /open, methods: [GET] }}, upstream: reports, allow: anyone }}\n\
             \x20 - {{ name: read, match: {{ path: \"/reports/**\", methods: [GET] }}, upstream: reports, allow: {{ permission: reports.read }} }}\n\
             \x20 - {{ name: paid, match: {{ path: \"/paid/**\", methods: [GET] }}, upstream: reports, allow: {{ permission: reports.read }}, agents: {{ permission: reports.read, cost: {{ flat_usd: 0.01 }} }} }}\n"
        );
        for number in 0..self.routes {
            let _ = writeln!(
                yaml,
                "  - {{ name: r{number}, match: {{ path: \"/area{}/{{id}}/item{number}\", methods: [GET] }}, upstream: reports, allow: signed_in }}",
                number % 100
            );
        }
        yaml
    }
}

impl Prepared {
    pub fn config(&self) -> PathBuf {
        self.directory.path().join("portcullis.yaml")
    }

    fn command(&self, arguments: &[&str], input: &str) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .arg("--config")
            .arg(self.config())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("the command starts");
        let mut stdin = child.stdin.take().expect("its input is piped");
        stdin.write_all(input.as_bytes()).expect("the command reads");
        drop(stdin);
        assert!(child.wait().expect("the command ends").success(), "{arguments:?}");
    }

    /// The request that the scenario repeats.
    pub async fn request(&self, to: SocketAddr) -> Request {
        let heads = match self.caller {
            Caller::Anyone => vec![head("/open", to, "")],
            Caller::Bearer => vec![head("/reports/q3", to, &bearer(&log_in(to).await))],
            Caller::Agent => {
                let token = mint(to, &log_in(to).await).await;
                vec![head("/paid/q3", to, &format!("Authorization: AgentBearer {token}\r\n"))]
            }
            Caller::FreshBearer => {
                let token = log_in(to).await;
                self.siblings(&token)
                    .await
                    .iter()
                    .map(|token| head("/reports/q3", to, &bearer(token)))
                    .collect()
            }
        };
        Request { to, heads }
    }
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

fn head(path: &str, to: SocketAddr, more: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {to}\r\nUser-Agent: bench/1\r\nAccept: application/json\r\n\
         Accept-Encoding: identity\r\n{more}\r\n"
    )
    .into_bytes()
}

async fn log_in(to: SocketAddr) -> String {
    let answer = post_login(to, Ipv4Addr::LOCALHOST, EMAIL, PASSWORD).await;
    let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
    let json: serde_json::Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}"));
    json["access_token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

/// A token for an agent that no limit stops within a run.
async fn mint(to: SocketAddr, token: &str) -> String {
    let body = "{\"permissions\":[\"reports.read\"],\"budget_limit_usd\":1000000000,\"circuit_breaker\":\
                {\"max_requests_per_minute\":1000000000,\"max_requests_total\":1000000000}}";
    let answer = post(to, Ipv4Addr::LOCALHOST, "/ai/tokens/", &bearer(token), body).await;
    let json = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
    let json: serde_json::Value = serde_json::from_str(json).unwrap_or_else(|_| panic!("{answer}"));
    json["token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

async fn post_login(to: SocketAddr, from: Ipv4Addr, email: &str, password: &str) -> String {
    let body = format!("{{\"email\":\"{email}\",\"password\":\"{password}\"}}");
    post(to, from, "/login/email/", "", &body).await
}

async fn post(to: SocketAddr, from: Ipv4Addr, path: &str, more: &str, body: &str) -> String {
    let request = format!(
        "POST /api/v1/auth{path} HTTP/1.1\r\nHost: {to}\r\nContent-Type: application/json\r\n{more}\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let mut answer = String::new();
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((from, 0).into()).expect("all of 127/8 is this machine");
    let mut stream = socket.connect(to).await.expect("the gateway accepts");
    stream.write_all(request.as_bytes()).await.expect("the gateway reads");
    stream.read_to_string(&mut answer).await.expect("the gateway answers");
    answer
}

/// Wrong passwords from many clients at once; how many were answered. Each comes from an address
/// of its own, so that the limit per address does not end the flood before it costs anything.
pub async fn flood_of_logins(to: SocketAddr, span: Duration) -> u64 {
    let started = Instant::now();
    let clients: Vec<_> = (0..16)
        .map(|client: u8| {
            tokio::spawn(async move {
                let mut answered: u16 = 0;
                while started.elapsed() < span {
                    let [high, low] = answered.to_be_bytes();
                    let email = format!("nobody{client}-{answered}@example.com");
                    post_login(to, Ipv4Addr::new(127, 1 + client, high, low), &email, "wrong").await;
                    answered += 1;
                }
                answered
            })
        })
        .collect();
    let mut answered = 0;
    for client in clients {
        answered += u64::from(client.await.expect("a client of the flood ends by itself"));
    }
    answered
}

/// Connections that made one request and wait.
pub async fn idle_connections(request: &Request, count: usize) -> Vec<TcpStream> {
    let mut idle = Vec::with_capacity(count);
    for _ in 0..count {
        let mut stream = TcpStream::connect(request.to).await.expect("the gateway accepts");
        stream.write_all(&request.heads[0]).await.expect("the gateway reads");
        let mut buffer = [0u8; 4096];
        assert!(stream.read(&mut buffer).await.expect("the gateway answers") > 0);
        idle.push(stream);
    }
    idle
}

impl Prepared {
    /// The operator's side of the store, for what no command makes in such numbers.
    async fn app(&self) -> Arc<App> {
        let loaded = config::load(&self.config()).expect("the configuration has no problems");
        server::operate(&loaded.config, Arc::new(SystemClock), Arc::new(SystemRandom))
            .await
            .expect("the store opens")
    }

    /// So many more accounts, through the same operation as everybody's.
    async fn fill(&self, accounts: usize) {
        const AT_ONCE: usize = 1000;
        let app = self.app().await;
        for first in (0..accounts).step_by(AT_ONCE) {
            let mut change = app.change(Actor::command_line()).await.expect("the store takes a change");
            for number in first..(first + AT_ONCE).min(accounts) {
                let email = Email::parse(&format!("person{number}@example.com")).expect("an address");
                let new = NewAccount { email: Some(email), ..NewAccount::of(DEFAULT_SITE) };
                account::create(&mut change, &new, How::Administrator).await.expect("the address is free");
            }
            change.commit().await.expect("the store takes the accounts");
        }
    }

    /// Tokens of the same session that differ in their `jti`, so that each is met once.
    async fn siblings(&self, token: &str) -> Vec<String> {
        let app = self.app().await;
        let (keyring, config, now) = (app.keyring(), app.config(), app.now());
        let claims = session::read_access(&keyring, &config.tokens, token, now).expect("a token of ours");
        let key = keyring.active(Purpose::Access, now).expect("a key to sign with");
        let sibling = |_| {
            let jti = Id::new(now, app.random.as_ref());
            jwt::sign(key, jwt::ACCESS, &session::Claims { jti, ..claims.clone() }).expect("it is signed")
        };
        (0..FRESH_TOKENS).map(sibling).collect()
    }
}
