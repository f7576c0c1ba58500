//! The SQL of lists of people: one range of one index each.
//! Law: a lower and an upper bound for a column stand in one statement once each, because an index takes
//! one of a kind; where a list was begun, the place it has come to is the bound.

use super::{Column, Indexed, Key, Part, Roll, Search, Start, Usable};
use crate::base::{Id, Timestamp};
use crate::store::{Error, Source, Stmt, Tx, sql};

/// How long a word is at most.
pub(super) const WORD_MAX: usize = 254;

/// The pieces of a statement that sorts by a column.
struct Pieces {
    given: &'static str,
    lacking: &'static str,
    equal: &'static str,
    above: &'static str,
    below: &'static str,
    up: &'static str,
    down: &'static str,
}

macro_rules! pieces {
    ($column:literal) => {
        Pieces {
            given: concat!("AND ", $column, " IS NOT NULL"),
            lacking: concat!("AND ", $column, " IS NULL"),
            equal: concat!("AND ", $column, " = ?"),
            above: concat!("AND ", $column, " > ?"),
            below: concat!("AND ", $column, " < ?"),
            up: concat!("ORDER BY ", $column, ", number LIMIT ?"),
            down: concat!("ORDER BY ", $column, " DESC, number DESC LIMIT ?"),
        }
    };
}

impl Column {
    const fn pieces(self) -> Pieces {
        match self {
            Self::Email => pieces!("email"),
            Self::FirstName => pieces!("first_name"),
            Self::LastName => pieces!("last_name"),
            Self::CreatedAt => pieces!("created_at"),
            Self::LastLogin => pieces!("last_login_at"),
        }
    }
}

impl Indexed {
    const fn piece(self) -> &'static str {
        match self {
            Self::Active => "AND is_active = ?",
            Self::Locked => "AND is_locked = ?",
            Self::Banned => "AND is_banned = ?",
            Self::EmailVerified => "AND is_email_verified = ?",
        }
    }
}

/// A range of an index.
pub(super) struct Stretch<'a> {
    pub(super) site: Id,
    pub(super) part: Part,
    pub(super) backwards: bool,
    pub(super) search: &'a Search,
    pub(super) start: Start<'a>,
}

impl Stretch<'_> {
    pub(super) fn stmt(&self, most: u32) -> Stmt {
        let Self { part, backwards, .. } = *self;
        let pieces = part.column.pieces();
        let mut stmt = crate::account::store::select().push("WHERE site_id = ?").bind(self.site);
        if let Some((flag, is_set)) = part.only {
            stmt = stmt.push(flag.piece()).bind(is_set);
        }
        stmt = match (part.lacks, &self.start) {
            (true, _) => stmt.push(pieces.lacking),
            (false, Start::Beginning) if part.column.may_lack() => stmt.push(pieces.given),
            (false, Start::Among(key, _)) => with(stmt.push(pieces.equal), key),
            (false, Start::Behind(key)) => {
                with(stmt.push(if backwards { pieces.below } else { pieces.above }), key)
            }
            (false, Start::Beginning) => stmt,
        };
        if let Start::Among(_, number) = self.start {
            stmt = stmt.push(if backwards { "AND number < ?" } else { "AND number > ?" }).bind(number);
        } else if part.column == Column::CreatedAt {
            stmt = self.bounded(stmt);
        }
        stmt.push(if backwards { pieces.down } else { pieces.up }).bind(most)
    }

    /// Between the moments that are asked for; where the list has begun, only to its end.
    fn bounded(&self, stmt: Stmt) -> Stmt {
        let has_begun = matches!(self.start, Start::Behind(_));
        let since = self.search.since.filter(|_| self.backwards || !has_begun);
        let until = self.search.until.filter(|_| !self.backwards || !has_begun);
        stmt.and_if(since, "created_at >= ?").and_if(until, "created_at < ?")
    }
}

fn with(stmt: Stmt, key: &Key) -> Stmt {
    match key {
        Key::Moment(moment) => stmt.bind(*moment),
        Key::Text(text) => stmt.bind(text.as_str()),
        Key::Nothing => stmt.bind(None::<&str>),
    }
}

