//! What a second factor promises, on every database.

use std::time::Duration;

use futures::future::join_all;

use super::*;
use crate::account::NewAccount;
use crate::app::testing::{TestApp, With};
use crate::audit::{self, Actor, How};
use crate::on_every_store;
use crate::store::DEFAULT_SITE;
use crate::store::testing::TestStore;

const STEP: Duration = Duration::from_secs(30);

struct Scene {
    app: TestApp,
    account: Account,
}

fn read(text: &str) -> Code {
    Code::read(text).unwrap()
}

impl Scene {
    async fn on(store: TestStore) -> Self {
        let app = TestApp::on(store, With::default()).await;
        let account = person(&app, &NewAccount::of(DEFAULT_SITE)).await;
        Self { app, account }
    }

    async fn begin(&self) -> Enrolment {
        let mut change = self.app.change(Actor::system()).await.unwrap();
        let begun = set_up(&mut change, &self.account).await.unwrap();
        change.commit().await.unwrap();
        begun
    }

    fn code(&self, seed: &Seed) -> Code {
        read(seed.code_at(self.app.now()).expose())
    }

    async fn try_confirm(&self, code: &Code) -> Result<bool, NotNow> {
        let mut change = self.app.change(Actor::system()).await?;
        let outcome = confirm(&mut change, self.account.id, code).await?;
        if outcome {
            change.commit().await?;
        }
        Ok(outcome)
    }

    /// With a second factor, and the clock in a step that was not used.
    async fn enrolled(&mut self) -> Enrolment {
        let begun = self.begin().await;
        assert!(self.try_confirm(&self.code(&begun.seed)).await.unwrap());
        self.account = account::by_id(&self.app.db, self.account.id).await.unwrap().unwrap();
        self.app.clock.advance(STEP);
        begun
    }

    async fn spends(&self, account: Id, code: &Code, accepted: Accepted) -> bool {
        let mut change = self.app.change(Actor::system()).await.unwrap();
        let held = account::hold(&mut change, account).await.unwrap();
        let outcome = held && spend(&mut change, account, code, accepted).await.unwrap();
        if outcome {
            // Something to commit where the code itself leaves no event.
            change.record(FactorEvent::BackupCodesReplaced { account }).await.unwrap();
            change.commit().await.unwrap();
        }
        outcome
    }

    async fn spend(&self, code: &Code) -> bool {
        self.spends(self.account.id, code, Accepted::Any).await
    }

    async fn left(&self) -> u32 {
        backup_codes_left(&self.app.db, self.account.id).await.unwrap()
    }

    async fn codes(&self) -> Vec<String> {
        audit::tail(&self.app.db, 0, 1000).await.unwrap().into_iter().map(|row| row.code).collect()
    }
}

async fn person(app: &TestApp, new: &NewAccount) -> Account {
    let mut change = app.change(Actor::system()).await.unwrap();
    let account = account::create(&mut change, new, How::Owner).await.unwrap();
    change.commit().await.unwrap();
    account
}

