//! The pages of every way in beside the password: a link, a code, a forgotten password, registering.
//! Law: each is there only where the configuration opens it, and says the same about known and unknown.

use std::time::Duration;

use portcullis::account::{self, Reference};
use portcullis::base::{Email, Phone};
use portcullis::factor::Seed;
use portcullis::store::DEFAULT_SITE;
use serde_json::json;

use crate::codes::{Post, code_in, text_of};
use crate::support::Gateway;
use crate::support::forms::{Browser, LIST, LOGIN, cookie_of, form};
use crate::support::people::{PASSWORD, TRUSTING, elsewhere};
use crate::support::raw::Answer;

const LINK: &str = "/portcullis/login/link/";
const CODE: &str = "/portcullis/login/code/";
const SEND: &str = "/portcullis/login/code/send/";
const RESET: &str = "/portcullis/reset/";
const ASK: &str = "/portcullis/reset/send/";
const REGISTER: &str = "/portcullis/register/";
const OTHER: &str = "Another-horse-7-staple";
const OPEN: &str = "public_url: 'http://gw.test'
insecure: [http_cookies, unencrypted_notices]
login: { otp: { log_in: true }, reset: { link: 'http://gw.test/portcullis/reset/' },
  magic_link: { targets: ['http://gw.test/api/v1/auth/magic-link/verify/'] } }
accounts: { registration: { open: true } }
";

/// A page of ours at `public_url` sends this, from an address that nobody sent anything from yet.
async fn send(gateway: &Gateway, path: &str, fields: &[(&str, &str)]) -> Answer {
    let lines = ["Origin: http://gw.test".to_owned(), elsewhere()];
    Browser::new(gateway).ask("POST", path, &lines, &form(fields)).await
}

/// What an answer says, with what was asked about taken out.
fn face(answer: &Answer, own: &str) -> (u16, String, Vec<String>) {
    let names = ["content-type", "cache-control", "set-cookie", "content-security-policy"];
    let headers = names.iter().map(|name| format!("{name}: {:?}", answer.header(name))).collect();
    (answer.status, answer.text().replace(own, "X"), headers)
}

async fn foreign_is_refused(gateway: &Gateway, path: &str) {
    let evil = ["Origin: https://evil.test".to_owned(), elsewhere()];
    let refused = Browser::new(gateway).ask("POST", path, &evil, "email=a%40b.de").await;
    assert_eq!(refused.status, 403, "{path}: {}", refused.text());
}

