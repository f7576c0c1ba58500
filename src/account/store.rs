//! The SQL of accounts and of the passwords they had.
//! Law: whatever must hold is a condition of the write, and the row count says whether it held.

use super::{
    Account, Channel, Field, Flag, Known, MustChange, NewAccount, PasswordHash, Reference, Target, Username,
};
use crate::base::{Id, Number, Timestamp};
use crate::store::{Error, FromRow, Source, Stmt, Tx, sql};

/// `SELECT` with the columns of [`Account`], ready for a condition.
pub(super) fn select() -> Stmt {
    sql(
        "SELECT id, number, site_id AS site, email, phone, username, pending_email, pending_phone, password_hash, \
         password_changed_at, must_change_password, first_name, last_name, bio, timezone, language, custom_fields, is_active, \
         is_banned, is_staff, is_superuser, is_email_verified, is_phone_verified, is_locked, locked_until, \
         created_at, updated_at, last_login_at, second_factor_at, deleted_at FROM account",
    )
}

pub(super) async fn by_id(mut src: impl Source, id: Id) -> Result<Option<Account>, Error> {
    src.optional(select().push("WHERE id = ?").bind(id)).await
}

pub(super) async fn find(
    mut src: impl Source,
    site: Id,
    reference: &Reference,
) -> Result<Option<Account>, Error> {
    let base = select().push("WHERE deleted_at IS NULL AND site_id = ? AND").bind(site);
    let stmt = match reference {
        Reference::Id(id) => base.push("id = ?").bind(*id),
        Reference::Number(number) => base.push("number = ?").bind(*number),
        Reference::Email(email) => base.push("email = ?").bind(email),
        Reference::Phone(phone) => base.push("phone = ?").bind(phone),
        Reference::Username(username) => base.push("username = ?").bind(username.as_str()),
    };
    src.optional(stmt).await
}

pub(super) async fn list(
    mut src: impl Source,
    site: Id,
    limit: u32,
    offset: u32,
) -> Result<Vec<Account>, Error> {
    let stmt = select().push("WHERE deleted_at IS NULL AND site_id = ?").bind(site);
    src.all(stmt.push("ORDER BY number, id LIMIT ? OFFSET ?").bind(limit).bind(offset)).await
}

pub(super) async fn insert(
    tx: &mut Tx,
    id: Id,
    number: Number,
    account: &NewAccount,
    now: Timestamp,
) -> Result<(), Error> {
    let stmt = sql("INSERT INTO account (id, number, site_id, email, phone, username, password_hash, \
         password_changed_at, must_change_password, first_name, last_name, bio, timezone, language, \
         is_active, is_banned, is_staff, is_superuser, is_email_verified, is_phone_verified, is_locked, \
         created_at, updated_at) VALUES")
    .push("(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', '', '', ?, ?, ?, ?, ?, ?, ?, ?, ?)")
    .bind(id)
    .bind(number)
    .bind(account.site)
    .bind(account.email.as_ref())
    .bind(account.phone.as_ref())
    .bind(account.username.as_ref().map(Username::as_str))
    .bind(account.password_hash.as_ref().map(PasswordHash::expose))
    .bind(account.password_hash.as_ref().map(|_| now))
    .bind(account.must_change_password)
    .bind(account.first_name.as_str())
    .bind(account.last_name.as_str())
    .bind(true)
    .bind(false)
    .bind(account.is_staff)
    .bind(account.is_superuser)
    .bind(account.is_verified && account.email.is_some())
    .bind(account.is_verified && account.phone.is_some())
    .bind(false)
    .bind(now)
    .bind(now);
    tx.execute(stmt).await.map(drop)
}

/// Sets a password and lifts the wish for a new one. `was` is the hash that the caller saw: where
/// another change came first no row is met, and 0 is the answer.
pub(super) async fn set_password(
    tx: &mut Tx,
    id: Id,
    was: Option<&PasswordHash>,
    hash: &PasswordHash,
    must_change: MustChange,
    now: Timestamp,
) -> Result<u64, Error> {
    let stmt =
        sql("UPDATE account SET password_hash = ?, password_changed_at = ?, must_change_password = ?, \
                    updated_at = ? WHERE id = ? AND deleted_at IS NULL")
        .bind(hash.expose())
        .bind(now)
        .bind(must_change == MustChange::AtNextLogin)
        .bind(now)
        .bind(id);
    let stmt = match was {
        Some(was) => stmt.push("AND password_hash = ?").bind(was.expose()),
        None => stmt.push("AND password_hash IS NULL"),
    };
    tx.execute(stmt).await
}

