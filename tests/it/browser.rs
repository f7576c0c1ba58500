//! The pages in a real browser that runs no script: on a desk, on a phone, by keyboard.
//! Law: nothing that a page needs is refused by its own policy, and nothing is wider than the screen.

use std::time::Duration;

use portcullis::approval::State;

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
