//! The choice of a server, without a socket.

use std::time::Duration;

use super::*;
use crate::base::random::SeededRandom;
use crate::metrics::Metrics;
use crate::tasks::Tasks;

fn upstream(balance: Balance, servers: &[&str]) -> Arc<Upstream> {
    Upstream::new(plan(balance, servers), None, Metrics::new("0").upstream("u"))
}

fn plan(balance: Balance, servers: &[&str]) -> config::Upstream {
    let second = Duration::from_secs(1);
    config::Upstream {
        name: "u".to_owned(),
        servers: servers.iter().map(|text| Server::Address(text.parse().unwrap())).collect(),
        balance,
        health: None,
        timeouts: config::Timeouts { connect: second, read: second, write: second, idle: second },
        tls: None,
        http2: false,
        host: config::UpstreamHost::Keep,
        retries: 1,
        in_flight: None,
        breaker: Some(config::Breaker { after: 1, within: second, open_for: Duration::from_hours(1) }),
        assertion: config::Assertion::Off,
    }
}

fn port(upstream: &Upstream, not: Option<SocketAddr>) -> u16 {
    upstream.choose(not, Brings::All).map_or(0, |chosen| chosen.address().port())
}

#[test]
fn servers_take_turns_and_those_that_are_down_are_left_out() {
    let upstream = upstream(Balance::RoundRobin, &["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]);
    let three: Vec<u16> = (0..6).map(|_| port(&upstream, None)).collect();
    assert_eq!(three, [1, 2, 3, 1, 2, 3]);
    upstream.targets.load()[1].is_up.store(false, Ordering::Relaxed);
    assert!((0..6).all(|_| port(&upstream, None) != 2));
    for target in upstream.targets.load().iter() {
        target.is_up.store(false, Ordering::Relaxed);
    }
    assert_eq!(upstream.choose(None, Brings::All).err(), Some(NoneToAsk::AllDown));
}

#[test]
fn a_retry_goes_to_another_server_where_there_is_one() {
    let two = upstream(Balance::RoundRobin, &["127.0.0.1:1", "127.0.0.1:2"]);
    let first: SocketAddr = "127.0.0.1:1".parse().unwrap();
    assert!((0..4).all(|_| port(&two, Some(first)) == 2));
    let one = upstream(Balance::RoundRobin, &["127.0.0.1:1"]);
    assert_eq!(port(&one, Some(first)), 1);
}

#[test]
fn no_more_requests_than_it_may_have_are_at_an_upstream() {
    let mut plan = plan(Balance::RoundRobin, &["127.0.0.1:1", "127.0.0.1:2"]);
    plan.in_flight = std::num::NonZeroU32::new(2);
    let upstream = Upstream::new(plan, None, Metrics::new("0").upstream("u"));
    let first = upstream.choose(None, Brings::All).unwrap();
    let second = upstream.choose(None, Brings::All).unwrap();
    assert_eq!(upstream.choose(None, Brings::All).err(), Some(NoneToAsk::Full));
    assert!(!upstream.has_somebody());
    let again = upstream.choose(Some(first.address()), Brings::All).expect("it has a place already");
    drop((again, first));
    assert!(upstream.has_somebody());
    let third = upstream.choose(None, Brings::All).expect("one left");
    drop((second, third));
    assert_eq!(upstream.in_flight.load(Ordering::Relaxed), 0);
}

#[test]
fn the_least_busy_server_is_next() {
    let upstream = upstream(Balance::LeastConnections, &["127.0.0.1:1", "127.0.0.1:2"]);
    let first = upstream.choose(None, Brings::All).unwrap();
    let second = upstream.choose(None, Brings::All).unwrap();
    assert_ne!(first.address(), second.address());
    let free = first.address();
    drop(first);
    assert_eq!(upstream.choose(None, Brings::All).unwrap().address(), free);
    drop(second);
}

#[test]
fn an_open_breaker_refuses_at_once() {
    let upstream = upstream(Balance::RoundRobin, &["127.0.0.1:1"]);
    upstream.note(Outcome::Failed, None);
    assert_eq!(upstream.choose(None, Brings::All).err(), Some(NoneToAsk::BreakerOpen));
}

#[test]
fn what_is_known_of_an_address_survives_a_new_look() {
    let upstream = upstream(Balance::RoundRobin, &["127.0.0.1:1"]);
    upstream.targets.load()[0].is_up.store(false, Ordering::Relaxed);
    let server = Server::Address("127.0.0.1:1".parse().unwrap());
    let address = |text: &str| (server.clone(), text.parse().unwrap());
    upstream.install(vec![address("127.0.0.1:1"), address("127.0.0.1:9")]);
    let targets = upstream.targets.load();
    assert!(!targets[0].is_up.load(Ordering::Relaxed) && targets[1].is_up.load(Ordering::Relaxed));
}

#[tokio::test]
async fn what_watches_over_servers_ends_with_the_process() {
    let metrics = Arc::new(Metrics::new("0"));
    let tasks = Tasks::new(Arc::new(SeededRandom::new(1)), Arc::clone(&metrics));
    let listen = Arc::new(config::load_text("preset: medium").unwrap().config.listen.clone());
    let hour = Duration::from_hours(1);
    let health = config::Health {
        path: "/".to_owned(),
        every: hour,
        timeout: hour,
        healthy_after: 1,
        unhealthy_after: 1,
    };
    let mut plan = plan(Balance::RoundRobin, &["127.0.0.1:1"]);
    plan.servers.push(Server::Name { host: "localhost".into(), port: 1 });
    let plan = config::Upstream { health: Some(health), ..plan };
    let upstream = Upstream::new(plan, None, metrics.upstream("u"));
    let lookup = Lookup { names: Arc::new(SystemNames), listen };
    watch_over(&upstream, &lookup, &tasks).await;
    assert_eq!(tasks.shutdown(Duration::from_secs(5)).await, Vec::<&str>::new());
}
