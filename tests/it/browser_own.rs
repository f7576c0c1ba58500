//! The pages about oneself in a real browser that runs no script: profile, password, API keys, data, linked
//! accounts, and the ways in, on a desk and on a phone, by keyboard. Law: nothing that they need is refused by
//! their own policy, and nothing is wider than the screen.

use std::sync::Arc;

use portcullis::apikey;
use portcullis::base::{Clock as _, SystemClock, TestClock};

use crate::account_page::all;
use crate::browser::keep;
use crate::support::chromium::Tab;
use crate::support::people::{PASSWORD, permission};
use crate::support::provider::Provider;
use crate::support::{Gateway, free_port};

const FITS: &str = "document.documentElement.scrollWidth <= window.innerWidth";
const LINES: &str = "document.querySelector('main').textContent";

async fn gateway() -> (Gateway, Provider) {
    let clock = Arc::new(TestClock::at(SystemClock.now()));
    let acme = Provider::start(clock.clone()).await;
    let port = free_port();
    let yaml = format!(
        "listen: {{ public: '127.0.0.1:{port}', admin: '127.0.0.1:0' }}
public_url: 'http://127.0.0.1:{port}'
mail: {{ via: console }}
permissions: [ {{ code: reports.read }}, {{ code: invoices.of_every_department_in_the_company.write }}, {{ code: pay }} ]
login:\n  social:\n{}",
        acme.yaml("acme", ", label: 'Acme & Co'")
    );
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::start_by(clock, folder, &yaml).await.unwrap_or_else(|error| panic!("{error}"));
    (gateway, acme)
}

async fn shown(tab: &mut Tab, name: &str) {
    assert_eq!(tab.read(FITS).await, true, "wider than the screen: {name}");
    keep(&format!("{name}.png"), &tab.picture().await);
}

async fn says(tab: &mut Tab, text: &str) {
    let said = tab.read(LINES).await;
    assert!(said.as_str().unwrap().contains(text), "{text} in {said} {:?}", tab.complaints);
}

async fn live(device: &str, width: u32) {
    let (gateway, _acme) = gateway().await;
    let ada = gateway.account("ada", |new| "Ada".clone_into(&mut new.first_name)).await;
    for code in ["reports.read", "invoices.of_every_department_in_the_company.write", "pay"] {
        gateway.grant(ada, permission(code)).await;
    }
    let base = format!("http://{}", gateway.public());
    let mut tab = Tab::open(width, 800).await;
    tab.go(&format!("{base}/portcullis/account/")).await;
    tab.write("ada@example.com").await;
    tab.press("Tab").await;
    tab.write(PASSWORD).await;
    tab.press_on("Enter").await;
    shown(&mut tab, &format!("{device}-own")).await;

    tab.tab_to("Change your profile, e-mail address or phone number").await;
    tab.press_on("Enter").await;
    tab.read("document.querySelector('#last_name').focus()").await;
    tab.write("Lovelace").await;
    tab.tab_to("Save").await;
    tab.press_on("Enter").await;
    says(&mut tab, "Your profile was saved.").await;
    tab.tab_to("Another e-mail address").await;
    tab.press("Enter").await;
    tab.press("Tab").await;
    tab.write("ada.lovelace@example.com").await;
    tab.press("Tab").await;
    tab.write(PASSWORD).await;
    shown(&mut tab, &format!("{device}-profile")).await;
    tab.press_on("Enter").await;
    says(&mut tab, "A code is on its way.").await;
    shown(&mut tab, &format!("{device}-profile-wished")).await;

    tab.go(&format!("{base}/portcullis/account/keys/")).await;
    tab.read("document.querySelector('#name').focus()").await;
    tab.write("Nightly backup of the finance department").await;
    // Past the choice of lives, to the first permission.
    tab.press("Tab").await;
    tab.press("Tab").await;
    if tab.read("document.activeElement.type").await != "checkbox" {
        tab.press("Tab").await;
    }
    tab.press(" ").await;
    shown(&mut tab, &format!("{device}-keys")).await;
    tab.tab_to("Make the key").await;
    tab.press_on("Enter").await;
    shown(&mut tab, &format!("{device}-key-new")).await;
    let kept = apikey::of_account(&gateway.running.app.db, ada).await.unwrap();
    assert_eq!((kept.len(), kept[0].scopes.len()), (1, 1));
    let key = tab.read("document.querySelector('.exact').textContent").await;
    assert!(all("(portcullis_[A-Za-z0-9_-]{43})", key.as_str().unwrap()).len() == 1, "{key}");
    tab.go(&format!("{base}/portcullis/account/keys/")).await;
    shown(&mut tab, &format!("{device}-keys-one")).await;
    tab.tab_to("Revoke").await;
    tab.press_on("Enter").await;
    says(&mut tab, "The key was revoked.").await;

    tab.go(&format!("{base}/portcullis/account/connections/")).await;
    tab.tab_to("Link Acme & Co").await;
    tab.press_on("Enter").await;
    shown(&mut tab, &format!("{device}-link")).await;

    data_and_password(&mut tab, device, &base).await;
}

