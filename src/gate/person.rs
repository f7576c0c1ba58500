//! Snapshots of the people who call, valid while the epochs they saw are the epochs of now.
//!
//! Law: a snapshot holds assignments, and rights computed from them by one catalogue; a changed
//! definition costs a computation and no I/O. Epochs are read before the store is asked and
//! compared on every use, so a slow read cannot bring back what was revoked meanwhile. `iat` is
//! never compared with anything.

use std::sync::Arc;
use std::time::Duration;

use ::http::HeaderValue;
use quick_cache::sync::Cache;

use super::agent::Grant;
use super::record::{Person, Records};
use super::rejection::{Rejection, Silent};
use super::stamp;
use crate::app::Epochs;
use crate::audit::Subject;
use crate::base::{Email, Id, Timestamp};
use crate::policy::{Assignments, Catalogue, Code, Rights};
use crate::principal::{AccountFacts, Principal, Scope};

const REMEMBERED_MAX: usize = 50_000;
/// How long a session that is over is refused without asking the store again.
const OVER_FOR: Duration = Duration::from_secs(1);
/// Reading is tried again while changes of the same caller keep coming in between.
const TRIES: usize = 3;

/// What a caller came with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Something that belongs to a session, or to an agent that was minted in one.
    Session,
    ApiKey,
}

/// Which session calls, as its credential names it; of an agent, which token, and of a program with
/// an API key, which key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    pub kind: Kind,
    pub sid: Id,
    pub account: Id,
    pub application: Option<Id>,
}

impl Key {
    pub const fn of_session(sid: Id, account: Id, application: Option<Id>) -> Self {
        Self { kind: Kind::Session, sid, account, application }
    }

    /// What is said to who shows a credential that opens nothing (any more).
    pub(super) const fn refused(self) -> Rejection {
        match self.kind {
            Kind::Session => Rejection::TokenInvalid,
            Kind::ApiKey => Rejection::ApiKeyInvalid,
        }
    }

    const fn subject(self) -> Subject {
        match self.kind {
            Kind::Session => Subject::Session(self.sid),
            Kind::ApiKey => Subject::ApiKey(self.sid),
        }
    }
}

/// The epochs of everything that a snapshot rests on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Seen {
    session: i64,
    account: i64,
    application: i64,
}

impl Seen {
    /// For an agent's token, which is the `sid` of its key.
    pub(super) fn of_agent(epochs: &Epochs, key: Key) -> Self {
        Self { session: epochs.of(Subject::AgentToken(key.sid)), ..Self::now(epochs, key) }
    }

    fn now(epochs: &Epochs, key: Key) -> Self {
        let of = |subject| epochs.of(subject);
        Self {
            session: of(key.subject()),
            account: of(Subject::Account(key.account)),
            application: key.application.map_or(0, |id| of(Subject::Application(id))),
        }
    }
}

/// A caller as of some epochs, with what is written about them precomputed.
#[derive(Debug)]
pub struct Snapshot {
    pub principal: Arc<Principal>,
    pub stamps: Arc<Stamps>,
    pub key: Key,
    pub seen: Seen,
    /// Set where the credential reaches only some of what the person may do: the principal's rights are
    /// then those.
    pub(super) narrow: Option<Arc<Narrow>>,
    /// Set where an agent calls on this person's behalf.
    pub(super) agent: Option<Arc<Grant>>,
}

/// How far a credential reaches, and what its human may do beyond that.
#[derive(Debug)]
pub struct Narrow {
    scopes: Vec<Code>,
    pub(super) reach: Rights,
    pub(super) whole: Rights,
}

impl Narrow {
    fn by(catalogue: &Catalogue, scopes: Vec<Code>, whole: Rights) -> (Rights, Arc<Self>) {
        let permissions = scopes.clone();
        let reach = catalogue.rights(&Assignments { permissions, ..Assignments::default() });
        (whole.within(&reach), Arc::new(Self { scopes, reach, whole }))
    }
}

