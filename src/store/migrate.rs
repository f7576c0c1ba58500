//! Migrations: portable files, each a list of statements, applied once and in order.
//!
//! Law: a file that shipped is never edited (`migrations/SHA256SUMS` pins it, and so does every
//! store it was applied to). Every step is recorded, so that a run that was cut off goes on where
//! it stopped: on MySQL, where DDL commits by itself, from the step; elsewhere the whole run is one
//! transaction. One replica migrates, the others wait. A store that knows a file we do not know
//! belongs to a newer version and is refused.

use std::fmt;
use std::sync::OnceLock;

use super::{Db, Dialect, Error, Source, Tx, sql};
use crate::base::Timestamp;
use crate::crypto::digest::sha256_hex;

/// One migration file.
#[derive(Debug, Clone, Copy)]
pub struct File {
    pub name: &'static str,
    pub text: &'static str,
}

macro_rules! files {
    ($($name:literal)+) => {
        &[$(File { name: $name, text: include_str!(concat!("../../migrations/", $name, ".sql")) }),+]
    };
}

/// Every migration, by number. A new file is added here and to `migrations/SHA256SUMS`.
pub const FILES: &[File] = files! {
    "0001_kernel"
    "0002_account"
    "0003_session"
    "0004_application"
    "0005_rbac"
    "0006_organization"
    "0007_login"
    "0008_agent"
    "0009_agent_count"
    "0010_budget"
    "0011_approval"
    "0012_outbox"
    "0013_result"
    "0014_ticket"
    "0015_otp"
    "0016_factor"
    "0017_outbox_pace"
    "0018_login_link"
    "0019_passkey"
    "0020_social"
    "0021_api_key"
    "0022_audit_search"
    "0023_deletion"
    "0024_deletion_order"
    "0025_rights"
    "0026_audit_address"
    "0027_deletion_office"
    "0028_organization"
    "0029_invitation"
    "0030_account_search"
    "0031_session_search"
    "0032_agent_resumed"
    "0033_statistics"
    "0034_census"
    "0038_audit_stream"
    "0039_superusers"
    "0040_audit_application"
    "0041_audit_moments"
    "0042_census_kept"
};

/// How far a store is with one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    Applied,
    Pending,
    /// A run was cut off after this many of its steps.
    Begun {
        done: usize,
        of: usize,
    },
    /// The store has it, this program does not: a newer version was here.
    Unknown,
}

/// Why a store was not migrated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The store was migrated by a newer version.
    Newer {
        file: String,
    },
    /// A file was edited after this store had applied it.
    Changed {
        file: String,
    },
    Step {
        file: String,
        step: usize,
        cause: Error,
    },
    Store(Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newer { file } => write!(
                f,
                "the store has the migration {file}, which this version of portcullis does not know: \
                 it was migrated by a newer version, and going back is not possible. Run that version, \
                 or restore a backup from before"
            ),
            Self::Changed { file } => write!(
                f,
                "the migration {file} is not the one that this store has applied: this is not the \
                 build that made the store"
            ),
            Self::Step { file, step, cause } => write!(f, "migration {file}, step {step}: {cause}"),
            Self::Store(cause) => cause.fmt(f),
        }
    }
}

impl std::error::Error for Failure {}

impl From<Error> for Failure {
    fn from(cause: Error) -> Self {
        Self::Store(cause)
    }
}

/// Applies what is missing; the names of the files that were.
pub async fn run(db: &Db, now: Timestamp) -> Result<Vec<&'static str>, Failure> {
    run_files(db, FILES, now).await
}

/// How far the store is with every file it or this program knows. Changes nothing.
pub async fn status(db: &Db) -> Result<Vec<(String, State)>, Error> {
    let steps = if is_prepared(db).await? { recorded(db).await? } else { Vec::new() };
    let mut all: Vec<_> = FILES.iter().map(|file| (file.name.to_owned(), state(file, &steps))).collect();
    for name in unknown(FILES, &steps) {
        all.push((name.to_owned(), State::Unknown));
    }
    Ok(all)
}

/// The name of the unique index on these columns, written as SQLite names them when one is violated:
/// `table.a, table.b`.
pub(super) fn unique_index_on(columns: &str) -> Option<&'static str> {
    static INDEXES: OnceLock<Vec<(String, &'static str)>> = OnceLock::new();
    let indexes = INDEXES.get_or_init(|| {
        FILES.iter().flat_map(|file| statements(file.text)).filter_map(unique_index).collect()
    });
    indexes.iter().find(|(on, _)| on == columns).map(|(_, name)| *name)
}

/// `CREATE UNIQUE INDEX name ON table (a, b)` as (`table.a, table.b`, name).
fn unique_index(statement: &'static str) -> Option<(String, &'static str)> {
    let rest = statement.strip_prefix("CREATE UNIQUE INDEX ")?;
    let (name, rest) = rest.split_once(" ON ")?;
    let (table, columns) = rest.split_once('(')?;
    let columns = columns.trim_end_matches(')').split(',');
    let columns: Vec<_> = columns.map(|column| format!("{}.{}", table.trim(), column.trim())).collect();
    Some((columns.join(", "), name))
}

