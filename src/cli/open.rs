//! What commands open before they work: the configuration, the store, a runtime.
//!
//! Law: warnings of the configuration are remarks; its problems end the command.

use std::future::Future;
use std::path::Path;

use super::out::{Failure, note};
use crate::config::{self, Database, Loaded};
use crate::store::Db;

/// The configuration, with its warnings as remarks.
pub fn config(path: &Path) -> Result<Loaded, Failure> {
    let loaded = config::load(path).map_err(Failure::problem)?;
    for warning in &loaded.warnings {
        note(format_args!("warning: {warning}"));
    }
    Ok(loaded)
}

/// The store as it is, for commands that have nothing to do where there is none.
pub async fn existing_store(settings: &config::Store) -> Result<Db, Failure> {
    match &settings.database {
        Database::Sqlite { path } if !path.exists() => {
            Err(Failure::problem(format_args!("there is no store at {} yet", path.display())))
        }
        _ => store(settings).await,
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
    runtime.block_on(work)
}
