//! Notices about an account, to its owner.
//!
//! Law: a new password, another second factor, a new key or a new device is told, whoever it was: the owner must learn of it
//! from us and not from a door that no longer opens.

use crate::account;
use crate::app::Change;
use crate::audit::{FactorEvent, PasskeyEvent};
use crate::base::Id;
use crate::config::Notice;
use crate::notify::{self, Letter, Message, Occasion};
use crate::session::{self, Device};
use crate::store::Error;

/// Tells that the password is another one.
pub(super) async fn password_changed(change: &mut Change<'_>, account: Id) -> Result<(), Error> {
    let host = change.app().config().public_url.host.clone();
    let words = Words {
        subject: format!("Your password at {host} was changed"),
        mail: format!(
            "Your password at {host} is another one now, and every session of your account has ended.\n\nIf it was not you who \
             changed it, reset it at once, and tell those who run {host}.\n"
        ),
        message: format!(
            "Your password at {host} was changed. If it was not you, tell those who run {host}."
        ),
    };
    tell(change, account, Notice::PasswordChanged, words).await
}

/// Tells what happened to the second factor; that it was proved is no news.
pub(super) async fn second_factor_changed(change: &mut Change<'_>, event: &FactorEvent) -> Result<(), Error> {
    let host = change.app().config().public_url.host.clone();
    let (account, happened) = match event {
        FactorEvent::Enabled { account } => (*account, "was turned on".to_owned()),
        FactorEvent::Disabled { account } => (*account, "was turned off".to_owned()),
        FactorEvent::BackupCodesReplaced { account } => (*account, "has new backup codes".to_owned()),
        FactorEvent::BackupCodeUsed { account, remaining } => {
            (*account, format!("was stood in for by a backup code ({remaining} are left)"))
        }
        FactorEvent::SocialConnected { account, provider, is_new_account: false } => {
            return way_in_changed(change, *account, provider, "opens your account from now on").await;
        }
        FactorEvent::SocialDisconnected { account, provider } => {
            return way_in_changed(change, *account, provider, "does not open your account any more").await;
        }
        FactorEvent::SocialConnected { .. } | FactorEvent::SetUp { .. } | FactorEvent::Proved { .. } => {
            return Ok(());
        }
    };
    let what = format!("The second factor of your account at {host} {happened}.");
    let words = Words {
        subject: format!("The second factor of your account at {host}"),
        mail: format!(
            "{what}\n\nIf it was not you, somebody else knows your password: change it at once, and tell those who run {host}.\n"
        ),
        message: format!("{what} If it was not you, tell those who run {host}."),
    };
    tell(change, account, Notice::SecondFactorChanged, words).await
}

/// Tells that there is another way in, one less, or one that may be somebody else's too.
pub(super) async fn passkeys_changed(change: &mut Change<'_>, event: &PasskeyEvent) -> Result<(), Error> {
    let host = change.app().config().public_url.host.clone();
    let (account, happened) = match event {
        PasskeyEvent::Added { account, .. } => (*account, "A passkey was added to"),
        PasskeyEvent::Removed { account, .. } => (*account, "A passkey was removed from"),
        PasskeyEvent::Regressed { account, .. } => {
            (*account, "A login was refused because there may be a copy of a passkey of")
        }
        PasskeyEvent::Renamed { .. } => return Ok(()),
    };
    let what = format!("{happened} your account at {host}.");
    let words = Words {
        subject: format!("The passkeys of your account at {host}"),
        mail: format!(
            "{what}\n\nIf it was not you, look at your passkeys and sessions at once, end those that you do not know, change your \
             password, and tell those who run {host}.\n"
        ),
        message: format!("{what} If it was not you, tell those who run {host}."),
    };
    tell(change, account, Notice::SecondFactorChanged, words).await
}

