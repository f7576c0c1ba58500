//! Servers given by name: what the name stands for changes while the gateway runs.
//!
//! Law: a new address is used without a restart, and DNS trouble is no outage: what was known stays.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use portcullis::proxy::upstream::Names;

use crate::support::raw::get;
use crate::support::replica::{in_time, until};
use crate::support::{Act, Gateway, Upstream, exchange};

const SOON: Duration = Duration::from_secs(15);

/// What a name server says.
#[derive(Clone)]
pub enum Said {
    /// The name stands for these hosts.
    Hosts(Vec<&'static str>),
    Failure,
    Nothing,
}

/// A name server whose mind a test changes.
pub struct Zone {
    said: Mutex<Said>,
    asked: AtomicUsize,
}

impl Zone {
    pub fn saying(said: Said) -> Arc<Self> {
        Arc::new(Self { said: Mutex::new(said), asked: AtomicUsize::new(0) })
    }

    pub fn says(&self, said: Said) {
        *self.said.lock().unwrap() = said;
    }

    /// Returns when it was asked as often again.
    pub async fn is_asked_again(&self, times: usize) {
        let wanted = self.asked.load(Ordering::SeqCst) + times;
        until(SOON, "asked again", async || self.asked.load(Ordering::SeqCst) >= wanted).await;
    }
}

#[async_trait]
impl Names for Zone {
    async fn find(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        assert_eq!(host, "app.test");
        self.asked.fetch_add(1, Ordering::SeqCst);
        let said = self.said.lock().unwrap().clone();
        match said {
            Said::Hosts(hosts) => {
                Ok(hosts.iter().map(|h| SocketAddr::new(h.parse().unwrap(), port)).collect())
            }
            Said::Failure => Err(io::Error::other("no such name")),
            Said::Nothing => std::future::pending().await,
        }
    }
}

/// Two backends on one port of two hosts, which say who they are.
async fn two() -> (Upstream, Upstream) {
    loop {
        let one = Upstream::start_at("127.0.0.2:0", |_| Act::ok("one")).await.expect("a port");
        let beside = format!("127.0.0.3:{}", one.address.port());
        // Somebody else may have it.
        if let Ok(other) = Upstream::start_at(&beside, |_| Act::ok("other")).await {
            return (one, other);
        }
    }
}

async fn gateway(zone: &Arc<Zone>, port: u16) -> Gateway {
    listening(zone, port, "").await
}

async fn listening(zone: &Arc<Zone>, port: u16, listen: &str) -> Gateway {
    let yaml = format!(
        "{listen}upstreams: {{ up: {{ servers: ['app.test:{port}'], retries: 0, breaker: off, timeouts: {{ connect: 1s }} }} }}\n\
         routes: [ {{ name: all, match: {{ path: '/**' }}, upstream: up, allow: anyone }} ]\n"
    );
    Gateway::start_knowing(Arc::clone(zone) as Arc<dyn Names>, &yaml).await
}

async fn who(gateway: &Gateway) -> String {
    exchange(gateway.public(), get("/x", &[])).await.unwrap().text()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_moves_takes_its_requests_along_and_a_failing_lookup_moves_nothing() {
    let (one, other) = two().await;
    let zone = Zone::saying(Said::Hosts(vec!["127.0.0.2"]));
    let gateway = gateway(&zone, one.address.port()).await;
    assert_eq!((who(&gateway).await.as_str(), other.count()), ("one", 0));

    zone.says(Said::Hosts(vec!["127.0.0.3"]));
    until(SOON, "moved", async || who(&gateway).await == "other").await;
    let before = one.count();
    for _ in 0..10 {
        assert_eq!(who(&gateway).await, "other");
    }
    assert_eq!(one.count(), before, "nothing goes where the name no longer leads");

    zone.says(Said::Failure);
    zone.is_asked_again(2).await;
    assert_eq!(who(&gateway).await, "other", "the last that was known");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_with_several_addresses_has_several_servers_and_one_that_leads_home_has_none() {
    let (one, other) = two().await;
    let zone = Zone::saying(Said::Hosts(vec!["127.0.0.2", "127.0.0.3", "169.254.169.254"]));
    let gateway = gateway(&zone, one.address.port()).await;
    for _ in 0..10 {
        who(&gateway).await;
    }
    assert_eq!((one.count(), other.count()), (5, 5));

    zone.says(Said::Hosts(vec!["169.254.169.254"]));
    let refused = async || exchange(gateway.public(), get("/x", &[])).await.unwrap().status == 503;
    until(SOON, "nowhere to go", refused).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_server_that_says_nothing_keeps_no_gateway_from_its_work() {
    let (one, _other) = two().await;
    let zone = Zone::saying(Said::Nothing);
    let gateway =
        in_time(SOON, gateway(&zone, one.address.port())).await.expect("it starts without an answer");
    let answer = exchange(gateway.public(), get("/x", &[])).await.unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (503, "UPSTREAM_UNAVAILABLE"));

    zone.says(Said::Hosts(vec!["127.0.0.2"]));
    until(SOON * 2, "found at last", async || who(&gateway).await == "one").await;
    zone.says(Said::Nothing);
    zone.is_asked_again(1).await;
    assert_eq!(who(&gateway).await, "one", "while it is asked");
    let ended = in_time(Duration::from_secs(4), gateway.running.shutdown()).await;
    assert!(ended.is_some(), "and an open question stops no ending");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_comes_to_mean_the_gateway_itself_leads_nowhere() {
    let (one, port) = loop {
        let one = Upstream::start_at("127.0.0.2:0", |_| Act::ok("one")).await.expect("a port");
        let port = one.address.port();
        // Somebody else may have it.
        if tokio::net::TcpListener::bind(("127.0.0.1", port)).await.is_ok() {
            break (one, port);
        }
    };
    let zone = Zone::saying(Said::Hosts(vec!["127.0.0.2"]));
    let listen = format!("listen: {{ public: '127.0.0.1:{port}', admin: '127.0.0.1:0' }}\n");
    let gateway = listening(&zone, port, &listen).await;
    assert_eq!(who(&gateway).await, "one");

    zone.says(Said::Hosts(vec!["127.0.0.1"]));
    let refused = async || exchange(gateway.public(), get("/x", &[])).await.unwrap();
    until(SOON, "nowhere to go", async || refused().await.status == 503).await;
    let (before, seen) = (one.count(), gateway.access_log().await.len());
    assert_eq!(refused().await.code(), "UPSTREAM_UNAVAILABLE");
    assert_eq!(gateway.access_log().await.len(), seen + 1, "it asked itself nothing");
    zone.says(Said::Hosts(vec!["127.0.0.1", "127.0.0.2"]));
    until(SOON, "back", async || who(&gateway).await == "one").await;
    for _ in 0..4 {
        assert_eq!(who(&gateway).await, "one", "the other one is asked alone");
    }
    assert_eq!(one.count(), before + 5);
}
