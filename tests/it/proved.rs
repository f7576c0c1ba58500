//! What was changed by proof on one replica, as the other one sees it: a reset password, another address,
//! a second factor that is off, and a ban (security bar 2.E).
//!
//! Law: the other replica refuses within a second, and its upstream never sees the request.

use std::time::Duration;

use portcullis::account::{self, Ban};
use portcullis::factor::{self, Seed};
use serde_json::{Value, json};

use crate::codes::{code_in, text_of};
use crate::support::people::{Keys, PASSWORD, TRUSTING, User, elsewhere};
use crate::support::raw::Answer;
use crate::support::replica::{until, within};
use crate::support::smtp::Smtp;
use crate::support::{Gateway, Replicas, Upstream};

const SECOND: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy)]
enum Deed {
    Ban,
    ResetPassword,
    ChangeAddress,
    TurnOffSecondFactor,
}

struct Scene {
    upstream: Upstream,
    mail: Smtp,
    replicas: Replicas,
    keys: Keys,
}

async fn scene() -> Scene {
    let (upstream, mail) = (Upstream::echo().await, Smtp::plain().await);
    let yaml = format!(
        "{TRUSTING}mail: {{ via: smtp, host: 127.0.0.1, port: {}, tls: none, from: gw@example.com }}
upstreams: {{ up: {{ servers: ['{}'] }} }}
routes:
  - {{ name: mine, match: {{ path: '/mine' }}, upstream: up, allow: signed_in }}
  - {{ name: safe, match: {{ path: '/safe' }}, upstream: up, allow: {{ mfa: true }} }}
",
        mail.address.port(),
        upstream.address
    );
    let replicas = Replicas::start(&yaml).await;
    let keys = replicas.here.application("web", &[]).await;
    Scene { upstream, mail, replicas, keys }
}

impl Scene {
    fn here(&self) -> &Gateway {
        &self.replicas.here
    }

    /// Calls here; the answer is a 200.
    async fn call(&self, method: &str, path: &str, user: Option<&User>, body: Value) -> Answer {
        let mut lines = [&self.keys.lines()[..], &[elsewhere()]].concat();
        lines.extend(user.map(User::bearer));
        let answer = self.here().call(method, path, &lines, &body).await;
        assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text());
        answer
    }

    /// The code that was sent to an address.
    async fn code_for(&self, address: &str) -> String {
        let code = || {
            let taken = self.mail.taken();
            let mut texts = taken.iter().filter(|letter| letter.to == [address]).map(text_of);
            texts.rfind(|text| text.contains("code"))
        };
        until(SOON, address, async || code().is_some()).await;
        code_in(&code().unwrap())
    }

    /// Turns a second factor on, by a session that has proved it from then on.
    async fn enrol(&self, user: &User) -> User {
        let begun = self.call("POST", "/2fa/setup/", Some(user), json!({})).await.json();
        let seed = Seed::parse(begun["secret"].as_str().unwrap()).unwrap();
        let code = seed.code_at(self.here().running.app.now()).expose().clone();
        let told = self.call("POST", "/2fa/confirm/", Some(user), json!({"code": code})).await.json();
        let text = |key: &str| told[key].as_str().expect("a token").to_owned();
        User { id: user.id, access: text("access_token"), refresh: text("refresh_token") }
    }

    async fn happen(&self, deed: Deed, name: &str, user: &User) {
        let email = format!("{name}@example.com");
        match deed {
            Deed::Ban => {
                self.here()
                    .change(async |change| {
                        assert!(account::set_ban(change, user.id, Ban::Imposed).await.unwrap());
                    })
                    .await;
            }
            Deed::ResetPassword => {
                self.call("POST", "/password/reset/request/", None, json!({"email": email})).await;
                let code = self.code_for(&email).await;
                let body =
                    json!({"email": email, "otp_code": code, "new_password": "Another-horse-7-staple"});
                self.call("POST", "/password/reset/confirm/", None, body).await;
            }
            Deed::ChangeAddress => {
                let own = self.here().log_in(name, user.id, &self.keys).await;
                let new = format!("{name}@new.example");
                let wish = json!({"email": new, "current_password": PASSWORD});
                self.call("PATCH", "/me/", Some(&own), wish).await;
                let code = self.code_for(&new).await;
                self.call("POST", "/otp/verify/email/", Some(&own), json!({"code": code})).await;
            }
            Deed::TurnOffSecondFactor => {
                let account = account::by_id(&self.here().running.app.db, user.id).await.unwrap().unwrap();
                self.here()
                    .change(async |change| assert!(factor::disable(change, &account).await.unwrap()))
                    .await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_changed_by_proof_binds_the_other_replica_within_a_second() {
    let scene = scene().await;
    let (here, there) = (&scene.replicas.here, &scene.replicas.there);
    for (deed, path, refused) in [
        (Deed::Ban, "/mine", 401),
        (Deed::ResetPassword, "/mine", 401),
        (Deed::ChangeAddress, "/mine", 401),
        (Deed::TurnOffSecondFactor, "/safe", 403),
    ] {
        let name = format!("{deed:?}").to_lowercase();
        let mut user = here.user(&name, &scene.keys).await;
        if path == "/safe" {
            user = scene.enrol(&user).await;
        }
        let status = async |gateway: &Gateway| gateway.get_as(&user, path, &[]).await.status;
        until(SECOND, "let in", async || status(there).await == 200).await;
        assert_eq!(status(here).await, 200, "{deed:?}");
        scene.happen(deed, &name, &user).await;
        assert_eq!(status(here).await, refused, "{deed:?} binds the next request");
        within(SECOND, &name, async || status(there).await == refused).await;
        let before = scene.upstream.count();
        assert_eq!(status(there).await, refused, "{deed:?}");
        assert_eq!(scene.upstream.count(), before);
    }
}
