//! The SQL of invitations.
//!
//! Law: an invitation ends by one conditional write, whose row count decides; what was read before does not.

use super::{Invitation, Status};
use crate::base::{Email, Id, Number, Timestamp};
use crate::crypto::token::TokenDigest;
use crate::policy::Code;
use crate::store::{Error, FromRow, Source, Stmt, Tx, sql};

/// A row as it is written.
#[derive(FromRow)]
pub(super) struct Row {
    id: Id,
    number: Number,
    site_id: Id,
    organization_id: Id,
    email: Email,
    role_code: Code,
    pub status: String,
    invited_by: Option<Id>,
    days: i64,
    created_at: Timestamp,
    expires_at: Timestamp,
}

impl Row {
    /// What it is at this moment. A word of a newer version is over.
    pub(super) fn read(self, now: Timestamp) -> Invitation {
        let written = Status::named(&self.status).unwrap_or(Status::Revoked);
        let is_late = written == Status::Pending && self.expires_at <= now;
        Invitation {
            id: self.id,
            number: self.number,
            site: self.site_id,
            organization: self.organization_id,
            email: self.email,
            role: self.role_code,
            status: if is_late { Status::Expired } else { written },
            invited_by: self.invited_by,
            days: u32::try_from(self.days).unwrap_or(1),
            created_at: self.created_at,
            expires_at: self.expires_at,
        }
    }
}

fn rows() -> Stmt {
    sql(
        "SELECT id, number, site_id, organization_id, email, role_code, status, invited_by, days, created_at, \
         expires_at FROM invitation WHERE",
    )
}

/// Which invitations are looked for.
#[derive(Debug, Clone, Default)]
pub struct Sought {
    pub status: Option<Status>,
    pub email: Option<Email>,
    pub before: Option<i64>,
}

