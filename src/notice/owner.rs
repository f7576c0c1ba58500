//! Notices about an account, to its owner.
//!
//! Law: a new password is told, whoever set it: the owner must learn of it from us and not from a
//! door that no longer opens.

use crate::account;
use crate::app::Change;
use crate::base::Id;
use crate::config::Notice;
use crate::notify::{self, Letter, Message, Occasion};
use crate::store::Error;

/// Tells that the password is another one.
pub(super) async fn password_changed(change: &mut Change<'_>, account: Id) -> Result<(), Error> {
    let Some(owner) = account::by_id(change.tx(), account).await? else { return Ok(()) };
    let (config, key) = (change.app().config(), change.new_id().to_string());
    let host = &config.public_url.host;
    let occasion = Occasion { notice: Notice::PasswordChanged, site: owner.site, key, until: None };
    if let Some(to) = owner.email.filter(|_| owner.is_email_verified) {
        let subject = format!("Your password at {host} was changed");
        let text = format!(
            "Your password at {host} is another one now, and every session of your account has ended.\n\nIf it was not you who \
             changed it, reset it at once, and tell those who run {host}.\n"
        );
        return notify::write_to(change, &occasion, Letter { account, to, subject, text }).await;
    }
    if let Some(to) = owner.phone.filter(|_| owner.is_phone_verified) {
        let text =
            format!("Your password at {host} was changed. If it was not you, tell those who run {host}.");
        return notify::text_to(change, &occasion, Message { account, to, text }).await;
    }
    Ok(())
}
