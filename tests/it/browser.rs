//! The pages in a real browser that runs no script: on a desk, on a phone, by keyboard.
//! Law: nothing that a page needs is refused by its own policy, and nothing is wider than the screen.

use std::time::Duration;

use portcullis::agent;
use portcullis::approval::State;
use serde_json::json;

use crate::page::{page_of, with_pages};
use crate::support::chromium::Tab;
use crate::support::people::PASSWORD;
use crate::support::replica::until;

/// Where pictures go, for whoever looks at them.
pub fn keep(name: &str, picture: &[u8]) {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("pages");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(name), picture).unwrap();
    assert!(picture.starts_with(b"\x89PNG") && picture.len() > 2000);
}

async fn decide(device: &str, width: u32) {
    let scene = with_pages().await;
    let body = "{\n  \"amount\": 1200.00,\n  \"to\": \"FR76 3000 6000 0112 3456 7890 189\",\n  \"reason\": \"Invoice 2291 is due; <b>pay now</b> \u{202e}txet\u{202c}\",\n  \"note\": \"zero\u{200b}width\"\n}";
    let long = format!("/reports/7?filter={}&pay=now", "abcdefghij".repeat(20));
    let approval = scene.asked("finance-agent-v2", &long, body, Some("trace-2291")).await;
    scene.asked("mail bot", "/reports/8", "", None).await;
    let base = format!("http://{}", scene.gateway.public());
    let mut tab = Tab::open(width, 800).await;
    tab.go(&format!("{base}{}", page_of(&approval))).await;
    assert!(tab.read("location.pathname").await == "/portcullis/login/");
    keep(&format!("{device}-login.png"), &tab.picture().await);
    // The first field has the focus.
    tab.write("ada@example.com").await;
    tab.press("Tab").await;
    tab.write("wrong").await;
    tab.press_on("Enter").await;
    keep(&format!("{device}-wrong.png"), &tab.picture().await);
    tab.write(PASSWORD).await;
    tab.press_on("Enter").await;
    assert_eq!(tab.read("location.pathname").await, page_of(&approval));
    let is_fit = "document.documentElement.scrollWidth <= window.innerWidth";
    assert_eq!(tab.read(is_fit).await, true, "wider than the screen");
    let style = "getComputedStyle(document.querySelector('.exact')).unicodeBidi";
    assert_eq!(tab.read(style).await, "bidi-override", "the style sheet is in force");
    keep(&format!("{device}-detail.png"), &tab.picture().await);
    tab.tab_to("Approve").await;
    tab.press_on("Enter").await;
    assert!(
        tab.read("document.querySelector('.state').textContent").await.as_str().unwrap().contains("Approved")
    );
    assert_eq!(scene.now(&approval).await.state, State::Approved);
    keep(&format!("{device}-approved.png"), &tab.picture().await);
    tab.go(&format!("{base}/portcullis/approvals/")).await;
    assert_eq!(tab.read(is_fit).await, true, "wider than the screen");
    keep(&format!("{device}-list.png"), &tab.picture().await);
    tab.go(&format!("{base}/portcullis/approvals/gone/")).await;
    keep(&format!("{device}-missing.png"), &tab.picture().await);
    let refused: Vec<_> = tab.complaints.iter().filter(|text| !text.contains("status of 40")).collect();
    assert!(refused.is_empty(), "{refused:?}");
}

#[tokio::test]
async fn somebody_decides_at_a_desk() {
    decide("desk", 1100).await;
}

#[tokio::test]
async fn somebody_decides_on_a_phone() {
    decide("phone", 360).await;
}

const IS_FIT: &str = "document.documentElement.scrollWidth <= window.innerWidth";

