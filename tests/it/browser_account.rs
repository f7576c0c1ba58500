//! The page of one's own account in a real browser, with a passkey in its virtual authenticator.
//! Law: passkeys alone need a script, which the strict policy of their pages allows; the rest is there
//! without, and nothing is wider than the screen.

use std::sync::Arc;
use std::time::Duration;

use portcullis::base::{Clock as _, SystemClock, TestClock};
use portcullis::factor::Seed;
use portcullis::passkey;
use portcullis::session;
use serde_json::json;

use crate::browser::keep;
use crate::support::chromium::Tab;
use crate::support::people::{PASSWORD, permission};
use crate::support::{Gateway, free_port};

const ACCOUNT: &str = "/portcullis/account/";

/// A gateway that browsers reach by a name: they make no passkeys for addresses.
async fn gateway() -> (Gateway, Arc<TestClock>, String) {
    let port = free_port();
    let base = format!("http://localhost:{port}");
    let yaml = format!(
        "listen: {{ public: '127.0.0.1:{port}', admin: '127.0.0.1:0' }}
public_url: {base}
login: {{ passkeys: {{ rp_id: localhost, origins: ['{base}'] }} }}
permissions: [ {{ code: reports.read }} ]
"
    );
    let clock = Arc::new(TestClock::at(SystemClock.now()));
    let folder = tempfile::tempdir().unwrap();
    let gateway =
        Gateway::start_by(clock.clone(), folder, &yaml).await.unwrap_or_else(|error| panic!("{error}"));
    (gateway, clock, base)
}

const FITS: &str = "document.documentElement.scrollWidth <= window.innerWidth";

async fn live(device: &str, width: u32) {
    let (gateway, clock, base) = gateway().await;
    let keys = gateway.application("web", &[]).await;
    let ada = gateway.user("ada", &keys).await;
    gateway.grant(ada.id, permission("reports.read")).await;
    let lines = [&keys.lines()[..], &[ada.bearer()]].concat();
    let agent = json!({"agent_id": "finance-agent-v2", "permissions": ["reports.read"]});
    assert_eq!(gateway.call("POST", "/ai/tokens/", &lines, &agent).await.status, 201);
    let app = &gateway.running.app;

    let mut tab = Tab::open(width, 800).await;
    tab.go(&format!("{base}{ACCOUNT}")).await;
    let is_seen = "!document.querySelector('form.passkey').hidden";
    assert_eq!(tab.read(is_seen).await, false, "nothing that does nothing");
    tab.write("ada@example.com").await;
    tab.press("Tab").await;
    tab.write(PASSWORD).await;
    tab.press_on("Enter").await;
    assert_eq!(tab.read("location.pathname").await, ACCOUNT);
    assert_eq!(tab.read(FITS).await, true, "wider than the screen");
    keep(&format!("{device}-account.png"), &tab.picture().await);

    tab.run_scripts().await;
    tab.hold_a_passkey().await;
    tab.go(&format!("{base}{ACCOUNT}")).await;
    tab.tab_to("Add a passkey").await;
    tab.press("Enter").await;
    tab.press("Tab").await;
    tab.write("My phone").await;
    tab.tab_to("Go on").await;
    tab.press_on("Enter").await;
    keep(&format!("{device}-passkey-new.png"), &tab.picture().await);
    tab.tab_to("Create the passkey").await;
    tab.press_on("Enter").await;
    let said = tab.read("document.querySelector('main').textContent").await;
    assert!(said.as_str().unwrap().contains("The passkey was added."), "{said} {:?}", tab.complaints);
    assert_eq!(tab.read(FITS).await, true, "wider than the screen");
    keep(&format!("{device}-passkey-added.png"), &tab.picture().await);

    tab.tab_to("Log out").await;
    tab.press_on("Enter").await;
    assert_eq!(tab.read(is_seen).await, true);
    keep(&format!("{device}-passkey-login.png"), &tab.picture().await);
    tab.tab_to("Log in with a passkey").await;
    tab.press_on("Enter").await;
    assert_eq!(tab.read("location.pathname").await, "/portcullis/approvals/", "{:?}", tab.complaints);
    let open = session::live_of(&app.db, ada.id, app.now()).await.unwrap();
    let by_passkey: Vec<_> = open.iter().filter(|one| one.method == session::Method::Passkey).collect();
    assert!(by_passkey.len() == 1 && by_passkey[0].second_factor_at.is_some(), "{open:?}");

    let seed = second_factor(&mut tab, &base, device, &gateway).await;
    clock.advance(Duration::from_mins(16));
    tab.go(&format!("{base}{ACCOUNT}")).await;
    tab.tab_to("Rename or remove").await;
    tab.press("Enter").await;
    keep(&format!("{device}-account-full.png"), &tab.picture().await);
    assert_eq!(tab.read(FITS).await, true, "wider than the screen");
    // The login is old by now, so a code is asked for.
    tab.read("document.querySelector('.rows input[name=code]').focus()").await;
    tab.write(seed.code_at(app.now()).expose()).await;
    tab.tab_to("Remove").await;
    tab.press_on("Enter").await;
    assert_eq!(tab.read("location.search").await, "?passkey-removed");
    assert_eq!(passkey::count_of(&app.db, ada.id).await.unwrap(), 0);
    assert!(tab.complaints.is_empty(), "{:?}", tab.complaints);
}

async fn second_factor(tab: &mut Tab, base: &str, device: &str, gateway: &Gateway) -> Seed {
    tab.go(&format!("{base}{ACCOUNT}second-factor/")).await;
    keep(&format!("{device}-factor.png"), &tab.picture().await);
    tab.tab_to("Begin").await;
    tab.press_on("Enter").await;
    keep(&format!("{device}-factor-scan.png"), &tab.picture().await);
    assert_eq!(tab.read(FITS).await, true, "wider than the screen");
    let wide = tab.read("document.querySelector('.qr svg').getBoundingClientRect().width").await;
    assert!(wide.as_f64().is_some_and(|wide| wide > 150.0), "the picture is there: {wide}");
    let key = tab.read("document.querySelector('.qr + p code').textContent").await;
    let seed = Seed::parse(key.as_str().unwrap()).unwrap();
    tab.read("document.querySelector('#code').focus()").await;
    tab.write(seed.code_at(gateway.running.app.now()).expose()).await;
    tab.press_on("Enter").await;
    assert_eq!(tab.read("location.search").await, "?factor-on");
    seed
}

#[tokio::test]
async fn somebody_lives_with_a_passkey_at_a_desk() {
    live("desk", 1100).await;
}

#[tokio::test]
async fn somebody_lives_with_a_passkey_on_a_phone() {
    live("phone", 360).await;
}
