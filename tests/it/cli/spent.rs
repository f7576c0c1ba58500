//! Replicas that are killed while agents spend (security bar 2.K 136).
//!
//! Law: whoever dies, and whenever, not a cent beyond the budget reaches an upstream.

use std::time::Duration;

use futures::future::join_all;
use serde_json::json;

use super::Place;
use super::approved::{api, send, text};
use super::gateway::Gateway;
use crate::support::people::request;
use crate::support::replica::{Place as Shared, redis_url};
use crate::support::{Client, Upstream, exchange, times};

fn yaml(upstream: &Upstream) -> String {
    format!(
        "preset: development
listen: {{ public: 127.0.0.1:0, admin: 127.0.0.1:0, trusted_proxies: [127.0.0.1/32] }}
applications: {{ required: nowhere }}
upstreams: {{ up: {{ servers: ['{}'], breaker: 'off' }} }}
routes: [ {{ name: pay, match: {{ path: '/pay' }}, upstream: up, allow: signed_in, agents: {{ permission: users.view, cost: {{ flat_usd: 0.01 }} }} }} ]
",
        upstream.address
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whenever_a_replica_is_killed_no_cent_beyond_the_budget_is_spent() {
    let upstream = Upstream::echo().await;
    let shared = Shared::new().await;
    let place =
        Place::with(&format!("{}{}", shared.yaml(&shared.store.address(), &redis_url()), yaml(&upstream)));
    let created = place.run_with("user create ada@example.com --superuser --password-stdin", "SecureP@ss1!x");
    assert_eq!(created.code, 0, "{}", created.err);
    let mut gateways = [Gateway::start(&place), Gateway::start(&place)];
    let ada = json!({"email": "ada@example.com", "password": "SecureP@ss1!x"});
    let login = api(&gateways[0], "/login/email/", &[], &ada).await;
    let human = [format!("Authorization: Bearer {}", text(&login, "access_token"))];
    let limits = json!({"max_requests_per_minute": 100_000, "max_requests_total": 100_000, "max_failed_requests": 100_000});
    let mint = json!({"permissions": ["users.view"], "budget_limit_usd": 1, "circuit_breaker": limits});
    let minted = api(&gateways[0], "/ai/tokens/", &human, &mint).await;
    let agent = [format!("Authorization: AgentBearer {}", text(&minted, "token"))];
    for round in 0..times(4, 30) {
        let mut asking = Vec::new();
        for n in 0..24 {
            let mut client = Client::connect(gateways[n % 2].public).await;
            let pay = request("POST", "/pay", &agent, "{}");
            asking.push(async move {
                client.send(pay).await;
                client.answer().await
            });
        }
        let killed = round % 2;
        let killing = async {
            // From before the first is paid for until after some are answered.
            tokio::time::sleep(Duration::from_millis(u64::try_from(round * 5 % 21).unwrap())).await;
            gateways[killed].signal("KILL");
        };
        futures::join!(join_all(asking), killing);
        gateways[killed] = Gateway::start(&place);
    }
    let mut last = 200;
    for n in 0..200 {
        last = send(&gateways[n % 2], "/pay", &agent, "{}").await.expect("an answer").status;
        if last != 200 {
            break;
        }
    }
    assert_eq!(last, 403, "it is spent in the end");
    let count = upstream.count();
    // What was taken by who was killed before it sent anything is lost to the agent.
    assert!((50..=100).contains(&count), "{count} cents of a dollar");
}

/// What a killed gateway had in its memory, and nothing else, is lost to the agent: the store had handed it out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_killed_alone_on_its_store_strands_at_most_the_open_chunk() {
    let rounds = times(4, 20);
    let (cents, upstream) = (rounds * 25, Upstream::echo().await);
    let (chunk, place) = (cents / 20, Place::with(&yaml(&upstream)));
    place.run_with("user create ada@example.com --superuser --password-stdin", "SecureP@ss1!x").good();
    let mut gateway = Gateway::start(&place);
    let ada = json!({"email": "ada@example.com", "password": "SecureP@ss1!x"});
    let login = api(&gateway, "/login/email/", &[], &ada).await;
    let human = [format!("Authorization: Bearer {}", text(&login, "access_token"))];
    let limits = json!({"max_requests_per_minute": 100_000, "max_requests_total": 100_000, "max_failed_requests": 100_000});
    let budget = f64::from(u32::try_from(cents).unwrap()) / 100.0;
    let mint = json!({"permissions": ["users.view"], "budget_limit_usd": budget, "circuit_breaker": limits});
    let minted = api(&gateway, "/ai/tokens/", &human, &mint).await;
    let agent = [format!("Authorization: AgentBearer {}", text(&minted, "token"))];
    let shown = request("GET", &format!("/api/v1/auth/ai/tokens/{}/", minted["id"]), &human, "");
    // What is known to be spent, in cents.
    let spent = async |gateway: &Gateway| {
        let shown = exchange(gateway.public, &shown).await.expect("an answer").json();
        let dollars = shown["current_spend_usd"].as_f64().unwrap_or_else(|| panic!("{shown}"));
        usize::try_from(format!("{:.0}", dollars * 100.0).parse::<u32>().unwrap()).unwrap()
    };
    let mut lost = 0;
    for round in 0..rounds {
        let callers = [1, 8][round % 2];
        let mut asking = Vec::new();
        for _ in 0..callers {
            let (mut client, pay) =
                (Client::connect(gateway.public).await, request("POST", "/pay", &agent, "{}"));
            asking.push(async move {
                for _ in 0..chunk {
                    client.send(&pay).await;
                    if client.answer().await.is_none() {
                        break;
                    }
                }
            });
        }
        let killing = async {
            let pause = Duration::from_millis(u64::try_from(10 + round * 13 % 41).unwrap());
            tokio::time::sleep(pause).await;
            gateway.signal("KILL");
        };
        futures::join!(join_all(asking), killing);
        gateway = Gateway::start(&place);
        let (known, seen) = (spent(&gateway).await, upstream.count());
        assert!(seen + lost <= known, "round {round}: {seen} were sent and {lost} lost of {known}");
        let stranded = known - seen - lost;
        assert!(
            stranded < chunk + callers,
            "round {round}: {stranded} cents, beside {callers} that were under way"
        );
        lost += stranded;
    }
    loop {
        let answer = send(&gateway, "/pay", &agent, "{}").await.expect("an answer");
        if answer.status != 200 {
            assert!(answer.status == 403 && answer.code().starts_with("AGENT_TOKEN_"), "{}", answer.text());
            break;
        }
    }
    assert_eq!(
        (upstream.count() + lost, spent(&gateway).await),
        (cents, cents),
        "the rest is spent to the cent"
    );
}
