//! The pages of administrators as a browser without JavaScript uses them: who sees which, what only a form of
//! ours does, and people.
//! Law: whoever may not ask an endpoint sees no page of it, and no page changes what its endpoint would not.

use portcullis::account::{self, Account};
use portcullis::audit;
use portcullis::base::Id;
use portcullis::http::Row;
use portcullis::rbac::Granted;
use regex::Regex;
use serde_json::Value;

use crate::account_page::all;
use crate::administration::scene as with_clerk;
use crate::rights::Scene;
use crate::support::forms::{Browser, LIST, form};
use crate::support::people::{PASSWORD, User, elsewhere, permission, role};

pub const ADMIN: &str = "/portcullis/admin/";
const USERS: &str = "/portcullis/admin/users/";
const AUDIT: &str = "/portcullis/admin/audit/";

pub fn user_page(user: &User) -> String {
    format!("{USERS}{}/", user.id)
}

/// The pages of administrators.
pub fn rows(method: &str) -> Vec<Row> {
    let mut rows = portcullis::web::rows();
    rows.retain(|row| row.path().starts_with(ADMIN) && row.method().as_str() == method);
    assert!(rows.len() > 8, "they were found");
    rows
}

/// What is theirs alone, whoever they are: nobody needs a permission for that.
fn is_own(path: &str) -> bool {
    ["agents", "organization"].iter().any(|own| path.contains(own))
}

impl Scene {
    pub async fn browser(&self, name: &str) -> Browser<'_> {
        let mut browser = Browser::new(&self.gateway);
        browser.log_in(name).await;
        browser
    }

    async fn stands(&self, id: Id) -> Account {
        account::by_id(&self.gateway.running.app.db, id).await.unwrap().unwrap()
    }

    /// How many rows the trail has.
    pub async fn happened(&self) -> usize {
        audit::tail(&self.gateway.running.app.db, 0, 10_000).await.unwrap().len()
    }

    pub async fn rows_of(&self, code: &str) -> usize {
        let rows = audit::tail(&self.gateway.running.app.db, 0, 10_000).await.unwrap();
        rows.iter().filter(|row| row.code == code).count()
    }
}

#[tokio::test]
async fn who_may_not_ask_an_endpoint_sees_no_page_of_it_and_no_way_there() {
    let scene = with_clerk().await;
    let nobody = Browser::new(&scene.gateway);
    let (eve, clerk) = (scene.browser("eve").await, scene.browser("clerk").await);
    let number = scene.stands(scene.root.id).await.number.to_string();
    for row in rows("GET") {
        let path = row.path().replace("{id}", &number);
        let led = nobody.get(&path).await;
        assert_eq!(led.status, 303, "{path}");
        assert!(led.header("location").unwrap().starts_with("/portcullis/login/?next="), "{path}");
        let page = eve.get(&path).await;
        if is_own(&path) || path == ADMIN {
            assert!([200, 404].contains(&page.status), "{path}: {}", page.text());
        } else {
            assert_eq!(page.status, 403, "{path}: {}", page.text());
            assert!(page.text().contains("You do not hold the permission"), "{}", page.text());
            assert!(!page.text().contains("root@example.com"), "{}", page.text());
        }
    }
    let (hers, his) = (eve.get(ADMIN).await.text(), clerk.get(ADMIN).await.text());
    assert!(!hers.contains(USERS) && !hers.contains(AUDIT) && hers.contains("/portcullis/admin/agents/"));
    assert!(his.contains(USERS) && !his.contains(AUDIT), "{his}");
    assert!(!eve.get(LIST).await.text().contains("Administration"));
    assert!(clerk.get(LIST).await.text().contains("Administration"));
    assert_eq!(clerk.get(USERS).await.status, 200);
    // Looked after by somebody who may not see logins, roles or the trail.
    let page = clerk.get(&user_page(&scene.eve)).await.text();
    assert!(page.contains("eve@example.com") && page.contains("/lock/"), "{page}");
    for part in ["Where they are logged in", "id=\"roles\"", "sessions/end", AUDIT] {
        assert!(!page.contains(part), "{part} in {page}");
    }
    // From the next request on.
    scene.gateway.revoke(scene.clerk.id, permission("users.view")).await;
    assert_eq!(clerk.get(USERS).await.status, 403);
}

