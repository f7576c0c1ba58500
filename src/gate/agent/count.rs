//! The requests of a token's whole life, counted where they are spent.
//!
//! Law: only what is dispatched counts. Requests are spent out of a chunk that the store handed
//! out, so most ask nobody, and however many spend at once, the store's limit is the limit. A chunk
//! belongs to the limit it was handed out under: what is left of an older one goes back first.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use quick_cache::sync::Cache;
use tokio::sync::Mutex;

use super::super::Gate;
use super::super::rejection::Rejection;
use super::cache::Grant;
use super::refusal::Trip;
use super::{silent, trip};
use crate::base::Id;

/// More than any installation has agents at work.
const REMEMBERED_MAX: usize = 262_144;
/// A chunk is this part of the limit.
const PART: u32 = 20;

/// The chunks of this process, by token.
#[derive(Debug)]
pub(in crate::gate) struct Counts(Cache<Id, Arc<Chunk>>);

/// What is left of what was handed out.
#[derive(Debug)]
struct Chunk {
    /// The limit at that time.
    limit: u32,
    left: AtomicU32,
    /// One asks the store for more, the others wait for it.
    asking: Mutex<()>,
}

/// One request, taken out of its token's total. It goes back unless it was dispatched.
#[derive(Debug)]
pub struct Spent(Option<Arc<Chunk>>);

impl Spent {
    /// The request was dispatched.
    pub fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Spent {
    fn drop(&mut self) {
        if let Some(chunk) = self.0.take() {
            chunk.left.fetch_add(1, Ordering::AcqRel);
        }
    }
}

impl Counts {
    pub fn new() -> Self {
        Self(Cache::new(REMEMBERED_MAX))
    }

    /// The chunk of a token; what was left under another limit goes back to the store.
    async fn of(&self, gate: &Gate, grant: &Grant) -> Result<Arc<Chunk>, Rejection> {
        let (id, limit) = (grant.token.id, grant.token.limits.total);
        let chunk = self.0.get(&id);
        if let Some(chunk) = chunk.filter(|chunk| chunk.limit == limit) {
            return Ok(chunk);
        }
        // Whoever takes the old chunk out of the cache, and nobody else, gives back what it holds.
        let is_other = |chunk: &Arc<Chunk>| chunk.limit != limit;
        if let Some((_, old)) = self.0.remove_if(&id, is_other) {
            let left = old.left.swap(0, Ordering::AcqRel);
            if left > 0 {
                gate.records.give_requests_back(id, left).await.map_err(|error| silent(&error))?;
            }
        }
        let fresh = || Chunk { limit, left: AtomicU32::new(0), asking: Mutex::new(()) };
        let made: Result<_, std::convert::Infallible> =
            self.0.get_or_insert_with(&id, || Ok(Arc::new(fresh())));
        made.map_err(|never| match never {})
    }
}

impl Chunk {
    fn take(&self) -> bool {
        let one_less = |left: u32| left.checked_sub(1);
        self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less).is_ok()
    }
}

/// Takes one request out of what is left of the token's total. Who finds nothing left suspends it.
pub(in crate::gate) async fn spend(gate: &Gate, grant: &Grant) -> Result<Spent, Rejection> {
    let chunk = gate.counts.of(gate, grant).await?;
    if chunk.take() {
        return Ok(Spent(Some(chunk)));
    }
    let asking = chunk.asking.lock().await;
    if chunk.take() {
        drop(asking);
        return Ok(Spent(Some(chunk)));
    }
    // What a replica keeps, the others cannot spend: among replicas one is asked for at a time.
    let wanted = if gate.app.shared.is_among_replicas() { 1 } else { (chunk.limit / PART).max(1) };
    let taken = gate.records.take_requests(grant.token.id, wanted).await;
    let granted = taken.map_err(|error| silent(&error))?;
    if granted == 0 {
        drop(asking);
        return Err(trip(gate, grant, Trip::Total).await);
    }
    chunk.left.fetch_add(granted - 1, Ordering::AcqRel);
    drop(asking);
    Ok(Spent(Some(chunk)))
}
