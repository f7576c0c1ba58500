//! Organizations that come with accounts, where the configuration says so (contract section 13).
//! Law: who has the account has the organization, and a name that is taken makes neither.

use portcullis::account::{self, Reference};
use portcullis::audit::How;
use portcullis::base::Email;
use portcullis::config;
use portcullis::organization;
use portcullis::privacy;
use portcullis::store::{DEFAULT_SITE, Source as _, sql};
use serde_json::{Value, json};

use crate::codes::Post;
use crate::support::people::PASSWORD;

const YAML: &str = "accounts: { registration: { workspace: true } }\n";

async fn all(post: &Post) -> Vec<(String, String)> {
    let found = organization::list(&post.gateway.running.app.db, DEFAULT_SITE).await.unwrap();
    found.into_iter().map(|one| (one.slug.to_string(), one.name)).collect()
}

#[tokio::test]
async fn who_registers_gets_an_organization_in_the_same_change_and_who_is_there_already_none() {
    let post = Post::start(YAML).await;
    let body = |email: &str, name: &str| json!({"email": email, "password": PASSWORD, "first_name": name});
    let made = post.call(None, "/register/", body("ada@example.com", "Ada")).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let reference = Reference::Email(Email::parse("ada@example.com").unwrap());
    let db = &post.gateway.running.app.db;
    let ada = account::find(db, DEFAULT_SITE, &reference).await.unwrap().unwrap();
    let slug = format!("workspace-{}", ada.id);
    assert_eq!(all(&post).await, [(slug.clone(), "Ada's Workspace".to_owned())]);
    let held = organization::memberships(db, ada.id).await.unwrap();
    assert_eq!((held.len(), held[0].role.as_str()), (1, "owner"));
    let again = post.call(None, "/register/", body("ada@example.com", "Eve")).await;
    assert_eq!((again.status, all(&post).await.len()), (201, 1));
    let trail = post.codes_of_the_trail().await;
    for code in ["account_created", "organization_created", "member_added"] {
        assert_eq!(trail.iter().filter(|found| *found == code).count(), 1, "{code} in {trail:?}");
    }
    // Nothing of all that is left where a part of it cannot be: here a store that takes no more members.
    let closed = "CREATE TRIGGER full BEFORE INSERT ON membership BEGIN SELECT RAISE(ABORT, 'a fault that a test made'); END";
    let write = async |stmt| {
        let mut tx = db.begin().await.unwrap();
        tx.execute(sql(stmt)).await.unwrap();
        tx.commit().await.unwrap();
    };
    write(closed).await;
    let eve = post.call(None, "/register/", body("eve@example.com", "Eve")).await;
    assert!(eve.status >= 500, "{}", eve.text());
    let reference = Reference::Email(Email::parse("eve@example.com").unwrap());
    assert!(account::find(db, DEFAULT_SITE, &reference).await.unwrap().is_none(), "no account came");
    assert_eq!(all(&post).await.len(), 1);
    write("DROP TRIGGER full").await;

    // Somebody has no name: nothing of their address goes where others may read it.
    let bare = json!({"email": "bob@example.com", "password": PASSWORD});
    assert_eq!(post.call(None, "/register/", bare).await.status, 201);
    let names: Vec<String> = all(&post).await.into_iter().map(|(_, name)| name).collect();
    assert!(names.contains(&"My Workspace".to_owned()), "{names:?}");

    // What is called after somebody is called after nobody once they are gone.
    let called = async || {
        let count = sql("SELECT COUNT(*) FROM organization WHERE name LIKE '%Ada%'");
        let (count,): (i64,) = (&post.gateway.running.app.db).one(count).await.unwrap();
        count
    };
    assert_eq!(called().await, 1);
    let gone = post
        .gateway
        .change(async |change| privacy::erase_now(change, &ada, How::Administrator).await.is_ok());
    assert!(gone.await);
    assert_eq!(called().await, 0);
}

#[tokio::test]
async fn nobody_gets_one_where_the_configuration_does_not_say_so() {
    let post = Post::start("").await;
    let body = json!({"email": "ada@example.com", "password": PASSWORD});
    assert_eq!(post.call(None, "/register/", body).await.status, 201);
    assert_eq!(all(&post).await, []);
}

