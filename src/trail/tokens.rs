//! The rows of `admin/refresh-tokens/` and `admin/blacklisted-tokens/`.
//!
//! Law: a refresh token stands for its session, because one that follows another is the same login; nothing
//! shown here opens anything. Ending a session of somebody who holds more is refused within the transaction
//! that would end it.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;

use super::people::Names;
use super::query::{application_named, whom};
use crate::account;
use crate::app::App;
use crate::audit::EndReason;
use crate::base::{Id, Timestamp};
use crate::http::{
    ApiError, Bucket, Call, ErrorCode, Fields, FromFields, Json, Keyset, Nothing, Onward, Query, Row, gather,
    get, post,
};
use crate::rbac::{self, Authority};
use crate::session::{self, Listed};
use crate::store::{Error, GivenUp, again};

pub(super) fn rows() -> Vec<Row> {
    vec![
        get("/admin/refresh-tokens/", list)
            .allow("security.view")
            .strict()
            .about("Logins that can be refreshed, or could, page by page, the latest first"),
        post("/admin/refresh-tokens/{id}/revoke/", revoke)
            .allow("security.view")
            .limit(Bucket::Users)
            .codes(&[ErrorCode::NotFound, ErrorCode::PermissionDenied, ErrorCode::AlreadyRevoked])
            .strict()
            .audited(&["session_ended"])
            .about("End the login that a refresh token belongs to"),
        get("/admin/blacklisted-tokens/", revoked)
            .allow("security.view")
            .strict()
            .about("Logins that were ended before their time, page by page, the latest first"),
        post("/admin/blacklisted-tokens/cleanup/", cleanup)
            .allow("security.view")
            .limit(Bucket::Users)
            .strict()
            .unaudited("what has been over for as long as it is kept is removed by itself as well")
            .about("Remove logins that have been over for as long as they are kept"),
    ]
}

/// A login that can be refreshed, or could.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RefreshToken")]
struct Token {
    /// The session, as access tokens name it in `sid`.
    id: String,
    user: Option<i64>,
    user_email: Option<String>,
    application: Option<i64>,
    application_name: Option<String>,
    device_info: String,
    ip_address: Option<String>,
    is_revoked: bool,
    is_expired: bool,
    /// RFC 3339, UTC.
    expires_at: String,
    created_at: String,
    last_used_at: String,
}

impl Token {
    fn of(row: &session::Row, names: &Names, now: Timestamp) -> Self {
        let user = names.account(Some(row.account));
        let application = names.application(row.application);
        Self {
            id: row.id.to_string(),
            user: user.map(|user| user.number.0),
            user_email: user.and_then(|user| user.email.as_ref()).map(ToString::to_string),
            application: application.map(|(number, _)| *number),
            application_name: application.map(|(_, name)| name.clone()),
            device_info: row.device_info.clone(),
            ip_address: row.address.clone(),
            is_revoked: row.ended_at.is_some(),
            is_expired: row.expires_at() <= now,
            expires_at: row.expires_at().rfc3339(),
            created_at: row.started_at.rfc3339(),
            last_used_at: row.refreshed_at.rfc3339(),
        }
    }
}

/// A login that was ended before its time.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "BlacklistedToken")]
struct Revoked {
    /// The session, as access tokens name it in `sid`.
    id: String,
    /// The same: its tokens are refused because their session is over.
    token_jti: String,
    user: Option<i64>,
    user_email: Option<String>,
    /// RFC 3339, UTC.
    blacklisted_at: Option<String>,
    /// When the last access token of the session is over by itself.
    expires_at: String,
    /// Why: `logged_out`, `password_changed`, `administrator`, …
    reason: Option<String>,
    is_expired: bool,
}

impl Revoked {
    fn of(row: &session::Row, names: &Names, app: &App) -> Self {
        let user = names.account(Some(row.account));
        let expires_at = over_at(row, app);
        Self {
            id: row.id.to_string(),
            token_jti: row.id.to_string(),
            user: user.map(|user| user.number.0),
            user_email: user.and_then(|user| user.email.as_ref()).map(ToString::to_string),
            blacklisted_at: row.ended_at.map(Timestamp::rfc3339),
            expires_at: expires_at.rfc3339(),
            reason: row.end_reason.clone(),
            is_expired: expires_at <= app.now(),
        }
    }
}