#[tokio::test]
async fn no_form_of_who_may_not_changes_anything_and_none_that_is_not_ours() {
    let scene = with_clerk().await;
    let (eve, root) = (scene.browser("eve").await, scene.browser("root").await);
    let (number, secret) = (scene.stands(scene.root.id).await.number.to_string(), root.secret(ADMIN).await);
    let own = form(&[
        ("csrf", &eve.secret(ADMIN).await),
        ("sure", "yes"),
        ("role_code", "viewer"),
        ("session", "1"),
    ]);
    let before = scene.happened().await;
    for row in rows("POST") {
        let path = row.path().replace("{id}", &number);
        // Behind an address each, so that nobody is told to wait.
        let ours = format!("Origin: {}", root.origin());
        if !is_own(&path) {
            let refused = eve.ask("POST", &path, &[ours.clone(), elsewhere()], &own).await;
            assert_eq!(refused.status, 403, "{path}: {}", refused.text());
            assert!(!refused.text().contains("root@example.com"), "{path}: {}", refused.text());
        }
        for (origin, secret) in [
            ("Origin: https://evil.example".to_owned(), secret.as_str()),
            ("Origin: null".to_owned(), secret.as_str()),
            (ours.clone(), ""),
            (ours.clone(), "x"),
        ] {
            let body =
                form(&[("csrf", secret), ("sure", "yes"), ("email", "new@example.com"), ("name", "x")]);
            let refused = root.ask("POST", &path, &[origin.clone(), elsewhere()], &body).await;
            assert_eq!(refused.status, 403, "{path} {origin}");
            assert!(refused.text().contains("Nothing was done"), "{}", refused.text());
        }
        let looked = root.get(&format!("{path}?sure=yes&csrf={secret}")).await;
        // A path that names something is a page of what has this name, and there is none.
        assert!([403, 404, 405].contains(&looked.status), "{path}: {}", looked.status);
    }
    assert_eq!(scene.happened().await, before, "nothing happened");
}

