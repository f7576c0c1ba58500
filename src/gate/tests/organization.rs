//! Organizations: what is told of them, and which roles count where (contract section 25).

use super::*;

const ROUTES: &str = "
organizations: { roles: [ { code: buyer, permissions: [shop.buy] } ] }
routes:
  - { name: plain, match: { path: /plain }, upstream: app, allow: signed_in }
  - { name: open, match: { path: /open }, upstream: app, allow: anyone }
  - { name: member, match: { path: /member }, upstream: app, allow: { org: member } }
  - { name: role, match: { path: /role }, upstream: app, allow: { org: { role: buyer } } }
  - { name: admin, match: { path: /admin }, upstream: app, allow: { org: admin } }
  - { name: owner, match: { path: /owner }, upstream: app, allow: { org: owner } }
  - { name: buy, match: { path: /buy }, upstream: app, allow: { org: { permission: shop.buy } } }
  - { name: gold, match: { path: /gold }, upstream: app, allow: { org: { plan: gold, status: active } } }
  - { name: free, match: { path: /free }, upstream: app, allow: { org: { plan: free } } }
  - { name: closed, match: { path: /closed }, upstream: app, allow: { org: { status: closed } } }
";

/// What is no slug of anything that Ada belongs to, however near it looks.
const STRANGE: [&str; 15] = [
    "rival",
    "nothing",
    "not a slug",
    "..",
    "\u{e9}",
    "acme.",
    ".acme",
    "acme%2e",
    "acme%2E",
    "%61cme",
    "acme/",
    "acme,acme",
    "acme;rival",
    "acme?",
    "\u{ff41}cme",
];

async fn with_tree(yaml: &str) -> Setting {
    let setting = setting(yaml).await;
    setting.organization("acme", &[]);
    setting.organization("acme-eng", &["acme"]);
    setting.organization("acme-eng-web", &["acme-eng", "acme"]);
    setting.organization("rival", &[]);
    setting
}

async fn passes(setting: &Setting, token: &str, slug: &str) -> Vec<bool> {
    let paths = ["/member", "/role", "/admin", "/owner", "/buy"];
    let requests = paths.map(|path| request("GET", path).bearer(token).with("x-org-slug", slug));
    setting.outcomes(requests).await.iter().map(|outcome| outcome == "200").collect()
}

impl Setting {
    /// An organization under `parents`, nearest first.
    pub fn organization(&self, slug: &str, parents: &[&str]) {
        let above = parents.iter().map(|parent| id_of(parent)).collect();
        let organization = Organization {
            id: id_of(slug),
            number: Number(i64::try_from(slug.len()).unwrap()),
            site: DEFAULT_SITE,
            slug: Slug::parse(slug).unwrap(),
            name: slug.to_owned(),
            description: String::new(),
            parent: parents.first().map(|parent| id_of(parent)),
            depth: u32::try_from(parents.len()).unwrap(),
            is_active: true,
            created_at: NOON,
            plan: "gold".into(),
            status: "active".into(),
            max_members: 0,
        };
        let place = Arc::new(Place { organization, above });
        self.records.places.lock().unwrap().insert(slug.to_owned(), place);
    }
}

#[tokio::test]
async fn what_one_may_not_know_of_does_not_exist() {
    let setting = with_tree(ROUTES).await;
    let ada = setting.person("ada", |person| person.memberships = vec![membership("acme", "member")]);
    for path in ["/plain", "/member"] {
        let named = |slug| request("GET", path).bearer(&ada).with("x-org-slug", slug);
        for slug in STRANGE {
            let rejection = setting.rejection(&named(slug)).await;
            assert_eq!((rejection.status().as_u16(), rejection.code()), (404, "ORG_NOT_FOUND"), "{slug}");
        }
        let (a, b) = (setting.rejection(&named("rival")).await, setting.rejection(&named("nobody")).await);
        assert_eq!(a.body("r").to_string().replace("rival", "nobody"), b.body("r").to_string());
        assert_eq!(setting.outcome(&named("ACME")).await, "200", "slugs are case-blind");
    }
}

#[tokio::test]
async fn what_the_organization_pays_for_and_is_opens_routes() {
    let setting = with_tree(ROUTES).await;
    let ada = setting.person("ada", |person| person.memberships = vec![membership("acme", "member")]);
    let of_acme = |path| request("GET", path).bearer(&ada).with("x-org-slug", "acme");
    assert_eq!(setting.outcome(&of_acme("/gold")).await, "200");
    assert_eq!(setting.outcome(&of_acme("/free")).await, "403 ORG_PLAN_REQUIRED");
    assert_eq!(setting.outcome(&of_acme("/closed")).await, "403 ORG_STATUS_REQUIRED");
    let nowhere = request("GET", "/gold").bearer(&ada);
    assert_eq!(setting.outcome(&nowhere).await, "400 ORG_CONTEXT_REQUIRED");
    let elsewhere = request("GET", "/gold").bearer(&ada).with("x-org-slug", "rival");
    assert_eq!(setting.outcome(&elsewhere).await, "404 ORG_NOT_FOUND");
}

