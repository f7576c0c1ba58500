//! Long lists, a page at a time (contract section 1.4).
//!
//! Law: a page that does not exist is 404, never an empty answer; a size that there is not is refused, so
//! that nobody takes a part of a list for all that was asked for.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::call::Call;
use super::code::ErrorCode;
use super::error::ApiError;
use super::fields::Fields;
use super::form;

const SIZE: usize = 20;
const LARGEST: usize = 100;

/// Which page of a list somebody wants.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
pub struct Paging {
    /// Counted from 1; `last` is the last one.
    #[schemars(skip_serializing_if = "Option::is_none")]
    page: Option<String>,
    /// How many on a page: 20 if absent, at most 100.
    #[schemars(with = "Option<u32>", skip_serializing_if = "Option::is_none")]
    page_size: usize,
}

/// One page of a list.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "{T}Page")]
pub struct Paged<T> {
    /// How many there are on all pages.
    count: usize,
    page: usize,
    page_size: usize,
    total_pages: usize,
    /// Where the next page is; null on the last.
    next: Option<String>,
    previous: Option<String>,
    results: Vec<T>,
}

impl Paging {
    /// Reads `page` and `page_size` of a query. A size that there is not is refused rather than replaced.
    pub fn exact(fields: &mut Fields) -> Self {
        let page = fields.optional("page").or_blank().text();
        let given = fields.optional("page_size").text();
        let size =
            given.as_ref().and_then(|text| text.parse().ok()).filter(|size| (1..=LARGEST).contains(size));
        if given.is_some() && size.is_none() {
            fields.problem("page_size", format!("A number from 1 to {LARGEST}."));
        }
        Self { page, page_size: size.unwrap_or(SIZE) }
    }

    /// The page of a list that is in memory.
    ///
    /// # Errors
    /// 404 where the list has no such page.
    pub fn cut<T>(&self, call: &Call, all: Vec<T>) -> Result<Paged<T>, ApiError> {
        let (count, size) = (all.len(), self.page_size);
        let before = self.number(count)?.saturating_sub(1) * size;
        self.page(call, count, all.into_iter().skip(before).take(size).collect())
    }

    /// Where the page begins in a list of so many that is not in memory, and how many are on it.
    ///
    /// # Errors
    /// 404 where the list has no such page.
    pub fn window(&self, count: usize) -> Result<(usize, usize), ApiError> {
        Ok((self.number(count)?.saturating_sub(1) * self.page_size, self.page_size))
    }

    /// The page whose rows were read as [`Self::window`] says.
    ///
    /// # Errors
    /// 404 where the list has no such page.
    pub fn page<T>(&self, call: &Call, count: usize, results: Vec<T>) -> Result<Paged<T>, ApiError> {
        let (page, total) = (self.number(count)?, self.total(count));
        let place = |page: usize| place(call, page);
        Ok(Paged {
            count,
            page,
            page_size: self.page_size,
            total_pages: total,
            next: (page < total).then(|| place(page + 1)).transpose()?,
            previous: (page > 1).then(|| place(page - 1)).transpose()?,
            results,
        })
    }

    fn total(&self, count: usize) -> usize {
        count.div_ceil(self.page_size).max(1)
    }

    fn number(&self, count: usize) -> Result<usize, ApiError> {
        let total = self.total(count);
        let page = match self.page.as_deref() {
            None => Some(1),
            Some("last") => Some(total),
            Some(text) => text.parse().ok().filter(|page| (1..=total).contains(page)),
        };
        page.ok_or_else(|| ApiError::new(ErrorCode::NotFound).saying("Invalid page."))
    }
}

impl<T> Paged<T> {
    /// What stands on the page, to be put into words.
    pub fn take_results(&mut self) -> Vec<T> {
        std::mem::take(&mut self.results)
    }

    /// The same page with what is shown of that.
    #[must_use]
    pub fn of<U>(self, results: Vec<U>) -> Paged<U> {
        let Self { count, page, page_size, total_pages, next, previous, .. } = self;
        Paged { count, page, page_size, total_pages, next, previous, results }
    }
}

/// Where another page of the same list is. The first needs no number.
fn place(call: &Call, page: usize) -> Result<String, ApiError> {
    let page = (page > 1).then(|| page.to_string());
    link(call, "page", page.as_deref())
}

/// The same request with another value of one parameter, or without it.
pub(super) fn link(call: &Call, name: &str, value: Option<&str>) -> Result<String, ApiError> {
    let mut query = form::fields(call.head.query.as_bytes())
        .map_err(|form::Refused| ApiError::new(ErrorCode::BadRequest).saying("The query cannot be read"))?;
    query.remove(name);
    if let Some(value) = value {
        query.insert(name.to_owned(), Value::String(value.to_owned()));
    }
    let mut pairs: Vec<(String, Value)> = query.into_iter().collect();
    pairs.sort_by(|(left, _), (right, _)| left.cmp(right));
    let pairs = pairs.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)));
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    let gap = if query.is_empty() { "" } else { "?" };
    Ok(format!("{}{}{gap}{query}", call.app.config().public_url, call.head.path))
}
