//! The agents of late: what their tokens say, and the humans behind them.
//!
//! Law: as with people, an entry counts only while the epochs of everything it rests on are what
//! they were before it was read. One reader asks the store, the others wait for it. Signs of life
//! raise no epoch: what looks silent here is read again before anybody believes it. What is known of
//! a human is kept once for all of that human's agents.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64};
use std::time::Duration;

use ::http::HeaderValue;
use quick_cache::sync::Cache;

use super::super::person::{Key, Seen, Snapshot};
use super::super::record::{AgentRecord, Records};
use super::super::rejection::{Rejection, Silent};
use super::super::stamp;
use super::marks::Marks;
use super::refusal::AgentRefusal;
use crate::agent::{AgentToken, Fault, Status, purse_key};
use crate::app::Epochs;
use crate::base::{Id, Slug, Timestamp};
use crate::crypto::digest::hex;
use crate::policy::Catalogue;
use crate::principal::SessionFacts;
use crate::shared::Blame;

/// More than any installation has agents at work.
const REMEMBERED_MAX: usize = 262_144;
/// How long a token that nobody minted is known to be none.
const UNKNOWN_FOR: Duration = Duration::from_secs(1);
/// Reading is tried again while changes of the same token keep coming in between.
const TRIES: usize = 3;

/// The SHA-256 of a token's text.
pub(in crate::gate) type Digest = [u8; 32];

/// What a human delegated, ready to be judged and written on requests.
#[derive(Debug)]
pub(in crate::gate) struct Grant {
    pub digest: Digest,
    pub token: AgentToken,
    /// The name of the token's organization.
    pub slug: Option<Slug>,
    pub label: HeaderValue,
    pub number: HeaderValue,
    /// What its requests are counted under, and what is counted against it.
    pub rate_key: Box<str>,
    pub fault_key: Box<str>,
    /// One request suspends it; those beside it only say so.
    pub is_tripping: AtomicBool,
    /// When its use was noted last.
    pub used_at: AtomicI64,
    pub marks: Arc<Marks>,
}

#[derive(Debug, Clone)]
enum Entry {
    Live(Arc<Snapshot>),
    /// The human may not act.
    Halted {
        key: Key,
        seen: Seen,
        grant: Arc<Grant>,
    },
    Unknown(Timestamp),
}

/// What is known of a token that somebody presents.
#[derive(Debug)]
pub(in crate::gate) enum Found {
    /// Its human may act.
    Acting(Arc<Snapshot>),
    /// Its human, or the application that it was delegated through, may not.
    Halted(Arc<Grant>),
    /// Nobody minted it.
    Nobody,
}

impl Found {
    /// What was delegated, whether anybody may act by it or not.
    pub fn grant(&self) -> Option<&Arc<Grant>> {
        match self {
            Self::Acting(snapshot) => snapshot.agent.as_ref(),
            Self::Halted(grant) => Some(grant),
            Self::Nobody => None,
        }
    }

    /// The agent, if its human may act.
    pub fn acting(self) -> Result<Arc<Snapshot>, Rejection> {
        Err(Rejection::Agent(match self {
            Self::Acting(snapshot) => return Ok(snapshot),
            Self::Halted(grant) if grant.token.status == Status::Active => {
                AgentRefusal::Status(Status::Suspended)
            }
            Self::Halted(grant) => AgentRefusal::of_state(grant.token.status, grant.token.suspended_reason),
            Self::Nobody => AgentRefusal::Unknown,
        }))
    }
}

impl Entry {
    fn is_current(&self, epochs: &Epochs, now: Timestamp) -> bool {
        match self {
            Self::Live(known) => known.seen == Seen::of_agent(epochs, known.key),
            Self::Halted { key, seen, .. } => *seen == Seen::of_agent(epochs, *key),
            Self::Unknown(until) => now < *until,
        }
    }
}

/// Where an agent is looked up, and by what.
#[derive(Clone, Copy)]
pub(in crate::gate) struct Sources<'a> {
    pub epochs: &'a Epochs,
    pub catalogue: &'a Catalogue,
    pub records: &'a dyn Records,
    pub now: Timestamp,
}

/// The agents of late.
#[derive(Debug)]
pub(in crate::gate) struct Agents {
    entries: Cache<Digest, Entry>,
    /// Of each human an agent that was read lately: the next ones have the same human.
    humans: Cache<Id, Arc<Snapshot>>,
    /// What they did lately, which outlives every reading.
    marks: Cache<Id, Arc<Marks>>,
}

impl Agents {
    pub fn new() -> Self {
        Self {
            entries: Cache::new(REMEMBERED_MAX),
            humans: Cache::new(REMEMBERED_MAX),
            marks: Cache::new(REMEMBERED_MAX),
        }
    }

    /// Whether only the store can tell that somebody minted this token.
    pub fn is_new(&self, digest: &Digest, now: Timestamp) -> bool {
        match self.entries.get(digest) {
            Some(Entry::Live(_) | Entry::Halted { .. }) => false,
            Some(Entry::Unknown(until)) => until <= now,
            None => true,
        }
    }

