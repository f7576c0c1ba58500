//! The pages of administrators in a real browser: somebody is found, locked and banned, and the plots are drawn.
//! Law: no script runs, nothing is wider than the screen, everything is reached by keyboard, and the browser has
//! nothing to complain about.

use portcullis::account;
use portcullis::base::Id;

use crate::browser::keep;
use crate::support::Gateway;
use crate::support::chromium::Tab;
use crate::support::people::{PASSWORD, TRUSTING};

const FITS: &str = "document.documentElement.scrollWidth <= window.innerWidth";

async fn is_there(tab: &mut Tab, text: &str) -> bool {
    let page = tab.read("document.querySelector('main').textContent").await;
    page.as_str().unwrap().contains(text)
}

async fn walk(device: &str, width: u32) {
    let gateway = Gateway::start(TRUSTING).await;
    gateway.account("root", |new| new.is_superuser = true).await;
    let eve = gateway.account("eve", |new| new.first_name = "Eve-with-a-name-that-is-".repeat(4)).await;
    for number in 0..25 {
        gateway.account(&format!("somebody-with-a-long-address-{number}"), |_| {}).await;
    }
    let base = format!("http://{}", gateway.public());
    let mut tab = Tab::open(width, 800).await;
    tab.go(&format!("{base}/portcullis/admin/")).await;
    tab.write("root@example.com").await;
    tab.press("Tab").await;
    tab.write(PASSWORD).await;
    tab.press_on("Enter").await;
    assert_eq!(tab.read("location.pathname").await, "/portcullis/admin/", "back from the login");
    assert_eq!(tab.read(FITS).await, true, "wider than the screen");
    keep(&format!("{device}-admin.png"), &tab.picture().await);

    tab.tab_to("Users").await;
    tab.press_on("Enter").await;
    assert_eq!(tab.read("document.querySelectorAll('tbody tr').length").await, 20);
    assert_eq!(tab.read(FITS).await, true, "the table moves alone");
    keep(&format!("{device}-admin-users.png"), &tab.picture().await);
    tab.go(&format!("{base}/portcullis/admin/users/?search=eve")).await;
    tab.tab_to("eve@example.com").await;
    tab.press_on("Enter").await;
    assert!(is_there(&mut tab, "Where they are logged in").await);
    assert_eq!(tab.read(FITS).await, true, "wider than the screen");
    tab.tab_to("Lock the account for a while").await;
    tab.press("Enter").await;
    tab.press("Tab").await;
    tab.write("45").await;
    tab.press("Tab").await;
    tab.write("a talk about <b>manners</b>").await;
    keep(&format!("{device}-admin-user.png"), &tab.picture().await);
    tab.press_on("Enter").await;
    assert!(
        is_there(&mut tab, "The account is locked, and logged out everywhere.").await,
        "{:?}",
        tab.complaints
    );
    assert_eq!(tab.read("location.search").await, "?said=locked");

    tab.tab_to("Ban this person").await;
    tab.press("Enter").await;
    // The line that opens the form and the button in it say the same.
    tab.press("Tab").await;
    tab.press("Tab").await;
    tab.press_on("Enter").await;
    assert!(is_there(&mut tab, "stay out until somebody lifts the ban").await, "asked first");
    assert!(!is_banned(&gateway, eve).await);
    keep(&format!("{device}-admin-sure.png"), &tab.picture().await);
    tab.tab_to("sure").await;
    tab.press(" ").await;
    tab.press("Tab").await;
    tab.press_on("Enter").await;
    assert!(is_there(&mut tab, "The account is banned").await && is_banned(&gateway, eve).await);

    tab.go(&format!("{base}/portcullis/admin/statistics/")).await;
    assert_eq!(tab.read(FITS).await, true, "wider than the screen");
    let drawn = tab.read("[...document.querySelectorAll('figure svg')].every(own => own.getBoundingClientRect().height > 20)").await;
    assert_eq!(drawn, true, "each plot is there");
    keep(&format!("{device}-admin-statistics.png"), &tab.picture().await);
    for section in ["roles", "organizations", "applications", "agents", "audit"] {
        tab.go(&format!("{base}/portcullis/admin/{section}/")).await;
        assert_eq!(tab.read(FITS).await, true, "{section} is wider than the screen");
        keep(&format!("{device}-admin-{section}.png"), &tab.picture().await);
    }
    assert!(tab.complaints.is_empty(), "{:?}", tab.complaints);
}

async fn is_banned(gateway: &Gateway, id: Id) -> bool {
    account::by_id(&gateway.running.app.db, id).await.unwrap().unwrap().is_banned
}

#[tokio::test]
async fn somebody_looks_after_people_at_a_desk() {
    walk("desk", 1100).await;
}

#[tokio::test]
async fn somebody_looks_after_people_on_a_phone() {
    walk("phone", 360).await;
}