/// How many accounts of a roll, or of a part of it, there are; no more than `most` are counted.
pub(super) async fn count(
    mut src: impl Source,
    roll: &Roll<'_>,
    part: Option<Part>,
    most: u32,
) -> Result<u32, Error> {
    let stmt = of_roll(sql("SELECT COUNT(*) FROM (SELECT number FROM account"), roll, part);
    let (found,): (i64,) = src.one(stmt.push("LIMIT ?").bind(most).push(") AS counted")).await?;
    Ok(u32::try_from(found).unwrap_or(most))
}

/// Some accounts of a part of a roll, by how many are before them.
pub(super) fn stretch(roll: &Roll<'_>, part: Part, before: u32, most: u32) -> Stmt {
    let pieces = part.column.pieces();
    let stmt = of_roll(crate::account::store::select(), roll, Some(part));
    let stmt = stmt.push(if roll.order.is_backwards { pieces.down } else { pieces.up }).bind(most);
    stmt.push("OFFSET ?").bind(before)
}

fn of_roll(stmt: Stmt, roll: &Roll<'_>, part: Option<Part>) -> Stmt {
    let mut stmt = stmt.push("WHERE site_id = ?").bind(roll.site).push("AND deleted_at IS NULL");
    if let Some(part) = part.filter(|part| part.column.may_lack()) {
        let pieces = part.column.pieces();
        stmt = stmt.push(if part.lacks { pieces.lacking } else { pieces.given });
    }
    if let Some(usable) = roll.usable {
        stmt = of_those(stmt, usable, roll.now);
    }
    if roll.except.is_empty() {
        return stmt;
    }
    stmt.push("AND id NOT IN").list(roll.except.iter().copied())
}

/// Their site is not named: an index of the site's would be read, which is everybody, where these are few.
pub(super) fn usable_among(ids: &[Id], now: Timestamp) -> Stmt {
    let stmt =
        sql("SELECT COUNT(*) FROM account WHERE deleted_at IS NULL AND id IN").list(ids.iter().copied());
    of_those(stmt, Usable::Yes, now)
}

/// Only those of whom this is so, as [`Usable::of`] says of one.
fn of_those(stmt: Stmt, usable: Usable, now: Timestamp) -> Stmt {
    if usable == Usable::No {
        return stmt.push("AND (is_active = ? OR is_banned = ?)").bind(false).bind(true);
    }
    let stmt = stmt.push("AND is_active = ?").bind(true).push("AND is_banned = ?").bind(false);
    if usable == Usable::Locked {
        let holds = "AND is_locked = ? AND (locked_until IS NULL OR locked_until > ?)";
        return stmt.push(holds).bind(true).bind(now);
    }
    let stmt = stmt.push("AND (is_locked = ? OR locked_until <= ?)").bind(false).bind(now);
    if usable == Usable::Awaited {
        stmt.push("AND password_hash IS NULL AND last_login_at IS NULL")
    } else {
        stmt.push("AND (password_hash IS NOT NULL OR last_login_at IS NOT NULL)")
    }
}

/// Words of a site that begin so, behind a place, with whose they are.
pub(super) async fn words(
    mut src: impl Source,
    site: Id,
    beginning: &str,
    after: Option<(&str, Id)>,
    most: u32,
) -> Result<Vec<(String, Id)>, Error> {
    let mut found: Vec<(String, Id)> = Vec::new();
    if let Some((word, id)) = after {
        found = src.all(same_word(site, word, id, most)).await?;
    }
    let wanted = most.saturating_sub(u32::try_from(found.len()).unwrap_or(u32::MAX));
    if wanted > 0 {
        let further = further_words(site, beginning, after.map(|(word, _)| word), wanted);
        found.extend(src.all::<(String, Id)>(further).await?);
    }
    Ok(found)
}

