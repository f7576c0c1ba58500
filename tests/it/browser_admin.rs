//! The pages of administrators in a real browser: somebody is found, locked and banned, a role and an application
//! are made, the trail is turned page by page, and the plots are drawn.
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
    make(&mut tab, device, &base).await;
    turn_the_trail(&mut tab, &base).await;
    for (section, path) in [
        ("roles", "admin/roles/"),
        ("organizations", "admin/organizations/"),
        ("applications", "admin/applications/"),
        ("agents", "admin/agents/"),
        ("approvals", ""),
        ("audit", "admin/audit/"),
    ] {
        tab.go(&format!("{base}/portcullis/{path}")).await;
        assert_eq!(tab.read(FITS).await, true, "{section} is wider than the screen");
        keep(&format!("{device}-admin-{section}.png"), &tab.picture().await);
    }
    assert!(tab.complaints.is_empty(), "{:?}", tab.complaints);
}

/// A role, and an application whose secret is shown once.
async fn make(tab: &mut Tab, device: &str, base: &str) {
    tab.go(&format!("{base}/portcullis/admin/roles/")).await;
    tab.tab_to("Make a role").await;
    tab.press("Enter").await;
    tab.tab_to("code").await;
    tab.write("helper-of-every-department").await;
    tab.tab_to("name").await;
    tab.write("Helper of every department").await;
    tab.press_on("Enter").await;
    assert_eq!(tab.read("location.search").await, "?said=made", "{:?}", tab.complaints);
    assert!(is_there(tab, "helper-of-every-department").await, "it is in the list");

    let applications = format!("{base}/portcullis/admin/applications/");
    tab.go(&applications).await;
    tab.tab_to("Make an application").await;
    tab.press("Enter").await;
    tab.tab_to("name").await;
    tab.write("Shop").await;
    tab.press_on("Enter").await;
    assert!(is_there(tab, "it is not shown again").await, "{:?}", tab.complaints);
    assert_eq!(tab.read(FITS).await, true, "a secret is as wide as the screen at most");
    keep(&format!("{device}-admin-application-new.png"), &tab.picture().await);
    let secret = tab.read("document.querySelectorAll('.exact')[1].textContent").await;
    let secret = secret.as_str().expect("a secret").to_owned();
    assert!(secret.len() > 20, "{secret}");
    tab.go(&applications).await;
    tab.tab_to("Shop").await;
    tab.press_on("Enter").await;
    assert!(is_there(tab, "Give it new keys").await && !is_there(tab, &secret).await, "once");
    assert_eq!(tab.read(FITS).await, true, "wider than the screen");
}

/// Forth by the link below the list, and back to its beginning.
async fn turn_the_trail(tab: &mut Tab, base: &str) {
    const FIRST: &str = "document.querySelector('tbody a').pathname";
    tab.go(&format!("{base}/portcullis/admin/audit/")).await;
    assert_eq!(tab.read("document.querySelectorAll('tbody tr').length").await, 20);
    let newest = tab.read(FIRST).await;
    tab.tab_to("Next →").await;
    tab.press_on("Enter").await;
    let older = tab.read(FIRST).await;
    assert!(older.is_string() && older != newest, "{older} {newest}");
    assert_eq!(tab.read(FITS).await, true, "wider than the screen");
    tab.tab_to("← From the beginning").await;
    tab.press_on("Enter").await;
    assert_eq!(tab.read(FIRST).await, newest);
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