/// Everything but a yes: a no with its reason, a decision that comes too late, and the end of it all.
async fn refuse(device: &str, width: u32) {
    let scene = with_pages().await;
    let base = format!("http://{}", scene.gateway.public());
    let body = r#"{"amount": 1200.00, "to": "zoe"}"#;
    let denied = scene.asked("finance-agent-v2", "/reports/7", body, Some("trace-7")).await;
    let late = scene.asked("mail bot", "/reports/8", body, None).await;
    let stopped = scene.asked("night bot", "/reports/9", body, None).await;
    let mut tab = Tab::open(width, 800).await;
    tab.go(&format!("{base}{}", page_of(&denied))).await;
    tab.write("ada@example.com").await;
    tab.press("Tab").await;
    tab.write(PASSWORD).await;
    tab.press_on("Enter").await;
    let reason = "Not today \u{2014} ask <b>Zo\u{eb}</b> & me, or write to a-very-long-address-that-has-no-space@example.com";
    tab.tab_to("reason").await;
    tab.write(reason).await;
    keep(&format!("{device}-reason.png"), &tab.picture().await);
    tab.tab_to("Deny").await;
    tab.press_on("Enter").await;
    assert_eq!(tab.read("document.querySelector('q').textContent").await, reason);
    assert_eq!(tab.read(IS_FIT).await, true, "wider than the screen");
    keep(&format!("{device}-denied.png"), &tab.picture().await);
    let now = scene.now(&denied).await;
    assert_eq!((now.state, now.reason.as_deref()), (State::Denied, Some(reason)));
    // Somebody decides elsewhere while the page is open.
    tab.go(&format!("{base}{}", page_of(&late))).await;
    let path = format!("/ai/pending-actions/{}/deny/", late.number.0);
    assert_eq!(scene.call("POST", &path, &json!({})).await.status, 200);
    tab.tab_to("Approve").await;
    tab.press_on("Enter").await;
    let said = tab.read("document.querySelector('[role=alert]').textContent").await;
    assert!(said.as_str().is_some_and(|said| said.contains("any more")), "{said}");
    assert_eq!(tab.read(IS_FIT).await, true, "wider than the screen");
    keep(&format!("{device}-refused.png"), &tab.picture().await);
    assert_eq!(scene.now(&late).await.state, State::Denied);
    // The stop is folded up, and opens by keyboard.
    tab.go(&format!("{base}{}", page_of(&stopped))).await;
    tab.tab_to("Stop this agent").await;
    tab.press("Enter").await;
    tab.press("Tab").await;
    tab.tab_to("Stop this agent").await;
    assert_eq!(tab.read("document.activeElement.tagName").await, "BUTTON");
    keep(&format!("{device}-stop.png"), &tab.picture().await);
    tab.press_on("Enter").await;
    assert_eq!(scene.now(&stopped).await.state, State::Void);
    let token = agent::find(&scene.gateway.running.app.db, agent::Reference::Id(stopped.agent_token)).await;
    assert_eq!(token.unwrap().unwrap().status, agent::Status::Suspended);
    assert_eq!(tab.read(IS_FIT).await, true, "wider than the screen");
    keep(&format!("{device}-stopped.png"), &tab.picture().await);
    let refused: Vec<_> = tab.complaints.iter().filter(|text| !text.contains("status of 40")).collect();
    assert!(refused.is_empty(), "{refused:?}");
}

#[tokio::test]
async fn somebody_says_no_comes_late_and_stops_an_agent_at_a_desk() {
    refuse("desk", 1100).await;
}

#[tokio::test]
async fn somebody_says_no_comes_late_and_stops_an_agent_on_a_phone() {
    refuse("phone", 360).await;
}

#[tokio::test]
async fn the_pages_of_the_api_document_have_all_they_need_here() {
    let scene = with_pages().await;
    let mut tab = Tab::open(1100, 800).await;
    tab.run_scripts().await;
    for (path, last) in [("/docs/", ".opblock"), ("/redoc/", "img[alt='redocly logo']")] {
        tab.go(&format!("http://{}{path}", scene.gateway.public())).await;
        let is_drawn = format!("!!document.querySelector(\"{last}\")");
        until(Duration::from_secs(30), path, async || tab.read(&is_drawn).await == true).await;
        // What is loaded late is complained about late.
        tokio::time::sleep(Duration::from_millis(500)).await;
        tab.read("1").await;
        assert!(tab.complaints.is_empty(), "{path}: {:?}", tab.complaints);
    }
}