/// The same password in another form: nothing but the hash changes.
pub(super) async fn rehash(
    tx: &mut Tx,
    id: Id,
    was: &PasswordHash,
    hash: &PasswordHash,
) -> Result<u64, Error> {
    let stmt = sql("UPDATE account SET password_hash = ? WHERE id = ? AND password_hash = ?");
    tx.execute(stmt.bind(hash.expose()).bind(id).bind(was.expose())).await
}

pub(super) async fn remember_password(
    tx: &mut Tx,
    row: Id,
    account: Id,
    hash: &PasswordHash,
    now: Timestamp,
) -> Result<(), Error> {
    let stmt =
        sql("INSERT INTO password_history (id, account_id, password_hash, replaced_at) VALUES (?, ?, ?, ?)");
    tx.execute(stmt.bind(row).bind(account).bind(hash.expose()).bind(now)).await.map(drop)
}

#[derive(FromRow)]
pub(super) struct Former {
    pub(super) id: Id,
    pub(super) password_hash: PasswordHash,
}

/// Former passwords, the latest first.
pub(super) async fn former_passwords(mut src: impl Source, account: Id) -> Result<Vec<Former>, Error> {
    let stmt = sql("SELECT id, password_hash FROM password_history WHERE account_id = ? \
                    ORDER BY replaced_at DESC, id DESC");
    src.all(stmt.bind(account)).await
}

pub(super) async fn forget_passwords(tx: &mut Tx, rows: &[Id]) -> Result<(), Error> {
    let stmt = sql("DELETE FROM password_history WHERE id IN").list(rows.iter().copied());
    tx.execute(stmt).await.map(drop)
}

/// Notes a login of an account that may log in at this moment and whose password and second factor
/// are still those that were verified; 0 otherwise. Holds the row until the transaction ends, so that logins of one
/// account come one after the other.
pub(super) async fn note_login(tx: &mut Tx, account: &Account, now: Timestamp) -> Result<u64, Error> {
    let stmt = sql("UPDATE account SET last_login_at = ? WHERE id = ? AND is_active = ? AND is_banned = ? \
                    AND (is_locked = ? OR locked_until <= ?)");
    let stmt = stmt.bind(now).bind(account.id).bind(true).bind(false).bind(false).bind(now);
    let stmt = match account.password_changed_at {
        Some(at) => stmt.push("AND password_changed_at = ?").bind(at),
        None => stmt.push("AND password_changed_at IS NULL"),
    };
    let stmt = match account.second_factor_at {
        Some(at) => stmt.push("AND second_factor_at = ?").bind(at),
        None => stmt.push("AND second_factor_at IS NULL"),
    };
    tx.execute(stmt).await
}

pub(super) async fn set_second_factor(
    tx: &mut Tx,
    id: Id,
    at: Option<Timestamp>,
    now: Timestamp,
) -> Result<u64, Error> {
    let stmt = sql("UPDATE account SET second_factor_at = ?, updated_at = ? WHERE id = ?");
    tx.execute(stmt.bind(at).bind(now).bind(id)).await
}

pub(super) async fn hold(tx: &mut Tx, id: Id, now: Timestamp) -> Result<u64, Error> {
    let stmt =
        sql("UPDATE account SET updated_at = updated_at WHERE id = ? AND is_active = ? AND is_banned = ? \
                    AND (is_locked = ? OR locked_until <= ?)");
    tx.execute(stmt.bind(id).bind(true).bind(false).bind(false).bind(now)).await
}

