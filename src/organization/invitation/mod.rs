//! Invitations: who is to belong to an organization once they say yes.
//!
//! Law: an invitation counts once, until its end, for the one who proved that the invited address is theirs;
//! to everybody else it does not exist. It is worth what its inviter may give when it is accepted, so
//! whoever lost that left nothing behind. Only the digest of its token is stored.

mod store;
mod words;

use std::time::Duration;

use super::{Refused, Standing, add_member_by, hold, store as base};
use crate::account;
use crate::app::{App, Change};
use crate::audit::OrganizationEvent;
use crate::base::{Email, Id, Number, Timestamp};
use crate::crypto::token::{Token, TokenDigest};
use crate::policy::Code;
use crate::policy::definition::Definitions;
use crate::rbac;
use crate::store::{Error, Source, Tx};

use store::Open;
pub use store::Sought;

/// What somebody needs to invite.
pub const INVITES: &str = "org.members.invite";
/// How long an invitation stands, in days.
pub const DAYS: std::ops::RangeInclusive<u32> = 1..=30;
pub const DAYS_USUAL: u32 = 7;
/// How often one invitation is sent.
const SENDS: i64 = 5;
/// How long lies between two mails.
pub(super) const PAUSE: Duration = Duration::from_mins(1);
/// How many invitations of one organization to one address there may be in a day.
const A_DAY: i64 = 5;
/// How many mails one address gets in a day from all organizations together. Beyond it somebody is invited as
/// ever, and no mail says so: nobody shuts an address out of everything, or counts what others sent there.
const MAILS_A_DAY: i64 = 20;
/// How many of these one person may cause.
const MAILS_BY_ONE: i64 = 10;
/// How many invitations of an organization may be open at once.
const OPEN: i64 = 1_000;
const DAY: Duration = Duration::from_hours(24);
/// How long an invitation is kept after its time.
const KEPT: Duration = Duration::from_hours(24 * 30);

/// What became of an invitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Pending,
    Accepted,
    Declined,
    /// Its time is over, or another one took its place.
    Expired,
    /// It was taken back, or its organization is gone.
    Revoked,
}

impl Status {
    pub const ALL: [Self; 5] = [Self::Pending, Self::Accepted, Self::Declined, Self::Expired, Self::Revoked];

    /// The word in the store and on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Accepted => "accepted",
            Self::Declined => "declined",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }

    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == text)
    }
}

/// An invitation, without what opens it.
#[derive(Debug, Clone)]
pub struct Invitation {
    pub id: Id,
    pub number: Number,
    pub site: Id,
    pub organization: Id,
    pub email: Email,
    pub role: Code,
    /// As it is now: one whose time is over is expired.
    pub status: Status,
    /// `None`: an operator.
    pub invited_by: Option<Id>,
    pub days: u32,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

/// Who is to be invited.
#[derive(Debug, Clone)]
pub struct NewInvitation<'a> {
    pub organization: Id,
    pub email: &'a Email,
    pub role: &'a Code,
    pub days: u32,
}

/// Invites somebody, by mail where mail is configured. An open invitation to the same address ends. Whoever
/// asks holds the organization and has judged that this role may be given.
pub async fn invite(
    change: &mut Change<'_>,
    definitions: &Definitions,
    new: NewInvitation<'_>,
) -> Result<(Invitation, Token), Refused> {
    let (now, organization) = (change.now(), new.organization);
    hold(change, organization).await?;
    let Some(own) = base::by_id(change.tx(), organization).await? else { return Err(Refused::Gone) };
    super::refuse_undefined(change, definitions, new.role).await?;
    if let Some(inviter) = change.actor().who.account() {
        // The mail says who invites: nobody does so under an address that is not known to be theirs.
        let own = account::by_id(change.tx(), inviter).await?;
        if !own.is_some_and(|own| own.email.is_some() && own.is_email_verified) {
            return Err(Refused::AddressNotProved);
        }
    }
    let reference = account::Reference::Email(new.email.clone());
    if let Some(known) = account::find(change.tx(), own.site, &reference).await?
        && base::role_of(change.tx(), organization, known.id).await?.is_some()
    {
        return Err(Refused::AlreadyMember);
    }
    let lately = store::lately(change.tx(), organization, new.email, now.minus(DAY)).await?;
    if lately >= A_DAY || store::open(change.tx(), organization, now).await? >= OPEN {
        return Err(Refused::InvitedOften);
    }
    let by = change.actor().who.account();
    let is_mailed = is_mailed(change, own.site, new.email, by).await?;
    let old = Open::To(organization, new.email);
    if store::end_open(change.tx(), old, Status::Expired, now).await? > 0 {
        ended(change, organization, Status::Expired).await?;
    }
    let token = Token::generate(change.app().random.as_ref());
    let invitation = Invitation {
        id: change.new_id(),
        number: change.number("invitation").await?,
        site: own.site,
        organization,
        email: new.email.clone(),
        role: new.role.clone(),
        status: Status::Pending,
        invited_by: by,
        days: new.days,
        created_at: now,
        expires_at: now.plus(DAY * new.days),
    };
    store::insert(change.tx(), &invitation, &token.digest(), is_mailed).await?;
    let role = invitation.role.clone();
    change.record(OrganizationEvent::Invited { organization, invitation: invitation.id, role }).await?;
    if is_mailed {
        words::send(change, &own, &invitation, &token, 1).await?;
    }
    Ok((invitation, token))
}

