//! The file of the seal key: 256 bits in hexadecimal, readable by its owner alone.
//!
//! Law: a key is made once and never replaced by accident; a file that holds anything else is an
//! error, not a reason to make a new one, because the old one opens everything in the store.

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::file;
use crate::base::{Random, Secret};
use crate::crypto::digest;

/// Bytes of a seal key.
pub const SEAL_KEY_LEN: usize = 32;

/// Why there is no seal key.
#[derive(Debug)]
pub enum NoSealKey {
    Unreadable {
        path: PathBuf,
        cause: io::Error,
    },
    /// Not 64 hexadecimal digits.
    Malformed {
        path: PathBuf,
    },
    /// It could not be written where it belongs.
    Unwritable {
        path: PathBuf,
        cause: io::Error,
    },
}

impl fmt::Display for NoSealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, cause } => {
                write!(f, "the seal key {} cannot be read: {cause}", path.display())?;
                if cause.kind() == io::ErrorKind::NotFound {
                    f.write_str("; `portcullis init` makes one for a new store, an old one needs its own")?;
                }
                Ok(())
            }
            Self::Malformed { path } => {
                write!(
                    f,
                    "the seal key {} is not 64 hexadecimal digits: restore it from your backup",
                    path.display()
                )
            }
            Self::Unwritable { path, cause } => {
                write!(f, "the seal key {} cannot be written: {cause}", path.display())
            }
        }
    }
}

impl std::error::Error for NoSealKey {}

/// The key in a file.
///
/// # Errors
/// [`NoSealKey`]; also when there is no file.
pub fn seal_key(path: &Path) -> Result<Secret<[u8; SEAL_KEY_LEN]>, NoSealKey> {
    let bytes = file::read(path).map_err(|cause| NoSealKey::Unreadable { path: path.to_owned(), cause })?;
    let malformed = || NoSealKey::Malformed { path: path.to_owned() };
    let text = std::str::from_utf8(&bytes).map_err(|_| malformed())?;
    let key = digest::unhex(text.trim_end()).ok_or_else(malformed)?;
    Ok(Secret::new(key.try_into().map_err(|_| malformed())?))
}

/// Makes a key where there is none. Returns whether it made one.
///
/// # Errors
/// [`NoSealKey::Unwritable`].
pub fn make_seal_key(path: &Path, random: &dyn Random) -> Result<bool, NoSealKey> {
    let unwritable = |cause| NoSealKey::Unwritable { path: path.to_owned(), cause };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(unwritable)?;
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = match options.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(unwritable(error)),
    };
    let mut key = [0; SEAL_KEY_LEN];
    random.fill(&mut key);
    writeln!(file, "{}", digest::hex(&key)).and_then(|()| file.sync_all()).map_err(unwritable)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SystemRandom;

    #[test]
    fn a_key_is_made_once_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data/seal.key");
        assert!(seal_key(&path).is_err());
        assert!(make_seal_key(&path, &SystemRandom).unwrap());
        let key = seal_key(&path).unwrap();
        assert!(!make_seal_key(&path, &SystemRandom).unwrap());
        assert!(seal_key(&path).unwrap() == key);
        assert!(!file::is_open_to_others(&path));
        std::fs::write(&path, "short").unwrap();
        assert!(matches!(seal_key(&path), Err(NoSealKey::Malformed { .. })));
        assert!(!make_seal_key(&path, &SystemRandom).unwrap());
    }
}