#[tokio::test]
async fn a_token_names_the_organization_that_came_with_its_account() {
    let more = "accounts: { registration: { workspace: true, log_in_at_once: true } }\n\
                tokens: { claims: { include: [account_id] } }\n";
    let post = Post::start(more).await;
    let body = json!({"email": "ada@example.com", "password": PASSWORD, "login": true});
    let made = post.call(None, "/register/", body).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let access = made.json()["access_token"].as_str().expect("a token").to_owned();
    let payload = portcullis::crypto::digest::unbase64url(access.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&payload).unwrap();
    let own = organization::list(&post.gateway.running.app.db, DEFAULT_SITE).await.unwrap();
    assert_eq!(claims["account_id"], json!(own[0].id));
}

#[test]
fn organizations_that_are_switched_off_come_with_nobody() {
    let yaml = format!("preset: development\norganizations: {{ enabled: false }}\n{YAML}");
    let Err(refused) = config::load_text(&yaml) else { panic!("a problem") };
    let refused = refused.to_string();
    assert!(refused.contains("accounts.registration.workspace"), "{refused}");
}

#[tokio::test]
async fn mail_and_text_messages_say_what_the_configuration_says() {
    let templates = "templates:\n  account.code.contact: { subject: 'Code von {host}', mail: \"Hier {code} bis {until}. {unknown word}\", message: 'SMS {code}' }\n  \
                     account.registration_repeated: { mail: \"{text}-- Acme\" }\n  \
                     organization.invitation: { subject: 'Einladung von {host}', mail: \"Komm! {text}\" }\n";
    let post = Post::start(templates).await;
    let body = json!({"email": "ada@example.com", "phone_country_code": "33", "phone_number": "612345678", "password": PASSWORD});
    assert_eq!(post.call(None, "/register/", body.clone()).await.status, 201);
    let letter = post.letter(1).await;
    let text = crate::codes::text_of(&letter);
    let code = crate::codes::code_in(&text);
    assert!(text.starts_with(&format!("Hier {code} bis 20")) && text.contains("{unknown word}"), "{text}");
    assert!(letter.text.contains("Subject: Code von "), "{}", letter.text);
    let (_, message) = post.message(1).await;
    assert_eq!(message, format!("SMS {}", crate::codes::code_in(&message)));
    let ada = post.gateway.log_in("ada", portcullis::base::Id::from_u128(0), &post.keys).await;
    assert_eq!(post.call(Some(&ada), "/otp/verify/email/", json!({"code": code})).await.status, 200);
    assert_eq!(post.call(None, "/register/", body).await.status, 201);
    let told = crate::codes::text_of(&post.letter(2).await);
    assert!(told.contains("Somebody tried to register") && told.trim_end().ends_with("-- Acme"), "{told}");

    // An invitation goes to an address that is nobody's account yet.
    let reference = Reference::Email(Email::parse("ada@example.com").unwrap());
    let own = account::find(&post.gateway.running.app.db, DEFAULT_SITE, &reference).await.unwrap().unwrap();
    post.gateway.organization("acme", own.id, None).await;
    let body = json!({"email": "new@example.com", "role_code": "member"});
    let lines = [vec![ada.bearer(), "X-Org-Slug: acme".to_owned()], post.keys.lines().to_vec()].concat();
    let invited = post.gateway.call("POST", "/organizations/invitations/", &lines, &body).await;
    assert_eq!(invited.status, 201, "{}", invited.text());
    let letter = post.letter(3).await;
    let told = crate::codes::text_of(&letter);
    let token = invited.json()["token"].as_str().unwrap().to_owned();
    assert!(told.starts_with("Komm! ada@example.com invites you") && told.contains(&token), "{told}");
    assert!(letter.text.contains("Subject: Einladung von "), "{}", letter.text);
    let kept = post.call(Some(&ada), "/export-user-data/", json!({"password": PASSWORD})).await;
    assert_eq!(kept.json()["invitations_sent"][0]["email"], "new@example.com", "{}", kept.text());
    assert!(!kept.text().contains(&token));
}