#[derive(super::FromRow)]
struct Recorded {
    file: String,
    step: i64,
    is_done: bool,
    hash: String,
}

async fn run_files(db: &Db, files: &[File], now: Timestamp) -> Result<Vec<&'static str>, Failure> {
    // Where there is nothing to do nothing is written: a gateway's role may not even have the right to.
    if is_prepared(db).await? {
        let steps = recorded(db).await?;
        check(files, &steps)?;
        if files.iter().all(|file| state(file, &steps) == State::Applied) {
            return Ok(Vec::new());
        }
    }
    // MySQL commits at every DDL statement: there the steps run one by one under a named lock.
    if db.dialect() == Dialect::MySql {
        return mysql::run(db, files, now).await;
    }
    let mut tx = begin_patiently(db).await?;
    if tx.dialect() == Dialect::Postgres {
        // The other replicas wait here, not for 5 s but until the first one is through.
        tx.raw(
            "SET LOCAL lock_timeout = '10min'; SET LOCAL statement_timeout = '10min'; \
                SELECT pg_advisory_xact_lock(7161724359)"
                .to_owned(),
        )
        .await?;
    }
    prepare(&mut tx).await?;
    let steps = recorded(&mut tx).await?;
    check(files, &steps)?;
    let mut applied = Vec::new();
    for file in files {
        let hash = sha256_hex(file.text.as_bytes());
        for (i, statement) in pending(file, &steps) {
            let failed = |cause| Failure::Step { file: file.name.to_owned(), step: i, cause };
            tx.raw(render(tx.dialect(), statement)).await.map_err(failed)?;
            record(&mut tx, file.name, i, &hash, now).await?;
            finish(&mut tx, file.name, i).await?;
        }
        if state(file, &steps) != State::Applied {
            applied.push(file.name);
        }
    }
    tx.commit().await?;
    Ok(applied)
}

/// SQLite: the first replica may take longer than one wait for the write lock.
async fn begin_patiently(db: &Db) -> Result<Tx, Error> {
    let mut waits = 0;
    loop {
        match db.begin().await {
            Err(Error::Busy) if waits < 12 => waits += 1,
            other => return other,
        }
    }
}

mod mysql {
    //! Step by step, each recorded before and after: a step that was begun and finds its table
    //! there already had been done when the run was cut off.

    use super::{
        Db, Error, Failure, File, State, check, finish, pending, prepare, record, recorded, render, state,
    };
    use crate::base::Timestamp;
    use crate::crypto::digest::sha256_hex;
    use crate::store::{Dialect, Source as _, sql};

    pub(super) async fn run(db: &Db, files: &[File], now: Timestamp) -> Result<Vec<&'static str>, Failure> {
        // The lock belongs to a connection of its own, which ends with this function however it
        // ends: one that went back to the pool would keep it.
        let alone = db.separate().await?;
        let mut lock = alone.begin().await?;
        let got: Option<(Option<i64>,)> =
            lock.optional(sql("SELECT GET_LOCK(CONCAT(DATABASE(), '.portcullis'), 600)")).await?;
        if got != Some((Some(1),)) {
            return Err(Failure::Store(Error::Busy));
        }
        let outcome = run_locked(db, files, now).await;
        lock.rollback().await?;
        alone.close().await;
        outcome
    }

    async fn run_locked(db: &Db, files: &[File], now: Timestamp) -> Result<Vec<&'static str>, Failure> {
        let mut tx = db.begin().await?;
        prepare(&mut tx).await?;
        let steps = recorded(&mut tx).await?;
        tx.commit().await?;
        check(files, &steps)?;
        let mut applied = Vec::new();
        for file in files {
            let hash = sha256_hex(file.text.as_bytes());
            for (i, statement) in pending(file, &steps) {
                let was_begun = steps.iter().any(|s| s.file == file.name && s.step_number() == i);
                if !was_begun {
                    let mut tx = db.begin().await?;
                    record(&mut tx, file.name, i, &hash, now).await?;
                    tx.commit().await?;
                }
                step(db, statement, was_begun).await.map_err(|cause| Failure::Step {
                    file: file.name.to_owned(),
                    step: i,
                    cause,
                })?;
                let mut tx = db.begin().await?;
                finish(&mut tx, file.name, i).await?;
                tx.commit().await?;
            }
            if state(file, &steps) != State::Applied {
                applied.push(file.name);
            }
        }
        Ok(applied)
    }

    async fn step(db: &Db, statement: &'static str, was_begun: bool) -> Result<(), Error> {
        let mut tx = db.begin().await?;
        match tx.raw(render(Dialect::MySql, statement)).await {
            Ok(()) => tx.commit().await,
            Err(error) if was_begun && is_there_already(&error) => tx.rollback().await,
            Err(error) => Err(error),
        }
    }

    fn is_there_already(error: &Error) -> bool {
        match error {
            // "Table 'x' already exists", "Duplicate key name", "Duplicate column name",
            // "Can't DROP …; check that column/key exists".
            Error::Broken { cause } => {
                ["already exists", "Duplicate key name", "Duplicate column name", "check that"]
                    .iter()
                    .any(|text| cause.contains(text))
            }
            // A row that a step inserts.
            Error::Conflict(_) => true,
            _ => false,
        }
    }
}