#[tokio::test]
async fn what_is_not_open_has_no_page_and_no_way_to_it() {
    let yaml = format!("{TRUSTING}mail: null\nsms: null\naccounts: {{ registration: {{ open: false }} }}\n");
    let gateway = Gateway::start(&yaml).await;
    let browser = Browser::new(&gateway);
    let page = browser.get(LOGIN).await.text();
    for path in [LINK, CODE, RESET, REGISTER] {
        assert!(!page.contains(path), "{path} in {page}");
        let shut = browser.get(path).await;
        assert_eq!(shut.status, 404, "{path}");
        assert!(shut.text().contains("not switched this on") && shut.text().contains(LOGIN), "{path}");
    }
    for path in [LINK, CODE, SEND, ASK, REGISTER] {
        let fields =
            [("email", "ada@example.com"), ("phone_country_code", "33"), ("phone_number", "612345678")];
        let answer = browser
            .ask("POST", path, &[format!("Origin: {}", browser.origin()), elsewhere()], &form(&fields))
            .await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_link_is_asked_for_on_the_login_page_and_logs_in_by_its_button() {
    let post = Post::start(OPEN).await;
    post.gateway.account("ada", |_| {}).await;
    let browser = Browser::new(&post.gateway);
    assert!(browser.get(LOGIN).await.text().contains(LINK));
    assert_eq!(browser.get(LINK).await.status, 200);
    foreign_is_refused(&post.gateway, LINK).await;
    let known = send(&post.gateway, LINK, &[("email", "ada@example.com")]).await;
    let unknown = send(&post.gateway, LINK, &[("email", "nobody@example.com")]).await;
    assert_eq!(known.status, 200, "{}", known.text());
    assert_eq!(face(&known, "ada@example.com"), face(&unknown, "nobody@example.com"));
    let odd = send(&post.gateway, LINK, &[("email", "<script>x</script>")]).await;
    assert!(odd.status == 400 && !odd.text().contains("<script"), "{}", odd.text());
    let text = text_of(&post.letter(1).await);
    let (_, rest) = text.split_once("/api/v1/auth/magic-link/verify/?token=").expect("a link to our button");
    let token = rest.split_whitespace().next().unwrap();
    let entered = send(&post.gateway, "/portcullis/link/", &[("token", token)]).await;
    assert_eq!((entered.status, entered.header("location")), (303, Some(LIST)), "{}", entered.text());
    assert_eq!(post.mail.taken().len(), 1, "none to nobody");
}

#[tokio::test]
async fn a_code_by_text_message_logs_in_on_a_page_with_the_second_factor_beside_it() {
    let post = Post::start(OPEN).await;
    let id = post.gateway.account("ada", |new| new.phone = Some(Phone::parse("+33612345678").unwrap())).await;
    let browser = Browser::new(&post.gateway);
    let page = browser.get(&format!("{LOGIN}?next=/portcullis/account/")).await.text();
    assert!(page.contains("/portcullis/login/code/?next=%2Fportcullis%2Faccount%2F"), "{page}");
    let page = browser.get(&format!("{CODE}?next=//evil.test")).await.text();
    assert!(page.contains(&format!("name=\"next\" value=\"{LIST}\"")), "{page}");
    foreign_is_refused(&post.gateway, SEND).await;
    foreign_is_refused(&post.gateway, CODE).await;
    let number = |number: &'static str| [("phone_country_code", "33"), ("phone_number", number)];
    let known = send(&post.gateway, SEND, &number("612345678")).await;
    let unknown = send(&post.gateway, SEND, &number("698765432")).await;
    assert_eq!(known.status, 200, "{}", known.text());
    assert_eq!(face(&known, "612345678"), face(&unknown, "698765432"));
    let odd = send(&post.gateway, SEND, &[("phone_country_code", "<b>"), ("phone_number", "\"><b>")]).await;
    assert!(odd.status == 400 && !odd.text().contains("<b>"), "{}", odd.text());
    let code = code_in(&post.message(1).await.1);

    let user = post.gateway.log_in("ada", id, &post.keys).await;
    let begun = post.call(Some(&user), "/2fa/setup/", json!({})).await.json();
    let seed = Seed::parse(begun["secret"].as_str().unwrap()).unwrap();
    let now = || seed.code_at(post.gateway.running.app.now()).expose().clone();
    let on = post.call(Some(&user), "/2fa/confirm/", json!({"code": now()})).await;
    assert_eq!(on.status, 200, "{}", on.text());
    post.clock.advance(Duration::from_secs(30));
    let enter = async |more: &[(&str, &str)]| {
        let fields = [&number("612345678")[..], &[("next", "/portcullis/account/")], more].concat();
        send(&post.gateway, CODE, &fields).await
    };
    for wrong in ["", "abc", "000000"] {
        let refused = enter(&[("otp_code", wrong)]).await;
        assert!(refused.status == 401 && refused.text().contains("The code is wrong"), "{}", refused.text());
    }
    let asked = enter(&[("otp_code", &code)]).await;
    assert!(asked.status == 401 && asked.text().contains("name=\"code\""), "{}", asked.text());
    let entered = enter(&[("otp_code", &code), ("code", &now())]).await;
    assert_eq!(entered.header("location"), Some("/portcullis/account/"), "{}", entered.text());
    assert_eq!(enter(&[("otp_code", &code), ("code", &now())]).await.status, 401, "once");
}

#[tokio::test]
async fn who_forgot_a_password_chooses_another_one_by_code_or_by_link() {
    let post = Post::start(OPEN).await;
    post.gateway.account("ada", |_| {}).await;
    let mut ada = Browser::new(&post.gateway);
    let inside = send(&post.gateway, LOGIN, &[("email", "ada@example.com"), ("password", PASSWORD)]).await;
    ada.cookie = Some(cookie_of(&inside));
    assert!(ada.get(LOGIN).await.text().contains(RESET));
    foreign_is_refused(&post.gateway, ASK).await;
    foreign_is_refused(&post.gateway, RESET).await;
    let known = send(&post.gateway, ASK, &[("email", "ada@example.com")]).await;
    let unknown = send(&post.gateway, ASK, &[("email", "nobody@example.com")]).await;
    assert_eq!(known.status, 200, "{}", known.text());
    assert_eq!(face(&known, "ada@example.com"), face(&unknown, "nobody@example.com"));
    let text = text_of(&post.letter(1).await);
    let code = code_in(&text);
    let confirm = async |email: &str, code: &str, new: &str, again: &str| {
        let fields = [("email", email), ("otp_code", code), ("new_password", new), ("again", again)];
        send(&post.gateway, RESET, &fields).await
    };
    for (email, code, new, again, said) in [
        ("ada@example.com", "000000", OTHER, OTHER, "The code or link is wrong"),
        ("nobody@example.com", "000000", OTHER, OTHER, "The code or link is wrong"),
        ("ada@example.com", code.as_str(), "short", "short", "New password: "),
        ("ada@example.com", code.as_str(), OTHER, PASSWORD, "two different passwords"),
        ("ada@example.com", code.as_str(), PASSWORD, PASSWORD, "used before"),
    ] {
        let refused = confirm(email, code, new, again).await;
        let text = refused.text();
        assert!(refused.status == 400 && text.contains(said), "{said}: {text}");
        assert!(!text.contains(OTHER) && !text.contains(PASSWORD), "{text}");
    }
    let (a, b) = (
        confirm("ada@example.com", "000001", OTHER, OTHER).await,
        confirm("nobody@example.com", "000001", OTHER, OTHER).await,
    );
    assert_eq!(face(&a, "ada@example.com"), face(&b, "nobody@example.com"));
    let done = confirm("ada@example.com", &code, OTHER, OTHER).await;
    assert_eq!(done.header("location"), Some("/portcullis/login/?password-changed"), "{}", done.text());
    assert_eq!(ada.get(LIST).await.status, 303, "every session ends");

    post.clock.advance(Duration::from_secs(61));
    send(&post.gateway, ASK, &[("email", "ada@example.com")]).await;
    // The mail with what was asked for comes after the one that tells of the change.
    let text = text_of(&post.letter(3).await);
    let (_, rest) = text.split_once("http://gw.test/portcullis/reset/?token=").expect("a link");
    let token: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect();
    let page = ada.get(&format!("{RESET}?token={token}")).await;
    assert!(page.status == 200 && page.text().contains(&format!("name=\"token\" value=\"{token}\"")));
    assert_eq!(page.header("referrer-policy"), Some("strict-origin"));
    let odd = ada.get(&format!("{RESET}?token=%3Cscript%3E")).await;
    assert!(odd.status == 400 && !odd.text().contains("<script"), "{}", odd.text());
    let new = "Third-donkey-5-paperclip";
    let fields = [("token", token.as_str()), ("new_password", new), ("again", new)];
    let done = send(&post.gateway, RESET, &fields).await;
    assert_eq!(done.status, 303, "looking used nothing up: {}", done.text());
    let again = send(&post.gateway, RESET, &fields).await;
    assert!(again.status == 400 && again.text().contains("The code or link is wrong"), "{}", again.text());
    let entered = send(&post.gateway, LOGIN, &[("email", "ada@example.com"), ("password", new)]).await;
    assert_eq!(entered.status, 303);
}

#[tokio::test]
async fn who_registers_reads_the_same_whether_or_not_the_address_was_free_and_confirms_it_on_their_profile() {
    let post = Post::start(OPEN).await;
    post.gateway.account("eve", |_| {}).await;
    let browser = Browser::new(&post.gateway);
    assert!(browser.get(LOGIN).await.text().contains(REGISTER));
    foreign_is_refused(&post.gateway, REGISTER).await;
    let register = async |email: &str, password: &str, again: &str| {
        let fields =
            [("email", email), ("first_name", "<b>Ada"), ("new_password", password), ("again", again)];
        send(&post.gateway, REGISTER, &fields).await
    };
    for (email, password, again, said) in [
        ("no address", PASSWORD, PASSWORD, "E-mail address: "),
        ("new@example.com", "short", "short", "Password: "),
        ("new@example.com", PASSWORD, OTHER, "two different passwords"),
        ("", PASSWORD, PASSWORD, "Email or phone number is required"),
    ] {
        let refused = register(email, password, again).await;
        let text = refused.text();
        assert!(refused.status == 400 && text.contains(said), "{text}");
        assert!(!text.contains(PASSWORD) && !text.contains("<b>"), "{text}");
    }
    let (new, taken) = (
        register("ada@example.com", PASSWORD, PASSWORD).await,
        register("eve@example.com", PASSWORD, PASSWORD).await,
    );
    assert_eq!(new.status, 200, "{}", new.text());
    assert_eq!(face(&new, "ada@example.com"), face(&taken, "eve@example.com"));
    assert_eq!(new.all("set-cookie").count(), 0, "nobody is logged in");
    let reference = Reference::Email(Email::parse("ada@example.com").unwrap());
    let found = async || {
        account::find(&post.gateway.running.app.db, DEFAULT_SITE, &reference).await.unwrap().unwrap()
    };
    assert!(!found().await.is_email_verified);
    let mut code = None;
    for number in 1..=2 {
        let letter = post.letter(number).await;
        code = code.or_else(|| (letter.to == ["ada@example.com"]).then(|| code_in(&text_of(&letter))));
    }
    let entered = send(&post.gateway, LOGIN, &[("email", "ada@example.com"), ("password", PASSWORD)]).await;
    let mut ada = Browser::new(&post.gateway);
    ada.cookie = Some(cookie_of(&entered));
    let secret = ada.secret("/portcullis/account/profile/").await;
    let fields = [("code", code.as_deref().unwrap()), ("csrf", secret.as_str())];
    let lines = ["Origin: http://gw.test".to_owned(), elsewhere()];
    let done = ada.ask("POST", "/portcullis/account/contact/email/confirm/", &lines, &form(&fields)).await;
    assert_eq!(done.header("location"), Some("/portcullis/account/profile/?confirmed"), "{}", done.text());
    assert!(found().await.is_email_verified);
}

#[tokio::test]
async fn a_phone_number_and_the_password_log_in_too() {
    let post = Post::start(OPEN).await;
    post.gateway.account("ada", |new| new.phone = Some(Phone::parse("+33612345678").unwrap())).await;
    for (who, password, status) in [
        ("+33 6 12 34 56 78", PASSWORD, 303),
        ("+33 6 12 34 56 78", "wrong", 401),
        ("+33 6 98 76 54 32", PASSWORD, 401),
        ("0612345678", PASSWORD, 401),
    ] {
        let answer = send(&post.gateway, LOGIN, &[("email", who), ("password", password)]).await;
        assert_eq!(answer.status, status, "{who} {}", answer.text());
    }
}
