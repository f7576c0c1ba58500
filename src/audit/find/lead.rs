//! Which filter of a search leads.
//!
//! Law: a page is a range of one index within one stream, read backwards from where the last one ended. Which index
//! that is, is said here and not left to the database, which may not know how rare it is what is looked for: of the
//! filters one leads, and the others judge the rows that it finds.

use std::collections::BTreeSet;

use super::Search;
use crate::audit::stream::Stream;
use crate::base::Id;

/// The filter that leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lead {
    Request,
    Account,
    /// Whom a row is about or who did it: a range for each.
    Concerning,
    Agent,
    Trace,
    Address,
    Application,
    Organization,
    Code,
    /// None: rows are read as they were written.
    Order,
}

/// A range of an index.
#[derive(Clone, Copy)]
pub(super) struct Stretch<'a> {
    pub(super) search: &'a Search,
    pub(super) site: Id,
    /// Its numbers alone.
    pub(super) stream: Stream,
    pub(super) lead: Lead,
    /// Any of these, or any at all.
    pub(super) codes: &'a [&'a str],
    /// Between these numbers.
    pub(super) above: Option<i64>,
    pub(super) below: Option<i64>,
}

impl Search {
    /// The one that one would guess to find the fewest.
    const fn lead(&self) -> Lead {
        if self.request_id.is_some() {
            Lead::Request
        } else if self.account.is_some() {
            Lead::Account
        } else if self.concerning.is_some() {
            Lead::Concerning
        } else if self.agent.is_some() {
            Lead::Agent
        } else if self.trace.is_some() {
            Lead::Trace
        } else if self.address.is_some() {
            Lead::Address
        } else if self.application.is_some() {
            Lead::Application
        } else if self.organization.is_some() {
            Lead::Organization
        } else if self.codes.is_empty() {
            Lead::Order
        } else {
            Lead::Code
        }
    }

    /// Each code once.
    pub(super) fn each_code(&self) -> Vec<&str> {
        let codes: BTreeSet<&str> = self.codes.iter().map(String::as_str).collect();
        codes.into_iter().collect()
    }

    /// All of a stream before where somebody has read back to, as one range. A bound on one side where one is enough:
    /// SQLite takes two for a narrow range.
    pub(super) fn within<'a>(&'a self, site: Id, stream: Stream, codes: &'a [&'a str]) -> Stretch<'a> {
        let before = self.before.of(stream);
        let (above, below) = match stream {
            Stream::Changes => {
                (None, Some(before.map_or(stream.ceiling(), |before| before.min(stream.ceiling()))))
            }
            Stream::DataPlane => (Some(stream.floor()), before),
        };
        Stretch { search: self, site, stream, lead: self.lead(), codes, above, below }
    }
}
