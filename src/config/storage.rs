//! `store`, `shared`, `keys`: where state is kept and what protects it.
//!
//! Law: an address that may hold a password is a `Secret` from here on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::file::{self, Files};
use super::insecure::Permitted;
use super::place::Place;
use super::problem::Report;
use super::scalar::{As, Maybe, Span};
use crate::base::Secret;

/// `store` as the file writes it: a URL, or a map with one.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum RawStore {
    Url(String),
    Map(RawStoreMap),
}

/// The store with what a URL cannot say.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStoreMap {
    /// `sqlite://PATH`, `postgres://…` or `mysql://…`.
    url: String,
    /// A file whose content is the password of the URL's user.
    password_file: Option<PathBuf>,
    /// How many connections to the database are kept at most.
    #[schemars(range(min = 2, max = 1000))]
    connections: u32,
    /// How long the database may answer nobody, from 500ms to 10s. Who waits for a connection is refused then.
    /// `null`: 1500ms for a server, 5s for a file.
    #[serde(with = "Maybe::<Span>")]
    timeout: Option<Duration>,
}

/// `shared` as the file writes it: `memory`, a URL, or a map with one.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum RawShared {
    Word(String),
    Map(RawSharedMap),
}

/// Redis with a password from a file.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSharedMap {
    /// `redis://…` or `rediss://…`.
    url: String,
    /// A file whose content is the password.
    password_file: Option<PathBuf>,
    /// How long a question may take, reconnecting included, from 50ms to 5s. What asks it is refused then.
    #[serde(with = "As::<Span>")]
    timeout: Duration,
}

/// The identity store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    pub database: Database,
    pub connections: u32,
    /// A database that answers nobody for so long is not there.
    pub timeout: Duration,
}

/// Which database, and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Database {
    Sqlite { path: PathBuf },
    Postgres { url: Secret<String> },
    Mysql { url: Secret<String> },
}

/// Where replicas keep what they share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shared {
    Memory,
    /// What takes longer than `timeout` to answer is not there.
    Redis {
        url: Secret<String>,
        timeout: Duration,
    },
}

/// What seals the secrets in the store.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// One 256-bit key outside the store, mode 0600.
    pub seal_file: PathBuf,
}

const CONNECTIONS: u32 = 10;
/// How long a server may say nothing. What it needs to answer somebody is a hundredth of that; the rest is for
/// a machine that is busy elsewhere.
const SILENCE: Duration = Duration::from_millis(1500);
/// The same of a file, which may be slow, as its disc is, but is never gone: somebody who is refused early gains
/// nothing.
const SILENCE_OF_A_FILE: Duration = Duration::from_secs(5);
/// How long Redis may take. What it needs itself is a thousandth of that; the rest is for a machine on which
/// something else has the processor for a moment, where a refusal would be worse than the wait.
const PATIENCE: Duration = Duration::from_millis(250);
const ADDRESSES: &str = "write `sqlite://PATH`, `postgres://USER@HOST/NAME` or `mysql://USER@HOST/NAME`";

impl Database {
    fn named(url: &str, files: &Files<'_>) -> Option<Self> {
        match url.split_once("://")? {
            ("sqlite", path) if !path.is_empty() && !path.contains('?') => {
                Some(Self::Sqlite { path: files.resolve(path.as_ref()) })
            }
            ("postgres" | "postgresql", _) => Some(Self::Postgres { url: Secret::new(url.to_owned()) }),
            ("mysql" | "mariadb", rest) => Some(Self::Mysql { url: Secret::new(format!("mysql://{rest}")) }),
            _ => None,
        }
    }

    const fn silence(&self) -> Duration {
        match self {
            Self::Sqlite { .. } => SILENCE_OF_A_FILE,
            Self::Postgres { .. } | Self::Mysql { .. } => SILENCE,
        }
    }
}

/// The store whose address is all that stands in a file.
///
/// # Errors
/// What is wrong with the file, in words that tell nothing of what stands in it.
pub fn store_in(file: &Path) -> Result<Database, String> {
    let name = file.display();
    let bytes = file::read(file).map_err(|cause| format!("cannot read {name}: {cause}"))?;
    if file::is_open_to_others(file) {
        return Err(format!("everyone on this machine can read {name}: chmod 600 {name}"));
    }
    let text = String::from_utf8(bytes).map_err(|_| format!("{name} is not text"))?;
    let files = Files { base: file.parent().unwrap_or(Path::new("")) };
    Database::named(text.trim(), &files)
        .ok_or_else(|| format!("{name} holds no address of a store: {ADDRESSES}"))
}