/// Header values that depend on the caller alone.
#[derive(Debug)]
pub struct Stamps {
    pub id: HeaderValue,
    pub email: Option<HeaderValue>,
    pub roles: HeaderValue,
    /// `None`: too long to be sent.
    pub permissions: Option<HeaderValue>,
    pub method: HeaderValue,
    pub role_codes: Vec<Code>,
    pub permission_codes: Vec<Code>,
}

#[derive(Debug, Clone)]
enum Entry {
    Live(Arc<Snapshot>),
    /// The session or its account may not act, as was found a moment ago.
    Over(Seen, Timestamp),
}

/// The callers of late.
#[derive(Debug)]
pub struct People(Cache<Id, Entry>);

impl People {
    pub fn new() -> Self {
        Self(Cache::new(REMEMBERED_MAX))
    }

    /// The caller as of now. No I/O while nothing about the caller has changed.
    pub async fn find(
        &self,
        key: Key,
        epochs: &Epochs,
        catalogue: &Catalogue,
        records: &dyn Records,
        now: Timestamp,
    ) -> Result<Arc<Snapshot>, Rejection> {
        let seen = Seen::now(epochs, key);
        match self.0.get(&key.sid) {
            Some(Entry::Live(known))
                if known.seen == seen && known.key == key && known.principal.session.ends_at > now =>
            {
                return Ok(self.by(catalogue, known));
            }
            Some(Entry::Over(over, until)) if over == seen && now < until => {
                return Err(key.refused());
            }
            _ => {}
        }
        self.read(key, epochs, catalogue, records, now).await
    }

    /// The same caller with the rights of this catalogue.
    fn by(&self, catalogue: &Catalogue, known: Arc<Snapshot>) -> Arc<Snapshot> {
        if known.has_rights_by(catalogue) {
            return known;
        }
        let anew = Arc::new(known.by(catalogue, None));
        self.0.insert(known.key.sid, Entry::Live(Arc::clone(&anew)));
        anew
    }

    async fn read(
        &self,
        key: Key,
        epochs: &Epochs,
        catalogue: &Catalogue,
        records: &dyn Records,
        now: Timestamp,
    ) -> Result<Arc<Snapshot>, Rejection> {
        for _ in 0..TRIES {
            let seen = Seen::now(epochs, key);
            let person = match key.kind {
                Kind::Session => records.person(key.sid).await,
                Kind::ApiKey => records.person_of_key(key.sid).await,
            };
            let person = person.map_err(|error| {
                tracing::warn!(%error, "a caller cannot be read");
                Rejection::Unavailable(Silent::Store)
            })?;
            if seen != Seen::now(epochs, key) {
                continue;
            }
            let Some(person) = person else {
                self.0.insert(key.sid, Entry::Over(seen, now.plus(OVER_FOR)));
                return Err(key.refused());
            };
            if !is_behind(&person, key) || person.session.ends_at <= now {
                return Err(key.refused());
            }
            let snapshot = Arc::new(Snapshot::new(person, catalogue, key, seen));
            self.0.insert(key.sid, Entry::Live(Arc::clone(&snapshot)));
            return Ok(snapshot);
        }
        Err(Rejection::Unavailable(Silent::View))
    }
}

/// Whether a credential with this key is this person's, through the application it was issued to.
fn is_behind(person: &Person, key: Key) -> bool {
    let session = &person.session;
    person.account.id == key.account && session.sid == key.sid && session.application == key.application
}

impl Snapshot {
    /// The same caller, to whom only the endpoints of this scope are open.
    pub fn only_for(&self, scope: Scope) -> Self {
        let mut principal = Principal::clone(&self.principal);
        principal.session.scope = Some(scope);
        Self {
            principal: Arc::new(principal),
            stamps: Arc::clone(&self.stamps),
            key: self.key,
            seen: self.seen,
            narrow: self.narrow.clone(),
            agent: self.agent.clone(),
        }
    }

    /// Somebody who does not call: for questions about what would be.
    pub fn imagined(person: Person, catalogue: &Catalogue) -> Self {
        let (session, account) = (&person.session, person.account.id);
        let key = Key::of_session(session.sid, account, session.application);
        Self::new(person, catalogue, key, Seen::default())
    }

