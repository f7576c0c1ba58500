//! Lists: what an endpoint has to tell, page by page, what can be looked for in it, and what stands below.
//!
//! Law: a list is data. It shows what its endpoint answers to the query of the page, a row for each thing, and
//! counts, sorts and leaves out nothing itself.

use maud::{Markup, html};
use serde_json::Value;

use super::ask::{Endpoint, Question};
use super::frame::{self, Filter, Sought};
use super::value;
use crate::http::{ApiError, Call, Reply};
use crate::web::layout::Viewer;

/// A page that is a list.
pub(super) struct Listing {
    /// Its path.
    pub(super) at: &'static str,
    pub(super) asks: Endpoint,
    pub(super) title: &'static str,
    /// What is said under the title.
    pub(super) lead: Option<&'static str>,
    pub(super) filters: &'static [Filter],
    /// What the table is called.
    pub(super) caption: &'static str,
    pub(super) heads: &'static [&'static str],
    /// The cells of one thing, in the order of the heads.
    pub(super) line: fn(&Value) -> Vec<Markup>,
    /// What can be done beside looking.
    pub(super) below: fn(&Viewer<'_>, &Sought) -> Markup,
}

impl Listing {
    /// The page, for whoever calls it.
    pub(super) async fn show(&'static self, call: Call) -> Result<Reply, ApiError> {
        frame::view(call, self.title, move |call, viewer| Box::pin(self.made(call, viewer))).await
    }

    async fn made(&self, call: &Call, viewer: &Viewer<'_>) -> Result<Markup, ApiError> {
        let sought = Sought::of(call)?;
        let answer = Question::to(self.asks).query(sought.query()).read(call).await?;
        let rows: Vec<Vec<Markup>> = value::list(&answer, "results").iter().map(self.line).collect();
        let below = (self.below)(viewer, &sought);
        Ok(html! {
            h1 { (self.title) }
            @if let Some(lead) = self.lead { p.meta { (lead) } }
            (frame::search(self.at, self.filters, &sought))
            (frame::table(self.caption, self.heads, &rows))
            (frame::pager(self.at, &answer, &sought))
            section { (below) }
        })
    }
}