/// Sends an open invitation again, under another token and for as long again. Where its address got mail enough
/// for today, it stands for as long again under the token that was given out before.
pub async fn resend(change: &mut Change<'_>, invitation: &Invitation) -> Result<(), Refused> {
    let (now, organization) = (change.now(), invitation.organization);
    hold(change, organization).await?;
    let Some(own) = base::by_id(change.tx(), organization).await? else { return Err(Refused::Gone) };
    let is_mailed = is_mailed(change, own.site, &invitation.email, invitation.invited_by).await?;
    let token = is_mailed.then(|| Token::generate(change.app().random.as_ref()));
    let until = now.plus(DAY * invitation.days);
    let (digest, times) = (token.as_ref().map(Token::digest), (now, until));
    let sent =
        store::resend(change.tx(), invitation.id, digest.as_ref(), times, SENDS, now.minus(PAUSE)).await?;
    if sent == 0 {
        let stands = store::by_id(change.tx(), invitation.id).await?;
        let is_open = stands.is_some_and(|row| row.status == Status::Pending.name());
        return Err(if is_open { Refused::InvitedOften } else { Refused::InvitationOver });
    }
    let role = invitation.role.clone();
    change.record(OrganizationEvent::Invited { organization, invitation: invitation.id, role }).await?;
    let Some(token) = token else { return Ok(()) };
    let sends = store::sends(change.tx(), invitation.id).await?;
    let again = Invitation { expires_at: until, ..invitation.clone() };
    Ok(words::send(change, &own, &again, &token, sends).await?)
}

/// Takes an open invitation back.
pub async fn revoke(change: &mut Change<'_>, invitation: &Invitation) -> Result<(), Refused> {
    hold(change, invitation.organization).await?;
    end(change, invitation.id, invitation.organization, Status::Revoked).await
}

/// The invitation that this token opens to this person; `None` also where it was sent to somebody else.
pub async fn for_person(
    src: impl Source,
    token: &str,
    person: &account::Account,
    now: Timestamp,
) -> Result<Option<Invitation>, Error> {
    let found = store::by_token(src, &TokenDigest::of(token)).await?;
    let found = found.map(|row| row.read(now));
    Ok(found.filter(|own| own.site == person.site && person.email.as_ref() == Some(&own.email)))
}

/// Makes the person a member, as what the invitation says.
///
/// # Errors
/// [`Refused::InvitationOver`] where it was used, replaced or taken back, its time is over, or whoever invited
/// could not invite to this any more.
pub async fn accept(change: &mut Change<'_>, invitation: &Invitation, person: Id) -> Result<(), Refused> {
    let organization = invitation.organization;
    // First of all: what is proved about the account stays so until the end.
    if !account::hold(change, person).await? {
        return Err(Refused::NoInvitation);
    }
    let own = account::by_id(change.tx(), person).await?;
    let own = own.filter(|own| own.email.as_ref() == Some(&invitation.email) && own.deleted_at.is_none());
    if !own.ok_or(Refused::NoInvitation)?.is_email_verified {
        return Err(Refused::AddressNotProved);
    }
    hold(change, organization).await.map_err(over)?;
    let definitions = if let Some(inviter) = invitation.invited_by {
        let standing = Standing::look(change, inviter, organization).await.map_err(over)?;
        standing.may(INVITES).map_err(over)?;
        standing.reach(&invitation.role).map_err(over)?;
        standing.definitions().clone()
    } else {
        let config = change.app().config();
        rbac::definitions(change.tx(), &config.definitions).await?
    };
    end(change, invitation.id, organization, Status::Accepted).await?;
    let by = invitation.invited_by;
    match add_member_by(change, &definitions, organization, person, &invitation.role, by).await {
        Err(Refused::UndefinedRole(_)) => Err(Refused::InvitationOver),
        other => other,
    }
}

/// What an inviter lacks is the end of what they sent.
fn over(refused: Refused) -> Refused {
    match refused {
        Refused::Store(cause) => Refused::Store(cause),
        _ => Refused::InvitationOver,
    }
}

/// Says no.
pub async fn decline(change: &mut Change<'_>, invitation: &Invitation) -> Result<(), Refused> {
    end(change, invitation.id, invitation.organization, Status::Declined).await
}

