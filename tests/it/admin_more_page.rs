//! The pages of roles, applications, organizations, agents, the trail and statistics, as a browser without
//! JavaScript uses them.
//! Law: a secret is shown once; what cannot be undone waits for a yes; another tenant's things do not exist.

use portcullis::agent::{self, Reference as OfToken, Status};
use portcullis::application::{self, NewApplication};
use portcullis::audit;
use portcullis::base::{Id, Number};
use portcullis::store::sql;
use serde_json::{Value, json};

use crate::account_page::all;
use crate::admin_page::ADMIN;
use crate::organizations::Scene as Tenants;
use crate::page::with_pages;
use crate::rights::Scene;
use crate::support::forms::{Browser, LIST};
use crate::support::people::{elsewhere, permission};

const ROLES: &str = "/portcullis/admin/roles/";
const APPLICATIONS: &str = "/portcullis/admin/applications/";
const ORGANIZATIONS: &str = "/portcullis/admin/organizations/";
const AGENTS: &str = "/portcullis/admin/agents/";
const AUDIT: &str = "/portcullis/admin/audit/";
const STATISTICS: &str = "/portcullis/admin/statistics/";

#[tokio::test]
async fn a_role_is_made_brings_something_and_goes() {
    let scene = Scene::new().await;
    let clerk = scene.browser("clerk").await;
    let make = "/portcullis/admin/make/role/";
    let refused = clerk.post(make, &[("code", "Bad Code!"), ("name", "Helper")]).await;
    assert!(refused.status == 400 && refused.text().contains("value=\"Helper\""), "{}", refused.text());
    let fields = [("code", "helper"), ("name", "<b>Helper</b>"), ("description", "")];
    assert_eq!(clerk.post(make, &fields).await.status, 403, "a name means whatever upstreams take it for");
    let root = scene.browser("root").await;
    let made = root.post(make, &fields).await;
    assert_eq!(made.header("location"), Some(format!("{ROLES}?said=made").as_str()), "{}", made.text());
    let list = clerk.get(&format!("{ROLES}?search=helper")).await.text();
    assert!(
        list.contains("&lt;b&gt;Helper") && list.contains("made here") && !list.contains("keeper"),
        "{list}"
    );
    let page = all(r#"href="(/portcullis/admin/roles/\d+/)""#, &list).remove(0);
    let give = format!("{page}permissions/give/");
    assert_eq!(clerk.post(&give, &[("permission_codes", "vault.open")]).await.status, 403, "not held");
    let given = root.post(&give, &[("permission_codes", "content.view")]).await;
    assert_eq!(given.header("location"), Some(format!("{page}?said=given").as_str()), "{}", given.text());
    let shown = clerk.get(&page).await.text();
    assert!(shown.contains("name=\"permission_codes\" value=\"content.view\""), "{shown}");
    assert_eq!(
        root.post(&format!("{page}permissions/take/"), &[("permission_codes", "content.view")]).await.status,
        303
    );
    let fields = [("name", "Helper"), ("description", "a\r\nb"), ("is_default", "false")];
    assert_eq!(root.post(&format!("{page}change/"), &fields).await.status, 303);
    let asked = root.post(&format!("{page}delete/"), &[]).await;
    assert!(asked.status == 200 && asked.text().contains("Helper"), "{}", asked.text());
    assert_eq!(clerk.get(&page).await.status, 200, "it is still there");
    assert_eq!(root.post(&format!("{page}delete/"), &[("sure", "yes")]).await.status, 303);
    assert_eq!(clerk.get(&page).await.status, 404);
    // What the configuration says is shown and not changed.
    let fixed = clerk.get(&format!("{ROLES}keeper/")).await.text();
    assert!(
        fixed.contains("vault.open") && !fixed.contains("/change/") && !fixed.contains("/delete/"),
        "{fixed}"
    );
    let refused = clerk.post(&format!("{ROLES}keeper/delete/"), &[("sure", "yes")]).await;
    assert!(refused.status >= 400 && clerk.get(&format!("{ROLES}keeper/")).await.status == 200);
}

#[tokio::test]
async fn an_application_shows_its_secret_once_and_new_keys_wait_for_a_yes() {
    let scene = Scene::new().await;
    scene.gateway.grant(scene.clerk.id, permission("applications")).await;
    let clerk = scene.browser("clerk").await;
    let fields = [
        ("name", "Shop <i>web</i>"),
        ("description", ""),
        ("allowed_origins", "https://shop.example.com\r\n\r\nhttps://www.example.com"),
        ("redirect_uris", ""),
    ];
    let make = "/portcullis/admin/make/application/";
    let wrong = [("name", "x"), ("allowed_origins", "not an origin"), ("redirect_uris", "")];
    assert_eq!(clerk.post(make, &wrong).await.status, 400);
    let made = clerk.post(make, &fields).await;
    let text = made.text();
    assert!(made.status == 200 && text.contains("Shop &lt;i&gt;web"), "{text}");
    assert_eq!(made.header("cache-control"), Some("no-store"));
    let (key, secret) = keys_in(&text);
    let list = clerk.get(&format!("{APPLICATIONS}?search=shop&is_active=true")).await.text();
    assert!(list.contains(&key) && !list.contains(&secret) && !list.contains("console"), "{list}");
    let page = all(r#"href="(/portcullis/admin/applications/\d+/)""#, &list).remove(0);
    let shown = clerk.get(&page).await.text();
    assert!(shown.contains("https://www.example.com") && !shown.contains(&secret), "{shown}");
    assert_eq!(clerk.post(&format!("{page}off/"), &[]).await.status, 303);
    assert!(clerk.get(&page).await.text().contains("Switch it on"));
    assert_eq!(clerk.post(&format!("{page}on/"), &[]).await.status, 303);

    let asked = clerk.post(&format!("{page}regenerate/"), &[]).await.text();
    assert!(
        asked.contains("end at once") && clerk.get(&page).await.text().contains(&key),
        "nothing yet: {asked}"
    );
    let again = clerk.post(&format!("{page}regenerate/"), &[("sure", "yes")]).await;
    let (other, fresh) = keys_in(&again.text());
    assert!(again.status == 200 && other != key && fresh != secret);
    assert!(!clerk.get(&page).await.text().contains(&fresh));
    assert_eq!(scene.rows_of("app_credentials_regenerated").await, 1);
    assert_eq!(clerk.post(&format!("{page}delete/"), &[]).await.status, 200);
    assert_eq!(clerk.post(&format!("{page}delete/"), &[("sure", "yes")]).await.status, 303);
    assert_eq!(clerk.get(&page).await.status, 404);
}

fn keys_in(page: &str) -> (String, String) {
    let found = all(r#"<p class="exact">([^<]+)</p>"#, page);
    assert_eq!(found.len(), 2, "{page}");
    (found[0].clone(), found[1].clone())
}

#[tokio::test]
async fn members_are_looked_after_and_another_organization_does_not_exist() {
    let scene = Tenants::new().await;
    let mut browsers = Vec::new();
    for name in ["ada", "eve", "cat"] {
        let mut browser = Browser::new(&scene.gateway);
        browser.log_in(name).await;
        browsers.push(browser);
    }
    let [ada, eve, cat] = &browsers[..] else { panic!("three") };
    let page = format!("{ORGANIZATIONS}acme/");
    assert!(ada.get(ORGANIZATIONS).await.text().contains(&format!("href=\"{page}\"")));
    assert!(!eve.get(ORGANIZATIONS).await.text().contains("acme"));
    for path in [&page, &format!("{ORGANIZATIONS}nothing/")] {
        let hidden = eve.get(path).await;
        assert!(
            hidden.status == 404 && hidden.text().contains("There is no such organization"),
            "{}",
            hidden.text()
        );
    }
    for (step, fields) in [
        ("change/", vec![("name", "Mine")]),
        ("delete/", vec![("sure", "yes")]),
        ("members/remove/", vec![("member", "1"), ("sure", "yes")]),
        ("invitations/new/", vec![("email", "zoe@example.com"), ("role_code", "member")]),
        ("move/", vec![("parent_id", ""), ("sure", "yes")]),
    ] {
        let refused = eve.post_elsewhere(&format!("{page}{step}"), &fields).await;
        assert_eq!(refused.status, 404, "{step}: {}", refused.text());
    }
    let shown = ada.get(&page).await.text();
    assert!(shown.contains("bob@example.com") && shown.contains("cat@example.com"), "{shown}");
    // A member sees who belongs to it, and no invitations.
    let hers = cat.get(&page).await.text();
    assert!(hers.contains("ada@example.com") && !hers.contains("Invitations that are open"), "{hers}");
    assert_eq!(cat.post(&format!("{page}change/"), &[("name", "Mine")]).await.status, 403);

    let numbers = all(
        r#"name="member" value="(\d+)""#,
        &ada.get(&format!("{page}?search=cat@example.com")).await.text(),
    );
    let member = numbers[0].as_str();
    let role = [("member", member), ("role_code", "viewer")];
    assert_eq!(
        ada.post(&format!("{page}members/role/"), &role).await.header("location"),
        Some(format!("{page}?said=changed").as_str())
    );
    assert!(
        ada.get(&format!("{page}?search=cat@example.com")).await.text().contains("value=\"viewer\" selected")
    );
    let remove = format!("{page}members/remove/");
    let asked = ada.post(&remove, &[("member", member)]).await;
    assert!(
        asked.status == 200 && asked.text().contains(&format!("name=\"member\" value=\"{member}\"")),
        "{}",
        asked.text()
    );
    assert_eq!(cat.get(&page).await.status, 200, "not yet");
    assert_eq!(ada.post(&remove, &[("member", member), ("sure", "yes")]).await.status, 303);
    assert_eq!(cat.get(&page).await.status, 404);

    let invite = [("email", "zoe@example.com"), ("role_code", "member")];
    let made = ada.post(&format!("{page}invitations/new/"), &invite).await;
    assert!(made.status == 200 && made.text().contains("not shown again"), "{}", made.text());
    let shown = ada.get(&page).await.text();
    let open = all(r#"name="invitation" value="(\d+)""#, &shown);
    assert!(shown.contains("zoe@example.com") && !open.is_empty(), "{shown}");
    let back = [("invitation", open[0].as_str()), ("sure", "yes")];
    assert_eq!(ada.post(&format!("{page}invitations/revoke/"), &back).await.status, 303);
    assert!(!ada.get(&page).await.text().contains("zoe@example.com"));
    let made =
        ada.post("/portcullis/admin/make/organization/", &[("name", "New one"), ("slug", "make")]).await;
    assert_eq!(made.status, 303, "{}", made.text());
    assert_eq!(ada.get(&format!("{ORGANIZATIONS}make/")).await.status, 200, "no slug is taken by a page");
    // The last owner stays.
    let own = all(
        r#"name="member" value="(\d+)""#,
        &ada.get(&format!("{page}?search=ada@example.com")).await.text(),
    );
    let refused = ada.post(&remove, &[("member", &own[0]), ("sure", "yes")]).await;
    assert!(refused.status >= 400 && ada.get(&page).await.status == 200, "{}", refused.text());
    let gone = [("sure", "yes")];
    assert_eq!(ada.post(&format!("{ORGANIZATIONS}make/delete/"), &[]).await.status, 200);
    assert_eq!(ada.post(&format!("{ORGANIZATIONS}make/delete/"), &gone).await.status, 303);
}

#[tokio::test]
async fn somebody_stops_their_agents_and_ends_them_after_a_yes() {
    let scene = with_pages().await;
    let (id, _) = scene.mint(&json!({"agent_id": "<b>bot</b>", "permissions": ["reports.read"]})).await;
    scene.gateway.account("eve", |_| {}).await;
    let (mut ada, mut eve) = (Browser::new(&scene.gateway), Browser::new(&scene.gateway));
    ada.log_in("ada").await;
    eve.log_in("eve").await;
    let app = &scene.gateway.running.app;
    let status = async || agent::find(&app.db, OfToken::Number(Number(id))).await.unwrap().unwrap().status;
    let page = ada.get(AGENTS).await.text();
    assert!(page.contains("&lt;b&gt;bot") && page.contains("reports.read") && page.contains(LIST), "{page}");
    assert!(!eve.get(AGENTS).await.text().contains("bot&lt;"));
    for step in ["stop", "resume", "end"] {
        let refused = eve.post(&format!("{AGENTS}{id}/{step}/"), &[("sure", "yes")]).await;
        assert_eq!(refused.status, 404, "{step}: {}", refused.text());
    }
    assert_eq!(status().await, Status::Active);
    let stopped = ada.post(&format!("{AGENTS}{id}/stop/"), &[]).await;
    assert_eq!(
        stopped.header("location"),
        Some(format!("{AGENTS}?said=stopped").as_str()),
        "{}",
        stopped.text()
    );
    assert_eq!(status().await, Status::Suspended);
    assert!(ada.get(AGENTS).await.text().contains("Let it go on"));
    assert_eq!(ada.post(&format!("{AGENTS}{id}/resume/"), &[]).await.status, 303);
    assert_eq!(status().await, Status::Active);
    let asked = ada.post(&format!("{AGENTS}{id}/end/"), &[]).await;
    assert!(asked.status == 200 && asked.text().contains("&lt;b&gt;bot"), "{}", asked.text());
    assert_eq!(status().await, Status::Active, "not yet");
    assert_eq!(ada.post(&format!("{AGENTS}{id}/end/"), &[("sure", "yes")]).await.status, 303);
    assert_eq!(status().await, Status::Revoked);
    let over = ada.post(&format!("{AGENTS}{id}/resume/"), &[]).await;
    assert!(over.status >= 400 && status().await == Status::Revoked, "{}", over.text());
    let (other, _) = scene.mint(&json!({"permissions": ["reports.read"]})).await;
    let all_of = "/portcullis/admin/end-all-agents/";
    assert_eq!(ada.post(all_of, &[]).await.status, 200);
    let alive = async || agent::find(&app.db, OfToken::Number(Number(other))).await.unwrap().unwrap().status;
    assert_eq!(alive().await, Status::Active);
    assert_eq!(ada.post(all_of, &[("sure", "yes")]).await.status, 303);
    assert_eq!(alive().await, Status::Revoked);
}

#[tokio::test]
async fn the_trail_is_searched_page_by_page_and_taken_along_by_a_form_alone() {
    let scene = Scene::new().await;
    scene.gateway.grant(scene.clerk.id, permission("security.view")).await;
    let clerk = scene.browser("clerk").await;
    let canary = "<script>canary()</script>\u{202e}";
    let body = json!({"code": "odd", "name": canary});
    assert_eq!(scene.call(&scene.root, "POST", "/roles/", body).await.status, 201);
    let lines = [&scene.keys.lines()[..], &[elsewhere(), format!("User-Agent: {canary}")]].concat();
    let wrong = json!({"email": "eve@example.com", "password": "Wrong-horse-9-battery"});
    assert_eq!(scene.gateway.call("POST", "/login/email/", &lines, &wrong).await.status, 401);
    let (mut path, mut seen, mut pages) = (format!("{AUDIT}?page_size=4"), Vec::new(), 0);
    loop {
        let page = clerk.get(&path).await;
        assert_eq!(page.status, 200, "{}", page.text());
        let text = page.text();
        assert!(!text.contains("<script") && !text.contains('\u{202e}'), "{text}");
        seen.extend(all(r#"href="/portcullis/admin/audit/(\d+)/""#, &text));
        pages += 1;
        let next = all(r#"rel="next" href="([^"]+)""#, &text);
        let Some(next) = next.first() else { break };
        path = next.replace("&amp;", "&");
    }
    let mut numbers: Vec<i64> = seen.iter().map(|number| number.parse().unwrap()).collect();
    assert!(
        pages > 2 && numbers.is_sorted_by(|one, next| one > next),
        "the latest first, once each: {numbers:?}"
    );
    let mut shown = String::new();
    for number in numbers.drain(..).take(12) {
        let page = clerk.get(&format!("{AUDIT}{number}/")).await;
        assert!(page.status == 200 && !page.text().contains("<script"), "{}", page.text());
        shown += &page.text();
    }
    assert!(shown.contains("&lt;script&gt;canary()"), "it was there to be seen: {shown}");
    let found = clerk.get(&format!("{AUDIT}?action=permission_changed&user_id=&ip_address=")).await.text();
    assert!(found.contains("permission_changed") && !found.contains(">login<"), "{found}");
    for (query, said) in [
        ("action=no_such_event", "There is no event"),
        ("user_id=nobody", "About whom"),
        ("ip_address=here", "From which address"),
        ("date_from=soon", "Since: "),
        ("stream=traffic", "Of which stream"),
        ("page_size=0", "A number from 1 to 100."),
    ] {
        let refused = clerk.get(&format!("{AUDIT}?{query}")).await;
        assert!(refused.status == 400 && refused.text().contains(said), "{query}: {}", refused.text());
    }
    assert_eq!(clerk.get(&format!("{AUDIT}999999/")).await.status, 404);
    assert_eq!(scene.rows_of("audit_exported").await, 0, "looking leaves nothing");
    let file =
        clerk.post(&format!("{AUDIT}file/"), &[("format", "csv"), ("action", "permission_changed")]).await;
    let text = file.text();
    assert!(
        file.status == 200 && text.starts_with("id,created_at,action") && text.contains("permission_changed"),
        "{text}"
    );
    assert!(file.header("content-disposition").unwrap().starts_with("attachment"), "no browser shows it");
    assert_eq!(scene.rows_of("audit_exported").await, 1);
    assert_eq!(clerk.post(&format!("{AUDIT}file/"), &[("format", "exe")]).await.status, 400);
    let eve = scene.browser("eve").await;
    assert_eq!(eve.post(&format!("{AUDIT}file/"), &[("format", "csv")]).await.status, 403);
    assert_eq!(scene.rows_of("audit_exported").await, 1);
}

#[tokio::test]
async fn statistics_are_drawn_with_their_numbers_beside_them() {
    let scene = Scene::new().await;
    scene.gateway.grant(scene.clerk.id, permission("dashboard.view")).await;
    let clerk = scene.browser("clerk").await;
    let page = clerk.get(STATISTICS).await;
    let text = page.text();
    assert_eq!(page.status, 200, "{text}");
    for part in ["<svg", "role=\"img\"", "<desc", "<figcaption", "<caption>Logins, day by day", "Statistics"]
    {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert!(!text.contains("style=") && !text.contains("<script") && !text.contains("http"), "{text}");
    assert!(clerk.get(ADMIN).await.text().contains(STATISTICS));
    let days = |text: &str| all(r#"<th scope="row">(\d{4}-\d\d-\d\d)</th>"#, text).len();
    assert_eq!(days(&text), 21, "three plots of a week");
    let month = clerk.get(&format!("{STATISTICS}?period=30d")).await.text();
    assert_eq!(days(&month), 90);
    let endpoint = scene.ok(&scene.clerk, "GET", "/dashboard/stats/", Value::Null).await;
    assert!(text.contains(&format!("<dd>{}</dd>", endpoint["users"]["total"])), "{text}");
    let refused = clerk.get(&format!("{STATISTICS}?period=1000d")).await;
    assert!(
        refused.status == 400 && refused.text().contains("One of 7d, 30d and 90d."),
        "{}",
        refused.text()
    );
}

/// An application of another site, and something that happened there, by their numbers: both are called alike.
async fn made_elsewhere(scene: &Scene) -> [(&'static str, String); 2] {
    let site = Id::from_u128(0x0190_b8a2_7c1e_7f00_8000_0000_0000_0001);
    let new = NewApplication {
        site,
        name: "zanzibar".to_owned(),
        description: String::new(),
        allowed_origins: Vec::new(),
        redirect_uris: Vec::new(),
    };
    let (made, _) =
        scene.gateway.change(async |change| application::create(change, new).await.unwrap()).await;
    let db = &scene.gateway.running.app.db;
    let seq = audit::tail(db, 0, 10_000).await.unwrap().last().unwrap().seq;
    let mut tx = db.begin().await.unwrap();
    let moved = sql("UPDATE audit SET site_id = ? WHERE seq = ?").bind(site).bind(seq);
    assert_eq!(tx.execute(moved).await.unwrap(), 1);
    tx.commit().await.unwrap();
    [("applications", made.number.to_string()), ("audit", seq.to_string())]
}

#[tokio::test]
async fn what_another_site_has_has_no_page_and_no_form_reaches_it() {
    let scene = Scene::new().await;
    let root = scene.browser("root").await;
    let foreign = made_elsewhere(&scene).await;
    let before = scene.happened().await;
    let fields = [("sure", "yes"), ("name", "taken over"), ("description", "")];
    let (mut looked, mut sent) = (0, 0);
    for row in portcullis::web::rows() {
        let named = |(piece, _): &&(&str, String)| row.path().starts_with(&format!("{ADMIN}{piece}/{{"));
        let Some((_, number)) = foreign.iter().find(named) else { continue };
        let path = row.path().replace("{id}", number);
        let answer = if row.method() == "GET" {
            looked += 1;
            root.get(&path).await
        } else {
            sent += 1;
            root.post_elsewhere(&path, &fields).await
        };
        let text = answer.text();
        assert!(answer.status == 404 && !text.contains("zanzibar"), "{path}: {} {text}", answer.status);
    }
    assert!(looked == 2 && sent >= 5, "{looked} pages and {sent} forms");
    assert!(!root.get(APPLICATIONS).await.text().contains("zanzibar"));
    assert_eq!(scene.happened().await, before, "nothing happened");
}
