//! What commands open before they work: the configuration, the store, a runtime.
//!
//! Law: warnings of the configuration are remarks; its problems end the command.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::out::{Failure, note};
use crate::config::{self, Config, Database, Loaded};
use crate::store::Db;
use crate::store::migrate::{self, State};

/// For threads that wait for the system when the work is done: a name that DNS does not tell ends in
/// its own time, and nobody needs it any more.
const LEFTOVERS: Duration = Duration::from_millis(100);

/// The configuration, with its warnings as remarks.
pub fn config(path: &Path) -> Result<Loaded, Failure> {
    let loaded = config::load(path).map_err(Failure::problem)?;
    for warning in &loaded.warnings {
        note(format_args!("warning: {warning}"));
    }
    Ok(loaded)
}

/// Under which role a command works that changes what no gateway may.
#[derive(clap::Args, Clone, Debug)]
pub struct Owner {
    /// A file with the address of the store under the role that owns its tables, as `store` has it
    #[arg(long, value_name = "FILE")]
    store_file: Option<PathBuf>,
}

impl Owner {
    /// The configuration with that store; with its own where no file was named.
    pub fn config(&self, path: &Path) -> Result<Arc<Config>, Failure> {
        let loaded = config(path)?.config;
        let Some(file) = &self.store_file else { return Ok(loaded) };
        let mut owned = Config::clone(&loaded);
        owned.store.database = config::store_in(file).map_err(Failure::problem)?;
        if std::mem::discriminant(&owned.store.database) != std::mem::discriminant(&loaded.store.database) {
            let file = file.display();
            return Err(Failure::problem(format_args!("{file} names another kind of database than `store`")));
        }
        Ok(Arc::new(owned))
    }
}

/// The store as it is, for commands that have nothing to do where there is none.
pub async fn existing_store(settings: &config::Store) -> Result<Db, Failure> {
    match missing_store(settings) {
        Some(path) => Err(Failure::problem(format_args!("there is no store at {} yet", path.display()))),
        None => store(settings).await,
    }
}

/// The store for a command that only looks and could make one; `None` where there is none yet.
pub async fn store_to_look_at(settings: &config::Store) -> Result<Option<Db>, Failure> {
    if missing_store(settings).is_some() {
        return Ok(None);
    }
    let db = store(settings).await?;
    let files = migrate::status(&db).await?;
    if files.iter().all(|(_, state)| *state == State::Pending) {
        return Ok(None);
    }
    if files.iter().any(|(_, state)| *state != State::Applied) {
        return Err(Failure::problem("the store is not up to date: `portcullis migrate`"));
    }
    Ok(Some(db))
}

/// Where a store would be made if one were opened now.
pub fn missing_store(settings: &config::Store) -> Option<&Path> {
    match &settings.database {
        Database::Sqlite { path } if !path.exists() => Some(path),
        _ => None,
    }
}

/// The store as it is, whether or not its tables are up to date; a SQLite file is created.
pub async fn store(settings: &config::Store) -> Result<Db, Failure> {
    let opened = Db::open(settings).await;
    opened.map_err(|error| Failure::problem(format_args!("the store cannot be opened: {error}")))
}

/// Runs a command's asynchronous part to its end.
pub fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(work);
    runtime.shutdown_timeout(LEFTOVERS);
    result
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn what_still_hangs_keeps_no_program_from_ending() {
        let start = Instant::now();
        let done = block_on(async {
            let (began, has_begun) = tokio::sync::oneshot::channel();
            drop(tokio::task::spawn_blocking(move || {
                began.send(()).unwrap();
                std::thread::sleep(Duration::from_secs(20));
            }));
            has_begun.await.unwrap();
            Ok(7)
        });
        assert!(done.is_ok_and(|number| number == 7));
        assert!(start.elapsed() < Duration::from_secs(15));
    }
}
