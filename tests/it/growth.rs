//! What a human's request takes from the allocator on the running gateway.
//! Law: it does not grow with the number of routes, roles or people: a list that is copied, or a set of
//! bits that is made, for each request would.

use std::alloc::System;
use std::fmt::Write as _;

use portcullis::account::{self, NewAccount};
use portcullis::audit::How;
use portcullis::base::Email;
use portcullis::store::DEFAULT_SITE;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::people::{permission, request, role};
use crate::support::{Gateway, Upstream};

/// Counts what everything in a test's process asks for.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Few at once, so that on a busy machine too there are rounds in which nothing else is done.
const REQUESTS: usize = 10;
const ROUNDS: usize = 150;
/// On a slow one nearly every round has something of the gateway's own jobs in it: then there are more.
const MOST_ROUNDS: usize = 1000;
/// What a round may take more than another one, per request: a table of the tests' own that grows meanwhile.
const SPARE_BYTES: usize = 64;

#[derive(Debug, Clone, Copy)]
struct Scale {
    routes: usize,
    roles: usize,
    people: usize,
}

/// The least of many rounds, so that what the process does beside them is not in it.
#[derive(Debug, Clone, Copy)]
struct Taken {
    allocations: usize,
    bytes: usize,
}

fn yaml(scale: Scale, upstream: &Upstream) -> String {
    let mut yaml = format!(
        "applications: {{ required: nowhere }}\n\
         upstreams: {{ up: {{ servers: ['{}'], assertion: identity }} }}\n\
         permissions: [ {{ code: reports.read }} ]\nroles:\n",
        upstream.address
    );
    for number in 0..scale.roles {
        let _ = writeln!(yaml, " - {{ code: role{number}, permissions: [reports.read] }}");
    }
    yaml.push_str("routes:\n");
    for number in 0..scale.routes {
        let _ = writeln!(
            yaml,
            " - {{ name: r{number}, match: {{ path: '/r{number}/{{id}}' }}, upstream: up, allow: {{ permission: reports.read }} }}"
        );
    }
    yaml
}

async fn taken(scale: Scale, is_fine: impl Fn(Taken) -> bool) -> Taken {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::start(&yaml(scale, &upstream)).await;
    let keys = gateway.application("web", &[]).await;
    let ada = gateway.user("ada", &keys).await;
    gateway.grant(ada.id, permission("reports.read")).await;
    gateway.grant(ada.id, role("role0")).await;
    gateway
        .change(async |change| {
            for number in 0..scale.people {
                let email = Some(Email::parse(&format!("person{number}@example.com")).unwrap());
                let new = NewAccount { email, ..NewAccount::of(DEFAULT_SITE) };
                account::create(change, &new, How::Administrator).await.unwrap();
            }
        })
        .await;
    let request = request("GET", "/r0/7", &[ada.bearer()], "");
    let mut buffer = vec![0; 64 * 1024];
    let mut least = Taken { allocations: usize::MAX, bytes: usize::MAX };
    for round in 0..MOST_ROUNDS {
        if round >= ROUNDS && is_fine(least) {
            break;
        }
        // A connection is not kept for ever, and its first request makes what the others use again.
        let mut stream = TcpStream::connect(gateway.public()).await.unwrap();
        once(&mut stream, &request, &mut buffer).await;
        let region = Region::new(ALLOCATOR);
        for _ in 0..REQUESTS {
            once(&mut stream, &request, &mut buffer).await;
        }
        let change = region.change();
        let (allocations, bytes) = (change.allocations + change.reallocations, change.bytes_allocated);
        least.allocations = least.allocations.min(allocations / REQUESTS);
        least.bytes = least.bytes.min(bytes / REQUESTS);
    }
    least
}

/// Reads one answer, whose head says its length.
async fn once(stream: &mut TcpStream, request: &str, buffer: &mut [u8]) {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut read = 0;
    loop {
        let more = stream.read(&mut buffer[read..]).await.unwrap();
        assert!(more > 0, "the gateway closed");
        read += more;
        let text = std::str::from_utf8(&buffer[..read]).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let name = "content-length: ";
        let at = head.to_ascii_lowercase().find(name).expect("an answer with a length") + name.len();
        let digits = head[at..].split('\r').next().unwrap();
        if body.len() == digits.parse::<usize>().unwrap() {
            return;
        }
    }
}

#[tokio::test]
async fn a_request_takes_as_much_memory_whatever_the_number_of_routes_roles_and_people() {
    let few = taken(Scale { routes: 10, roles: 2, people: 1 }, |_| true).await;
    let is_as_much =
        |many: Taken| many.allocations <= few.allocations + 1 && many.bytes <= few.bytes + SPARE_BYTES;
    let many = taken(Scale { routes: 5000, roles: 500, people: 500 }, is_as_much).await;
    assert!(few.allocations > 0, "the allocator counts: {few:?}");
    assert!(is_as_much(many), "{few:?} became {many:?}");
}