/// Tells that a program may call as them from now on, for long.
pub(super) async fn api_key_made(change: &mut Change<'_>, account: Id) -> Result<(), Error> {
    let host = change.app().config().public_url.host.clone();
    let what = format!("An API key was made for your account at {host}: whoever has it calls as you.");
    let words = Words {
        subject: format!("A new API key of your account at {host}"),
        mail: format!(
            "{what}\n\nIf it was not you, change your password at once, which ends every session and key, and tell those who \
             run {host}.\n"
        ),
        message: format!("{what} If it was not you, change your password at once."),
    };
    tell(change, account, Notice::WayInChanged, words).await
}

/// Tells that another identity opens the account, or that one does not any more.
async fn way_in_changed(
    change: &mut Change<'_>,
    account: Id,
    provider: &str,
    happened: &str,
) -> Result<(), Error> {
    let host = change.app().config().public_url.host.clone();
    let what = format!("At {host}, logging in with “{provider}” {happened}.");
    let words = Words {
        subject: format!("How you log in to your account at {host}"),
        mail: format!(
            "{what}\n\nIf it was not you, somebody else was in your account: change your password, end every session, and tell \
             those who run {host}.\n"
        ),
        message: format!("{what} If it was not you, tell those who run {host}."),
    };
    tell(change, account, Notice::WayInChanged, words).await
}

/// Tells of a login on a device that was not seen before.
pub(super) async fn new_device(change: &mut Change<'_>, account: Id, session: Id) -> Result<(), Error> {
    let host = change.app().config().public_url.host.clone();
    let Some(session) = session::by_id(change.tx(), session).await? else { return Ok(()) };
    // It was checked when it came in.
    let device = Device::parse(&session.device_info).unwrap_or_default().summary();
    let from = session.address.map_or(String::new(), |address| format!(" from {address}"));
    let what = format!("Somebody logged in to your account at {host} on a new device: “{device}”{from}.");
    let words = Words {
        subject: format!("A login to your account at {host} on a new device"),
        mail: format!(
            "{what}\n\nIf it was not you, change your password at once, which ends every session, and tell those who run {host}.\n"
        ),
        message: format!("{what} If it was not you, change your password at once."),
    };
    tell(change, account, Notice::NewDevice, words).await
}

/// Tells that a session was ended because there is a copy of what kept it open.
pub(super) async fn session_copied(change: &mut Change<'_>, account: Id, session: Id) -> Result<(), Error> {
    let host = change.app().config().public_url.host.clone();
    let Some(session) = session::by_id(change.tx(), session).await? else { return Ok(()) };
    // It was checked when it came in.
    let device = Device::parse(&session.device_info).unwrap_or_default().summary();
    let what = format!(
        "A session of your account at {host} was ended (“{device}”), because a refresh token of it was used twice: \
         somebody else may have a copy."
    );
    let words = Words {
        subject: format!("A session of your account at {host} was ended"),
        mail: format!(
            "{what}\n\nLog in again there. Look at your sessions, end those that you do not know, change your password if there \
             are any, and tell those who run {host}.\n"
        ),
        message: format!("{what} Look at your sessions, and end those that you do not know."),
    };
    tell(change, account, Notice::SessionCopied, words).await
}

/// The same thing for mail and for a text message.
struct Words {
    subject: String,
    mail: String,
    message: String,
}

