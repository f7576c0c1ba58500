//! API keys: how far they reach, and what is remembered of them.

use super::*;
use crate::crypto::digest::sha256_hex;

const ROUTES: &str = "
routes:
  - { name: mine, match: { path: /mine }, upstream: app, allow: signed_in }
  - { name: reports, match: { path: /reports }, upstream: app, allow: { permission: reports.read } }
  - { name: pay, match: { path: /pay }, upstream: app, allow: { permission: pay } }
  - { name: any, match: { path: /any }, upstream: app, allow: { any: [ { permission: reports }, superuser: true ] } }
  - { name: not-pay, match: { path: /not-pay }, upstream: app, allow: { not: { permission: pay } } }
  - { name: not-chief, match: { path: /not-chief }, upstream: app, allow: { not: { role: chief } } }
  - { name: not-finance, match: { path: /not-finance }, upstream: app, allow: { not: { group: finance } } }
  - { name: lead, match: { path: /lead }, upstream: app, allow: { org: { permission: reports.read } } }
";
const KEY: &str = "portcullis_0123456789012345678901234567890123456789012";

impl Known {
    pub(super) fn key_of(&self, digest: &str) -> Option<(Id, Id)> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let (id, person) = self.api_keys.lock().unwrap().get(digest).cloned()?;
        Some((id, person?.account.id))
    }

    pub(super) fn person_behind(&self, key: Id) -> Option<Person> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let keys = self.api_keys.lock().unwrap();
        keys.values().find(|(id, _)| *id == key).and_then(|(_, person)| person.clone())
    }
}

impl Setting {
    /// A key of Ada's with these scopes; its id.
    fn key(&self, scopes: &[&str], change: impl FnOnce(&mut Person)) -> Id {
        let id = Id::from_u128(0xdead_beef);
        let mut person = person_of("ada", account_of("ada"), id);
        person.session.method = "api_key";
        person.scopes = Some(scopes.iter().map(|text| code(text)).collect());
        change(&mut person);
        let mut keys = self.records.api_keys.lock().unwrap();
        keys.insert(sha256_hex(KEY.as_bytes()), (id, Some(person)));
        id
    }
}

fn by_key(path: &str) -> Request {
    request("GET", path).with("x-api-key", KEY)
}

#[tokio::test]
async fn a_warm_key_costs_no_reading_and_what_ends_it_binds_the_next_request() {
    let setting = setting(ROUTES).await;
    let id = setting.key(&[], |_| {});
    for _ in 0..5 {
        assert_eq!(setting.outcome(&by_key("/mine")).await, "200");
    }
    assert_eq!(setting.reads(), 2, "whose it is, and who that is");
    for subject in [Subject::ApiKey(id), Subject::Account(account_of("ada"))] {
        let digest = sha256_hex(KEY.as_bytes());
        let known = setting.records.api_keys.lock().unwrap().insert(digest.clone(), (id, None));
        setting.raise(subject);
        for _ in 0..3 {
            let refused = setting.rejection(&by_key("/mine")).await;
            assert_eq!((refused.status().as_u16(), refused.code()), (401, "TOKEN_INVALID"));
            assert!(refused.remedy().contains("another one"), "{}", refused.remedy());
        }
        setting.records.api_keys.lock().unwrap().insert(digest, known.unwrap());
        setting.raise(subject);
        assert_eq!(setting.outcome(&by_key("/mine")).await, "200");
    }
    setting.records.is_silent.store(true, Ordering::SeqCst);
    assert_eq!(setting.outcome(&by_key("/mine")).await, "200", "nothing has to be asked");
    setting.raise(Subject::ApiKey(id));
    assert_eq!(setting.outcome(&by_key("/mine")).await, "503 SERVICE_UNAVAILABLE", "and never guessed");
}

#[tokio::test]
async fn both_the_human_and_the_key_must_reach_it() {
    let setting = setting(ROUTES).await;
    let all = ["/reports", "/pay", "/any", "/not-pay", "/not-chief", "/not-finance"];
    let outcomes = async |scopes: &[&str], change: fn(&mut Person)| {
        let id = setting.key(scopes, change);
        setting.raise(Subject::ApiKey(id));
        let mut passes = Vec::new();
        for path in all {
            if setting.outcome(&by_key(path)).await == "200" {
                passes.push(path);
            }
        }
        passes
    };
    let finance: fn(&mut Person) = |person| person.assignments.groups = vec![code("finance")];
    assert_eq!(outcomes(&["reports.read"], finance).await, ["/reports", "/not-chief"]);
    assert_eq!(
        outcomes(&["pay"], finance).await,
        ["/pay", "/not-chief"],
        "nothing opens by what is left out"
    );
    assert_eq!(outcomes(&[], finance).await, ["/not-chief"]);
    let nothing: fn(&mut Person) = |_| {};
    assert_eq!(outcomes(&["pay", "reports"], nothing).await, ["/not-pay", "/not-chief", "/not-finance"]);
    let root: fn(&mut Person) = |person| {
        (person.account.is_superuser, person.assignments.is_superuser) = (true, true);
    };
    assert_eq!(outcomes(&["reports"], root).await, [""; 0], "who must have a second factor, and has none");
    let root: fn(&mut Person) = |person| {
        (person.account.is_superuser, person.assignments.is_superuser) = (true, true);
        person.account.has_second_factor = true;
    };
    assert_eq!(outcomes(&["reports"], root).await, ["/reports", "/any", "/not-chief", "/not-finance"]);
    let chief: fn(&mut Person) = |person| person.assignments.roles = vec![code("chief")];
    assert_eq!(outcomes(&["reports.read"], chief).await, ["/reports", "/not-pay", "/not-finance"]);
}

#[tokio::test]
async fn a_changed_definition_binds_keys_too() {
    let setting = setting(ROUTES).await;
    setting.key(&["reports"], |person| person.assignments.roles = vec![code("analyst")]);
    assert_eq!(setting.outcome(&by_key("/reports")).await, "200");
    let stamps = setting.stamps(&by_key("/reports")).await;
    let told = |name: &str| stamps.get(name).map(String::as_str);
    assert_eq!((told("x-user-permissions"), told("x-user-roles")), (Some("reports.read"), Some("")));
    let reads = setting.reads();
    let mut definitions = setting.app.catalogue().definitions().clone();
    definitions.roles.get_mut(&code("analyst")).unwrap().permissions.clear();
    setting.app.in_force.turn().await.put_in_force(definitions, None);
    assert_eq!(setting.outcome(&by_key("/reports")).await, "403 PERMISSION_REQUIRED");
    assert_eq!(setting.reads(), reads);
}

#[tokio::test]
async fn garbage_slows_down_whoever_sends_it() {
    let setting = setting(ROUTES).await;
    setting.key(&[], |_| {});
    for _ in 0..=failure::BURST {
        let garbage = request("GET", "/mine").with("x-api-key", "portcullis_x");
        assert_eq!(setting.outcome(&garbage).await, "401 TOKEN_INVALID");
    }
    assert_eq!(setting.outcome(&by_key("/mine")).await, "429 RATE_LIMITED");
    assert_eq!(setting.reads(), 0);
}

#[tokio::test]
async fn a_key_beside_another_credential_is_refused() {
    let setting = setting(ROUTES).await;
    setting.key(&[], |_| {});
    let ada = setting.person("ada", |_| {});
    assert_eq!(setting.outcome(&by_key("/mine").bearer(&ada)).await, "400 BAD_REQUEST");
    assert_eq!(setting.outcome(&request("GET", "/mine").bearer(&ada)).await, "200");
}