async fn data_and_password(tab: &mut Tab, device: &str, base: &str) {
    tab.go(&format!("{base}/portcullis/account/data/")).await;
    tab.tab_to("I want to delete my account").await;
    tab.press("Enter").await;
    shown(tab, &format!("{device}-data")).await;
    tab.read("document.querySelector('#delete-password').focus()").await;
    tab.write(PASSWORD).await;
    tab.press_on("Enter").await;
    says(tab, "Your account is deleted only if you follow it.").await;
    shown(tab, &format!("{device}-data-asked")).await;
    tab.tab_to("Keep my account").await;
    tab.read("document.querySelector('#keep-password').focus()").await;
    tab.write(PASSWORD).await;
    tab.press_on("Enter").await;
    says(tab, "Your account stays.").await;

    tab.go(&format!("{base}/portcullis/account/password/")).await;
    let fields = [("#current", PASSWORD), ("#new", "short"), ("#again", "short")];
    for (field, text) in fields {
        tab.read(&format!("document.querySelector('{field}').focus()")).await;
        tab.write(text).await;
    }
    tab.press_on("Enter").await;
    shown(tab, &format!("{device}-password-wrong")).await;
    for (field, text) in
        [("#current", PASSWORD), ("#new", "Another-horse-7-staple"), ("#again", "Another-horse-7-staple")]
    {
        tab.read(&format!("document.querySelector('{field}').focus()")).await;
        tab.write(text).await;
    }
    tab.press_on("Enter").await;
    says(tab, "Your password was changed.").await;
    shown(tab, &format!("{device}-password-changed")).await;
    let refused: Vec<_> = tab.complaints.iter().filter(|text| !text.contains("status of 40")).collect();
    assert!(refused.is_empty(), "{refused:?}");
}

/// Every way in that a page has, as far as somebody comes who has nothing to type from a message.
async fn come_in(device: &str, width: u32) {
    let clock = Arc::new(TestClock::at(SystemClock.now()));
    let acme = Provider::start(clock.clone()).await;
    let port = free_port();
    let base = format!("http://127.0.0.1:{port}");
    let yaml = format!(
        "listen: {{ public: '127.0.0.1:{port}', admin: '127.0.0.1:0' }}
public_url: '{base}'
mail: {{ via: console }}
sms: {{ via: console }}
accounts: {{ registration: {{ open: true }} }}
login:
  otp: {{ log_in: true }}
  magic_link: {{ targets: ['{base}/api/v1/auth/magic-link/verify/'] }}
  social:\n{}",
        acme.yaml("acme", ", label: 'Acme & Co'")
    );
    let folder = tempfile::tempdir().unwrap();
    let _gateway = Gateway::start_by(clock, folder, &yaml).await.unwrap_or_else(|error| panic!("{error}"));
    let mut tab = Tab::open(width, 800).await;
    tab.go(&format!("{base}/portcullis/login/")).await;
    shown(&mut tab, &format!("{device}-ways")).await;
    for (way, button, fields, said) in [
        (
            "Send me a link by mail",
            "Send me a link",
            vec![("email", "ada@example.com")],
            "a link is on its way",
        ),
        (
            "Send me a code by text message",
            "Send me a code",
            vec![("country", "33"), ("number", "612345678")],
            "a code is on its way",
        ),
        (
            "I forgot my password",
            "Send me a code",
            vec![("email", "ada@example.com")],
            "a message is on its way",
        ),
        (
            "I have no account yet",
            "Register",
            vec![("email", "ada@example.com"), ("new", PASSWORD), ("again", PASSWORD)],
            "A mail is on its way to you.",
        ),
    ] {
        tab.go(&format!("{base}/portcullis/login/")).await;
        tab.tab_to(way).await;
        tab.press_on("Enter").await;
        let name = way.rsplit(' ').next().unwrap();
        shown(&mut tab, &format!("{device}-way-{name}")).await;
        for (field, text) in fields {
            tab.read(&format!("document.querySelector('#{field}').focus()")).await;
            tab.write(text).await;
        }
        tab.tab_to(button).await;
        tab.press_on("Enter").await;
        says(&mut tab, said).await;
        shown(&mut tab, &format!("{device}-way-{name}-sent")).await;
    }
    assert!(tab.complaints.is_empty(), "{:?}", tab.complaints);
}

#[tokio::test]
async fn somebody_comes_in_by_every_way_at_a_desk() {
    come_in("desk", 1100).await;
}

#[tokio::test]
async fn somebody_comes_in_by_every_way_on_a_phone() {
    come_in("phone", 360).await;
}

#[tokio::test]
async fn somebody_looks_after_their_account_at_a_desk() {
    live("desk", 1100).await;
}

#[tokio::test]
async fn somebody_looks_after_their_account_on_a_phone() {
    live("phone", 360).await;
}
