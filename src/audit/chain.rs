//! The chains: every row holds the hash of the row before it in its stream.
//!
//! Law: numbers of a stream are gapless and given in the order of commits, because whoever commits holds the
//! stream's one counter row from its first audit row to COMMIT. That row is the last lock a change takes, and no
//! transaction takes both, so two never wait for each other in a circle because of it.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::store::{self, NewRow};
use super::stream::Stream;
use super::{Actor, Event, SignedHead, Tombstone};
use crate::base::{Random, Timestamp};
use crate::crypto::digest::{hex, sha256_hex};
use crate::crypto::seal::SealKey;
use crate::store::{Error, Source, Tx};

/// Characters of a `User-Agent` that a row has.
pub const USER_AGENT_MAX: usize = 500;
const REQUEST_ID_MAX: usize = 64;
const PAGE: u32 = 1000;
/// How often a look through the trail begins anew because a prune ran beside it.
const PRUNES: usize = 3;
/// More than the clocks of gateways are apart, and than any change takes.
const CLOCKS_APART: Duration = Duration::from_mins(5);
/// The code of the row that tells what was pruned.
const PRUNED: &str = "audit_pruned";

/// Where the chain ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Head {
    pub seq: i64,
    pub hash: String,
}

/// Why the chain is not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// A number is missing, or the last ones are.
    Missing,
    /// The row does not follow the one before it.
    Unlinked,
    /// The row is not what was hashed.
    Changed,
    /// What lies beside the row is not what was written, or is gone though its person is not.
    PersonalChanged,
    /// The row is another one than the one that was vouched for: the chain was written anew.
    Rewritten,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "is missing",
            Self::Unlinked => "does not follow the row before it",
            Self::Changed => "was changed",
            Self::PersonalChanged => "has details that were changed or removed",
            Self::Rewritten => "is not the row that was vouched for",
        })
    }
}

/// The first row that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broken {
    At { seq: i64, finding: Finding },
    Store(Error),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At { seq, finding } => {
                write!(f, "audit row {seq} of the {} {finding}", Stream::of(*seq))
            }
            Self::Store(cause) => cause.fmt(f),
        }
    }
}

impl std::error::Error for Broken {}

impl From<Error> for Broken {
    fn from(cause: Error) -> Self {
        Self::Store(cause)
    }
}

/// An event, whose doing it was, and when.
#[derive(Debug, Clone)]
pub struct Noted {
    pub actor: Actor,
    pub at: Timestamp,
    pub event: Event,
}

/// Numbers, hashes and writes rows of a stream; the number of the last one, which is a change's own. Called by
/// `app` alone, as the last thing before COMMIT.
pub async fn append(
    tx: &mut Tx,
    stream: Stream,
    events: &[Noted],
    random: &dyn Random,
) -> Result<i64, Error> {
    if let Some(stray) = events.iter().find(|noted| !noted.event.fits(stream)) {
        let cause = format!("`{}` does not belong into the stream of the {stream}", stray.event.code());
        return Err(Error::Broken { cause });
    }
    let count = i64::try_from(events.len()).unwrap_or(i64::MAX);
    let head = store::take_numbers(tx, stream, count).await?;
    let first = head.seq - count + 1;
    // Somebody has moved the counter: a number of the other stream would make the row one of it.
    if first < stream.first() || head.seq >= stream.ceiling() {
        let cause = format!("the counter of the {stream} says {}, which is none of its numbers", head.seq);
        return Err(Error::Broken { cause });
    }
    let mut rows: Vec<NewRow> = Vec::with_capacity(events.len());
    for (noted, seq) in events.iter().zip(first..) {
        let before = rows.last().map_or(&head.hash, |row| &row.hash).clone();
        rows.push(new_row(noted, seq, before, random));
    }
    store::insert(tx, &rows).await?;
    let moments = || events.iter().map(|noted| noted.at);
    let written = moments().min().zip(moments().max());
    store::set_head(tx, stream, rows.last().map_or(&head.hash, |row| &row.hash), written).await?;
    Ok(head.seq)
}