/// When the last access token of a session is over by itself.
fn over_at(row: &session::Row, app: &App) -> Timestamp {
    row.refreshed_at.plus(app.config().tokens.access_for).min(row.ends_at)
}

/// Which logins.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "RefreshTokenQuery")]
struct ListQuery {
    #[schemars(flatten)]
    onward: Onward,
    /// Whose, by number or id.
    #[schemars(skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    application_id: Option<String>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    is_revoked: Option<bool>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    expired: Option<bool>,
    /// `-created_at`, the only order that there is: the latest first.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    #[expect(dead_code, reason = "it has one value, and stands here for the document")]
    ordering: Option<&'static str>,
}

impl FromFields for ListQuery {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            onward: Onward::from_fields(fields),
            user_id: fields.optional("user_id").text(),
            application_id: fields.optional("application_id").text(),
            is_revoked: fields.optional("is_revoked").flag(),
            expired: fields.optional("expired").flag(),
            ordering: ordering(fields, "-created_at"),
        })
    }
}

fn ordering(fields: &mut Fields, only: &'static str) -> Option<&'static str> {
    fields
        .optional("ordering")
        .parsed(|text| if text == only { Ok(only) } else { Err(format!("Only {only}: the latest first.")) })
}

async fn list(call: Call, Query(query): Query<ListQuery>) -> Result<Json<Keyset<Token>>, ApiError> {
    let (site, now) = (call.person()?.account.site, call.app.now());
    let account = whom(&call, "user_id", query.user_id.as_deref()).await?;
    let application = application_named(&call, site, query.application_id.as_deref()).await?;
    let is_wanted = |row: &session::Row| {
        query.is_revoked.is_none_or(|wanted| wanted == row.ended_at.is_some())
            && query.expired.is_none_or(|wanted| wanted == (row.expires_at() <= now))
    };
    let page = Page { call: &call, site, size: query.onward.size(), kind: Kind::All(application), account };
    let (rows, next) = page.gather(query.onward.place()?, is_wanted).await?;
    let names = Names::of_sessions(&call.app, site, &rows).await?;
    let tokens = rows.iter().map(|row| Token::of(row, &names, now)).collect();
    query.onward.page(&call, tokens, next.as_ref()).map(Json)
}

/// Which of those that were ended.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "BlacklistedTokenQuery")]
struct RevokedQuery {
    #[schemars(flatten)]
    onward: Onward,
    /// Whose, by number or id.
    #[schemars(skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    /// Why, as a whole.
    #[schemars(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    expired: Option<bool>,
    /// `-blacklisted_at`, the only order that there is: the latest first.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    #[expect(dead_code, reason = "it has one value, and stands here for the document")]
    ordering: Option<&'static str>,
}

impl FromFields for RevokedQuery {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            onward: Onward::from_fields(fields),
            user_id: fields.optional("user_id").text(),
            reason: fields.optional("reason").text(),
            expired: fields.optional("expired").flag(),
            ordering: ordering(fields, "-blacklisted_at"),
        })
    }
}

async fn revoked(call: Call, Query(query): Query<RevokedQuery>) -> Result<Json<Keyset<Revoked>>, ApiError> {
    let (site, now) = (call.person()?.account.site, call.app.now());
    let account = whom(&call, "user_id", query.user_id.as_deref()).await?;
    let is_wanted = |row: &session::Row| {
        query.reason.as_deref().is_none_or(|wanted| row.end_reason.as_deref() == Some(wanted))
            && query.expired.is_none_or(|wanted| wanted == (over_at(row, &call.app) <= now))
    };
    let page = Page { call: &call, site, size: query.onward.size(), kind: Kind::Ended, account };
    let (rows, next) = page.gather(query.onward.place()?, is_wanted).await?;
    let names = Names::of_sessions(&call.app, site, &rows).await?;
    let tokens = rows.iter().map(|row| Revoked::of(row, &names, &call.app)).collect();
    query.onward.page(&call, tokens, next.as_ref()).map(Json)
}

/// Which list.
#[derive(Clone, Copy)]
enum Kind {
    /// Of all, or of those through one application.
    All(Option<Id>),
    Ended,
}

/// What one page is made of.
struct Page<'a> {
    call: &'a Call,
    site: Id,
    size: usize,
    kind: Kind,
    account: Option<Id>,
}