impl RawStore {
    pub fn check(self, files: &Files<'_>, report: &mut Report, permitted: &mut Permitted) -> Option<Store> {
        let place = Place::root().key("store");
        let (url, password_file, connections, timeout) = match self {
            Self::Url(url) => (url, None, CONNECTIONS, None),
            Self::Map(map) => (map.url, map.password_file, map.connections, map.timeout),
        };
        let fine = Duration::from_millis(500)..=Duration::from_secs(10);
        if timeout.is_some_and(|timeout| !fine.contains(&timeout)) {
            report.problem(&place.key("timeout"), "between 500ms and 10s");
        }
        let Some(database) = Database::named(&url, files) else {
            report.problem(&place, "no such store").hint(ADDRESSES);
            return None;
        };
        let timeout = timeout.unwrap_or_else(|| database.silence());
        let Some(file) = password_file else { return Some(Store { database, connections, timeout }) };
        let place = place.key("password_file");
        let password = files.password(&file, &place, report, permitted)?;
        let database = match database {
            Database::Sqlite { .. } => {
                report.problem(&place, "SQLite has no password").hint("remove `password_file`");
                return None;
            }
            Database::Postgres { url } => {
                Database::Postgres { url: insert(&url, &password, &place, report)? }
            }
            Database::Mysql { url } => Database::Mysql { url: insert(&url, &password, &place, report)? },
        };
        Some(Store { database, connections, timeout })
    }
}

impl RawShared {
    pub fn check(self, files: &Files<'_>, report: &mut Report, permitted: &mut Permitted) -> Option<Shared> {
        let place = Place::root().key("shared");
        let (url, password_file, timeout) = match self {
            Self::Word(word) if word == "memory" => return Some(Shared::Memory),
            Self::Word(url) => (url, None, PATIENCE),
            Self::Map(map) => (map.url, map.password_file, map.timeout),
        };
        if !(url.starts_with("redis://") || url.starts_with("rediss://")) {
            report
                .problem(&place, "no such shared state")
                .hint("write `memory`, `redis://HOST` or `rediss://HOST`");
            return None;
        }
        if !(Duration::from_millis(50)..=Duration::from_secs(5)).contains(&timeout) {
            report.problem(&place.key("timeout"), "between 50ms and 5s");
        }
        let url = Secret::new(url);
        let Some(file) = password_file else { return Some(Shared::Redis { url, timeout }) };
        let place = place.key("password_file");
        let password = files.password(&file, &place, report, permitted)?;
        Some(Shared::Redis { url: insert(&url, &password, &place, report)?, timeout })
    }
}

/// Whether store and shared state belong together: a file on one machine is no store for the
/// replicas that Redis is for.
pub fn fit(store: Option<&Store>, shared: Option<&Shared>, report: &mut Report) {
    let in_a_file = store.is_some_and(|store| matches!(store.database, Database::Sqlite { .. }));
    if in_a_file && matches!(shared, Some(Shared::Redis { .. })) {
        report
            .problem(&Place::root().key("shared"), "SQLite serves one gateway, and Redis is for several")
            .hint("write `shared: memory`, or give the gateways a `store: postgres://…` or `mysql://…`");
    }
}