async fn prepare(tx: &mut Tx) -> Result<(), Error> {
    let table = "CREATE TABLE IF NOT EXISTS schema_step (file VARCHAR(100) NOT NULL, step BIGINT NOT NULL, \
                 is_done FLAG NOT NULL, hash VARCHAR(64) NOT NULL, happened_at MOMENT NOT NULL, \
                 PRIMARY KEY (file, step))";
    tx.raw(render(tx.dialect(), table)).await
}

/// Whether there is anything of ours in the store.
async fn is_prepared(mut db: &Db) -> Result<bool, Error> {
    let tables = match db.dialect() {
        Dialect::Sqlite => sql("SELECT COUNT(*) FROM sqlite_master WHERE name = 'schema_step'"),
        Dialect::Postgres => sql("SELECT COUNT(*) FROM information_schema.tables \
                                  WHERE table_name = 'schema_step' AND table_schema = current_schema()"),
        Dialect::MySql => sql("SELECT COUNT(*) FROM information_schema.tables \
                               WHERE table_name = 'schema_step' AND table_schema = DATABASE()"),
    };
    let (count,): (i64,) = db.one(tables).await?;
    Ok(count > 0)
}

async fn recorded(mut source: impl Source) -> Result<Vec<Recorded>, Error> {
    source.all(sql("SELECT file, step, is_done, hash FROM schema_step ORDER BY file, step")).await
}

async fn record(tx: &mut Tx, file: &str, step: usize, hash: &str, now: Timestamp) -> Result<(), Error> {
    let insert =
        sql("INSERT INTO schema_step (file, step, is_done, hash, happened_at) VALUES (?, ?, ?, ?, ?)");
    tx.execute(insert.bind(file).bind(number(step)).bind(false).bind(hash).bind(now)).await.map(drop)
}

async fn finish(tx: &mut Tx, file: &str, step: usize) -> Result<(), Error> {
    let update = sql("UPDATE schema_step SET is_done = ? WHERE file = ? AND step = ?");
    tx.execute(update.bind(true).bind(file).bind(number(step))).await.map(drop)
}

fn number(step: usize) -> i64 {
    i64::try_from(step).unwrap_or(i64::MAX)
}

impl Recorded {
    fn step_number(&self) -> usize {
        usize::try_from(self.step).unwrap_or(usize::MAX)
    }
}

fn check(files: &[File], steps: &[Recorded]) -> Result<(), Failure> {
    if let Some(file) = unknown(files, steps).first() {
        return Err(Failure::Newer { file: (*file).to_owned() });
    }
    for file in files {
        let hash = sha256_hex(file.text.as_bytes());
        if steps.iter().any(|step| step.file == file.name && step.hash != hash) {
            return Err(Failure::Changed { file: file.name.to_owned() });
        }
    }
    Ok(())
}

fn unknown<'a>(files: &[File], steps: &'a [Recorded]) -> Vec<&'a str> {
    let mut names: Vec<&str> = steps.iter().map(|step| step.file.as_str()).collect();
    names.dedup();
    names.retain(|name| files.iter().all(|file| file.name != *name));
    names
}

fn state(file: &File, steps: &[Recorded]) -> State {
    let of = statements(file.text).count();
    match of - pending(file, steps).count() {
        0 => State::Pending,
        done if done == of => State::Applied,
        done => State::Begun { done, of },
    }
}

fn pending<'a>(file: &File, steps: &'a [Recorded]) -> impl Iterator<Item = (usize, &'static str)> + 'a {
    let name = file.name;
    statements(file.text)
        .enumerate()
        .filter(move |(i, _)| !steps.iter().any(|s| s.is_done && s.file == name && s.step_number() == *i))
}

/// The statements of a file: each ends with `;` at the end of a line.
fn statements(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.split(";\n").map(skip_comments).filter(|statement| !statement.is_empty())
}

/// Drops the comment lines and blanks in front of a statement.
fn skip_comments(mut text: &'static str) -> &'static str {
    loop {
        text = text.trim();
        if !text.starts_with("--") {
            return text;
        }
        text = text.split_once('\n').map_or("", |(_, rest)| rest);
    }
}

/// A statement with the dialect's words for types and, on MySQL, its character set.
pub(super) fn render(dialect: Dialect, statement: &str) -> String {
    let mut out = String::with_capacity(statement.len() + 64);
    for line in statement.lines().filter(|line| !line.trim_start().starts_with("--")) {
        for word in line.split_inclusive(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            let name = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            match dialect.type_word(name) {
                Some(type_name) => {
                    out.push_str(type_name);
                    out.push_str(&word[name.len()..]);
                }
                None => out.push_str(word),
            }
        }
        out.push('\n');
    }
    // Without it `Admin@x` and `admin@x` would be one account.
    if dialect == Dialect::MySql && statement.starts_with("CREATE TABLE") {
        out.push_str(" ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin");
    }
    out
}

#[cfg(test)]
mod tests;
