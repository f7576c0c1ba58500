//! Lockout: how often a password may be tried, whoever tries it and whether or not it has an owner.
//!
//! Law: an attempt is taken before a password is hashed, by one conditional write, and the last
//! one there is locks the door at once; so of any number of attempts that come together no more
//! are judged than there are. A success clears the count. Doors are named by a digest, exist for
//! identifiers that no account has, and are kept in the store: a restart forgets nothing.

use std::time::Duration;

use tokio::sync::oneshot;

use crate::account::{self, Account};
use crate::app::{App, Change};
use crate::audit::{AccountEvent, Actor, How, LoginFailure, SessionEvent};
use crate::base::{Email, Id, Phone, Timestamp};
use crate::config::Lockout;
use crate::crypto::digest::sha256_hex;
use crate::directory::UserName;
use crate::session::Method;
use crate::social;
use crate::store::{Db, Error, Tx};

use super::store::{self, Figures};

/// Where attempts are counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Door {
    site: Id,
    digest: String,
    memory: Memory,
}

/// For how long after the last one failures count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Memory {
    /// As long as the first lock.
    Short,
    /// As long as the longest lock: a code is short enough to be guessed slowly.
    Long,
}

impl Door {
    pub(super) fn email(site: Id, email: &Email) -> Self {
        Self::of(site, "email", email.as_str())
    }

    pub(super) fn phone(site: Id, phone: &Phone) -> Self {
        Self::of(site, "phone", phone.as_str())
    }

    /// For passwords of a directory, by the user names that are typed.
    pub(super) fn directory(site: Id, user: &UserName) -> Self {
        Self::of(site, "ldap", user.as_str())
    }

    /// The same by the person, whatever they are called.
    pub(super) fn person(site: Id, issuer: &str, subject: &str) -> Self {
        Self::of(site, "ldap_person", &format!("{issuer} {subject}"))
    }

    /// For passwords that a signed-in person gives again. A door of its own: whoever stole a
    /// session must not be able to lock its owner out of logging in.
    pub(super) fn again(account: Id, site: Id) -> Self {
        Self::of(site, "again", &account.to_string())
    }

    /// For codes of a second factor at logins: one per account, whatever identifier led to it.
    pub(super) fn second(account: Id, site: Id) -> Self {
        Self::of(site, "second", &account.to_string()).remembering()
    }

    /// For codes of a second factor that a signed-in person gives. Not where passwords are counted:
    /// a right password there would forget how many codes were wrong.
    pub(super) fn second_again(account: Id, site: Id) -> Self {
        Self::of(site, "second_again", &account.to_string()).remembering()
    }

    fn of(site: Id, kind: &str, identifier: &str) -> Self {
        let digest = sha256_hex(format!("{kind}:{identifier}").as_bytes());
        Self { site, digest, memory: Memory::Short }
    }

    const fn remembering(mut self) -> Self {
        self.memory = Memory::Long;
        self
    }

    pub(super) const fn site(&self) -> Id {
        self.site
    }

    pub(super) fn digest(&self) -> &str {
        &self.digest
    }
}

/// One attempt that may be judged.
#[derive(Debug)]
pub(super) struct Attempt {
    door: Door,
    after: i64,
    /// Set where this is the last one: until when it locked the door, and for how long.
    locked: Option<(Timestamp, i64)>,
}

/// What a knock led to.
#[derive(Debug)]
pub(super) enum Knock {
    Admitted(Attempt),
    Locked { until: Timestamp },
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX / 4)
}

/// Takes an attempt, if there is one.
pub(super) async fn knock(app: &App, settings: &Lockout, door: Door) -> Result<Knock, Error> {
    let figures = figures(app.now(), settings, door.memory);
    take(&app.db, door, figures).await
}

/// The same to its end, whether or not anybody waits for it: what is counted is told, or waits to be.
pub(super) fn knock_apart(
    app: &App,
    settings: &Lockout,
    door: Door,
) -> oneshot::Receiver<Result<Knock, Error>> {
    let (teller, told) = oneshot::channel();
    let (db, figures) = (app.db.clone(), figures(app.now(), settings, door.memory));
    app.tasks.spawn("an attempt", async move {
        // Who asked may be gone; the attempt counts all the same.
        drop(teller.send(take(&db, door, figures).await));
    });
    told
}

fn figures(now: Timestamp, settings: &Lockout, memory: Memory) -> Figures {
    Figures {
        now,
        after: i64::from(settings.after),
        first_lock_for: millis(settings.locked_for),
        longest_lock_for: millis(settings.max),
        growth: if settings.escalate { 2 } else { 1 },
        forget_at: now.plus(match memory {
            Memory::Short => settings.locked_for,
            Memory::Long => settings.max.max(settings.locked_for),
        }),
    }
}

async fn take(db: &Db, door: Door, figures: Figures) -> Result<Knock, Error> {
    let now = figures.now;
    let mut tx = db.begin().await?;
    store::prepare(&mut tx, &door, &figures).await?;
    let taken = store::take(&mut tx, &door, &figures).await? > 0;
    let locked_until = store::locked_until(&mut tx, &door).await?;
    tx.commit().await?;
    Ok(match (taken, locked_until) {
        (false, until) => Knock::Locked { until: until.unwrap_or(now) },
        (true, until) => {
            let locked = until.map(|until| (until, millis(until.since(now))));
            Knock::Admitted(Attempt { door, after: figures.after, locked })
        }
    })
}