on_every_store! {
    async fn a_seed_counts_from_its_first_code_on(store: TestStore) {
        let mut scene = Scene::on(store).await;
        assert!(matches!(scene.try_confirm(&read("123456")).await, Err(NotNow::NotBegun)));
        let first = scene.begin().await;
        let code = scene.code(&first.seed);
        assert!(!scene.spend(&code).await, "not before it is confirmed");
        assert!(!scene.spend(&read(first.backup_codes[0].expose())).await, "nor its backup codes");
        let second = scene.begin().await;
        assert!(!scene.try_confirm(&code).await.unwrap(), "the first seed was replaced");
        let code = scene.code(&second.seed);
        assert!(scene.try_confirm(&code).await.unwrap());
        assert!(!scene.spend(&code).await, "the code that confirmed it is used");
        assert!(matches!(scene.try_confirm(&code).await, Err(NotNow::AlreadyOn)));
        scene.account = account::by_id(&scene.app.db, scene.account.id).await.unwrap().unwrap();
        assert_eq!(scene.account.second_factor_at, Some(scene.app.now()));
        let mut change = scene.app.change(Actor::system()).await.unwrap();
        assert!(matches!(set_up(&mut change, &scene.account).await, Err(NotNow::AlreadyOn)));
        drop(change);
        assert_eq!(scene.codes().await, ["account_created", "2fa_setup", "2fa_setup", "2fa_enabled"]);
    }

    async fn each_time_step_counts_once_and_none_before_it(store: TestStore) {
        let mut scene = Scene::on(store).await;
        let seed = scene.enrolled().await.seed;
        let now = scene.app.now();
        let (before, this, next) = (now.minus(STEP), now, now.plus(STEP));
        let code = |at| read(seed.code_at(at).expose());
        assert!(!scene.spend(&code(before)).await, "it confirmed the seed");
        assert!(scene.spend(&code(next)).await, "a device may be a step ahead");
        assert!(!scene.spend(&code(next)).await);
        assert!(!scene.spend(&code(this)).await, "what was before the last one is over");
        scene.app.clock.advance(STEP);
        assert!(!scene.spend(&code(next)).await, "still");
        scene.app.clock.advance(STEP);
        assert!(scene.spend(&scene.code(&seed)).await);
        scene.app.clock.set(next);
        assert!(!scene.spend(&code(next)).await, "a clock that was set back revives nothing");
    }

    async fn of_sixty_four_uses_of_one_code_exactly_one_counts(store: TestStore) {
        let mut scene = Scene::on(store).await;
        let enrolment = scene.enrolled().await;
        for code in [scene.code(&enrolment.seed), read(enrolment.backup_codes[3].expose())] {
            let uses = join_all((0..64).map(|_| scene.spend(&code))).await;
            assert_eq!(uses.into_iter().filter(|counted| *counted).count(), 1);
        }
        assert_eq!(scene.left().await, 9);
    }

    async fn a_backup_code_counts_once_for_its_own_account(store: TestStore) {
        let mut scene = Scene::on(store).await;
        let first = scene.enrolled().await;
        let codes: Vec<Code> = first.backup_codes.iter().map(|code| read(code.expose())).collect();
        assert_eq!((codes.len(), scene.left().await), (10, 10));
        let other = person(&scene.app, &NewAccount::of(DEFAULT_SITE)).await;
        let ada = std::mem::replace(&mut scene.account, other);
        scene.enrolled().await;
        assert!(!scene.spend(&codes[0]).await, "another's");
        let bob = std::mem::replace(&mut scene.account, ada);
        assert!(!scene.spends(scene.account.id, &codes[0], Accepted::Device).await, "only the device counts");
        assert!(scene.spend(&read(&first.backup_codes[0].expose().to_uppercase())).await);
        assert!(!scene.spend(&codes[0]).await);
        assert_eq!(scene.left().await, 9);
        let mut change = scene.app.change(Actor::system()).await.unwrap();
        let new = replace_backup_codes(&mut change, scene.account.id).await.unwrap();
        change.commit().await.unwrap();
        assert!(!scene.spend(&codes[1]).await, "replaced");
        assert!(scene.spend(&read(new[1].expose())).await);
        assert_eq!((scene.left().await, backup_codes_left(&scene.app.db, bob.id).await.unwrap()), (9, 10));
    }

    async fn what_is_turned_off_opens_nothing_and_can_be_turned_on_anew(store: TestStore) {
        let mut scene = Scene::on(store).await;
        let first = scene.enrolled().await;
        let mut change = scene.app.change(Actor::system()).await.unwrap();
        assert!(disable(&mut change, &scene.account).await.unwrap());
        assert!(!disable(&mut change, &scene.account).await.unwrap());
        change.commit().await.unwrap();
        assert!(!scene.spend(&scene.code(&first.seed)).await);
        assert!(!scene.spend(&read(first.backup_codes[0].expose())).await);
        let stored = account::by_id(&scene.app.db, scene.account.id).await.unwrap().unwrap();
        assert_eq!((stored.second_factor_at, scene.left().await), (None, 0));
        let second = scene.enrolled().await;
        assert_ne!(first.seed.base32(), second.seed.base32());
        assert!(scene.spend(&scene.code(&second.seed)).await);
    }

    async fn nothing_at_rest_is_a_code_or_a_seed_and_nothing_can_be_moved(store: TestStore) {
        let mut scene = Scene::on(store).await;
        let enrolment = scene.enrolled().await;
        let seed = enrolment.seed.clone();
        let (sealed, digests) = store::dump(&scene.app.db).await.unwrap();
        let base32 = seed.base32();
        let text = format!("{}{}", String::from_utf8_lossy(&sealed[0]), digests.concat());
        assert!(!text.contains(base32.expose().as_str()));
        for code in &enrolment.backup_codes {
            let bare = backup::bare(code.expose());
            assert!(!text.contains(bare.expose().as_str()));
            assert!(!digests.contains(&crate::crypto::digest::sha256_hex(bare.expose().as_bytes())), "no bare hash");
        }
        let ada = scene.account.id;
        let bob = person(&scene.app, &NewAccount::of(DEFAULT_SITE)).await;
        let mut tx = scene.app.db.begin().await.unwrap();
        assert_eq!(store::move_seed(&mut tx, ada, bob.id).await.unwrap(), 1);
        tx.commit().await.unwrap();
        let mut change = scene.app.change(Actor::system()).await.unwrap();
        let outcome = spend(&mut change, bob.id, &scene.code(&seed), Accepted::Any).await;
        assert!(matches!(outcome, Err(Error::Broken { .. })), "sealed for somebody else");
    }
}

#[test]
fn who_must_have_a_second_factor_is_staff_or_superuser_where_it_is_required() {
    let account = |staff: bool, superuser: bool| {
        let new = NewAccount { is_staff: staff, is_superuser: superuser, ..NewAccount::of(DEFAULT_SITE) };
        Account::imagined(&new, Id::from_u128(1), Timestamp::from_millis(0))
    };
    for (staff, superuser, asked) in [(false, false, false), (true, false, true), (false, true, true)] {
        let mut own = account(staff, superuser);
        assert_eq!(is_missing(StaffSecondFactor::Required, &own.facts(), None), asked);
        assert!(!is_missing(StaffSecondFactor::Optional, &own.facts(), None));
        let proved_at = Some(own.created_at);
        assert!(!is_missing(StaffSecondFactor::Required, &own.facts(), proved_at), "in this session");
        own.second_factor_at = proved_at;
        assert!(!is_missing(StaffSecondFactor::Required, &own.facts(), None));
    }
}
