//! The row of `admin/login-attempts/`: logins that succeeded and logins that failed.
//!
//! Law: of an identifier that no account has only a digest is kept, so a list never names somebody who
//! mistyped their password into the field of the name.

use schemars::JsonSchema;
use serde::Serialize;

use super::people::Names;
use super::query::{address, moment, whom};
use crate::account::{self, Reference};
use crate::audit::{self, Before, Search, Stream};
use crate::base::Timestamp;
use crate::http::{ApiError, Call, Cursor, Fields, FromFields, Json, Keyset, Query, Row, get};

const LOGIN: &str = "login";
const FAILED: &str = "login_failed";

pub(super) fn rows() -> Vec<Row> {
    vec![
        get("/admin/login-attempts/", list)
            .allow("security.view")
            .strict()
            .about("Logins and failed logins, page by page, the latest first"),
    ]
}

/// Somebody logged in, or did not.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "LoginAttempt")]
struct Attempt {
    id: String,
    /// The address of the account that was meant; null where there is none.
    identifier: Option<String>,
    user: Option<i64>,
    ip_address: Option<String>,
    user_agent: String,
    application: Option<i64>,
    success: bool,
    /// How: `password`, `otp`, …
    method: Option<String>,
    /// Why not.
    failure_reason: Option<String>,
    request_id: Option<String>,
    /// RFC 3339, UTC.
    created_at: String,
}

/// What is looked for.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "LoginAttemptQuery")]
struct ListQuery {
    #[schemars(flatten)]
    cursor: Cursor,
    /// The e-mail address or phone number of an account, as a whole.
    #[schemars(skip_serializing_if = "Option::is_none")]
    identifier: Option<String>,
    /// The account, by number or id.
    #[schemars(skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    ip_address: Option<std::net::IpAddr>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    success: Option<bool>,
    /// RFC 3339, or a day.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    date_from: Option<Timestamp>,
    /// Before this moment.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    date_to: Option<Timestamp>,
}

impl FromFields for ListQuery {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let cursor = Cursor::from_fields(fields);
        let identifier = fields.optional("identifier").text();
        let user_id = fields.optional("user_id").text();
        let ip_address = address(fields);
        let success = fields.optional("success").flag();
        let date_from = moment(fields, "date_from");
        let date_to = moment(fields, "date_to");
        Some(Self { cursor, identifier, user_id, ip_address, success, date_from, date_to })
    }
}

async fn list(call: Call, Query(query): Query<ListQuery>) -> Result<Json<Keyset<Attempt>>, ApiError> {
    let site = call.person()?.account.site;
    let mut account = whom(&call, "user_id", query.user_id.as_deref()).await?;
    if let Some(text) = &query.identifier {
        let found = match text.parse::<Reference>() {
            Ok(reference) => account::find(&call.app.db, site, &reference).await?,
            Err(_) => None,
        };
        match found {
            Some(found) if account.is_none_or(|id| id == found.id) => account = Some(found.id),
            _ => return query.cursor.page(&call, Vec::new()).map(Json),
        }
    }
    let codes = match query.success {
        Some(true) => vec![LOGIN],
        Some(false) => vec![FAILED],
        None => vec![LOGIN, FAILED],
    };
    let search = Search {
        codes: codes.into_iter().map(str::to_owned).collect(),
        account,
        address: query.ip_address.map(|address| address.to_string()),
        since: query.date_from,
        until: query.date_to,
        // Attempts change something, if only how many there were.
        stream: Some(Stream::Changes),
        before: query.cursor.place().map_or_else(Before::default, |seq| Before::default().with(seq)),
        ..Search::default()
    };
    let rows = audit::search(&call.app.db, site, &search, query.cursor.limit()).await?.rows;
    let names = Names::of(&call.app, site, &rows).await?;
    let attempts = rows.iter().map(|row| (row.seq, attempt(row, &names))).collect();
    query.cursor.page(&call, attempts).map(Json)
}

fn attempt(row: &audit::Row, names: &Names) -> Attempt {
    let user = names.account(row.account);
    let detail = &row.personal["detail"];
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    Attempt {
        id: row.seq.to_string(),
        identifier: user.and_then(|user| user.email.as_ref()).map(ToString::to_string),
        user: user.map(|user| user.number.0),
        ip_address: text(&row.personal["address"]),
        user_agent: text(&row.personal["user_agent"]).unwrap_or_default(),
        application: names.application(row.application).map(|(number, _)| *number),
        success: row.code == LOGIN,
        method: text(&detail["method"]),
        failure_reason: text(&detail["reason"]),
        request_id: row.request_id.clone(),
        created_at: row.happened_at.rfc3339(),
    }
}
