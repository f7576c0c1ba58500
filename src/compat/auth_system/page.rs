//! Pages by number: `page` and `size` of a query, and the answer around them.
//! Law: a page that there is not is 404, and a size that there is not is refused, never replaced.

use schemars::JsonSchema;
use serde::Serialize;

use crate::http::{ApiError, ErrorCode, Fields};

const SIZE: u32 = 20;
const LARGEST: u32 = 100;

/// Which page somebody wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
pub(super) struct Paging {
    /// Counted from 1.
    #[schemars(with = "Option<u32>", skip_serializing_if = "Option::is_none")]
    page: u32,
    /// How many on a page: 20 if absent, at most 100.
    #[schemars(with = "Option<u32>", skip_serializing_if = "Option::is_none")]
    size: u32,
}

/// A page of a list.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "{T}Items")]
#[expect(clippy::struct_field_names, reason = "the names of the wire")]
pub(super) struct Items<T> {
    items: Vec<T>,
    /// How many there are on all pages; of more than 10,000 no more are counted.
    total: u32,
    page: u32,
    size: u32,
    pages: u32,
}

impl Paging {
    pub(super) fn from_fields(fields: &mut Fields) -> Self {
        let page = number(fields, "page", u32::MAX).unwrap_or(1);
        Self { page, size: number(fields, "size", LARGEST).unwrap_or(SIZE) }
    }

    /// How many are before the page, and how many are on it.
    pub(super) fn window(self) -> (u32, u32) {
        ((self.page - 1).saturating_mul(self.size), self.size)
    }

    /// The page that was read as [`Self::window`] says.
    ///
    /// # Errors
    /// 404 where the list has no such page.
    pub(super) fn of<T>(self, items: Vec<T>, total: u32) -> Result<Items<T>, ApiError> {
        let Self { page, size } = self;
        let pages = total.div_ceil(size);
        if page > pages.max(1) {
            return Err(ApiError::new(ErrorCode::NotFound).saying("There is no such page"));
        }
        Ok(Items { items, total, page, size, pages })
    }
}

fn number(fields: &mut Fields, name: &'static str, most: u32) -> Option<u32> {
    fields.optional(name).parsed(|text| {
        let number = text.parse::<u32>().ok().filter(|number| (1..=most).contains(number));
        number.ok_or_else(|| match most {
            u32::MAX => "A number from 1 on.".to_owned(),
            most => format!("A number from 1 to {most}."),
        })
    })
}

/// What is further back than pages are turned.
pub(super) fn too_far() -> ApiError {
    ApiError::invalid("page", &["Pages are not turned so far: ask more narrowly.".to_owned()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_a_window_and_one_beyond_the_last_is_none() {
        let third = Paging { page: 3, size: 20 };
        assert_eq!(third.window(), (40, 20));
        assert_eq!(third.of(vec![1], 41).unwrap().pages, 3);
        assert!(third.of(Vec::<u8>::new(), 40).is_err());
        assert_eq!(Paging { page: 1, size: 20 }.of(Vec::<u8>::new(), 0).unwrap().pages, 0);
        assert_eq!(Paging { page: u32::MAX, size: 100 }.window(), (u32::MAX, 100));
    }
}