pub(super) fn same_word(site: Id, word: &str, id: Id, most: u32) -> Stmt {
    let same =
        sql("SELECT word, account_id FROM account_word WHERE site_id = ? AND word = ? AND account_id > ? \
                    ORDER BY word, account_id LIMIT ?");
    same.bind(site).bind(word).bind(id).bind(most)
}

pub(super) fn further_words(site: Id, beginning: &str, after: Option<&str>, most: u32) -> Stmt {
    let stmt = sql("SELECT word, account_id FROM account_word WHERE site_id = ?").bind(site);
    let stmt = match after {
        Some(word) => stmt.push("AND word > ?").bind(word),
        None => stmt.push("AND word >= ?").bind(beginning),
    };
    let stmt = stmt.and_if(end_of(beginning).as_deref(), "word < ?");
    stmt.push("ORDER BY word, account_id LIMIT ?").bind(most)
}

/// The first text behind all that begin so; `None` where nothing is.
fn end_of(beginning: &str) -> Option<String> {
    let mut letters: Vec<char> = beginning.chars().collect();
    while let Some(last) = letters.pop() {
        // What lies between is no letter.
        let next = if last == '\u{d7ff}' { Some('\u{e000}') } else { char::from_u32(u32::from(last) + 1) };
        if let Some(next) = next {
            letters.push(next);
            return Some(letters.into_iter().collect());
        }
    }
    None
}

/// Many accounts at once, for tests of lists that are long: the numbers from `first` on, each made a
/// millisecond after the one before it, called by its number, and every tenth banned.
#[cfg(test)]
pub(crate) async fn crowd(db: &crate::store::Db, site: Id, first: i64, count: i64) {
    let mut tx = db.begin().await.expect("the store answers");
    for batch in (first..first + count).collect::<Vec<_>>().chunks(250) {
        let mut stmt = sql(
            "INSERT INTO account (id, number, site_id, email, must_change_password, first_name, last_name, bio, \
             timezone, language, is_active, is_banned, is_staff, is_superuser, is_email_verified, \
             is_phone_verified, is_locked, created_at, updated_at) VALUES",
        );
        let mut words = sql("INSERT INTO account_word (site_id, word, account_id) VALUES");
        for (place, number) in batch.iter().enumerate() {
            if place > 0 {
                (stmt, words) = (stmt.push(","), words.push(","));
            }
            let id = Id::from_u128(u128::from(number.unsigned_abs()) << 64);
            let email = format!("user{number}@example.com");
            stmt = stmt.push("(?, ?, ?, ?, ?, ?, ?, '', '', '', ?, ?, ?, ?, ?, ?, ?, ?, ?)");
            stmt = stmt.bind(id).bind(*number).bind(site).bind(email.clone()).bind(false);
            stmt = stmt.bind(format!("name{}", number % 7)).bind("crowd");
            stmt = stmt.bind(true).bind(number % 10 == 0).bind(false).bind(false).bind(true).bind(false);
            stmt = stmt.bind(false).bind(*number).bind(*number);
            words = words.push("(?, ?, ?)").bind(site).bind(email).bind(id);
        }
        tx.execute(stmt).await.expect("accounts");
        tx.execute(words).await.expect("words");
    }
    tx.commit().await.expect("a crowd");
}

pub(super) async fn forget(tx: &mut Tx, account: Id) -> Result<(), Error> {
    tx.execute(sql("DELETE FROM account_word WHERE account_id = ?").bind(account)).await.map(drop)
}

pub(super) async fn remember(
    tx: &mut Tx,
    site: Id,
    account: Id,
    words: impl IntoIterator<Item = String>,
) -> Result<(), Error> {
    let mut stmt = sql("INSERT INTO account_word (site_id, word, account_id) VALUES");
    let mut is_first = true;
    for word in words {
        if !is_first {
            stmt = stmt.push(",");
        }
        stmt = stmt.push("(?, ?, ?)").bind(site).bind(word).bind(account);
        is_first = false;
    }
    if is_first { Ok(()) } else { tx.execute(stmt).await.map(drop) }
}