#[tokio::test]
async fn a_wish_without_a_caller_is_not_looked_at() {
    let setting = with_tree(ROUTES).await;
    for path in ["/open", "/plain", "/member"] {
        let outcomes = setting
            .outcomes(["acme", "nothing"].map(|slug| request("GET", path).with("x-org-slug", slug)))
            .await;
        assert_eq!(outcomes[0], outcomes[1], "{path}");
    }
    assert_eq!(
        setting.outcome(&request("GET", "/member").with("x-org-slug", "acme")).await,
        "401 AUTH_REQUIRED"
    );
}

#[tokio::test]
async fn a_policy_about_an_organization_needs_one_named() {
    let setting = with_tree(ROUTES).await;
    let ada = setting.person("ada", |person| person.memberships = vec![membership("acme", "owner")]);
    assert_eq!(setting.outcome(&request("GET", "/owner").bearer(&ada)).await, "400 ORG_CONTEXT_REQUIRED");
    assert_eq!(setting.outcome(&request("GET", "/plain").bearer(&ada)).await, "200");
}

#[tokio::test]
async fn roles_look_up_the_tree_and_membership_and_ownership_do_not() {
    let setting = with_tree(ROUTES).await;
    let at_top = |role: &str| {
        let role = role.to_owned();
        setting.person(&role.clone(), move |person| person.memberships = vec![membership("acme", &role)])
    };
    let (owner, admin, buyer, member) = (at_top("owner"), at_top("admin"), at_top("buyer"), at_top("member"));
    // member, role, admin, owner, buy
    assert_eq!(passes(&setting, &owner, "acme").await, [true, false, true, true, false]);
    assert_eq!(passes(&setting, &owner, "acme-eng-web").await, [false, false, false, false, false]);
    assert_eq!(passes(&setting, &admin, "acme").await, [true, false, true, false, false]);
    assert_eq!(passes(&setting, &admin, "acme-eng-web").await, [false, false, true, false, false]);
    assert_eq!(passes(&setting, &buyer, "acme-eng").await, [false, true, false, false, true]);
    assert_eq!(passes(&setting, &member, "acme-eng").await, [false, false, false, false, false]);
    let low = setting.person("low", |person| person.memberships = vec![membership("acme-eng", "owner")]);
    assert_eq!(
        setting.outcome(&request("GET", "/plain").bearer(&low).with("x-org-slug", "acme")).await,
        "404 ORG_NOT_FOUND"
    );
    assert_eq!(passes(&setting, &low, "acme-eng").await, [true, false, true, true, false]);
}

#[tokio::test]
async fn without_inheritance_what_lies_above_counts_for_nothing() {
    let yaml = ROUTES.replace("organizations: {", "organizations: { inherit_roles: false,");
    let setting = with_tree(&yaml).await;
    let buyer = setting.person("buyer", |person| person.memberships = vec![membership("acme", "buyer")]);
    assert_eq!(passes(&setting, &buyer, "acme").await, [true, true, false, false, true]);
    let below = request("GET", "/plain").bearer(&buyer).with("x-org-slug", "acme-eng");
    assert_eq!(setting.outcome(&below).await, "404 ORG_NOT_FOUND");
}

#[tokio::test]
async fn a_global_permission_is_none_in_an_organization_and_the_other_way_round() {
    let yaml = format!(
        "{ROUTES}  - {{ name: both, match: {{ path: /both }}, upstream: app, allow: {{ permission: pay }} }}\n"
    );
    let setting = with_tree(&yaml).await;
    let ada = setting.person("ada", |person| {
        person.memberships = vec![membership("acme", "buyer")];
        person.assignments.roles = vec![code("chief")];
    });
    let both = request("GET", "/both").bearer(&ada).with("x-org-slug", "acme");
    assert_eq!(setting.outcome(&both).await, "403 PERMISSION_REQUIRED");
}

#[tokio::test]
async fn a_store_that_is_silent_about_the_organization_decides_nothing() {
    let setting = with_tree(ROUTES).await;
    let ada = setting.person("ada", |person| person.memberships = vec![membership("acme", "owner")]);
    assert_eq!(setting.outcome(&request("GET", "/plain").bearer(&ada)).await, "200");
    setting.records.is_silent.store(true, Ordering::SeqCst);
    let named = request("GET", "/plain").bearer(&ada).with("x-org-slug", "acme");
    assert_eq!(setting.outcome(&named).await, "503 SERVICE_UNAVAILABLE");
}

#[tokio::test]
async fn where_organizations_are_off_nobody_names_one() {
    let yaml = "organizations: { enabled: false }
routes: [ { name: plain, match: { path: /plain }, upstream: app, allow: signed_in } ]";
    let setting = with_tree(yaml).await;
    let ada = setting.person("ada", |person| person.memberships = vec![membership("acme", "owner")]);
    let stamps = setting.stamps(&request("GET", "/plain").bearer(&ada).with("x-org-slug", "acme")).await;
    assert!(!stamps.contains_key("x-org-slug"));
}