/// Tells the owner by mail, or else by text message; nobody where neither is known to be theirs.
async fn tell(change: &mut Change<'_>, account: Id, notice: Notice, words: Words) -> Result<(), Error> {
    let Some(owner) = account::by_id(change.tx(), account).await? else { return Ok(()) };
    let occasion = Occasion { notice, site: owner.site, key: change.new_id().to_string(), until: None };
    if let Some(to) = owner.email.filter(|_| owner.is_email_verified) {
        let letter = Letter { account: Some(account), to, subject: words.subject, text: words.mail };
        return notify::write_to(change, &occasion, letter).await;
    }
    if let Some(to) = owner.phone.filter(|_| owner.is_phone_verified) {
        return notify::text_to(change, &occasion, Message { account, to, text: words.message }).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::NewAccount;
    use crate::app::testing::{TestApp, With};
    use crate::audit::{Actor, Event, How};
    use crate::base::{Email, Phone};
    use crate::notify::testing::waiting;
    use crate::store::DEFAULT_SITE;
    use crate::store::testing::TestStore;

    async fn scene() -> TestApp {
        let yaml = "mail: { via: console }\nsms: { via: console }\n";
        TestApp::on(TestStore::sqlite().await, With { yaml, ..With::default() }).await
    }

    async fn person(app: &TestApp, name: &str, change_it: impl FnOnce(&mut NewAccount)) -> Id {
        let email = Email::parse(&format!("{name}@example.com")).unwrap();
        let mut new = NewAccount { email: Some(email), ..NewAccount::of(DEFAULT_SITE) };
        change_it(&mut new);
        let mut change = app.change(Actor::system()).await.unwrap();
        let account = account::create(&mut change, &new, How::Owner).await.unwrap();
        change.commit().await.unwrap();
        account.id
    }

    async fn told_of(app: &TestApp, event: impl Into<Event>) -> Vec<(String, String)> {
        let (before, event) = (waiting(app).await, event.into());
        let before: Vec<String> = before.into_iter().map(|one| one.text).collect();
        let mut change = app.change(Actor::system()).await.unwrap();
        crate::notice::react(&mut change, &event).await.unwrap();
        change.record(event).await.unwrap();
        change.commit().await.unwrap();
        let all = waiting(app).await.into_iter();
        all.filter(|one| !before.contains(&one.text)).map(|one| (one.to, one.text)).collect()
    }

    #[tokio::test]
    async fn owners_are_told_what_happened_to_their_second_factor_and_passkeys_where_they_can_be() {
        let app = scene().await;
        let ada = person(&app, "ada", |new| new.is_verified = true).await;
        let session = Id::from_u128(1);
        for (event, part) in [
            (FactorEvent::Enabled { account: ada }, "was turned on."),
            (FactorEvent::Disabled { account: ada }, "was turned off."),
            (FactorEvent::BackupCodesReplaced { account: ada }, "has new backup codes."),
            (FactorEvent::BackupCodeUsed { account: ada, remaining: 3 }, "(3 are left)."),
        ] {
            let told = told_of(&app, event).await;
            assert!(
                matches!(&told[..], [(to, text)] if to == "ada@example.com" && text.contains(part)),
                "{told:?}"
            );
        }
        for event in [FactorEvent::SetUp { account: ada }, FactorEvent::Proved { account: ada, session }] {
            assert!(told_of(&app, event).await.is_empty(), "that is no news");
        }
        let passkey = Id::from_u128(2);
        for (event, part) in [
            (PasskeyEvent::Added { account: ada, passkey }, "was added to"),
            (PasskeyEvent::Removed { account: ada, passkey }, "was removed from"),
            (PasskeyEvent::Regressed { account: ada, passkey, counted: 3 }, "may be a copy"),
        ] {
            let told = told_of(&app, event).await;
            assert!(matches!(&told[..], [(_, text)] if text.contains(part)), "{told:?}");
        }
        assert!(told_of(&app, PasskeyEvent::Renamed { account: ada, passkey }).await.is_empty());
        let bob = person(&app, "bob", |_| {}).await;
        assert!(
            told_of(&app, FactorEvent::Enabled { account: bob }).await.is_empty(),
            "whose mail it is, nobody knows"
        );
        let eve = person(&app, "eve", |new| {
            (new.email, new.phone) = (None, Some(Phone::parse("+33612345678").unwrap()));
            new.is_verified = true;
        })
        .await;
        let told = told_of(&app, FactorEvent::Disabled { account: eve }).await;
        assert!(matches!(&told[..], [(to, _)] if to == "+33612345678"), "{told:?}");
    }
}
