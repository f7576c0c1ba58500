//! What the gateway looks at again before it sends by itself what people approved (sealed mode; agents.md
//! section 3). Law: between the last yes and the first byte nothing may have been lost: the agent, the
//! human behind it, their application, the route, or those who said yes.

use std::time::Duration;

use portcullis::account;
use portcullis::app::Change;
use portcullis::application;
use portcullis::base::Slug;
use portcullis::organization;
use portcullis::policy::Code;
use portcullis::store::DEFAULT_SITE;
use serde_json::{Value, json};

use crate::agent::scene;
use crate::agent_approver;
use crate::agent_lost::close;
use crate::agent_sealed::{self, back, without_upstream};
use crate::support::people::{permission, role};
use crate::support::replica::until;
use crate::support::{Upstream, free_port};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn everything_is_looked_at_again_when_it_is_sent() {
    let mint = json!({"permissions": ["reports.read"]});
    for change in ["right", "route", "agent", "human", "application"] {
        let (address, scene, token, yaml) = without_upstream(&mint).await;
        let named = scene.approved("/acts/1", &token, "{}").await;
        scene.is_tried(1).await;
        match change {
            "right" => scene.gateway.revoke(scene.ada.id, permission("reports")).await,
            "route" => {
                let other =
                    format!("{}{yaml}", crate::agent::YAML).replace("flat_usd: 0.01", "flat_usd: 0.02");
                let loaded = scene.gateway.load(&other);
                scene.gateway.running.reload(&loaded).await.unwrap_or_else(|error| panic!("{error}"));
            }
            "human" => {
                let human = scene.ada.id;
                assert!(
                    scene
                        .gateway
                        .change(async |change| account::lock(change, human, None).await.unwrap())
                        .await
                );
            }
            "application" => {
                let (id, off) = (scene.keys.id, application::Activity::Disabled);
                assert!(
                    scene
                        .gateway
                        .change(async |change| application::set_activity(change, id, off).await.unwrap())
                        .await
                );
            }
            _ => drop(scene.call("POST", "/ai/tokens/revoke-all/", &Value::Null).await),
        }
        let upstream = back(address, &scene).await;
        // The trail says so even where the human cannot look any more.
        let is_void = async || scene.rows("approval_voided").await.len() == 1;
        until(5 * SECOND, change, is_void).await;
        if !["human", "application"].contains(&change) {
            assert_eq!(scene.standing(&named).await, "void", "{change}");
        }
        tokio::time::sleep(SECOND).await;
        assert_eq!(upstream.count(), 0, "{change}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_loses_the_role_after_the_last_yes_takes_it_back_before_the_gateway_sends() {
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
    let away = Upstream::echo().await;
    let yaml = agent_approver::routes(&away).replace(&away.address.to_string(), &address.to_string());
    let scene = scene(&yaml).await;
    let token = scene.mint(&json!({"permissions": ["reports.read"]})).await.1;
    let (bob, carol) = (scene.finance("bob").await, scene.finance("carol").await);
    let sealed = scene.hold("/sealed", &token, "{}").await;
    assert_eq!(scene.yes(&bob, &sealed).await.json()["missing"], 1);
    assert_eq!(scene.yes(&carol, &sealed).await.json()["status"], "confirmed");
    scene.is_tried(1).await;
    assert_eq!(scene.standing(&sealed).await, "approved", "it could not be sent");
    scene.gateway.revoke(bob.id, role("finance")).await;
    let upstream = back(address, &scene).await;
    scene.comes_to(&sealed, "void").await;
    tokio::time::sleep(SECOND).await;
    assert_eq!(upstream.count(), 0);
}

/// The right is the organization's, and so is who decides there.
#[tokio::test]
async fn who_is_out_of_the_organization_has_nothing_sent_for_it_any_more() {
    for change in ["member", "role", "organization"] {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
        let away = Upstream::echo().await;
        let yaml = agent_sealed::routes(&away)
            .replace(&away.address.to_string(), &address.to_string())
            .replace("permission: reports.read", "permission: 'write:invoices'");
        let scene = scene(&yaml).await;
        let mint = json!({"permissions": ["write:invoices"], "organization": "acme-corp"});
        let token = scene.mint(&mint).await.1;
        let named = scene.approved("/acts/1", &token, "{}").await;
        scene.is_tried(1).await;
        assert_eq!(scene.standing(&named).await, "approved", "it could not be sent");
        let (app, human) = (&scene.gateway.running.app, scene.ada.id);
        let slug = Slug::parse("acme-corp").unwrap();
        let acme =
            organization::by_slug(&app.db, DEFAULT_SITE, &slug).await.unwrap().expect("it is there").id;
        match change {
            "member" => {
                let leave = async |change: &mut Change<'_>| {
                    organization::remove_member(change, acme, human).await.expect("a member");
                };
                scene.gateway.change(leave).await;
            }
            "role" => {
                let definitions = app.catalogue().definitions().clone();
                let member = Code::parse("member").unwrap();
                let less = async |change: &mut Change<'_>| {
                    organization::set_role(change, &definitions, acme, human, &member).await.expect("a role");
                };
                scene.gateway.change(less).await;
            }
            _ => close(&scene.gateway, acme).await,
        }
        let upstream = back(address, &scene).await;
        let is_void = async || scene.rows("approval_voided").await.len() == 1;
        until(5 * SECOND, change, is_void).await;
        tokio::time::sleep(SECOND).await;
        assert_eq!(upstream.count(), 0, "{change}");
    }
}