pub(super) async fn list(
    mut src: impl Source,
    organization: Id,
    sought: &Sought,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<Row>, Error> {
    let mut stmt = rows().push("organization_id = ?").bind(organization);
    stmt = match sought.status {
        None => stmt,
        Some(Status::Pending) => stmt.push("AND status = 'pending' AND expires_at > ?").bind(now),
        Some(Status::Expired) => {
            stmt.push("AND (status = 'expired' OR (status = 'pending' AND expires_at <= ?))").bind(now)
        }
        Some(other) => stmt.push("AND status = ?").bind(other.name()),
    };
    let stmt = stmt.and_if(sought.email.as_ref(), "email = ?").and_if(sought.before, "number < ?");
    src.all(stmt.push("ORDER BY number DESC LIMIT ?").bind(limit)).await
}

pub(super) async fn by_number(
    mut src: impl Source,
    organization: Id,
    number: Number,
) -> Result<Option<Row>, Error> {
    let stmt = rows().push("organization_id = ? AND number = ?").bind(organization);
    src.optional(stmt.bind(number)).await
}

pub(super) async fn by_id(mut src: impl Source, id: Id) -> Result<Option<Row>, Error> {
    src.optional(rows().push("id = ?").bind(id)).await
}

pub(super) async fn by_token(mut src: impl Source, digest: &TokenDigest) -> Result<Option<Row>, Error> {
    src.optional(rows().push("token_hash = ?").bind(digest.as_str())).await
}

pub(super) async fn insert(
    tx: &mut Tx,
    new: &Invitation,
    digest: &TokenDigest,
    is_mailed: bool,
) -> Result<(), Error> {
    let insert = sql("INSERT INTO invitation (id, number, site_id, organization_id, email, role_code, \
                      token_hash, status, invited_by, days, sends, sent_at, created_at, expires_at) \
                      VALUES (?, ?, ?, ?, ?, ?, ?, 'pending', ?, ?, ?, ?, ?, ?)")
    .bind(new.id)
    .bind(new.number)
    .bind(new.site)
    .bind(new.organization)
    .bind(&new.email)
    .bind(&new.role)
    .bind(digest.as_str())
    .bind(new.invited_by)
    .bind(new.days)
    .bind(i64::from(is_mailed))
    .bind(new.created_at)
    .bind(new.created_at)
    .bind(new.expires_at);
    tx.execute(insert).await.map(drop)
}

/// Which open invitations end.
#[derive(Clone, Copy)]
pub(super) enum Open<'a> {
    /// Of an organization, to an address.
    To(Id, &'a Email),
    /// Of an organization.
    Of(Id),
    /// To be this, wherever.
    As(&'a Code),
}

/// Ends them; how many there were.
pub(super) async fn end_open(
    tx: &mut Tx,
    which: Open<'_>,
    status: Status,
    now: Timestamp,
) -> Result<u64, Error> {
    let update = sql("UPDATE invitation SET status = ?, ended_at = ? WHERE status = 'pending'");
    let update = update.bind(status.name()).bind(now);
    let update = match which {
        Open::To(organization, email) => {
            update.push("AND organization_id = ? AND email = ?").bind(organization).bind(email)
        }
        Open::Of(organization) => update.push("AND organization_id = ?").bind(organization),
        Open::As(role) => update.push("AND role_code = ?").bind(role),
    };
    tx.execute(update).await
}

/// The organizations that have invited somebody to be this.
pub(super) async fn with_open_as(tx: &mut Tx, role: &Code) -> Result<Vec<Id>, Error> {
    let rows = sql("SELECT DISTINCT organization_id FROM invitation WHERE role_code = ? \
                    AND status = 'pending' ORDER BY organization_id");
    let rows = tx.all::<(Id,)>(rows.bind(role)).await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Who invited an address, and how many mails each invitation was that went there since then.
pub(super) async fn sent_to(
    tx: &mut Tx,
    site: Id,
    email: &Email,
    since: Timestamp,
) -> Result<Vec<(Option<Id>, i64)>, Error> {
    let rows =
        sql("SELECT invited_by, sends FROM invitation WHERE site_id = ? AND email = ? AND sent_at > ? \
                    AND sends > 0 LIMIT 100");
    tx.all(rows.bind(site).bind(email).bind(since)).await
}

/// What somebody sent, open or over.
pub(super) async fn sent_by(tx: &mut Tx, inviter: Id) -> Result<Vec<Row>, Error> {
    tx.all(rows().push("invited_by = ? ORDER BY number").bind(inviter)).await
}

/// What was sent to an address, open or over.
pub(super) async fn got_by(tx: &mut Tx, site: Id, email: &Email) -> Result<Vec<Row>, Error> {
    tx.all(rows().push("site_id = ? AND email = ? ORDER BY number").bind(site).bind(email)).await
}

/// The organizations of the open invitations that somebody sent.
pub(super) async fn open_by(tx: &mut Tx, inviter: Id) -> Result<Vec<Id>, Error> {
    let rows = sql("SELECT organization_id FROM invitation WHERE invited_by = ? AND status = 'pending'");
    let rows = tx.all::<(Id,)>(rows.bind(inviter).push("ORDER BY id")).await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// The organizations of the open invitations to an address.
pub(super) async fn open_to(tx: &mut Tx, site: Id, email: &Email) -> Result<Vec<Id>, Error> {
    let rows = sql("SELECT organization_id FROM invitation WHERE site_id = ? AND email = ? \
                    AND status = 'pending' ORDER BY id");
    let rows = tx.all::<(Id,)>(rows.bind(site).bind(email)).await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// How many invitations of an organization went to an address since then.
pub(super) async fn lately(
    tx: &mut Tx,
    organization: Id,
    email: &Email,
    since: Timestamp,
) -> Result<i64, Error> {
    let count =
        sql("SELECT COUNT(*) FROM invitation WHERE organization_id = ? AND email = ? AND sent_at > ?");
    let (count,): (i64,) = tx.one(count.bind(organization).bind(email).bind(since)).await?;
    Ok(count)
}

/// How many invitations of an organization are open.
pub(super) async fn open(tx: &mut Tx, organization: Id, now: Timestamp) -> Result<i64, Error> {
    let count = sql("SELECT COUNT(*) FROM invitation WHERE organization_id = ? AND status = 'pending' \
                     AND expires_at > ?");
    let (count,): (i64,) = tx.one(count.bind(organization).bind(now)).await?;
    Ok(count)
}

/// Lets an invitation stand until then, if it is open and was not sent too often or a moment ago; with another
/// token in the place of the one that was sent, where one is sent now.
pub(super) async fn resend(
    tx: &mut Tx,
    id: Id,
    digest: Option<&TokenDigest>,
    (now, until): (Timestamp, Timestamp),
    most: i64,
    before: Timestamp,
) -> Result<u64, Error> {
    let mut update = sql("UPDATE invitation SET expires_at = ?").bind(until);
    if let Some(digest) = digest {
        update = update.push(", token_hash = ?, sends = sends + 1, sent_at = ?");
        update = update.bind(digest.as_str()).bind(now);
    }
    let update = update.push("WHERE id = ? AND status = 'pending' AND sends < ? AND sent_at <= ?");
    tx.execute(update.bind(id).bind(most).bind(before)).await
}

pub(super) async fn sends(tx: &mut Tx, id: Id) -> Result<i64, Error> {
    let (sends,): (i64,) = tx.one(sql("SELECT sends FROM invitation WHERE id = ?").bind(id)).await?;
    Ok(sends)
}

/// Ends an invitation that is open; how many that were.
pub(super) async fn end(tx: &mut Tx, id: Id, status: Status, now: Timestamp) -> Result<u64, Error> {
    let update = sql("UPDATE invitation SET status = ?, ended_at = ? WHERE id = ? AND status = 'pending'");
    let update = update.bind(status.name()).bind(now).bind(id);
    // What is taken back may have been over already.
    let update = match status {
        Status::Revoked => update,
        _ => update.push("AND expires_at > ?").bind(now),
    };
    tx.execute(update).await
}

/// Removes some of those whose time was over before then; how many.
pub(super) async fn sweep(tx: &mut Tx, before: Timestamp, most: u32) -> Result<u64, Error> {
    let over = sql("SELECT id FROM invitation WHERE expires_at < ? LIMIT ?").bind(before).bind(most);
    let over: Vec<(Id,)> = tx.all(over).await?;
    tx.execute(sql("DELETE FROM invitation WHERE id IN").list(over.into_iter().map(|(id,)| id))).await
}

pub(super) async fn forget_inviter(tx: &mut Tx, inviter: Id) -> Result<(), Error> {
    // Without an inviter it would be an operator's.
    let delete = sql("DELETE FROM invitation WHERE invited_by = ?").bind(inviter);
    tx.execute(delete).await.map(drop)
}

pub(super) async fn forget_address(tx: &mut Tx, site: Id, email: &Email) -> Result<(), Error> {
    let delete = sql("DELETE FROM invitation WHERE site_id = ? AND email = ?").bind(site).bind(email);
    tx.execute(delete).await.map(drop)
}
