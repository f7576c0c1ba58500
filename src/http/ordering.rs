//! `ordering`: by which fields a list is sorted, as the contract writes it: `name,-created_at`.
//!
//! Law: a field that a list is not sorted by is refused, never ignored: nobody takes a list for sorted that
//! is not.

use std::cmp::Ordering as Order;

use super::fields::Fields;

/// Fields of a list, each with whether it goes backwards, the most important first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ordering(Vec<(&'static str, bool)>);

impl Ordering {
    /// Reads `ordering` of a query; `names` are the fields that there are, the first is the usual one.
    pub fn from_fields(fields: &mut Fields, names: &[&'static str]) -> Self {
        let text = fields.optional("ordering").or_blank().text().unwrap_or_default();
        let mut by = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (wanted, is_backwards) = part.strip_prefix('-').map_or((part, false), |part| (part, true));
            match names.iter().find(|name| **name == wanted) {
                // Named twice it would only cost more: the first time decides.
                Some(name) if by.iter().any(|(known, _)| known == name) => {
                    fields.problem("ordering", format!("{name} stands in it twice."));
                }
                Some(name) => by.push((*name, is_backwards)),
                None => fields
                    .problem("ordering", format!("One of {}, with - before it backwards.", names.join(", "))),
            }
        }
        if by.is_empty() {
            by.extend(names.first().map(|name| (*name, false)));
        }
        Self(by)
    }

    /// The fields, each with whether it goes backwards, for a list that the store sorts.
    #[must_use]
    pub fn by(&self) -> &[(&'static str, bool)] {
        &self.0
    }

    /// Sorts a list in memory; `compare` knows the fields.
    pub fn sort<T>(&self, all: &mut [T], compare: impl Fn(&str, &T, &T) -> Order) {
        all.sort_by(|left, right| {
            self.0.iter().fold(Order::Equal, |so_far, (name, is_backwards)| {
                so_far.then_with(|| {
                    let order = compare(name, left, right);
                    if *is_backwards { order.reverse() } else { order }
                })
            })
        });
    }
}