impl Page<'_> {
    /// The sessions of the site that are wanted, and where the page ended if there may be more.
    async fn gather(
        &self,
        after: Option<Listed>,
        is_wanted: impl Fn(&session::Row) -> bool + Send + Sync,
    ) -> Result<(Vec<session::Row>, Option<Listed>), ApiError> {
        gather(self.size, after, |at, most| self.wanted(at, most, &is_wanted)).await
    }

    /// Some sessions behind a place, and those of them that are of the site and wanted.
    async fn wanted(
        &self,
        after: Option<Listed>,
        most: u32,
        is_wanted: &(impl Fn(&session::Row) -> bool + Send + Sync),
    ) -> Result<Vec<(Listed, Option<session::Row>)>, ApiError> {
        let rows = self.read(after, most).await?;
        let whose: BTreeSet<Id> = rows.iter().map(|row| row.account).collect();
        let whose: Vec<Id> = whose.into_iter().collect();
        let known = account::known(&self.call.app.db, self.site, &whose).await?;
        let known: BTreeSet<Id> = known.into_iter().map(|known| known.id).collect();
        let is_here = |row: &session::Row| known.contains(&row.account) && is_wanted(row);
        Ok(rows.into_iter().map(|row| (self.place(&row), Some(row).filter(is_here))).collect())
    }

    async fn read(&self, before: Option<Listed>, most: u32) -> Result<Vec<session::Row>, Error> {
        let db = &self.call.app.db;
        match self.kind {
            Kind::All(application) => session::list(db, self.account, application, before, most).await,
            Kind::Ended => session::list_ended(db, self.account, before, most).await,
        }
    }

    const fn place(&self, row: &session::Row) -> Listed {
        match self.kind {
            Kind::All(_) => Listed::at(row),
            Kind::Ended => Listed::at_end(row),
        }
    }
}

/// A login after it was ended.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RefreshTokenRevoked")]
struct Ended {
    message: &'static str,
    token: Token,
}

enum Refused {
    Rights(rbac::Refused),
    Gone,
    Over,
}

impl From<rbac::Refused> for Refused {
    fn from(refused: rbac::Refused) -> Self {
        Self::Rights(refused)
    }
}

impl From<Error> for Refused {
    fn from(cause: Error) -> Self {
        Self::Rights(cause.into())
    }
}

impl GivenUp for Refused {
    fn is_given_up(&self) -> bool {
        matches!(self, Self::Rights(refused) if refused.is_given_up())
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Rights(refused) => refused.into(),
            Refused::Gone => Self::new(ErrorCode::NotFound).saying("Refresh token not found"),
            Refused::Over => Self::new(ErrorCode::AlreadyRevoked),
        }
    }
}

async fn revoke(call: Call, _: Nothing) -> Result<Json<Ended>, ApiError> {
    let person = call.person()?;
    let (by, site) = (person.account.id, person.account.site);
    let id: Id = call.param("id")?.parse().map_err(|_| Refused::Gone)?;
    let done = again(|| async {
        let mut change = call.app.change(call.actor()).await?;
        let authority = Authority::take(&mut change, by, &["security.view"]).await?;
        let own = session::by_id(change.tx(), id).await?.ok_or(Refused::Gone)?;
        let whose = account::by_id(change.tx(), own.account).await?;
        let whose = whose.filter(|whose| whose.site == site).ok_or(Refused::Gone)?;
        authority.reaches(&mut change, &whose).await?;
        if !session::end(&mut change, &own, EndReason::Administrator).await? {
            return Err(Refused::Over);
        }
        change.commit().await?;
        Ok::<_, Refused>(())
    });
    done.await?;
    let row = session::listed(&call.app.db, id).await?.ok_or(Refused::Gone)?;
    let names = Names::of_sessions(&call.app, site, std::slice::from_ref(&row)).await?;
    Ok(Json(Ended { message: "Token revoked successfully", token: Token::of(&row, &names, call.app.now()) }))
}

/// What was removed.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TokensCleanedUp")]
struct Cleaned {
    message: String,
    deleted_count: u64,
}

async fn cleanup(call: Call, _: Nothing) -> Result<Json<Cleaned>, ApiError> {
    let deleted_count = session::sweep(&call.app).await?;
    let message = format!("{deleted_count} expired tokens cleaned up");
    Ok(Json(Cleaned { message, deleted_count }))
}