pub(super) async fn verify(tx: &mut Tx, id: Id, channel: Channel, now: Timestamp) -> Result<u64, Error> {
    let stmt = match channel {
        Channel::Email => sql("UPDATE account SET is_email_verified = ?, updated_at = ? WHERE id = ? \
                               AND email IS NOT NULL AND is_email_verified = ?"),
        Channel::Phone => sql("UPDATE account SET is_phone_verified = ?, updated_at = ? WHERE id = ? \
                               AND phone IS NOT NULL AND is_phone_verified = ?"),
    };
    tx.execute(stmt.bind(true).bind(now).bind(id).bind(false)).await
}

/// The wish is read before it is taken away, because MySQL reads what it has written already.
pub(super) async fn take_wish(tx: &mut Tx, id: Id, proved: &Target, now: Timestamp) -> Result<u64, Error> {
    let stmt = match proved {
        Target::Email(email) => sql("UPDATE account SET email = pending_email, pending_email = NULL, \
                                     is_email_verified = ?, updated_at = ? WHERE id = ? AND pending_email = ?")
        .bind(true)
        .bind(now)
        .bind(id)
        .bind(email),
        Target::Phone(phone) => sql("UPDATE account SET phone = pending_phone, pending_phone = NULL, \
                                     is_phone_verified = ?, updated_at = ? WHERE id = ? AND pending_phone = ?")
        .bind(true)
        .bind(now)
        .bind(id)
        .bind(phone),
    };
    tx.execute(stmt).await
}

pub(super) async fn lock(
    tx: &mut Tx,
    id: Id,
    until: Option<Timestamp>,
    now: Timestamp,
) -> Result<u64, Error> {
    let stmt = sql("UPDATE account SET is_locked = ?, locked_until = ?, updated_at = ? \
                    WHERE id = ? AND deleted_at IS NULL");
    shut_out(tx, id, now, stmt.bind(true).bind(until).bind(now).bind(id)).await
}

/// The same where no lock holds.
pub(super) async fn lock_anew(
    tx: &mut Tx,
    id: Id,
    until: Option<Timestamp>,
    now: Timestamp,
) -> Result<u64, Error> {
    let stmt = sql("UPDATE account SET is_locked = ?, locked_until = ?, updated_at = ? \
                    WHERE id = ? AND deleted_at IS NULL AND (is_locked = ? OR locked_until <= ?)");
    let stmt = stmt.bind(true).bind(until).bind(now).bind(id).bind(false).bind(now);
    shut_out(tx, id, now, stmt).await
}

pub(super) async fn demand_password(
    tx: &mut Tx,
    id: Id,
    must: MustChange,
    now: Timestamp,
) -> Result<u64, Error> {
    let must = must == MustChange::AtNextLogin;
    let stmt = sql("UPDATE account SET must_change_password = ?, updated_at = ? WHERE id = ? \
                    AND must_change_password <> ? AND password_hash IS NOT NULL AND deleted_at IS NULL");
    tx.execute(stmt.bind(must).bind(now).bind(id).bind(must)).await
}

/// These accounts, in no order.
pub(super) async fn by_ids(mut src: impl Source, ids: &[Id]) -> Result<Vec<Account>, Error> {
    src.all(select().push("WHERE id IN").list(ids.iter().copied())).await
}

pub(super) async fn unlock(tx: &mut Tx, id: Id, now: Timestamp) -> Result<u64, Error> {
    let stmt = sql(
        "UPDATE account SET is_locked = ?, locked_until = ?, updated_at = ? WHERE id = ? AND is_locked = ?",
    );
    tx.execute(stmt.bind(false).bind(None::<Timestamp>).bind(now).bind(id).bind(true)).await
}

pub(super) async fn set_active(tx: &mut Tx, id: Id, is_active: bool, now: Timestamp) -> Result<u64, Error> {
    let stmt = sql("UPDATE account SET is_active = ?, updated_at = ? \
                    WHERE id = ? AND is_active <> ? AND deleted_at IS NULL");
    let stmt = stmt.bind(is_active).bind(now).bind(id).bind(is_active);
    if is_active { tx.execute(stmt).await } else { shut_out(tx, id, now, stmt).await }
}

