//! Logging in with codes by text message: one use, few tries, and nothing that tells who is known.

use futures::future::join_all;

use super::*;
use crate::factor::Seed;
use crate::notify::testing::waiting;
use crate::on_every_store;

const YAML: &str = "sms: { via: console }\nlogin: { otp: { log_in: true } }\n";
const PATIENT: &str = "sms: { via: console }\nlogin: { otp: { log_in: true } }\n\
                       accounts: { lockout: { after: 100, for: 30m } }\n";

fn phone(number: &str, more: &Value) -> Value {
    let mut body = json!({"phone_country_code": "33", "phone_number": number});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn other_than(code: &str) -> &str {
    if code == "000000" { "000001" } else { "000000" }
}

impl Scene {
    /// Ada, whose number is confirmed.
    async fn reachable(&self) -> Account {
        self.person(|new| new.is_verified = true).await
    }

    async fn ask_for_code(&self, number: &str) -> Answer {
        self.post("/login/otp/request/", phone(number, &json!({}))).await
    }

    /// The code that Ada is sent.
    async fn sent_code(&self) -> String {
        let before: Vec<String> = waiting(&self.app).await.into_iter().map(|one| one.text).collect();
        assert_eq!(self.ask_for_code("612345678").await.status, 200);
        let mut new = waiting(&self.app).await.into_iter().filter(|one| !before.contains(&one.text));
        new.next().expect("a message").code()
    }

    async fn enter_by(&self, number: &str, code: &str) -> Answer {
        self.post("/login/otp/verify/", phone(number, &json!({"otp_code": code}))).await
    }
}

on_every_store! {
    async fn a_code_lets_its_reader_in_once(store: TestStore) {
        let scene = Scene::on(store, YAML).await;
        let ada = scene.reachable().await;
        let asked = scene.ask_for_code("612345678").await;
        assert_eq!((asked.text("message"), asked.text("channel")), ("OTP sent", "sms"));
        let code = waiting(&scene.app).await.pop().unwrap().code();
        assert!(!asked.body.to_string().contains(&code));
        let entered = scene.enter_by("612345678", &code).await;
        assert_eq!(entered.status, 200, "{}", entered.body);
        assert_eq!(entered.body["user"]["email"], "ada@example.com");
        let principal = scene.caller(&entered).await.principal.unwrap();
        assert_eq!((principal.session.method, principal.session.second_factor_at), ("code", None));
        assert_eq!(scene.post("/refresh/", json!({"refresh_token": entered.text("refresh")})).await.status, 200);
        assert_eq!(scene.enter_by("612345678", &code).await.verdict(), (401, "OTP_INVALID"), "once");
        assert_eq!(scene.live(&ada).await, 1);
        let told = scene.codes().await;
        for code in ["login_code_requested", "code_sent", "login"] {
            assert!(told.iter().any(|found| found == code), "{code} in {told:?}");
        }
    }

    async fn of_sixty_four_uses_of_one_code_exactly_one_gets_in(store: TestStore) {
        let scene = Scene::on(store, PATIENT).await;
        let ada = scene.reachable().await;
        let code = scene.sent_code().await;
        let answers = join_all((0..64).map(|_| scene.enter_by("612345678", &code))).await;
        let got_in = answers.iter().filter(|answer| answer.status == 200).count();
        assert_eq!(got_in, 1, "{:?}", answers.iter().map(Answer::verdict).collect::<Vec<_>>());
        assert_eq!(scene.live(&ada).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn known_and_unknown_numbers_are_answered_alike() {
    let scene = Scene::with(YAML).await;
    scene.reachable().await;
    // Bob has written down a number that he never confirmed.
    scene
        .person(|new| {
            new.email = Email::parse("bob@example.com").ok();
            new.phone = Some(Phone::parse("+33612345679").unwrap());
        })
        .await;
    let numbers = ["612345678", "612345679", "612345670"];
    let mut asked = Vec::new();
    for number in numbers {
        let mut answer = scene.ask_for_code(number).await;
        assert_eq!(answer.text("otp_id").len(), 36);
        answer.body["otp_id"] = Value::Null;
        asked.push(answer);
    }
    assert!(asked.iter().all(|answer| *answer == asked[0]), "{asked:#?}");
    let messages = waiting(&scene.app).await;
    assert!(matches!(&messages[..], [one] if one.to == "+33612345678"), "{messages:?}");
    let wrong = other_than(&messages[0].code()).to_owned();
    let mut refused = Vec::new();
    for number in numbers {
        let mut of_it = Vec::new();
        for _ in 0..6 {
            of_it.push(scene.enter_by(number, &wrong).await);
        }
        refused.push(of_it);
    }
    assert!(refused.iter().all(|of_it| *of_it == refused[0]), "{refused:#?}");
    let verdicts: Vec<_> = refused[0].iter().map(Answer::verdict).collect();
    assert_eq!((verdicts[0], verdicts[5]), ((401, "OTP_INVALID"), (423, "ACCOUNT_LOCKED")));
    let right = scene.enter_by("612345678", &messages[0].code()).await;
    assert_eq!(right.verdict(), (423, "ACCOUNT_LOCKED"), "and the code is of no use either");
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_and_codes_for_one_number_are_counted_together() {
    let scene = Scene::with(YAML).await;
    scene.reachable().await;
    let wrong = || scene.post("/login/phone/", phone("612345678", &json!({"password": WRONG})));
    for _ in 0..4 {
        assert_eq!(wrong().await.code(), "LOGIN_FAILED");
    }
    let code = scene.sent_code().await;
    assert_eq!(scene.enter_by("612345678", &code).await.status, 200);
    assert_eq!(wrong().await.code(), "LOGIN_FAILED", "the fifth");
    assert_eq!(wrong().await.verdict(), (423, "ACCOUNT_LOCKED"), "a right code forgave nothing");
    scene.app.clock.advance(Duration::from_mins(2));
    let code = scene.sent_code().await;
    assert_eq!(scene.enter_by("612345678", &code).await.verdict(), (423, "ACCOUNT_LOCKED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_factor_is_asked_for_before_the_code_is_used_up() {
    let scene = Scene::with(YAML).await;
    scene.reachable().await;
    let entered = scene.in_as_ada().await;
    let carried = scene.caller(&entered).await;
    let begun = scene.send("/2fa/setup/", json!({}), carried.clone()).await;
    let seed = Seed::parse(begun.text("secret")).unwrap();
    let now = || seed.code_at(scene.app.now()).expose().clone();
    assert_eq!(scene.send("/2fa/confirm/", json!({"code": now()}), carried).await.status, 200);
    scene.app.clock.advance(Duration::from_secs(30));
    let code = scene.sent_code().await;
    let with = |totp: String| {
        scene.post("/login/otp/verify/", phone("612345678", &json!({"otp_code": code, "totp_code": totp})))
    };
    assert_eq!(scene.enter_by("612345678", &code).await.verdict(), (401, "2FA_REQUIRED"));
    let wrong = scene.enter_by("612345678", other_than(&code)).await;
    assert_eq!(wrong.verdict(), (401, "OTP_INVALID"), "nobody else learns of the second factor");
    assert_eq!(with("nonsense".to_owned()).await.verdict(), (401, "INVALID_2FA_CODE"));
    let entered = with(now()).await;
    assert_eq!(entered.status, 200, "{}", entered.body);
    assert!(scene.caller(&entered).await.principal.unwrap().session.second_factor_at.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_not_log_in_does_not_by_a_code_either() {
    let scene = Scene::with(YAML).await;
    let ada = scene.reachable().await;
    let code = scene.sent_code().await;
    let set = async |ban| {
        let mut change = scene.app.change(Actor::system()).await.unwrap();
        account::set_ban(&mut change, ada.id, ban).await.unwrap();
        change.commit().await.unwrap();
    };
    set(account::Ban::Imposed).await;
    let banned = scene.enter_by("612345678", &code).await;
    assert_eq!((banned.verdict(), banned.text("error")), ((401, "LOGIN_FAILED"), "Account has been banned"));
    set(account::Ban::Lifted).await;
    scene.app.clock.advance(Duration::from_mins(10));
    assert_eq!(scene.enter_by("612345678", &code).await.verdict(), (401, "OTP_INVALID"), "too late");
    // Another purpose.
    let mut change = scene.app.change(Actor::system()).await.unwrap();
    let target = account::Target::Phone(ada.phone.clone().unwrap());
    crate::otp::ask(&mut change, &ada, &target).await.unwrap();
    change.commit().await.unwrap();
    let confirming =
        waiting(&scene.app).await.into_iter().find(|one| !one.text.contains(&code)).unwrap().code();
    assert_eq!(scene.enter_by("612345678", &confirming).await.verdict(), (401, "OTP_INVALID"));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_no_password_sets_the_first_one_with_a_code() {
    let scene = Scene::with(YAML).await;
    let ada = scene.person(|new| (new.is_verified, new.password_hash) = (true, None)).await;
    let first = scene.enter_by("612345678", &scene.sent_code().await).await;
    assert_eq!(first.status, 200, "{}", first.body);
    let set =
        async |body: Value| scene.send("/password/set-initial/", body, scene.caller(&first).await).await;
    let with = |code: &str| json!({"otp_code": code, "new_password": PASSWORD});
    assert_eq!(
        set(json!({"new_password": PASSWORD})).await.verdict(),
        (400, "OTP_REQUIRED"),
        "a session is not enough"
    );
    scene.app.clock.advance(Duration::from_mins(1));
    let code = scene.sent_code().await;
    assert_eq!(set(with(other_than(&code))).await.verdict(), (400, "OTP_REQUIRED"));
    let weak = json!({"otp_code": code, "new_password": "password"});
    assert_eq!(set(weak).await.verdict(), (400, "VALIDATION_ERROR"));
    assert_eq!(set(with(&code)).await.body, json!({"message": "Password set successfully"}));
    assert_eq!(scene.live(&ada).await, 0, "every session ends");
    let entered = scene.in_as_ada().await;
    let carried = scene.caller(&entered).await;
    let again = scene.send("/password/set-initial/", with("123456"), carried).await;
    assert_eq!(again.verdict(), (400, "ALREADY_HAS_PASSWORD"));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_closed_unless_it_was_opened() {
    for yaml in ["sms: { via: console }\n", "login: { otp: { log_in: true } }\n"] {
        let scene = Scene::with(yaml).await;
        assert_eq!(scene.ask_for_code("612345678").await.verdict(), (404, "FEATURE_DISABLED"));
        assert_eq!(scene.enter_by("612345678", "123456").await.verdict(), (404, "FEATURE_DISABLED"));
    }
}
