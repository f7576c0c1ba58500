//! Lists that are too long to be counted: each page goes on where the last one ended.
//!
//! Law: a page deep in the past costs what the first one costs, and what is added meanwhile moves nothing
//! from one page to the next. Sizes that there are not are refused.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::call::Call;
use super::error::ApiError;
use super::fields::Fields;
use super::paging::link;
use crate::crypto::digest::{base64url, unbase64url};

const SIZE: u32 = 20;
const LARGEST: u32 = 100;
const LATEST: &str = "-created_at";

/// Where in a list an entry stands.
pub trait Mark: Copy + fmt::Display {
    /// The inverse of `Display`; `None` for a text that is no place in any list.
    fn read(text: &str) -> Option<Self>;
}

impl Mark for i64 {
    fn read(text: &str) -> Option<Self> {
        text.parse().ok().filter(|number| *number > 0)
    }
}

/// From where on somebody reads a list, and how much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
pub struct Cursor<P = i64> {
    /// Only what came before this one: the id of the last one of the page before, as `next` says.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    before: Option<P>,
    /// How many on a page, from 1 to 100: 20 if absent.
    #[schemars(with = "Option<u32>", skip_serializing_if = "Option::is_none")]
    page_size: u32,
    /// `-created_at`, the only order that there is: the latest first.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    pub ordering: Option<&'static str>,
}

/// A page of such a list, the latest first.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "{T}Keyset")]
pub struct Keyset<T> {
    /// Always null: nothing is counted that nobody will read.
    count: Option<u64>,
    page_size: u32,
    /// Where what came before these is; null where there is nothing.
    next: Option<String>,
    /// Always null: whoever wants the newer ones begins anew.
    previous: Option<String>,
    results: Vec<T>,
}

/// The same for a list with an order of its own: where a page ended is known to the list alone.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
pub struct Onward {
    /// Where the page before ended, as `next` says.
    #[schemars(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    /// How many on a page, from 1 to 100: 20 if absent.
    #[schemars(with = "Option<u32>", skip_serializing_if = "Option::is_none")]
    page_size: u32,
}

impl Onward {
    /// Reads `after` and `page_size` of a query.
    pub fn from_fields(fields: &mut Fields) -> Self {
        let after = fields.optional("after").text();
        Self { after, page_size: size(fields) }
    }

    /// Where the page before ended.
    ///
    /// # Errors
    /// 400 where that is no place in any list.
    pub fn place<T: DeserializeOwned>(&self) -> Result<Option<T>, ApiError> {
        let Some(text) = &self.after else { return Ok(None) };
        let place = unbase64url(text).and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let place =
            place.filter(|place| !has_null(place)).and_then(|place| serde_json::from_value(place).ok());
        place.map(Some).ok_or_else(Self::elsewhere)
    }

    /// What somebody is told whose place is one of another list.
    #[must_use]
    pub fn elsewhere() -> ApiError {
        ApiError::invalid("after", &["Not where a page of this list ended.".to_owned()])
    }

    #[must_use]
    pub fn size(&self) -> usize {
        usize::try_from(self.page_size).unwrap_or(usize::MAX)
    }

    /// A page, and where the next one begins, if there may be more.
    ///
    /// # Errors
    /// 400 where the query cannot be written again.
    pub fn page<T>(
        &self,
        call: &Call,
        results: Vec<T>,
        next: Option<&impl Serialize>,
    ) -> Result<Keyset<T>, ApiError> {
        let place = next.map(serde_json::to_vec).transpose().map_err(ApiError::internal)?;
        let next = place.map(|place| link(call, "after", Some(&base64url(&place)))).transpose()?;
        Ok(Keyset { count: None, page_size: self.page_size, next, previous: None, results })
    }
}

/// How many rows one page looks through.
pub const LOOKED_THROUGH: usize = 2000;
/// How many are read at once.
const CHUNK: usize = 250;

/// The page of `size` behind a place, and where it ended if there may be more, of a list of which no index knows
/// all that is asked for. `read` reads some rows behind a place, each with its own, and keeps those that are
/// wanted. No page looks through more than [`LOOKED_THROUGH`] rows: one that finds fewer than it has room for
/// says where it has come to, and the next one goes on there.
///
/// # Errors
/// Those of `read`.
pub async fn gather<P, T, Ran>(
    size: usize,
    after: Option<P>,
    read: impl Fn(Option<P>, u32) -> Ran + Send,
) -> Result<(Vec<T>, Option<P>), ApiError>
where
    P: Clone + Send,
    T: Send,
    Ran: Future<Output = Result<Vec<(P, Option<T>)>, ApiError>> + Send,
{
    let (mut at, mut seen, mut found) = (after, 0, Vec::new());
    let mut end = None;
    // One more than the page, which tells whether there is another.
    let mut wanted = size.saturating_add(1);
    loop {
        let rows = read(at.clone(), u32::try_from(wanted).unwrap_or(u32::MAX)).await?;
        let is_end = rows.len() < wanted;
        seen += rows.len();
        for (place, row) in rows {
            if let Some(row) = row {
                if found.len() == size {
                    return Ok((found, end));
                }
                found.push(row);
                end = Some(place.clone());
            }
            at = Some(place);
        }
        if is_end || seen >= LOOKED_THROUGH {
            return Ok((found, at.filter(|_| !is_end)));
        }
        wanted = CHUNK.max(size.saturating_add(1));
    }
}

/// Whether a text in it has a character that no store takes.
fn has_null(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(members) => members.iter().any(has_null),
        Value::Object(members) => members.values().any(has_null),
        _ => false,
    }
}

fn size(fields: &mut Fields) -> u32 {
    let size = fields.optional("page_size").parsed(|text| {
        let size = text.parse::<u32>().ok().filter(|size| (1..=LARGEST).contains(size));
        size.ok_or_else(|| format!("A number from 1 to {LARGEST}."))
    });
    size.unwrap_or(SIZE)
}

impl<P: Mark> Cursor<P> {
    /// Reads `before` and `page_size` of a query.
    pub fn from_fields(fields: &mut Fields) -> Self {
        let before = fields.optional("before").parsed(|text| P::read(text).ok_or("Not the id of an entry."));
        let page_size = size(fields);
        let ordering = fields.optional("ordering").parsed(|text| {
            if text == LATEST { Ok(LATEST) } else { Err("Only -created_at: the latest first.") }
        });
        Self { before, page_size, ordering }
    }

    /// Read what came before this.
    #[must_use]
    pub const fn place(&self) -> Option<P> {
        self.before
    }

    /// Read this many: one more than the page, which tells whether there is another.
    #[must_use]
    pub const fn limit(&self) -> u32 {
        self.page_size + 1
    }

    /// The page of what was read, each with its place.
    ///
    /// # Errors
    /// 400 where the query cannot be written again.
    pub fn page<T>(&self, call: &Call, mut read: Vec<(P, T)>) -> Result<Keyset<T>, ApiError> {
        let size = usize::try_from(self.page_size).unwrap_or(usize::MAX);
        let is_last = read.len() <= size;
        read.truncate(size);
        let last = read.last().map(|(place, _)| place.to_string()).filter(|_| !is_last);
        let next = last.map(|place| link(call, "before", Some(&place))).transpose()?;
        let results = read.into_iter().map(|(_, one)| one).collect();
        Ok(Keyset { count: None, page_size: self.page_size, next, previous: None, results })
    }
}
