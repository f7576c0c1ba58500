//! The trail as a file: CSV, JSON or XLSX, made row by row while it is sent.
//!
//! Law: that somebody takes the trail away is written into it before the first byte leaves. Rows are read
//! in pieces, by number, with no transaction around them, so that an export of any length takes the memory
//! of one piece and holds up nobody; what is written meanwhile is not in it.

mod csv;
mod json;
mod xlsx;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use schemars::JsonSchema;

use super::entry::{Entry, Record};
use super::people::Names;
use crate::app::App;
use crate::audit::{self, Actor, Found, Search, Subject, SystemEvent};
use crate::base::{Id, Timestamp};
use crate::http::{Fields, FromFields};
use crate::store::Error;

/// Rows that are read at once.
const PIECE: u32 = 500;

/// What a file is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Csv,
    Json,
    Xlsx,
}

impl Format {
    pub const ALL: [Self; 3] = [Self::Csv, Self::Json, Self::Xlsx];

    /// Its name, and the end of a file's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Xlsx => "xlsx",
        }
    }

    /// What a format is called.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Json => "application/json",
            Self::Xlsx => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        }
    }

    fn form<R: Record>(self) -> Box<dyn Form> {
        match self {
            Self::Csv => Box::new(csv::Csv::<R>::default()),
            Self::Json => Box::new(json::Json::<R>::default()),
            Self::Xlsx => Box::new(xlsx::Xlsx::<R>::default()),
        }
    }
}

/// What is to be in a file of which kind: of what these filters find.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "{F}Export")]
pub struct Wanted<F> {
    /// `csv`, `json` or `xlsx`.
    #[schemars(with = "String")]
    pub format: Format,
    #[schemars(flatten)]
    pub filters: F,
}

impl<F: FromFields> FromFields for Wanted<F> {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let known = |name: &str| Format::named(name).ok_or("One of csv, json and xlsx.");
        let format = fields.required("format").parsed(known);
        let filters = F::from_fields(fields);
        Some(Self { format: format?, filters: filters? })
    }
}

/// How rows become bytes of a file.
trait Form: Send {
    /// What stands before all rows.
    fn begin(&mut self) -> std::io::Result<Vec<u8>>;

    /// Some rows; none of it may be kept back for longer than until the end.
    fn rows(&mut self, rows: &[audit::Row], names: &Names) -> std::io::Result<Vec<u8>>;

    /// What stands after them.
    fn end(&mut self) -> std::io::Result<Vec<u8>>;
}

/// Why an export ended before its end.
#[derive(Debug)]
pub enum Failed {
    Store(Error),
    /// A piece of the file could not be made.
    Form(std::io::Error),
    /// What the person may do has changed, or their session has ended.
    Revoked,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(cause) => cause.fmt(f),
            Self::Form(cause) => cause.fmt(f),
            Self::Revoked => f.write_str("what the person who exports may do has changed meanwhile"),
        }
    }
}

impl From<Error> for Failed {
    fn from(cause: Error) -> Self {
        Self::Store(cause)
    }
}

impl From<std::io::Error> for Failed {
    fn from(cause: std::io::Error) -> Self {
        Self::Form(cause)
    }
}

/// Whose rights an export goes on by: it ends when one of these has changed.
#[derive(Debug, Default)]
pub struct Grounds(Vec<(Subject, i64)>);

impl Grounds {
    /// These, as they are now.
    #[must_use]
    pub fn of(app: &App, subjects: impl IntoIterator<Item = Subject>) -> Self {
        Self(subjects.into_iter().map(|subject| (subject, app.epochs.of(subject))).collect())
    }

    fn hold(&self, app: &App) -> bool {
        self.0.iter().all(|(subject, epoch)| app.epochs.of(*subject) == *epoch)
    }
}

/// A file in the making.
pub struct Export {
    app: Arc<App>,
    site: Id,
    search: Search,
    grounds: Grounds,
    form: Box<dyn Form>,
    /// Rows that were read and are not written yet.
    read: Found,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Beginning,
    /// There may be more rows in the store.
    Rows,
    /// What was read is all.
    Last,
    Over,
}

