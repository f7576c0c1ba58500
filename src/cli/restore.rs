//! `portcullis restore FILE`: puts a copy made by `backup` in the place of the SQLite store.
//!
//! Law: the copy is checked before anything moves, and that nobody uses the store; the present store is kept beside it under
//! another name, and the last step is one rename.

use std::path::{Path, PathBuf};

use super::open;
use super::out::{Failure, Out};
use crate::base::{Clock, SystemClock};
use crate::config::Database;
use crate::store::{check_backup, check_unused};

/// Put a copy made by `backup` in the place of the SQLite store
///
/// Stop the gateway before: a store in use is not replaced. The present store is kept beside it.
#[derive(clap::Args, Debug)]
pub struct Restore {
    /// The copy
    file: PathBuf,
}

impl Restore {
    pub fn run(&self, path: &Path, out: &mut Out) -> Result<(), Failure> {
        let loaded = open::config(path)?;
        let Database::Sqlite { path: store } = &loaded.config.store.database else {
            return Err(Failure::problem("the store is a database server: restore it with psql or mariadb"));
        };
        open::block_on(async {
            let unfit = |file: &Path, unfit| Failure::problem(format_args!("{}: {unfit}", file.display()));
            check_backup(&self.file).await.map_err(|why| unfit(&self.file, why))?;
            check_unused(store).await.map_err(|why| unfit(store, why))
        })?;
        if let Some(kept) = replace(store, &self.file)? {
            out.line(format_args!("kept the old store as {}", kept.display()))?;
        }
        out.line(format_args!("restored {}", store.display()))
    }
}

/// Moves the store aside with the files that SQLite keeps beside it, then puts the copy in its place.
fn replace(store: &Path, copy: &Path) -> Result<Option<PathBuf>, Failure> {
    let fresh = beside(store, ".restoring");
    copy_privately(copy, &fresh)?;
    let kept = store.exists().then(|| beside(store, &format!(".before-{}", SystemClock.now().as_secs())));
    if let Some(kept) = &kept {
        for part in ["-wal", "-shm"] {
            let part_path = beside(store, part);
            if part_path.exists() {
                std::fs::rename(part_path, beside(kept, part))?;
            }
        }
        std::fs::rename(store, kept)?;
    }
    std::fs::rename(fresh, store)?;
    Ok(kept)
}

/// Whatever mode the copy has, the store is its owner's alone.
fn copy_privately(from: &Path, to: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    // What an attempt before left behind could have any mode.
    if to.exists() {
        std::fs::remove_file(to)?;
    }
    let mut fresh = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    std::io::copy(&mut std::fs::File::open(from)?, &mut fresh)?;
    fresh.sync_all()
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}