pub(super) async fn set_banned(tx: &mut Tx, id: Id, is_banned: bool, now: Timestamp) -> Result<u64, Error> {
    let stmt = sql("UPDATE account SET is_banned = ?, is_active = ?, updated_at = ? \
                    WHERE id = ? AND is_banned <> ? AND deleted_at IS NULL");
    let stmt = stmt.bind(is_banned).bind(!is_banned).bind(now).bind(id).bind(is_banned);
    if is_banned { shut_out(tx, id, now, stmt).await } else { tx.execute(stmt).await }
}

pub(super) async fn raise(tx: &mut Tx, id: Id, flag: Flag, now: Timestamp) -> Result<u64, Error> {
    let stmt = match flag {
        Flag::Staff => sql("UPDATE account SET is_staff = ?, updated_at = ? \
                            WHERE id = ? AND is_staff = ? AND deleted_at IS NULL"),
        Flag::Superuser => sql("UPDATE account SET is_superuser = ?, updated_at = ? \
                                WHERE id = ? AND is_superuser = ? AND deleted_at IS NULL"),
    };
    tx.execute(stmt.bind(true).bind(now).bind(id).bind(false)).await
}

/// Takes a flag away; 0 where it is not there, or nobody but this superuser could log in.
pub(super) async fn lower(tx: &mut Tx, id: Id, flag: Flag, now: Timestamp) -> Result<u64, Error> {
    if flag == Flag::Staff {
        let stmt = sql("UPDATE account SET is_staff = ?, updated_at = ? WHERE id = ? AND is_staff = ?");
        return tx.execute(stmt.bind(false).bind(now).bind(id).bind(true)).await;
    }
    let stmt = sql("UPDATE account SET is_superuser = ?, updated_at = ? WHERE id = ? AND is_superuser = ?");
    hold_superusers(tx).await?;
    tx.execute(beside_another(stmt.bind(false).bind(now).bind(id).bind(true), id, now)).await
}

/// Writes what keeps an account out: `stmt`, which ends in its own condition. 0 where that is not met, or
/// nobody else could do what superusers do.
async fn shut_out(tx: &mut Tx, id: Id, now: Timestamp, stmt: Stmt) -> Result<u64, Error> {
    let done = tx.execute(stmt.clone().push("AND is_superuser = ?").bind(false)).await?;
    if done > 0 {
        return Ok(done);
    }
    hold_superusers(tx).await?;
    tx.execute(beside_another(stmt, id, now)).await
}

/// Holds superusers until the transaction ends, so that of two who are shut out at once the later one sees
/// the other.
async fn hold_superusers(tx: &mut Tx) -> Result<(), Error> {
    let hold = sql("UPDATE account SET updated_at = updated_at WHERE is_superuser = ?");
    tx.execute(hold.bind(true)).await.map(drop)
}

/// Whether a row is a superuser's who can log in: those whose [`Standing`](super::Standing) is good.
const CAN_LOG_IN: &str = "is_superuser = ? AND is_active = ? AND is_banned = ? \
                          AND (is_locked = ? OR locked_until <= ?) AND deleted_at IS NULL";

/// Goes on with [`CAN_LOG_IN`].
fn can_log_in(stmt: Stmt, now: Timestamp) -> Stmt {
    stmt.push(CAN_LOG_IN).bind(true).bind(true).bind(false).bind(false).bind(now)
}

/// The same write where another superuser of the site can log in.
fn beside_another(stmt: Stmt, id: Id, now: Timestamp) -> Stmt {
    // DISTINCT makes MySQL read them before it writes into the same table.
    let stmt = stmt.push("AND EXISTS (SELECT 1 FROM (SELECT DISTINCT id, site_id FROM account WHERE");
    let stmt = can_log_in(stmt, now);
    stmt.push(") others WHERE others.id <> ? AND others.site_id = account.site_id)").bind(id)
}

/// Whether nobody but this superuser of a site could log in.
pub(super) async fn is_last_superuser(mut src: impl Source, id: Id, now: Timestamp) -> Result<bool, Error> {
    let stmt = sql("SELECT COUNT(*) FROM account WHERE id = ? AND is_superuser = ? AND deleted_at IS NULL \
                    AND NOT EXISTS (SELECT 1 FROM account others WHERE others.id <> account.id \
                    AND others.site_id = account.site_id AND");
    let stmt = can_log_in(stmt.bind(id).bind(true), now).push(")");
    let (count,): (i64,) = src.one(stmt).await?;
    Ok(count > 0)
}