fn new_row(noted: &Noted, seq: i64, prev_hash: String, random: &dyn Random) -> NewRow {
    let Noted { actor, at, event } = noted;
    let about = event.about();
    let content = json!({
        "address": actor.address,
        "user_agent": actor.user_agent.as_deref().map(|text| cut(text, USER_AGENT_MAX)),
        "detail": event,
    })
    .to_string();
    // Salted, or an erased address could be found again by trying them all.
    let mut salt = [0u8; 16];
    random.fill(&mut salt);
    let salt = hex(&salt);
    let mut row = NewRow {
        seq,
        happened_at: *at,
        code: event.code().to_owned(),
        site_id: actor.site,
        actor_kind: actor.who.kind().to_owned(),
        actor_id: actor.who.id(),
        account_id: about.account,
        organization_id: about.organization,
        application_id: about.application.or(actor.application),
        request_id: actor.request_id.as_deref().map(|text| cut(text, REQUEST_ID_MAX)),
        digest: commitment(&salt, &content),
        prev_hash,
        hash: String::new(),
        salt,
        content,
        address: actor.address.map(|address| address.to_string()),
        trace: event.trace().map(str::to_owned),
    };
    row.hash = row.hashed();
    row
}

fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

/// What the chain holds of the personal part.
fn commitment(salt: &str, content: &str) -> String {
    sha256_hex(format!("{salt}\n{content}").as_bytes())
}

impl NewRow {
    /// The hash of everything that the chain vouches for. JSON keeps the fields apart.
    fn hashed(&self) -> String {
        let text = json!([
            "portcullis audit v1",
            self.seq,
            self.happened_at,
            self.code,
            self.site_id,
            self.actor_kind,
            self.actor_id,
            self.account_id,
            self.organization_id,
            self.application_id,
            self.request_id,
            self.digest,
            self.prev_hash
        ]);
        sha256_hex(text.to_string().as_bytes())
    }
}

/// A chain that holds together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whole {
    pub stream: Stream,
    /// The number of the first row that is there; the stream's first where none was pruned, and where there are none.
    pub first: i64,
    pub end: Head,
    /// What stands for the rows before the first one.
    pub tombstone: Option<Buried>,
}

impl Whole {
    /// Whether a row that was written then was old enough for the tombstone.
    fn buried_before(&self, written_at: Timestamp) -> bool {
        self.tombstone.as_ref().is_some_and(|buried| written_at < buried.tombstone.before)
    }
}

/// A tombstone, and the number of the row that holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buried {
    pub seq: i64,
    pub tombstone: Tombstone,
}

/// Reads the whole chain of a stream and checks every link. What was pruned by its age is not missed: a row of the
/// same chain holds a tombstone, signed with the seal key, that says up to which one. While a prune is under way
/// some of the rows that it names are still there, and have to be what they were.
pub async fn verify(mut source: impl Source, seal: &SealKey, stream: Stream) -> Result<Whole, Broken> {
    for _ in 0..PRUNES {
        let begun = store::first(&mut source, stream).await?;
        let judged = look_through(&mut source, seal, stream).await;
        let is_missed = matches!(judged, Err(Broken::At { finding: Finding::Missing, .. }));
        // Where the trail begins elsewhere now, a prune may have taken it while we read.
        if !is_missed || store::first(&mut source, stream).await? == begun {
            return judged;
        }
    }
    look_through(source, seal, stream).await
}

