//! WebSocket tickets: what a browser shows in the query, because it cannot set a header there.
//!
//! Law: a ticket opens one handshake, once, within 30 s, as the session that asked for it and in
//! the organization it named then. It is sealed, so nothing of it can be read or chosen; that it
//! was used is written into the store, and where that cannot be done the ticket is refused.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::person::Key;
use crate::base::{Id, Random, Slug, Timestamp};
use crate::crypto::digest::{base64url, unbase64url};
use crate::crypto::seal::SealKey;
use crate::http::{ApiError, Call, Json, Nothing, Row, post};
use crate::session;
use crate::store::Db;

/// How long a ticket waits for its handshake.
pub const VALID_FOR: Duration = Duration::from_secs(30);
const PARAMETER: &str = "ticket=";
const CONTEXT: &str = "ws-ticket";
const NONCE: usize = 16;
const FIXED: usize = 16 + 16 + 16 + 8 + NONCE;
/// No application: an id that nothing has.
const NONE: Id = Id::from_u128(0);

/// What a ticket stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    pub key: Key,
    pub organization: Option<Slug>,
}

/// Why a ticket opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Not ours, over, or used before. Not told apart.
    Invalid,
    /// Whether it was used before cannot be told.
    Silent,
}

impl Ticket {
    /// The text that the browser puts behind `?ticket=`.
    pub fn issue(&self, seal: &SealKey, random: &dyn Random, now: Timestamp) -> String {
        let mut nonce = [0u8; NONCE];
        random.fill(&mut nonce);
        let mut plain = Vec::with_capacity(FIXED + 32);
        for id in [self.key.account, self.key.sid, self.key.application.unwrap_or(NONE)] {
            plain.extend_from_slice(&id.as_u128().to_be_bytes());
        }
        plain.extend_from_slice(&now.plus(VALID_FOR).as_millis().to_be_bytes());
        plain.extend_from_slice(&nonce);
        plain.extend_from_slice(self.organization.as_ref().map_or("", Slug::as_str).as_bytes());
        base64url(&seal.seal(random, CONTEXT, &plain))
    }

    /// Uses the ticket up.
    pub async fn redeem(text: &str, seal: &SealKey, db: &Db, now: Timestamp) -> Result<Self, Refused> {
        let sealed = unbase64url(text).ok_or(Refused::Invalid)?;
        let plain = seal.open(CONTEXT, &sealed).map_err(|_| Refused::Invalid)?;
        let (ticket, ends_at, nonce) = read(plain.expose()).ok_or(Refused::Invalid)?;
        if ends_at <= now {
            return Err(Refused::Invalid);
        }
        let nonce = Id::from_u128(u128::from_be_bytes(nonce));
        match session::use_ticket(db, nonce, ends_at).await {
            Ok(session::Ticket::Good) => Ok(ticket),
            Ok(session::Ticket::UsedBefore) => Err(Refused::Invalid),
            Err(_) => Err(Refused::Silent),
        }
    }
}

fn read(plain: &[u8]) -> Option<(Ticket, Timestamp, [u8; NONCE])> {
    let (account, rest) = plain.split_first_chunk::<16>()?;
    let (sid, rest) = rest.split_first_chunk::<16>()?;
    let (application, rest) = rest.split_first_chunk::<16>()?;
    let (ends_at, rest) = rest.split_first_chunk::<8>()?;
    let (nonce, slug) = rest.split_first_chunk::<NONCE>()?;
    let organization = match slug {
        [] => None,
        slug => Some(Slug::parse(std::str::from_utf8(slug).ok()?).ok()?),
    };
    let id = |bytes: &[u8; 16]| Id::from_u128(u128::from_be_bytes(*bytes));
    let application = Some(id(application)).filter(|id| *id != NONE);
    let key = Key::of_session(id(sid), id(account), application);
    Some((Ticket { key, organization }, Timestamp::from_millis(i64::from_be_bytes(*ends_at)), *nonce))
}

/// Whether a query has tickets, however many.
pub fn is_in(query: &str) -> bool {
    query.split('&').any(|pair| is_ticket(&pair))
}

/// The query without its tickets; `None` when nothing else is in it.
pub fn without(query: &str) -> Option<String> {
    let rest: Vec<&str> = query.split('&').filter(|pair| !is_ticket(pair)).collect();
    if rest.is_empty() { None } else { Some(rest.join("&")) }
}

