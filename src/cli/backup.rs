//! `portcullis backup FILE`: a consistent copy of a SQLite store while the gateway runs.
//! Nothing is overwritten.

use std::path::{Path, PathBuf};

use super::open;
use super::out::{Failure, Out, note};
use crate::store::backup_to;

/// Copy the SQLite store to a file, while the gateway runs
///
/// PostgreSQL and MySQL have their own tools: pg_dump and mariadb-dump. The seal key
/// (`keys.seal_file`) is not part of the copy: keep it elsewhere.
#[derive(clap::Args, Debug)]
pub struct Backup {
    /// The file to write; it must not exist
    file: PathBuf,
}

impl Backup {
    pub fn run(&self, path: &Path, out: &mut Out) -> Result<(), Failure> {
        let loaded = open::config(path)?;
        open::block_on(async {
            let db = open::existing_store(&loaded.config.store).await?;
            let written = backup_to(&db, &self.file).await;
            db.close().await;
            written.map_err(|unfit| Failure::problem(format_args!("{}: {unfit}", self.file.display())))?;
            note(format_args!("the seal key {} is not in it", loaded.config.keys.seal_file.display()));
            out.line(format_args!("wrote {}", self.file.display()))
        })
    }
}