async fn look_through(mut source: impl Source, seal: &SealKey, stream: Stream) -> Result<Whole, Broken> {
    let head = store::head(&mut source, stream).await?;
    let (mut beginning, mut last): (Option<Beginning>, Option<Head>) = (None, None);
    loop {
        let after = last.as_ref().map_or(stream.floor(), |last| last.seq);
        let rows = store::links(&mut source, stream, after, PAGE).await?;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            if let Some(finding) = wrong(&row, stream, last.as_ref()) {
                // A number is missing only behind another one.
                let after = last.as_ref().filter(|_| finding == Finding::Missing);
                return Err(Broken::At { seq: after.map_or(row.seq, |last| last.seq + 1), finding });
            }
            let beginning = beginning.get_or_insert_with(|| Beginning::at(&row, stream));
            if let Some(tombstone) = buried(seal, stream, &row) {
                beginning.account(&mut source, tombstone).await?;
            }
            last = Some(Head { seq: row.seq, hash: row.hash });
        }
    }
    let (first, tombstone) = beginning.map_or(Ok((stream.first(), None)), Beginning::judged)?;
    // Rows that were committed while we read are fine; a tail that is gone is not, nor a counter of the other stream.
    let last = last.unwrap_or(Head { seq: stream.floor(), hash: String::new() });
    let is_elsewhere = Stream::of(head.seq) != stream;
    if is_elsewhere || last.seq < head.seq || (last.seq == head.seq && last.hash != head.hash) {
        return Err(Broken::At { seq: last.seq + 1, finding: Finding::Missing });
    }
    Ok(Whole { stream, first, end: last, tombstone })
}

/// The first row that is there, and what is said of those before it.
struct Beginning {
    stream: Stream,
    first: i64,
    prev_hash: String,
    tombstone: Option<Buried>,
    /// Up to where any tombstone reaches.
    reached: i64,
}

impl Beginning {
    fn at(row: &store::Link, stream: Stream) -> Self {
        let (first, prev_hash) = (row.seq, row.prev_hash.clone());
        Self { stream, first, prev_hash, tombstone: None, reached: stream.floor() }
    }

    /// Takes a tombstone that accounts for every row before the first one.
    async fn account(&mut self, source: impl Source, buried: Buried) -> Result<(), Error> {
        let to = &buried.tombstone.to;
        self.reached = self.reached.max(to.seq);
        let hash = match to.seq - self.first {
            ..-1 => None,
            -1 => Some(self.prev_hash.clone()),
            0.. => store::hash_of(source, to.seq).await?,
        };
        if self.first > self.stream.first() && hash.as_ref() == Some(&to.hash) {
            self.tombstone = Some(buried);
        }
        Ok(())
    }

    fn judged(self) -> Result<(i64, Option<Buried>), Broken> {
        let Self { stream, first, tombstone, reached, .. } = self;
        if first > stream.first() && tombstone.is_none() {
            // Where more is gone than was pruned, the first row that should be there is the one after that.
            let seq = if reached < first - 1 { reached + 1 } else { stream.first() };
            return Err(Broken::At { seq, finding: Finding::Missing });
        }
        Ok((first, tombstone))
    }
}

/// The tombstone that a row holds, if it is one that was signed with this key for rows of this stream: whoever may
/// write to the store can put one of the other stream here.
fn buried(seal: &SealKey, stream: Stream, row: &store::Link) -> Option<Buried> {
    if row.code != PRUNED {
        return None;
    }
    let content: Value = serde_json::from_str(row.content.as_deref()?).ok()?;
    let tombstone = Tombstone::read(seal, content["detail"]["signed"].as_str()?).ok()?;
    if Stream::of(tombstone.from) != stream || Stream::of(tombstone.to.seq) != stream {
        return None;
    }
    Some(Buried { seq: row.seq, tombstone })
}

/// What became of a row that was vouched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It is there, as it was.
    Yes,
    /// Its time was over.
    Pruned,
}