    /// The agent as of now. No I/O while nothing about the agent or its human has changed.
    pub async fn of_digest(&self, digest: Digest, sources: Sources<'_>) -> Result<Found, Rejection> {
        for _ in 0..TRIES {
            match self.entries.get(&digest) {
                Some(entry) if entry.is_current(sources.epochs, sources.now) => {
                    return Ok(self.told(entry, digest, sources.catalogue));
                }
                Some(_) => {
                    let is_old = |entry: &Entry| !entry.is_current(sources.epochs, sources.now);
                    drop(self.entries.remove_if(&digest, is_old));
                }
                None => {}
            }
            match self.entries.get_value_or_guard_async(&digest).await {
                Ok(entry) if entry.is_current(sources.epochs, sources.now) => {
                    return Ok(self.told(entry, digest, sources.catalogue));
                }
                // It changed again while somebody else read it.
                Ok(_) => {}
                Err(guard) => {
                    let entry = self.read(digest, sources).await?;
                    drop(guard.insert(entry.clone()));
                    return Ok(self.told(entry, digest, sources.catalogue));
                }
            }
        }
        Err(Rejection::Unavailable(Silent::View))
    }

    /// Forgets what is known of a token, so that it is read again.
    pub fn forget(&self, digest: &Digest) {
        drop(self.entries.remove(digest));
    }

    fn told(&self, entry: Entry, digest: Digest, catalogue: &Catalogue) -> Found {
        match entry {
            Entry::Live(known) => Found::Acting(self.by(catalogue, known, digest)),
            Entry::Halted { grant, .. } => Found::Halted(grant),
            Entry::Unknown(_) => Found::Nobody,
        }
    }

    /// The same agent with its human's rights by this catalogue.
    fn by(&self, catalogue: &Catalogue, known: Arc<Snapshot>, digest: Digest) -> Arc<Snapshot> {
        if known.has_rights_by(catalogue) {
            return known;
        }
        let human = self.humans.get(&known.key.account);
        let anew = Arc::new(known.by(catalogue, human.as_deref()));
        self.keep(&anew, human.as_deref());
        self.entries.insert(digest, Entry::Live(Arc::clone(&anew)));
        anew
    }

    async fn read(&self, digest: Digest, sources: Sources<'_>) -> Result<Entry, Rejection> {
        let Sources { epochs, catalogue, records, now } = sources;
        let silent = |error| {
            tracing::warn!(%error, "an agent cannot be read");
            Rejection::Unavailable(Silent::Store)
        };
        let name = hex(&digest);
        // Whose epochs matter is known only after the first reading.
        let Some(key) = records.agent_key(&name).await.map_err(silent)? else {
            return Ok(Entry::Unknown(now.plus(UNKNOWN_FOR)));
        };
        for _ in 0..TRIES {
            let seen = Seen::of_agent(epochs, key);
            let Some(record) = records.agent(&name).await.map_err(silent)? else {
                return Ok(Entry::Unknown(now.plus(UNKNOWN_FOR)));
            };
            if seen != Seen::of_agent(epochs, key) {
                continue;
            }
            let AgentRecord { token, slug, person } = record;
            let grant = Arc::new(Grant::new(digest, token, slug, self.marks_of(key.sid)));
            let Some(person) = person else { return Ok(Entry::Halted { key, seen, grant }) };
            let snapshot = self.shared(Snapshot::new(person, catalogue, key, seen));
            return Ok(Entry::Live(Arc::new(Snapshot { agent: Some(grant), ..snapshot })));
        }
        Err(Rejection::Unavailable(Silent::View))
    }

    fn marks_of(&self, token: Id) -> Arc<Marks> {
        let made: Result<_, Infallible> = self.marks.get_or_insert_with(&token, || Ok(Arc::default()));
        made.unwrap_or_else(|never| match never {})
    }

    /// What was just read, with what is known of its human already.
    fn shared(&self, read: Snapshot) -> Snapshot {
        let human = self.humans.get(&read.key.account);
        let read = match human.as_deref() {
            Some(human) => read.sharing(human),
            None => read,
        };
        self.keep(&read, human.as_deref());
        read
    }

    /// Remembers the human of an agent, unless it is the one that is remembered.
    fn keep(&self, agent: &Snapshot, human: Option<&Snapshot>) {
        if !human.is_some_and(|human| human.is_sharing(agent)) {
            self.humans.insert(agent.key.account, Arc::new(agent.of_human()));
        }
    }
}

impl Grant {
    pub fn new(digest: Digest, token: AgentToken, slug: Option<Slug>, marks: Arc<Marks>) -> Self {
        Self {
            digest,
            slug,
            marks,
            label: stamp::one(&token.agent),
            number: HeaderValue::from(token.number.0),
            rate_key: purse_key(token.id).into(),
            fault_key: format!("agent:{}:{}", token.id, token.resumes).into(),
            is_tripping: AtomicBool::new(false),
            used_at: AtomicI64::new(token.last_used_at.map_or(0, Timestamp::as_millis)),
            token,
        }
    }

    /// Until when nothing but a change can stop it.
    pub fn stands_until(&self) -> Timestamp {
        let token = &self.token;
        token.heartbeat_due_at.map_or(token.expires_at, |due_at| due_at.min(token.expires_at))
    }

    /// What is counted against it.
    pub fn blame(&self) -> Blame<'_> {
        let AgentToken { created_at, resumed_at, .. } = self.token;
        Blame { key: &self.fault_key, there_since: created_at, since: resumed_at.unwrap_or(created_at) }
    }

    /// Whether it may act now.
    pub fn check(&self, now: Timestamp) -> Result<(), Fault> {
        self.token.check(now)
    }
}

/// What conditions about a session are judged by: the session in which the human delegated.
pub(in crate::gate) fn session_of(token: &AgentToken) -> SessionFacts {
    SessionFacts {
        sid: token.id,
        started_at: token.created_at,
        authenticated_at: token.authenticated_at,
        second_factor_at: token.has_second_factor.then_some(token.authenticated_at),
        method: "agent",
        application: token.application,
        scope: None,
        ends_at: token.expires_at,
    }
}