/// Ends all open invitations of an organization that goes.
pub(super) async fn end_all(change: &mut Change<'_>, organization: Id) -> Result<(), Error> {
    let now = change.now();
    if store::end_open(change.tx(), Open::Of(organization), Status::Revoked, now).await? > 0 {
        ended(change, organization, Status::Revoked).await?;
    }
    Ok(())
}

/// Ends every open invitation to a role that is nowhere defined any more.
pub(super) async fn end_all_to(change: &mut Change<'_>, role: &Code) -> Result<(), Error> {
    let now = change.now();
    let organizations = store::with_open_as(change.tx(), role).await?;
    store::end_open(change.tx(), Open::As(role), Status::Revoked, now).await?;
    for organization in organizations {
        ended(change, organization, Status::Revoked).await?;
    }
    Ok(())
}

/// Forgets whom a person invited who goes, and who invited them: by an address that they proved, or others'
/// invitations would end by somebody who only said that it was theirs.
pub async fn erase(change: &mut Change<'_>, person: &account::Account) -> Result<(), Error> {
    let mut open = store::open_by(change.tx(), person.id).await?;
    store::forget_inviter(change.tx(), person.id).await?;
    if let Some(email) = person.email.as_ref().filter(|_| person.is_email_verified) {
        open.extend(store::open_to(change.tx(), person.site, email).await?);
        store::forget_address(change.tx(), person.site, email).await?;
    }
    for organization in open {
        ended(change, organization, Status::Revoked).await?;
    }
    Ok(())
}

/// Ends what is open for somebody who came in, went, or became something else there.
pub(super) async fn withdraw(change: &mut Change<'_>, organization: Id, person: Id) -> Result<(), Error> {
    let (now, person) = (change.now(), account::by_id(change.tx(), person).await?);
    let Some(email) = person.and_then(|person| person.email) else { return Ok(()) };
    let open = Open::To(organization, &email);
    if store::end_open(change.tx(), open, Status::Revoked, now).await? > 0 {
        ended(change, organization, Status::Revoked).await?;
    }
    Ok(())
}

/// Whether one more mail goes to an address today.
///
/// # Errors
/// [`Refused::InvitedOften`] where this person caused enough of them, in whatever organizations.
async fn is_mailed(
    change: &mut Change<'_>,
    site: Id,
    email: &Email,
    by: Option<Id>,
) -> Result<bool, Refused> {
    let since = change.now().minus(DAY);
    let sent = store::sent_to(change.tx(), site, email, since).await?;
    let of = |is_counted: &dyn Fn(Option<Id>) -> bool| -> i64 {
        sent.iter().filter(|(who, _)| is_counted(*who)).map(|(_, sends)| sends).sum()
    };
    if by.is_some() && of(&|who| who == by) >= MAILS_BY_ONE {
        return Err(Refused::InvitedOften);
    }
    Ok(of(&|_| true) < MAILS_A_DAY)
}

/// Removes some of the invitations whose time was over long ago; how many.
pub async fn sweep(app: &App) -> Result<u64, Error> {
    let mut tx = app.db.begin().await?;
    let gone = store::sweep(&mut tx, app.now().minus(KEPT), app.config().retention.batch).await?;
    tx.commit().await?;
    Ok(gone)
}

/// An organization's invitations, the latest first.
pub async fn list(
    src: impl Source,
    organization: Id,
    sought: &Sought,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<Invitation>, Error> {
    let rows = store::list(src, organization, sought, now, limit).await?;
    Ok(rows.into_iter().map(|row| row.read(now)).collect())
}

/// What a person invited others by, and what others sent to the address that is known to be theirs.
pub async fn of_person(
    src: &mut Tx,
    person: &account::Account,
    now: Timestamp,
) -> Result<(Vec<Invitation>, Vec<Invitation>), Error> {
    let read = |rows: Vec<store::Row>| rows.into_iter().map(|row| row.read(now)).collect();
    let sent = store::sent_by(src, person.id).await?;
    let got = match person.email.as_ref().filter(|_| person.is_email_verified) {
        Some(email) => store::got_by(src, person.site, email).await?,
        None => Vec::new(),
    };
    Ok((read(sent), read(got)))
}

/// The invitation of an organization that has this number.
pub async fn by_number(
    src: impl Source,
    organization: Id,
    number: Number,
    now: Timestamp,
) -> Result<Option<Invitation>, Error> {
    Ok(store::by_number(src, organization, number).await?.map(|row| row.read(now)))
}

/// One of many who try at once ends it.
async fn end(change: &mut Change<'_>, id: Id, organization: Id, status: Status) -> Result<(), Refused> {
    let now = change.now();
    if store::end(change.tx(), id, status, now).await? == 0 {
        return Err(Refused::InvitationOver);
    }
    Ok(ended(change, organization, status).await?)
}

async fn ended(change: &mut Change<'_>, organization: Id, status: Status) -> Result<(), Error> {
    change.record(OrganizationEvent::InvitationEnded { organization, how: status.name() }).await
}