/// Puts a password into a URL that has a user, or for Redis none.
fn insert(
    url: &Secret<String>,
    password: &Secret<String>,
    place: &Place,
    report: &mut Report,
) -> Option<Secret<String>> {
    let (scheme, rest) = url.expose().split_once("://")?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (user, host) = rest[..end].rsplit_once('@').unwrap_or(("", &rest[..end]));
    if user.contains(':') {
        report.problem(place, "the URL already has a password").hint("keep one of the two");
        return None;
    }
    let mut encoded = String::new();
    for byte in password.expose().bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            for digit in [byte >> 4, byte & 15] {
                encoded.push(char::from(b"0123456789ABCDEF"[usize::from(digit)]));
            }
        }
    }
    Some(Secret::new(format!("{scheme}://{user}:{encoded}@{host}{}", &rest[end..])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_from_a_file_is_encoded_into_the_url() {
        let mut report = Report::default();
        let mut put = |url: &str, password: &str| {
            let (url, password) = (Secret::new(url.to_owned()), Secret::new(password.to_owned()));
            insert(&url, &password, &Place::root(), &mut report).map(|url| url.expose().clone())
        };
        assert_eq!(put("postgres://gw@db:5432/gw", "a/b@c").unwrap(), "postgres://gw:a%2Fb%40c@db:5432/gw");
        assert_eq!(put("redis://cache", "x y").unwrap(), "redis://:x%20y@cache");
        assert_eq!(put("redis://cache/1?a=b@c", "x").unwrap(), "redis://:x@cache/1?a=b@c");
        assert_eq!(put("mysql://gw:old@db/gw", "new"), None);
    }

    #[test]
    fn an_address_in_a_file_is_read_if_nobody_else_can_and_is_told_to_nobody() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("owner.url");
        let put = |text: &str, mode: u32| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            store_in(&path)
        };
        let url = Secret::new("postgres://owner:hunter2@db/gw".to_owned());
        assert_eq!(put("postgres://owner:hunter2@db/gw\n", 0o600), Ok(Database::Postgres { url }));
        let beside = Database::Sqlite { path: folder.path().join("a.db") };
        assert_eq!(put("sqlite://a.db", 0o600), Ok(beside));
        for (text, mode) in [("postgres://owner:hunter2@db/gw", 0o644), ("hunter2", 0o600), ("", 0o600)] {
            let refused = put(text, mode).unwrap_err();
            assert!(refused.contains("owner.url") && !refused.contains("hunter2"), "{refused}");
        }
        assert!(store_in(&folder.path().join("none")).is_err());
    }

    #[test]
    fn a_store_in_a_file_is_not_for_replicas() {
        let load = |store: &str, shared: &str| {
            let upstream = "upstreams: { app: { servers: [127.0.0.1:9000] } }";
            let route = "routes: [ { name: all, match: { path: /** }, upstream: app, allow: anyone } ]";
            let text = format!("store: {store}\nshared: {shared}\n{upstream}\n{route}\n");
            crate::config::load_text(&text).map_err(|problems| problems.to_string())
        };
        let refused = load("sqlite://a.db", "redis://127.0.0.1").unwrap_err();
        assert!(refused.contains("shared") && refused.contains("SQLite serves one gateway"), "{refused}");
        load("sqlite://a.db", "memory").unwrap();
        load("postgres://gw@db/gw", "redis://127.0.0.1").unwrap();
        load("postgres://gw@db/gw", "memory").unwrap();
        for (within, is_fine) in [("499ms", false), ("500ms", true), ("10s", true), ("10001ms", false)] {
            let loaded = load(&format!("{{ url: 'postgres://gw@db/gw', timeout: {within} }}"), "memory");
            assert_eq!(loaded.is_ok(), is_fine, "{within}");
            let told = loaded.err().unwrap_or_default();
            assert_eq!(told.contains("store.timeout"), !is_fine, "{told}");
        }
        let silence = |store: &str| load(store, "memory").unwrap().config.store.timeout;
        for server in ["postgres://gw@db/gw", "{ url: 'postgres://gw@db/gw' }", "mysql://gw@db/gw"] {
            assert_eq!(silence(server), Duration::from_millis(1500), "{server}");
        }
        for file in ["sqlite://a.db", "{ url: 'sqlite://a.db', timeout: null }"] {
            assert_eq!(silence(file), Duration::from_secs(5), "{file}");
        }
        let waits = |timeout: &str| {
            load("postgres://gw@db/gw", &format!("{{ url: 'redis://127.0.0.1', timeout: {timeout} }}"))
                .map(|loaded| loaded.config.shared.clone())
        };
        let timeout = Duration::from_secs(2);
        let url = Secret::new("redis://127.0.0.1".to_owned());
        assert_eq!(waits("2s").unwrap(), Shared::Redis { url, timeout });
        for odd in ["0s", "49ms", "5001ms"] {
            let refused = waits(odd).unwrap_err();
            assert!(
                refused.contains("shared.timeout") && refused.contains("between 50ms and 5s"),
                "{refused}"
            );
        }
    }
}