/// Whether a chain that was found whole still is the one of its stream that ended like this at some time. What was written
/// before `pruned_before` may have been pruned.
pub async fn kept(
    source: impl Source,
    whole: &Whole,
    vouched: &SignedHead,
    pruned_before: Timestamp,
) -> Result<Kept, Broken> {
    let SignedHead { head: vouched, written_at, .. } = vouched;
    if Stream::of(vouched.seq) != whole.stream {
        // It says nothing of this chain, so it must not be taken for an answer.
        let cause = format!("a head of the {} is none of the {}", Stream::of(vouched.seq), whole.stream);
        return Err(Broken::Store(Error::Broken { cause }));
    }
    if vouched.seq > whole.end.seq {
        return Err(Broken::At { seq: whole.end.seq + 1, finding: Finding::Missing });
    }
    match store::hash_of(source, vouched.seq).await? {
        Some(hash) if hash == vouched.hash => Ok(Kept::Yes),
        Some(_) => Err(Broken::At { seq: vouched.seq, finding: Finding::Rewritten }),
        // The chain is whole, so what is not in it was pruned; nothing at all was vouched for as such.
        None if vouched.seq == whole.stream.floor() => Ok(Kept::Yes),
        None if *written_at < pruned_before && whole.buried_before(*written_at) => Ok(Kept::Pruned),
        // Whoever can write everything can say that it was pruned; that it was not yet time they cannot change.
        None => Err(Broken::At { seq: vouched.seq, finding: Finding::Missing }),
    }
}

/// Where the chain of a stream ends now and when that row was written, both taken from a row that is what was hashed and
/// is not much older than the one before it: whoever may write to the store could otherwise have any time
/// signed, and have the row taken for one whose time is over.
pub(super) async fn end(mut source: impl Source, stream: Stream) -> Result<(Head, Timestamp), Broken> {
    let head = store::head(&mut source, stream).await?;
    if head.seq == stream.floor() {
        return Ok((head, Timestamp::from_millis(0)));
    }
    if Stream::of(head.seq) != stream {
        return Err(Broken::At { seq: stream.first(), finding: Finding::Missing });
    }
    // What was committed since is behind these; the one before may have been pruned.
    let rows = store::links(source, stream, head.seq - 2, 2).await?;
    let at = |finding| Broken::At { seq: head.seq, finding };
    let row = rows.iter().find(|row| row.seq == head.seq).ok_or(at(Finding::Missing))?;
    if row.hash != head.hash {
        return Err(at(Finding::Unlinked));
    }
    let before = rows.iter().find(|before| before.seq < head.seq);
    if before.is_some_and(|before| row.happened_at.plus(CLOCKS_APART) < before.happened_at) {
        return Err(at(Finding::Changed));
    }
    let written_at = row.happened_at;
    match wrong_in_itself(row) {
        Some(finding) => Err(at(finding)),
        None => Ok((head, written_at)),
    }
}

fn wrong(row: &store::Link, stream: Stream, last: Option<&Head>) -> Option<Finding> {
    match last {
        Some(last) if row.seq != last.seq + 1 => return Some(Finding::Missing),
        Some(last) if row.prev_hash != last.hash => return Some(Finding::Unlinked),
        None if row.seq == stream.first() && !row.prev_hash.is_empty() => return Some(Finding::Unlinked),
        _ => {}
    }
    wrong_in_itself(row)
}

fn wrong_in_itself(row: &store::Link) -> Option<Finding> {
    if row.hash != row.as_new().hashed() {
        return Some(Finding::Changed);
    }
    let is_whole = match (&row.salt, &row.content) {
        (Some(salt), Some(content)) => commitment(salt, content) == row.digest && is_told(row, content),
        _ => row.may_be_bare(),
    };
    if is_whole { None } else { Some(Finding::PersonalChanged) }
}

/// Whether what a row is found by is what it says.
fn is_told(row: &store::Link, content: &str) -> bool {
    let content: Value = serde_json::from_str(content).unwrap_or_default();
    row.address.as_deref() == content["address"].as_str()
        && row.trace.as_deref() == content["detail"]["trace"].as_str()
}
