//! The rows of `admin/audit-logs/`.
//!
//! Law: filters that there are not are refused by name: nobody takes a list for narrower than it is.

use ::http::{HeaderValue, Method, StatusCode, header};
use bytes::Bytes;
use schemars::JsonSchema;

use super::entry::{Entry, Record};
use super::export::{Export, Format, Grounds, Wanted};
use super::filter::Filters;
use super::people::Names;
use crate::audit::{self, Before, Found, Search, Stream, Subject};
use crate::http::{
    ApiError, Bucket, Call, Cursor, Cut, ErrorCode, Feed, Fields, FromFields, Json, Keyset, Mark, Nothing,
    Query, Reply, Row, get,
};

pub(super) fn rows() -> Vec<Row> {
    vec![
        get("/admin/audit-logs/", list)
            .allow("security.view")
            .strict()
            .about("What happened, page by page, the latest first"),
        get("/admin/audit-logs/export/", export)
            .allow("security.view")
            .limit(Bucket::AuditExport)
            .strict()
            .audited(&["audit_exported"])
            .about("What happened, as a file: csv, json or xlsx, the latest first"),
        get("/admin/audit-logs/{id}/", show)
            .allow("security.view")
            .codes(&[ErrorCode::NotFound])
            .about("One thing that happened"),
    ]
}

/// What is looked for, and from where on.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "AuditLogQuery")]
struct ListQuery {
    #[schemars(flatten)]
    cursor: Cursor<Before>,
    #[schemars(flatten)]
    filters: Filters,
}

impl FromFields for ListQuery {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let cursor = Cursor::from_fields(fields);
        Some(Self { cursor, filters: Filters::from_fields(fields)? })
    }
}

async fn list(call: Call, Query(query): Query<ListQuery>) -> Result<Json<Keyset<Entry>>, ApiError> {
    let site = call.person()?.account.site;
    let before = query.cursor.place();
    // A place in both streams is none in a list of one of them, and would show the other one from its end again.
    let fits = |before: &Before| {
        Stream::ALL.into_iter().all(|stream| {
            let is_asked = query.filters.stream.is_none_or(|one| one == stream);
            before.of(stream).is_some() == is_asked
        })
    };
    if before.as_ref().is_some_and(|before| !fits(before)) {
        return Err(ApiError::invalid("before", &["Not where a page of this list ended.".to_owned()]));
    }
    let before = before.unwrap_or_default();
    let search = Search { before, ..query.filters.search(&call).await? };
    let Found { rows, ends } = audit::search(&call.app.db, site, &search, query.cursor.limit()).await?;
    let names = Names::of(&call.app, site, &rows).await?;
    let entries = ends.into_iter().zip(rows.iter().map(|row| Entry::of(row, &names))).collect();
    query.cursor.page(&call, entries).map(Json)
}

impl Mark for Before {
    fn read(text: &str) -> Option<Self> {
        Self::parse(text)
    }
}

async fn export(call: Call, Query(wanted): Query<Wanted<Filters>>) -> Result<Reply, ApiError> {
    let Wanted { format, filters } = wanted;
    let grounds = grounds(&call)?;
    let search = filters.search(&call).await?;
    taken::<Entry>(&call, grounds, search, format).await
}

/// What whoever calls may see the trail by, as it is now.
///
/// # Errors
/// 401 where nobody is known.
pub fn grounds(call: &Call) -> Result<Grounds, ApiError> {
    let person = call.person()?;
    let subjects = [
        Subject::Account(person.account.id),
        Subject::Session(person.session.sid),
        // What the permission means, and who has it by a role.
        Subject::Catalogue,
    ];
    Ok(Grounds::of(&call.app, subjects))
}

fn day(call: &Call) -> String {
    call.app.now().rfc3339().chars().take("2026-11-20".len()).collect()
}

/// What is looked for, as a file; that it is taken is written down first.
///
/// # Errors
/// The store's.
pub async fn taken<R: Record>(
    call: &Call,
    grounds: Grounds,
    search: Search,
    format: Format,
) -> Result<Reply, ApiError> {
    let file = format!("attachment; filename=\"audit-{}.{}\"", day(call), format.name());
    let file = HeaderValue::try_from(file).map_err(ApiError::internal)?;
    let reply = Reply::bytes(StatusCode::OK, format.media_type(), Bytes::new())
        .with(header::CONTENT_DISPOSITION, file)
        .with(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if call.head.method == Method::HEAD {
        return Ok(reply);
    }
    let export = Export::begin_as::<R>(&call.app, call.actor(), search, format, grounds).await?;
    Ok(reply.fed_by(Feed::new(export, |mut export| async move {
        let piece = export.next().await.map_err(Cut::because)?;
        Ok(piece.map(|piece| (piece, export)))
    })))
}

async fn show(call: Call, _: Nothing) -> Result<Json<Entry>, ApiError> {
    let missing = || ApiError::new(ErrorCode::NotFound).saying("Audit log not found");
    let site = call.person()?.account.site;
    let seq: i64 = call.param("id")?.parse().map_err(|_| missing())?;
    let row = audit::one(&call.app.db, site, seq).await?.ok_or_else(missing)?;
    let rows = [row];
    let names = Names::of(&call.app, site, &rows).await?;
    let [row] = &rows;
    Ok(Json(Entry::of(row, &names)))
}