/// Until when a door is locked, if it is. For what nobody can guess, so that nothing has to be counted.
pub(super) async fn closed_until(app: &App, door: &Door) -> Result<Option<Timestamp>, Error> {
    let until = store::locked_until(&app.db, door).await?;
    Ok(until.filter(|until| *until > app.now()))
}

impl Attempt {
    pub(super) fn digest(&self) -> &str {
        self.door.digest()
    }

    /// Until when the door is locked now that the attempt has failed.
    pub(super) fn locked_until(&self) -> Option<Timestamp> {
        self.locked.map(|(until, _)| until)
    }

    /// The attempt succeeded: nothing is held against the next one.
    pub(super) async fn succeeded(&self, tx: &mut Tx) -> Result<(), Error> {
        store::clear(tx, &self.door).await.map(drop)
    }

    /// The attempt was not judged, or the password was right and something else was not: it is
    /// neither a failure nor a success.
    pub(super) async fn withdraw(self, app: &App) -> Result<(), Error> {
        let mut tx = app.db.begin().await?;
        match self.locked {
            Some((until, lock_for)) => {
                store::reopen(&mut tx, &self.door, self.after - 1, lock_for, until).await?;
            }
            None => store::give_back(&mut tx, &self.door).await?,
        }
        tx.commit().await
    }
}

/// Records that an attempt failed, and which doors it locked if it was the last one there.
pub(super) async fn note_failure(
    app: &App,
    actor: Actor,
    account: Option<Id>,
    method: Method,
    reason: LoginFailure,
    attempts: &[&Attempt],
) -> Result<(), Error> {
    let mut change = app.change(actor).await?;
    let digest = attempts.first().map(|attempt| attempt.digest().to_owned()).unwrap_or_default();
    let method = method.name();
    change.record(SessionEvent::LoginFailed { account, identifier_digest: digest, method, reason }).await?;
    for attempt in attempts {
        if let Some(until) = attempt.locked_until() {
            let identifier_digest = Some(attempt.digest().to_owned());
            let until = Some(until);
            let (how, reason) = (How::Rule, None);
            change.record(AccountEvent::Locked { account, identifier_digest, until, how, reason }).await?;
        }
    }
    change.commit().await
}

/// Lifts an administrator's lock and every lock by failures, as an operator does for somebody who
/// is locked out. `false` where nothing was locked or counted.
pub async fn unlock(change: &mut Change<'_>, account: &Account) -> Result<bool, Error> {
    let was_locked = account::unlock(change, account.id).await?;
    let (id, site) = (account.id, account.site);
    let mut opened = forget_passwords(change.tx(), account).await?;
    for door in [Door::again, Door::second, Door::second_again] {
        opened += store::clear(change.tx(), &door(id, site)).await?;
    }
    opened += forget_persons(change.tx(), account).await?;
    if opened > 0 && !was_locked {
        change.record(AccountEvent::Unlocked { account: account.id, how: How::Administrator }).await?;
    }
    Ok(was_locked || opened > 0)
}

/// Forgets what was counted against an account that goes, by every identifier that it had.
pub async fn erase(change: &mut Change<'_>, account: &Account) -> Result<(), Error> {
    forget_passwords(change.tx(), account).await?;
    for door in [Door::again, Door::second, Door::second_again] {
        store::clear(change.tx(), &door(account.id, account.site)).await?;
    }
    forget_persons(change.tx(), account).await?;
    Ok(())
}

/// Forgets what was guessed at the password of whom the account is in a directory; how many doors.
async fn forget_persons(tx: &mut Tx, account: &Account) -> Result<u64, Error> {
    let mut opened = 0;
    for own in social::connections(&mut *tx, account.id).await? {
        opened += store::clear(tx, &Door::person(account.site, &own.issuer, &own.subject)).await?;
    }
    Ok(opened)
}

/// Forgets what was guessed at the password of an account, by whatever identifier; how many doors.
pub(super) async fn forget_passwords(tx: &mut Tx, account: &Account) -> Result<u64, Error> {
    let email = account.email.as_ref().map(|email| Door::email(account.site, email));
    let phone = account.phone.as_ref().map(|phone| Door::phone(account.site, phone));
    let mut opened = 0;
    for door in [email, phone].into_iter().flatten() {
        opened += store::clear(tx, &door).await?;
    }
    Ok(opened)
}

/// Forgets some of the failures that are too old to count, and have been for `retention.login_attempts`; how
/// many identifiers.
pub async fn sweep(app: &App) -> Result<u64, Error> {
    let config = app.config();
    // Else the next lock would be a short one again.
    let kept_for = config.retention.login_attempts.max(config.accounts.lockout.max);
    let mut tx = app.db.begin().await?;
    let gone = store::sweep(&mut tx, app.now().minus(kept_for), config.retention.batch).await?;
    tx.commit().await?;
    Ok(gone)
}