pub(super) async fn known(mut src: impl Source, site: Id, ids: &[Id]) -> Result<Vec<Known>, Error> {
    let stmt = sql("SELECT id, number, email FROM account WHERE site_id = ? AND id IN").bind(site);
    src.all(stmt.list(ids.iter().copied()).push("ORDER BY number")).await
}

pub(super) async fn has_superuser(tx: &mut Tx, site: Id, now: Timestamp) -> Result<bool, Error> {
    hold_superusers(tx).await?;
    let one = can_log_in(sql("SELECT number FROM account WHERE site_id = ? AND").bind(site), now);
    let one = one.push("ORDER BY number LIMIT 1");
    Ok(tx.optional::<(Number,)>(one).await?.is_some())
}

pub(super) fn superusers(site: Id, after: Option<Id>, most: u32) -> Stmt {
    let stmt = sql("SELECT id FROM account WHERE site_id = ? AND is_superuser = ? AND deleted_at IS NULL");
    stmt.bind(site).bind(true).and_if(after, "id > ?").push("ORDER BY id LIMIT ?").bind(most)
}

/// Writes these fields of a profile and no others, so that two edits of different fields both stay.
pub(super) async fn edit(tx: &mut Tx, id: Id, fields: &[Field], now: Timestamp) -> Result<u64, Error> {
    let mut stmt = sql("UPDATE account SET updated_at = ?").bind(now);
    for field in fields {
        stmt = match field {
            Field::Username(name) => stmt.push(", username = ?").bind(name.as_ref().map(Username::as_str)),
            Field::FirstName(text) => stmt.push(", first_name = ?").bind(text.as_str()),
            Field::LastName(text) => stmt.push(", last_name = ?").bind(text.as_str()),
            Field::Bio(text) => stmt.push(", bio = ?").bind(text.as_str()),
            Field::Timezone(text) => stmt.push(", timezone = ?").bind(text.as_str()),
            Field::Language(text) => stmt.push(", language = ?").bind(text.as_str()),
            Field::Custom(value) => {
                stmt.push(", custom_fields = ?").bind(value.as_ref().map(ToString::to_string))
            }
            Field::Email(email) => {
                stmt.push(", email = ?, is_email_verified = ?, pending_email = NULL").bind(email).bind(false)
            }
            Field::PendingEmail(email) => stmt.push(", pending_email = ?").bind(email.as_ref()),
            Field::PendingPhone(phone) => stmt.push(", pending_phone = ?").bind(phone.as_ref()),
        };
    }
    tx.execute(stmt.push("WHERE id = ?").bind(id).push("AND deleted_at IS NULL")).await
}

/// Takes everything from an account that tells of a person; 0 where that was done before, or nobody else
/// could do what superusers do. The row stays, so that no other account gets its number, and nothing that
/// names its id means somebody else.
pub(super) async fn erase(tx: &mut Tx, id: Id, now: Timestamp) -> Result<u64, Error> {
    let stmt = sql("UPDATE account SET email = NULL, phone = NULL, username = NULL, pending_email = NULL, \
                    pending_phone = NULL, password_hash = NULL, password_changed_at = NULL, first_name = '', \
                    last_name = '', bio = '', timezone = '', language = '', custom_fields = NULL, \
                    locked_until = NULL, last_login_at = NULL, second_factor_at = NULL,")
    .push("must_change_password = ?, is_active = ?, is_banned = ?, is_staff = ?, is_superuser = ?,")
    .bind(false)
    .bind(false)
    .bind(false)
    .bind(false)
    .bind(false)
    .push("is_email_verified = ?, is_phone_verified = ?, is_locked = ?, updated_at = ?, deleted_at = ?")
    .bind(false)
    .bind(false)
    .bind(false)
    .bind(now)
    .bind(now)
    .push("WHERE id = ? AND deleted_at IS NULL")
    .bind(id);
    let gone = shut_out(tx, id, now, stmt).await?;
    tx.execute(sql("DELETE FROM password_history WHERE account_id = ?").bind(id)).await?;
    Ok(gone)
}