/// The ticket in a query; `None` when there is not exactly one.
pub fn of(query: &str) -> Option<&str> {
    let mut tickets = query.split('&').filter(is_ticket);
    let ticket = tickets.next()?.strip_prefix(PARAMETER)?;
    if tickets.next().is_none() { Some(ticket) } else { None }
}

fn is_ticket(pair: &&str) -> bool {
    pair.starts_with(PARAMETER)
}

/// `POST ws-ticket/`: a ticket for the caller, in the organization that the call names.
pub fn row() -> Row {
    post("/ws-ticket/", issue)
        .person()
        .unaudited("a ticket changes nothing; what it opens is decided again when it is used")
        .about("Get a one-use ticket for a WebSocket handshake")
}

/// A ticket on its way to a browser.
#[derive(Debug, Serialize, JsonSchema)]
struct Issued {
    /// Goes behind `?ticket=`, once.
    ticket: String,
    /// Seconds.
    expires_in: u64,
}

async fn issue(call: Call, _: Nothing) -> Result<Json<Issued>, ApiError> {
    let app = &call.app;
    let person = call.person()?;
    let key = Key::of_session(person.session.sid, person.account.id, person.session.application);
    // The gate has looked it up already: a name that is none did not come this far.
    let organization = call.head.org_slug.as_deref().and_then(|slug| Slug::parse(slug).ok());
    let ticket = Ticket { key, organization }.issue(&app.seal, app.random.as_ref(), app.now());
    Ok(Json(Issued { ticket, expires_in: VALID_FOR.as_secs() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::SeededRandom;
    use crate::store::testing::TestStore;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn ticket() -> Ticket {
        let organization = Some(Slug::parse("acme").unwrap());
        let key = Key::of_session(Id::from_u128(2), Id::from_u128(1), Some(Id::from_u128(3)));
        Ticket { key, organization }
    }

    #[tokio::test]
    async fn a_ticket_opens_one_handshake() {
        let (seal, random, store) =
            (SealKey::from_bytes([7; 32]), SeededRandom::new(1), TestStore::sqlite().await);
        let text = ticket().issue(&seal, &random, NOW);
        let later = NOW.plus(Duration::from_secs(29));
        assert_eq!(Ticket::redeem(&text, &seal, store.db(), later).await, Ok(ticket()));
        assert_eq!(Ticket::redeem(&text, &seal, store.db(), later).await, Err(Refused::Invalid));
    }

    #[tokio::test]
    async fn of_many_at_once_one_wins() {
        let (seal, random, store) =
            (SealKey::from_bytes([7; 32]), SeededRandom::new(1), TestStore::sqlite().await);
        let text = ticket().issue(&seal, &random, NOW);
        let all = (0..50).map(|_| Ticket::redeem(&text, &seal, store.db(), NOW));
        let won = futures::future::join_all(all).await.into_iter().flatten().count();
        assert_eq!(won, 1);
    }

    #[tokio::test]
    async fn a_ticket_that_is_over_or_changed_opens_nothing() {
        let (seal, random, store) =
            (SealKey::from_bytes([7; 32]), SeededRandom::new(1), TestStore::sqlite().await);
        let text = ticket().issue(&seal, &random, NOW);
        assert_eq!(
            Ticket::redeem(&text, &seal, store.db(), NOW.plus(VALID_FOR)).await,
            Err(Refused::Invalid)
        );
        let other = SealKey::from_bytes([8; 32]);
        for (text, seal) in [(&text[1..], &seal), (&text, &other), ("", &seal), ("AAAA", &seal)] {
            assert_eq!(Ticket::redeem(text, seal, store.db(), NOW).await, Err(Refused::Invalid));
        }
    }

    #[test]
    fn the_ticket_is_taken_out_of_the_query() {
        let told = |query| (of(query), is_in(query), without(query));
        assert_eq!(told("ticket=abc"), (Some("abc"), true, None));
        assert_eq!(told("a=1&ticket=abc&b=2"), (Some("abc"), true, Some("a=1&b=2".to_owned())));
        assert_eq!(told("ticket=a&ticket=b"), (None, true, None));
        assert_eq!(told("xticket=a"), (None, false, Some("xticket=a".to_owned())));
    }
}