impl Export {
    /// Looks for the first rows and writes down that `actor` takes them and all that follow. How many that are
    /// is written down where the first look shows it.
    ///
    /// # Errors
    /// The store's. Then nothing was given away.
    pub async fn begin(
        app: &Arc<App>,
        actor: Actor,
        search: Search,
        format: Format,
        grounds: Grounds,
    ) -> Result<Self, Error> {
        Self::begin_as::<Entry>(app, actor, search, format, grounds).await
    }

    /// The same with rows as another wire shows them.
    ///
    /// # Errors
    /// The store's. Then nothing was given away.
    pub async fn begin_as<R: Record>(
        app: &Arc<App>,
        actor: Actor,
        search: Search,
        format: Format,
        grounds: Grounds,
    ) -> Result<Self, Error> {
        let site = actor.site;
        let read = audit::search(&app.db, site, &search, PIECE).await?;
        let stage = Stage::Beginning;
        let export = Self {
            app: Arc::clone(app),
            site,
            grounds,
            form: format.form::<R>(),
            read,
            stage,
            search: search.clone(),
        };
        let mut change = app.change(actor).await?;
        let event = SystemEvent::AuditExported {
            format: format.name(),
            account: search.account.or(search.concerning),
            filters: told(&search),
            rows: export.is_all_read().then_some(export.read.rows.len()),
        };
        change.record(event).await?;
        change.commit().await?;
        Ok(export)
    }

    fn is_all_read(&self) -> bool {
        self.read.rows.len() < usize::try_from(PIECE).unwrap_or(usize::MAX)
    }

    /// The next piece of the file; `None` after the last one.
    ///
    /// # Errors
    /// [`Failed`]; the file is not whole then, and nothing more comes.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Failed> {
        if self.stage == Stage::Over {
            return Ok(None);
        }
        let made = self.make().await;
        if made.is_err() {
            self.stage = Stage::Over;
        }
        made.map(|piece| Some(Bytes::from(piece)))
    }

    async fn make(&mut self) -> Result<Vec<u8>, Failed> {
        let mut piece = Vec::new();
        if self.stage == Stage::Beginning {
            piece = self.form.begin()?;
        } else {
            self.read = audit::search(&self.app.db, self.site, &self.search, PIECE).await?;
        }
        // After reading: what was read after the right was lost is not given away.
        if !self.grounds.hold(&self.app) {
            return Err(Failed::Revoked);
        }
        self.stage = if self.is_all_read() { Stage::Last } else { Stage::Rows };
        let Found { rows, ends } = std::mem::take(&mut self.read);
        self.search.before = ends.last().copied().unwrap_or(self.search.before);
        let names = Names::of(&self.app, self.site, &rows).await?;
        piece.extend(self.form.rows(&rows, &names)?);
        if self.stage == Stage::Last {
            piece.extend(self.form.end()?);
            self.stage = Stage::Over;
        }
        Ok(piece)
    }
}

impl fmt::Debug for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Export").field("stage", &self.stage).finish_non_exhaustive()
    }
}

/// What was looked for, in the words of the endpoint.
fn told(search: &Search) -> BTreeMap<&'static str, String> {
    let id = |id: Option<Id>| id.map(|id| id.to_string());
    let all = [
        ("stream", search.stream.map(|stream| stream.name().to_owned())),
        ("action", Some(search.codes.join(",")).filter(|codes| !codes.is_empty())),
        ("user_id", id(search.account)),
        ("concerning", id(search.concerning)),
        ("about", search.about.map(|about| about.name().to_owned())),
        ("agent_token", id(search.agent)),
        ("organization", id(search.organization)),
        ("application_id", id(search.application)),
        ("ip_address", search.address.clone()),
        ("request_id", search.request_id.clone()),
        ("prompt_trace_id", search.trace.clone()),
        ("date_from", search.since.map(Timestamp::rfc3339)),
        ("date_to", search.until.map(Timestamp::rfc3339)),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}
