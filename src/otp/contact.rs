//! Addresses and numbers of people: proved by a code that was sent there.
//!
//! Law: what takes effect is what the code was sent to, and only while the account still has it or
//! wishes for it. A change is told to the address that was theirs before, and ends every other
//! session: whoever had one of them may be why it changed.

use super::{Errand, Form, NotSent, Proof, Purpose, Sent, send, spend, words};
use crate::account::{self, Account, Target, WriteError};
use crate::app::Change;
use crate::audit::{AccountEvent, Contact, EndReason, How};
use crate::base::Id;
use crate::config::Notice;
use crate::notify::{self, Letter, Message, Occasion};
use crate::session;
use crate::store::Error;

/// What a code for this channel would be sent to: what is wished for, or else what is there.
#[must_use]
pub(super) fn target_of(account: &Account, channel: Contact) -> Option<Target> {
    let email = || account.pending_email.clone().or_else(|| account.email.clone()).map(Target::Email);
    let phone = || account.pending_phone.clone().or_else(|| account.phone.clone()).map(Target::Phone);
    match channel {
        Contact::Email => email(),
        Contact::Phone => phone(),
    }
}

/// Asks whoever reads this address or number to confirm it. An account that was sent a code a moment
/// ago gets none, and neither does anyone where none can be sent: both can be asked for later.
///
/// # Errors
/// The store's.
pub async fn ask(change: &mut Change<'_>, account: &Account, to: &Target) -> Result<(), Error> {
    match send(change, &Errand { account, purpose: Purpose::Contact, to, form: Form::Code }).await {
        Ok(Sent { .. }) | Err(NotSent::TooSoon { .. } | NotSent::NoWay) => Ok(()),
        Err(NotSent::Store(cause)) => Err(cause),
    }
}

/// What a proof led to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Confirmed {
    /// It is theirs, and was before.
    Proved(Target),
    /// It is theirs in the place of another one.
    Changed(Target),
}

/// Why it led to nothing.
#[derive(Debug)]
pub(super) enum Unconfirmed {
    /// The code was used, or the account wants another address by now, or may do nothing.
    Refused,
    /// Somebody else has proved the same address first.
    Taken,
    Store(Error),
}

impl From<Error> for Unconfirmed {
    fn from(cause: Error) -> Self {
        Self::Store(cause)
    }
}

/// Takes what was proved for the account's own. `sid` is the session that may go on.
pub(super) async fn confirm(
    change: &mut Change<'_>,
    account: Id,
    sid: Id,
    proof: &Proof,
) -> Result<Confirmed, Unconfirmed> {
    if !account::hold(change, account).await? || !spend(change, proof).await? {
        return Err(Unconfirmed::Refused);
    }
    let Some(account) = account::by_id(change.tx(), account).await? else { return Err(Unconfirmed::Refused) };
    let has = |target: &Target| target.as_str() == proof.target();
    let (pending, present) = (account.wished(proof.which.channel), account.has(proof.which.channel));
    let was_proved = match proof.which.channel {
        Contact::Email => account.is_email_verified,
        Contact::Phone => account.is_phone_verified,
    };
    if let Some(target) = pending.filter(has) {
        match account::take_wish(change, account.id, &target).await {
            Ok(true) => {}
            Ok(false) => return Err(Unconfirmed::Refused),
            Err(WriteError::Taken(_)) => return Err(Unconfirmed::Taken),
            Err(WriteError::Store(cause)) => return Err(cause.into()),
        }
        session::end_others(change, account.id, sid, EndReason::ContactChanged).await?;
        // Anybody can write down an address: one that was never proved is told nothing.
        if let Some(old) = present.filter(|_| was_proved) {
            tell_old(change, &account, proof.id(), &old, &target).await?;
        }
        return Ok(Confirmed::Changed(target));
    }
    let Some(target) = present.filter(has) else { return Err(Unconfirmed::Refused) };
    if !account::verify(change, account.id, target.channel(), How::Owner).await? {
        // It was proved before; the code is used all the same.
        let (account, contact, how) = (account.id, target.contact(), How::Owner);
        change.record(AccountEvent::ContactVerified { account, contact, how }).await?;
    }
    Ok(Confirmed::Proved(target))
}

async fn tell_old(
    change: &mut Change<'_>,
    account: &Account,
    key: Id,
    old: &Target,
    new: &Target,
) -> Result<(), Error> {
    let config = change.app().config();
    let (host, new) = (&config.public_url.host, words::masked(new));
    let occasion =
        Occasion { notice: Notice::ContactChanged, site: account.site, key: key.to_string(), until: None };
    match old {
        Target::Email(to) => {
            let (subject, text) = words::moved(host, &new);
            let letter = Letter { account: Some(account.id), to: to.clone(), subject, text };
            notify::write_to(change, &occasion, letter).await
        }
        Target::Phone(to) => {
            let text = words::renumbered(host, &new);
            let message = Message { account: account.id, to: to.clone(), text };
            notify::text_to(change, &occasion, message).await
        }
    }
}
