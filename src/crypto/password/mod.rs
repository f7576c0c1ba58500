//! Passwords: hashing on threads of their own, stored formats, and what a password must be.
//!
//! Law: hashing never runs on a thread that serves requests; threads and queue are bounded, and
//! what does not fit is refused at once, so that a login flood costs a known amount of memory and
//! leaves the rest of the gateway its processor. A password is hashed as the exact UTF-8 bytes
//! that were sent: nothing is trimmed, normalised or cut.

mod common;
pub mod policy;
mod stored;
#[cfg(test)]
mod tests;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::base::{Random, Secret};
pub use stored::PREHASHED;
use stored::Stored;

/// Longer passwords are refused before they are hashed. In bytes.
pub const MAX_BYTES: usize = 4096;

/// What one argon2id hash costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Argon2Cost {
    pub memory_kib: u32,
    pub passes: u32,
    pub lanes: u32,
}

impl Default for Argon2Cost {
    /// 19 MiB, two passes, one lane: what OWASP asks for at least.
    fn default() -> Self {
        Self { memory_kib: 19 * 1024, passes: 2, lanes: 1 }
    }
}

/// How much of the machine password hashing may take.
#[derive(Debug, Clone, Copy)]
pub struct HasherSettings {
    pub cost: Argon2Cost,
    pub threads: usize,
    /// Jobs that may wait for a thread.
    pub queue: usize,
}

impl Default for HasherSettings {
    /// Half of the processors and a second or two of waiting.
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = (processors / 2).max(1);
        Self { cost: Argon2Cost::default(), threads, queue: threads * 32 }
    }
}

/// Every thread is busy and the queue is full: try again in a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overloaded;

impl fmt::Display for Overloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too many passwords wait to be hashed")
    }
}

impl std::error::Error for Overloaded {}

/// Whether a hash from elsewhere is of a kind, and at a cost, that passwords are compared with here.
#[must_use]
pub fn is_readable(stored: &str) -> bool {
    Stored::parse(stored).is_some()
}

/// What a password is to a stored hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    Yes,
    /// Right, but stored in another format or at another cost than the configured one.
    YesButRehash,
    No,
}

enum Task {
    Hash { salt: [u8; 16] },
    Verify { stored: String },
}

enum Answer {
    Hashed(String),
    Verified(Match),
}

struct Job {
    task: Task,
    password: Secret<String>,
    reply: oneshot::Sender<Answer>,
}

/// Hashes and verifies passwords on its own threads, which end when it is dropped.
pub struct Hasher {
    jobs: SyncSender<Job>,
    random: Arc<dyn Random>,
    /// A hash of nothing anybody knows, at the configured cost, for accounts that do not exist.
    decoy: String,
    performed: Arc<AtomicU64>,
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hasher").finish_non_exhaustive()
    }
}

impl Hasher {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the operating system gives no thread, or argon2 does not accept the cost.
    pub fn new(settings: HasherSettings, random: Arc<dyn Random>) -> std::io::Result<Self> {
        let unusable = || std::io::Error::other("argon2 does not accept this cost");
        let mut unknown = [0u8; 48];
        random.fill(&mut unknown);
        let (password, salt) = unknown.split_at(32);
        let salt = salt.try_into().map_err(|_| unusable())?;
        let decoy = stored::hash(settings.cost, password, &salt).ok_or_else(unusable)?;

        let (jobs, receiver) = sync_channel(settings.queue);
        let receiver = Arc::new(Mutex::new(receiver));
        let performed = Arc::new(AtomicU64::new(0));
        for number in 0..settings.threads.max(1) {
            let (receiver, performed) = (Arc::clone(&receiver), Arc::clone(&performed));
            std::thread::Builder::new()
                .name(format!("password-{number}"))
                .spawn(move || serve(&receiver, &performed, settings.cost))?;
        }
        Ok(Self { jobs, random, decoy, performed })
    }

    /// A new hash, in the PHC text form of argon2id.
    ///
    /// # Errors
    /// [`Overloaded`].
    pub async fn hash(&self, password: Secret<String>) -> Result<String, Overloaded> {
        let mut salt = [0u8; 16];
        self.random.fill(&mut salt);
        match self.run(Task::Hash { salt }, password).await? {
            Answer::Hashed(text) => Ok(text),
            Answer::Verified(_) => Err(Overloaded),
        }
    }

    /// Compares a password with a stored hash. A hash in a format that we do not read matches
    /// nothing, after the work of one that does.
    ///
    /// # Errors
    /// [`Overloaded`].
    pub async fn verify(&self, stored: &str, password: Secret<String>) -> Result<Match, Overloaded> {
        match self.run(Task::Verify { stored: stored.to_owned() }, password).await? {
            Answer::Verified(verdict) => Ok(verdict),
            Answer::Hashed(_) => Err(Overloaded),
        }
    }

    /// The work of a wrong password, for an account that does not exist.
    ///
    /// # Errors
    /// [`Overloaded`].
    pub async fn dummy(&self, password: Secret<String>) -> Result<(), Overloaded> {
        self.verify(&self.decoy, password).await.map(|_| ())
    }

    /// How many hashes were computed so far, dummies included.
    #[must_use]
    pub fn performed(&self) -> u64 {
        self.performed.load(Ordering::Relaxed)
    }

    async fn run(&self, task: Task, password: Secret<String>) -> Result<Answer, Overloaded> {
        let (reply, answer) = oneshot::channel();
        self.jobs.try_send(Job { task, password, reply }).map_err(|_| Overloaded)?;
        answer.await.map_err(|_| Overloaded)
    }
}

fn serve(jobs: &Mutex<Receiver<Job>>, performed: &AtomicU64, cost: Argon2Cost) {
    loop {
        // The lock is held while waiting: the other threads queue on it instead of on the channel.
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { task, password, reply }) = next else { return };
        if reply.is_closed() {
            continue;
        }
        performed.fetch_add(1, Ordering::Relaxed);
        // A job that panics is dropped, and its caller told so; the thread goes on.
        let answer = catch_unwind(AssertUnwindSafe(|| perform(&task, &password, cost)));
        if let Ok(Some(answer)) = answer {
            // Whoever asked may have gone meanwhile.
            let _ = reply.send(answer);
        }
    }
}

fn perform(task: &Task, password: &Secret<String>, cost: Argon2Cost) -> Option<Answer> {
    let password = password.expose().as_bytes();
    match task {
        Task::Hash { salt } => stored::hash(cost, password, salt).map(Answer::Hashed),
        Task::Verify { stored } => Some(Answer::Verified(compare(stored, password, cost))),
    }
}

fn compare(text: &str, password: &[u8], cost: Argon2Cost) -> Match {
    let Some(stored) = Stored::parse(text) else {
        let _ = stored::hash(cost, password, &[0; 16]);
        return Match::No;
    };
    match stored.is_hash_of(password) {
        false => Match::No,
        true if stored.is_current(cost) => Match::Yes,
        true => Match::YesButRehash,
    }
}