    pub(super) fn new(person: Person, catalogue: &Catalogue, key: Key, seen: Seen) -> Self {
        let Person { account, session, assignments, scopes, memberships } = person;
        let whole = catalogue.rights(&assignments);
        let (rights, narrow) = match scopes {
            None => (whole, None),
            Some(scopes) => {
                let (rights, narrow) = Narrow::by(catalogue, scopes, whole);
                (rights, Some(narrow))
            }
        };
        let rights = Arc::new(rights);
        let stamps = Arc::new(Stamps::new(&account, session.method, &rights));
        let (account, assignments) = (Arc::new(account), Arc::new(assignments));
        let memberships = memberships.into();
        let principal = Arc::new(Principal { account, session, assignments, rights, memberships });
        Self { principal, stamps, key, seen, narrow, agent: None }
    }

    /// The same caller with the rights of this catalogue; those of `other` where it is the same
    /// human's by the same catalogue.
    pub(super) fn by(&self, catalogue: &Catalogue, other: Option<&Self>) -> Self {
        let mut principal = (*self.principal).clone();
        let mut narrow = None;
        let is_same = |other: &&Self| other.is_alike(self) && other.has_rights_by(catalogue);
        let stamps = if let Some(other) = other.filter(is_same) {
            principal.rights = Arc::clone(&other.principal.rights);
            Arc::clone(&other.stamps)
        } else {
            let whole = catalogue.rights(&principal.assignments);
            principal.rights = Arc::new(match &self.narrow {
                None => whole,
                Some(before) => {
                    let (rights, now) = Narrow::by(catalogue, before.scopes.clone(), whole);
                    narrow = Some(now);
                    rights
                }
            });
            Arc::new(Stamps::new(&principal.account, principal.session.method, &principal.rights))
        };
        let (key, seen, agent) = (self.key, self.seen, self.agent.clone());
        Self { principal: Arc::new(principal), stamps, key, seen, narrow, agent }
    }

    /// What of it is the human's: nothing of the agent.
    pub(super) fn of_human(&self) -> Self {
        let (principal, stamps) = (Arc::clone(&self.principal), Arc::clone(&self.stamps));
        Self { principal, stamps, key: self.key, seen: self.seen, narrow: None, agent: None }
    }

    /// Whether both keep what is known of their human in one place.
    pub(super) fn is_sharing(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.stamps, &other.stamps)
    }

    pub(super) fn has_rights_by(&self, catalogue: &Catalogue) -> bool {
        self.principal.rights.generation == catalogue.generation()
    }

    /// Whether both have a human of whom the same is known, who calls in the same way.
    fn is_alike(&self, other: &Self) -> bool {
        let (own, its) = (&self.principal, &other.principal);
        own.session.method == its.session.method
            && self.narrow.is_none()
            && other.narrow.is_none()
            && own.account == its.account
            && own.assignments == its.assignments
            && own.memberships == its.memberships
    }

    /// The same, keeping what is known of its human once for both. Equal is equal: nothing has to be
    /// asked about epochs.
    pub(super) fn sharing(self, other: &Self) -> Self {
        if !self.is_alike(other) || self.principal.rights.generation != other.principal.rights.generation {
            return self;
        }
        let principal =
            Arc::new(Principal { session: self.principal.session.clone(), ..(*other.principal).clone() });
        Self { principal, stamps: Arc::clone(&other.stamps), ..self }
    }
}

impl Stamps {
    fn new(account: &AccountFacts, method: &str, rights: &Rights) -> Self {
        let (role_codes, permission_codes) = (rights.roles(), rights.codes());
        Self {
            id: stamp::one(&account.id.to_string()),
            email: account.email.as_ref().map(Email::as_str).map(stamp::one),
            roles: stamp::list(role_codes.iter().map(Code::as_str)),
            permissions: stamp::list_if_short(permission_codes.iter().map(Code::as_str)),
            method: stamp::one(method),
            role_codes,
            permission_codes,
        }
    }
}
