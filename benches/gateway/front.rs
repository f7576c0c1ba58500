//! The front door: how callers of a scenario come by what they show.
//! Law: they log in and mint as everybody does; nothing is written past the gateway.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::load::{self, Request};
use crate::scenario::{EMAIL, PASSWORD};

/// How many connections mint at once.
const MINTERS: usize = 8;
/// For an agent that no limit stops within a run.
const MINT: &str = "{\"permissions\":[\"reports.read\"],\"budget_limit_usd\":1000000000,\"circuit_breaker\":\
    {\"max_requests_per_minute\":1000000000,\"max_requests_total\":1000000000}}";

pub fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

pub fn agent_bearer(token: &str) -> String {
    format!("Authorization: AgentBearer {token}\r\n")
}

pub fn head(path: &str, to: SocketAddr, more: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {to}\r\nUser-Agent: bench/1\r\nAccept: application/json\r\n\
         Accept-Encoding: identity\r\n{more}\r\n"
    )
    .into_bytes()
}

/// A request with a JSON body.
pub fn with_body(path: &str, to: SocketAddr, more: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nHost: {to}\r\nContent-Type: application/json\r\n{more}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

pub async fn log_in(to: SocketAddr) -> String {
    let answer = post_login(to, Ipv4Addr::LOCALHOST, EMAIL, PASSWORD).await;
    let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
    text_of(body, "access_token")
}

fn text_of(body: &str, name: &str) -> String {
    let json: serde_json::Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{body}"));
    json[name].as_str().unwrap_or_else(|| panic!("{body}")).to_owned()
}

/// So many agent tokens of the human whose access token this is.
pub async fn mint(to: SocketAddr, access: &str, count: usize) -> Vec<String> {
    let request = with_body("/api/v1/auth/ai/tokens/", to, &bearer(access), MINT);
    let minters: Vec<_> = (0..MINTERS)
        .map(|minter| {
            let share = count / MINTERS + usize::from(minter < count % MINTERS);
            tokio::spawn(load::answers(to, request.clone(), share))
        })
        .collect();
    let mut tokens = Vec::with_capacity(count);
    for minter in minters {
        let answers = minter.await.expect("who mints ends by itself");
        tokens.extend(answers.iter().map(|body| text_of(body, "token")));
    }
    tokens
}

async fn post_login(to: SocketAddr, from: Ipv4Addr, email: &str, password: &str) -> String {
    let body = format!("{{\"email\":\"{email}\",\"password\":\"{password}\"}}");
    let request = with_body("/api/v1/auth/login/email/", to, "Connection: close\r\n", &body);
    let mut answer = String::new();
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((from, 0).into()).expect("all of 127/8 is this machine");
    let mut stream = socket.connect(to).await.expect("the gateway accepts");
    stream.write_all(&request).await.expect("the gateway reads");
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