#[tokio::test]
async fn people_are_found_page_by_page_and_what_they_are_called_is_text() {
    let scene = with_clerk().await;
    let clerk = scene.browser("clerk").await;
    let names = ["ann", "ben", "cat", "dan", "eli"];
    for name in names {
        scene
            .gateway
            .account(name, |new| new.first_name = format!("<img src=x onerror=a()>{name}\u{202e}"))
            .await;
    }
    let (mut path, mut seen) = (format!("{USERS}?page_size=3&ordering=email"), Vec::new());
    for _ in 0..10 {
        let page = clerk.get(&path).await;
        assert_eq!(page.status, 200, "{}", page.text());
        let text = page.text();
        seen.extend(all(r#"<a href="/portcullis/admin/users/\d+/">([a-z]+)@example\.com</a>"#, &text));
        assert!(!text.contains("<img") && !text.contains('\u{202e}') && !text.contains("<script"), "{text}");
        let next = all(r#"rel="next" href="([^"]+)""#, &text);
        let Some(next) = next.first() else { break };
        assert!(next.contains("ordering=email") && !next.contains("http"), "{next}");
        path = next.replace("&amp;", "&");
    }
    assert_eq!(seen, ["ann", "ben", "cat", "clerk", "dan", "eli", "eve", "root"]);
    let found = clerk.get(&format!("{USERS}?search=BEN&is_active=&role=&date_from=")).await.text();
    assert!(found.contains("ben@example.com") && !found.contains("ann@example.com"), "{found}");
    assert!(found.contains("name=\"search\" type=\"search\"") && found.contains("value=\"BEN\""), "{found}");
    let by_form = clerk.get(&format!("{USERS}?is_banned=true")).await.text();
    assert!(by_form.contains("There are none.") && by_form.contains("selected"), "{by_form}");
    for (query, said) in [
        ("is_active=maybe", "May log in: Must be a valid boolean."),
        ("ordering=password_hash", "Order: One of"),
        ("page_size=5000", "A number from 1 to 100."),
        ("after=AAAA", "Not where a page of this list ended."),
        ("date_from=yesterday", "Made since: "),
    ] {
        let refused = clerk.get(&format!("{USERS}?{query}")).await;
        assert!(refused.status == 400 && refused.text().contains(said), "{query}: {}", refused.text());
    }
    for query in ["%3Cscript%3Ealert(1)%3C/script%3E=1", "x=%3Cscript%3E&x=2", "search=%ff", "colour=zzz"] {
        let refused = clerk.get(&format!("{USERS}?{query}")).await;
        assert!(refused.status == 400 && !refused.text().contains("zzz"), "{query}: {}", refused.text());
        assert!(
            !refused.text().contains("<script") && !refused.text().contains("alert(1)"),
            "{}",
            refused.text()
        );
    }
    let search = clerk.get(&format!("{USERS}?search=%22%3E%3Cscript%3Ealert(1)")).await.text();
    assert!(!search.contains("<script"), "{search}");
    let said = clerk.get(&format!("{USERS}?said=removed")).await.text();
    assert!(said.contains("It was removed."), "{said}");
    let odd = clerk.get(&format!("{USERS}?said=%3Cscript%3E")).await;
    assert!(odd.status == 200 && !odd.text().contains("class=\"done\""), "{}", odd.text());
}

#[tokio::test]
async fn somebody_is_locked_banned_and_let_in_again_and_asked_before_what_lasts() {
    let scene = with_clerk().await;
    let clerk = scene.browser("clerk").await;
    let (eve, page) = (scene.eve.id, user_page(&scene.eve));
    assert_eq!(clerk.get(&page).await.status, 200);
    let wrong = clerk
        .post(&format!("{page}lock/"), &[("duration_minutes", "forever"), ("reason", "<b>why</b>")])
        .await;
    let text = wrong.text();
    assert!(wrong.status == 400 && text.contains("A valid integer is required."), "{text}");
    assert!(
        text.contains("value=\"forever\"") && text.contains("&lt;b&gt;why"),
        "what was typed stays: {text}"
    );
    let locked =
        clerk.post(&format!("{page}lock/"), &[("duration_minutes", "45"), ("reason", "a talk")]).await;
    assert_eq!(
        (locked.status, locked.header("location")),
        (303, Some(format!("{page}?said=locked").as_str()))
    );
    let app = &scene.gateway.running.app;
    let lock = scene.stands(eve).await.lock(app.now());
    assert!(lock.is_some(), "locked");
    let said = clerk.get(locked.header("location").unwrap()).await.text();
    assert!(said.contains("logged out everywhere") && said.contains("Unlock the account"), "{said}");
    let again = clerk.post(&format!("{page}lock/"), &[]).await;
    assert!(again.status >= 400 && again.text().contains("role=\"alert\""), "{}", again.text());
    assert_eq!(clerk.post(&format!("{page}unlock/"), &[]).await.status, 303);
    assert!(scene.stands(eve).await.lock(app.now()).is_none());

    for (step, said) in
        [("ban/", "Ban this person"), ("deactivate/", "Let them log in no more"), ("delete/", "for good")]
    {
        let before = scene.happened().await;
        for fields in [vec![("reason", "<i>\u{202e}")], vec![("sure", "no")], vec![("sure", "")]] {
            let asked = clerk.post(&format!("{page}{step}"), &fields).await;
            let text = asked.text();
            assert!(asked.status == 200 && text.contains(said) && text.contains("name=\"sure\""), "{text}");
            assert!(text.contains("eve@example.com") && !text.contains("<i>"), "{text}");
        }
        assert_eq!(scene.happened().await, before, "{step} waits for a yes");
    }
    let asked = clerk.post(&format!("{page}ban/"), &[("reason", "spam")]).await.text();
    assert!(asked.contains("type=\"hidden\" name=\"reason\" value=\"spam\""), "it goes along: {asked}");
    let banned = clerk.post(&format!("{page}ban/"), &[("reason", "spam"), ("sure", "yes")]).await;
    assert_eq!(banned.header("location"), Some(format!("{page}?said=banned").as_str()), "{}", banned.text());
    assert!(scene.stands(eve).await.is_banned);
    assert_eq!(clerk.post(&format!("{page}unban/"), &[]).await.status, 303);
    assert!(!scene.stands(eve).await.is_banned);

    let names = [("first_name", "Eve\u{0}"), ("last_name", "")];
    assert_eq!(clerk.post(&format!("{page}names/"), &names).await.status, 400);
    assert_eq!(
        clerk.post(&format!("{page}names/"), &[("first_name", "Eve"), ("last_name", "")]).await.status,
        303
    );
    assert_eq!(scene.stands(eve).await.first_name, "Eve");
    let gone = clerk.post(&format!("{page}delete/"), &[("sure", "yes")]).await;
    assert_eq!(gone.header("location"), Some(format!("{USERS}?said=removed").as_str()), "{}", gone.text());
    assert!(scene.stands(eve).await.deleted_at.is_some());
    assert_eq!(scene.rows_of("account_banned").await, 1);
    assert_eq!(clerk.post(&format!("{page}lock/"), &[]).await.status, 404, "who is gone");
    // Whoever holds more than who asks.
    let above = user_page(&scene.root);
    for (step, fields) in
        [("lock/", vec![]), ("ban/", vec![("sure", "yes")]), ("delete/", vec![("sure", "yes")])]
    {
        let refused = clerk.post(&format!("{above}{step}"), &fields).await;
        assert_eq!(refused.status, 403, "{}", refused.text());
    }
    assert!(!scene.stands(scene.root.id).await.is_banned);
}

#[tokio::test]
async fn an_account_is_made_and_what_was_typed_wrong_is_said_beside_its_name() {
    let scene = with_clerk().await;
    let clerk = scene.browser("clerk").await;
    let path = "/portcullis/admin/make/user/";
    let refused = clerk.post(path, &[("email", "not an address"), ("password", "Sekret-4-nobody")]).await;
    let text = refused.text();
    assert!(refused.status == 400 && text.contains("E-mail address: "), "{text}");
    assert!(
        text.contains("value=\"not an address\"") && !text.contains("Sekret"),
        "no password is shown: {text}"
    );
    let fields = [
        ("email", "zoe@example.com"),
        ("first_name", "Zoe"),
        ("password", PASSWORD),
        ("is_superuser", "true"),
    ];
    let made = clerk.post(path, &fields).await;
    let text = made.text();
    assert!(made.status == 200 && text.contains("zoe@example.com") && !text.contains(PASSWORD), "{text}");
    let page = all(r#"href="(/portcullis/admin/users/\d+/)""#, &text).remove(0);
    let shown = clerk.get(&page).await.text();
    assert!(
        shown.contains("Zoe") && !shown.contains("superuser"),
        "a field that no form has is none: {shown}"
    );
    let twice = clerk.post(path, &fields).await;
    assert!(twice.status == 400 && twice.text().contains("role=\"alert\""), "{}", twice.text());
}

#[tokio::test]
async fn nobody_gives_on_a_page_what_they_do_not_hold_and_what_was_given_is_shown() {
    let scene = Scene::new().await;
    let names = [role("auditor"), Granted::Group("board".parse().unwrap())];
    for held in [permission("users.view"), permission("security.view")].into_iter().chain(names) {
        scene.gateway.grant(scene.clerk.id, held).await;
    }
    let clerk = scene.browser("clerk").await;
    let page = user_page(&scene.eve);
    let shown = clerk.get(&page).await.text();
    assert!(
        shown.contains("<option value=\"auditor\"") && shown.contains("Where they are logged in"),
        "{shown}"
    );
    let give = format!("{page}roles/give/");
    let refused = clerk.post(&give, &[("role_code", "keeper")]).await;
    assert!(refused.status == 403 && refused.text().contains("role=\"alert\""), "{}", refused.text());
    assert_eq!(clerk.post(&give, &[("role_code", "no such role")]).await.status, 400);
    assert!(!scene.reaches(&scene.eve, "/audit").await);
    let given = clerk.post(&give, &[("role_code", "auditor")]).await;
    assert_eq!(given.header("location"), Some(format!("{page}?said=given").as_str()), "{}", given.text());
    assert!(scene.reaches(&scene.eve, "/audit").await, "from the next request on");
    let shown = clerk.get(&page).await.text();
    assert!(shown.contains("value=\"auditor\"") && !shown.contains("<option value=\"auditor\""), "{shown}");
    assert_eq!(clerk.post(&format!("{page}roles/take/"), &[("role_code", "auditor")]).await.status, 303);
    assert!(!scene.reaches(&scene.eve, "/audit").await);
    let permit = format!("{page}permissions/give/");
    assert_eq!(clerk.post(&permit, &[("permission_codes", "vault.open")]).await.status, 403);
    assert_eq!(clerk.post(&permit, &[("permission_codes", "content.view")]).await.status, 303);
    assert!(clerk.get(&page).await.text().contains("permissions/take/"));
    assert_eq!(
        clerk.post(&format!("{page}permissions/take/"), &[("permission_codes", "content.view")]).await.status,
        303
    );
    assert_eq!(clerk.post(&format!("{page}groups/join/"), &[("group_code", "board")]).await.status, 303);
    assert!(clerk.get(&page).await.text().contains("Take out of the group"));
    assert_eq!(clerk.post(&format!("{page}groups/leave/"), &[("group_code", "board")]).await.status, 303);

    let sessions = Regex::new(r#"name="session" value="([^"]+)""#).unwrap();
    let shown = clerk.get(&page).await.text();
    let session = sessions.captures(&shown).unwrap()[1].to_owned();
    let end = format!("{page}sessions/end/");
    assert_eq!(clerk.post(&end, &[]).await.status, 400, "which one");
    let above = clerk.get(&user_page(&scene.root)).await.text();
    let roots = sessions.captures(&above).unwrap()[1].to_owned();
    assert_eq!(clerk.post(&end, &[("session", &roots)]).await.status, 403, "of somebody who holds more");
    assert_eq!(clerk.post(&end, &[("session", &session)]).await.status, 303);
    assert_eq!(scene.call(&scene.eve, "GET", "/me/", Value::Null).await.status, 401, "logged out");
    assert!(clerk.get(&page).await.text().contains("Nowhere."));
}

#[tokio::test]
async fn people_of_another_site_have_no_page_and_nothing_happens_to_them() {
    let scene = with_clerk().await;
    let root = scene.browser("root").await;
    let elsewhere = Id::from_u128(0x0190_b8a2_7c1e_7f00_8000_0000_0000_0001);
    let stranger = scene.gateway.account("stranger", |new| new.site = elsewhere).await;
    let (before, was) = (scene.happened().await, format!("{:?}", scene.stands(stranger).await));
    let number = scene.stands(stranger).await.number.to_string();
    let absent = ["99999", "stranger@example.com", "-1"].map(str::to_owned);
    for id in [stranger.to_string(), number].into_iter().chain(absent) {
        let page = root.get(&format!("{USERS}{id}/")).await;
        let text = page.text();
        assert!(page.status == 404 && !text.contains("stranger"), "{id}: {text}");
        let fields =
            [("sure", "yes"), ("role_code", "viewer"), ("permission_codes", "users"), ("first_name", "x")];
        let steps = [
            "names",
            "lock",
            "unlock",
            "ban",
            "activate",
            "deactivate",
            "delete",
            "roles/give",
            "permissions/give",
        ];
        for step in steps {
            let path = format!("{USERS}{id}/{step}/");
            let refused = root.post_elsewhere(&path, &fields).await;
            assert_eq!(refused.status, 404, "{path}: {}", refused.text());
            let unsure = root.post_elsewhere(&path, &fields[1..]).await;
            // The form goes where it was asked for, so the address that was asked for stands in it.
            let told = unsure.text().replace("stranger%40example.com", "");
            assert!(unsure.status == 404 && !told.contains("stranger"), "{path}: {told}");
        }
    }
    assert!(!root.get(&format!("{USERS}?search=stranger")).await.text().contains("stranger@"));
    assert_eq!((scene.happened().await, format!("{:?}", scene.stands(stranger).await)), (before, was));
}

#[tokio::test]
async fn pages_of_administrators_are_stored_nowhere_and_run_nothing() {
    let scene = with_clerk().await;
    let root = scene.browser("root").await;
    let number = scene.stands(scene.eve.id).await.number.to_string();
    for row in rows("GET") {
        let path = row.path().replace("{id}", &number);
        let answer = root.get(&path).await;
        let policy = answer.header("content-security-policy").unwrap();
        for part in ["default-src 'none'", "style-src 'self'", "frame-ancestors 'none'", "form-action 'self'"]
        {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains("script-src"), "{path}: {policy}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"), "{path}");
        let text = answer.text();
        let is_clean = !text.contains("<script") && !text.contains("style=") && !text.contains("onclick");
        assert!(is_clean && !text.contains("javascript:"), "{path}: {text}");
        // Whoever hears a page hears of each field what it is, and no id stands there twice.
        let ids = all(r#" id="([^"]+)""#, &text);
        let mut once = ids.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), ids.len(), "{path}: {ids:?}");
        for label in all(r#"<label for="([^"]+)""#, &text) {
            assert!(ids.contains(&label), "{path}: {label}");
        }
    }
    let wide = root.ask("HEAD", USERS, &[], "").await;
    assert_eq!((wide.status, wide.text().len()), (200, 0));
}
