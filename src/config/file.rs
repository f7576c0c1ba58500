//! Files that the configuration names: found beside it, read with a cap, secrets not for everyone.
//!
//! Law: this is where files are read. A secret file that others may read is refused, because its
//! secret is already shared.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::insecure::{Insecure, Permitted};
use super::place::Place;
use super::problem::Report;
use crate::base::Secret;

/// The largest configuration, certificate or secret file.
pub const FILE_MAX: u64 = 4 << 20;

/// Where relative paths begin: the folder of the configuration file.
pub(super) struct Files<'a> {
    pub base: &'a Path,
}

impl Files<'_> {
    pub fn resolve(&self, path: &Path) -> PathBuf {
        self.base.join(path)
    }

    /// Makes a path of the configuration absolute, and reports a file that cannot be read.
    pub fn readable(&self, path: &mut PathBuf, place: &Place, report: &mut Report) {
        *path = self.resolve(path);
        if let Err(error) = read(path) {
            report.problem(place, format!("cannot read {}: {error}", path.display()));
        }
    }

    /// The same for a private key, which others must not be able to read.
    pub fn private(&self, path: &mut PathBuf, place: &Place, report: &mut Report, permitted: &mut Permitted) {
        self.readable(path, place, report);
        Self::check_mode(path, place, report, permitted);
    }

    /// Reports a file with a secret that every user of the machine can read.
    pub fn check_mode(path: &Path, place: &Place, report: &mut Report, permitted: &mut Permitted) {
        if is_open_to_others(path) && !permitted.has(Insecure::ReadableSecrets) {
            report
                .problem(place, format!("everyone on this machine can read {}", path.display()))
                .hint(format!("chmod 600 {}", path.display()));
        }
    }

    /// The password in a file, without the line's end.
    pub fn password(
        &self,
        path: &Path,
        place: &Place,
        report: &mut Report,
        permitted: &mut Permitted,
    ) -> Option<Secret<String>> {
        let path = self.resolve(path);
        Self::check_mode(&path, place, report, permitted);
        match read(&path).map(String::from_utf8) {
            Ok(Ok(mut text)) => {
                text.truncate(text.trim_end_matches(['\r', '\n']).len());
                if text.is_empty() {
                    report.problem(place, format!("{} is empty", path.display()));
                    return None;
                }
                Some(Secret::new(text))
            }
            Ok(Err(_)) => {
                report.problem(place, format!("{} is not text", path.display()));
                None
            }
            Err(error) => {
                report.problem(place, format!("cannot read {}: {error}", path.display()));
                None
            }
        }
    }
}

/// Reads a file of at most [`FILE_MAX`] bytes.
pub fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(FILE_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, "larger than 4 MiB"));
    }
    Ok(bytes)
}

/// Whether users other than the owner and the group may read the file.
#[cfg(unix)]
#[must_use]
pub fn is_open_to_others(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o007 != 0)
}

/// Other systems have no such bits.
#[cfg(not(unix))]
#[must_use]
pub fn is_open_to_others(_: &Path) -> bool {
    false
}
