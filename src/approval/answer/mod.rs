//! What an upstream answered to what people approved, kept for the agent that asked.
//!
//! Law: what is kept is what the agent would have been sent: cleaned, and without what agents may
//! not read. It is sealed, belongs to one approval, ends after an hour, and is whole or nothing.

mod store;

use std::time::Duration;

use ::http::header::{self, HeaderMap, HeaderName};
use ::http::{HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};

use super::Approval;
use crate::app::{App, Change};
use crate::base::{Id, Timestamp};
use crate::crypto::digest::{base64url, unbase64url};
use crate::http::Reply;
use crate::store::{Error, Tx};
use crate::text_column;

/// How long an answer is kept.
pub const ANSWER_KEPT_FOR: Duration = Duration::from_hours(1);
/// Bytes of an answer's body that are kept at most.
pub const ANSWER_MAX: usize = 1024 * 1024;
/// What says that an answer was given before and is given again.
const REPLAYED: HeaderName = HeaderName::from_static("x-portcullis-replayed");
/// What is true of one connection, or of a body in its frame on the wire.
const NOT_KEPT: [HeaderName; 4] =
    [header::CONNECTION, header::CONTENT_LENGTH, header::TRAILER, header::TRANSFER_ENCODING];

/// An answer, as its agent may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
}

/// What there is of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answered {
    Whole(Answer),
    /// It was longer than [`ANSWER_MAX`], and nothing of it is kept.
    TooLarge,
    /// It could not be cleaned of what agents may not read, and nothing of it is kept.
    Withheld,
}

/// What an answer is in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Whole,
    TooLarge,
    Withheld,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::TooLarge => "too_large",
            Self::Withheld => "withheld",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Whole, Self::TooLarge, Self::Withheld].into_iter().find(|kind| kind.name() == name)
    }
}

text_column!(Kind, Kind::from_name);

/// Everything but the body, as it is sealed.
#[derive(Serialize, Deserialize)]
struct Head {
    status: u16,
    /// Values in base64url: a header may hold bytes that are no text.
    headers: Vec<(String, String)>,
}

impl Answer {
    fn seal(&self, app: &App, id: Id) -> Result<(Vec<u8>, Vec<u8>), Error> {
        let headers = self.headers.iter().map(|(name, value)| (name.clone(), base64url(value))).collect();
        let head = serde_json::to_vec(&Head { status: self.status, headers });
        let head = head.map_err(|error| Error::Broken { cause: error.to_string() })?;
        let seal = |part, bytes: &[u8]| app.seal.seal(app.random.as_ref(), &place(id, part), bytes);
        Ok((seal("answer head", &head), seal("answer body", &self.body)))
    }

    fn open(app: &App, id: Id, head: &[u8], body: &[u8]) -> Result<Self, Error> {
        let broken = |cause: String| Error::Broken { cause: format!("a kept answer: {cause}") };
        let open = |part, bytes: &[u8]| {
            app.seal.open(&place(id, part), bytes).map_err(|error| broken(error.to_string()))
        };
        let (head, body) = (open("answer head", head)?, open("answer body", body)?);
        let head: Head = serde_json::from_slice(head.expose()).map_err(|error| broken(error.to_string()))?;
        let mut headers = Vec::with_capacity(head.headers.len());
        for (name, value) in head.headers {
            let value = unbase64url(&value).ok_or_else(|| broken("a header".to_owned()))?;
            headers.push((name, value));
        }
        Ok(Self { status: head.status, headers, body: body.expose().clone() })
    }

    /// The answer once more, marked as such.
    #[must_use]
    pub fn again(self) -> Reply {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK);
        let mut reply = Reply { status, headers: HeaderMap::new(), body: self.body.into(), feed: None };
        for (name, value) in self.headers {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_bytes(&value)) {
                reply.headers.append(name, value);
            }
        }
        reply.with(REPLAYED, HeaderValue::from_static("true"))
    }
}

/// Moved to another row or column, it does not open.
fn place(id: Id, part: &str) -> String {
    format!("approval:{id}:{part}")
}

/// Keeps an answer, in the transaction that ends the execution.
pub(super) async fn keep(change: &mut Change<'_>, id: Id, answered: &Answered) -> Result<(), Error> {
    let (app, ends_at) = (change.app(), change.now().plus(ANSWER_KEPT_FOR));
    let (kind, sealed) = match answered {
        Answered::Whole(answer) => (Kind::Whole, Some(answer.seal(app, id)?)),
        Answered::TooLarge => (Kind::TooLarge, None),
        Answered::Withheld => (Kind::Withheld, None),
    };
    store::insert(change.tx(), id, kind, sealed, ends_at).await
}

/// What an upstream answered, while that is kept. Whoever calls this has made sure that it may be
/// seen.
pub async fn answered(app: &App, approval: &Approval) -> Result<Option<Answered>, Error> {
    let Some(row) = store::find(&app.db, approval.id, app.now()).await? else { return Ok(None) };
    Ok(Some(match (row.kind, row.head, row.body) {
        (Kind::Whole, Some(head), Some(body)) => {
            Answered::Whole(Answer::open(app, approval.id, &head, &body)?)
        }
        (Kind::Whole, ..) => return Err(Error::Broken { cause: "a kept answer without a body".to_owned() }),
        (Kind::TooLarge, ..) => Answered::TooLarge,
        (Kind::Withheld, ..) => Answered::Withheld,
    }))
}

/// The stored bytes of a body, whether or not their time is over.
#[cfg(test)]
pub(super) async fn as_stored(app: &App, id: Id) -> Option<Vec<u8>> {
    store::find(&app.db, id, Timestamp::from_millis(0)).await.unwrap()?.body
}

/// Drops the answers whose time is over; how many.
pub(super) async fn forget(tx: &mut Tx, now: Timestamp, most: u32) -> Result<u64, Error> {
    store::forget(tx, now, most).await
}

/// An answer on its way to its agent, copied piece by piece.
#[derive(Debug, Default)]
pub struct Copying {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    standing: Standing,
}

/// How far a copy is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Not complete: if nothing more comes there is none.
    #[default]
    Open,
    Whole,
    TooLarge,
    Withheld,
}

impl Copying {
    /// The answer begins.
    pub fn begins(&mut self, status: StatusCode, headers: &HeaderMap) {
        self.status = status.as_u16();
        let kept = headers.iter().filter(|(name, _)| !NOT_KEPT.contains(name));
        self.headers =
            kept.map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect();
    }

    /// A piece of it passes.
    pub fn takes(&mut self, piece: &[u8]) {
        if self.standing != Standing::Open {
            return;
        }
        if self.body.len() + piece.len() > ANSWER_MAX {
            self.too_large();
        } else {
            self.body.extend_from_slice(piece);
        }
    }

    /// Nothing more comes.
    pub fn ends(&mut self) {
        if self.standing == Standing::Open {
            self.standing = Standing::Whole;
        }
    }

    /// There is more than can be kept.
    pub fn too_large(&mut self) {
        self.body = Vec::new();
        self.standing = Standing::TooLarge;
    }

    /// Agents may not read it.
    pub fn withhold(&mut self) {
        self.body = Vec::new();
        self.standing = Standing::Withheld;
    }

    /// What there is of it; `None` where it broke off.
    pub(super) fn answered(self) -> Option<Answered> {
        match self.standing {
            Standing::Open => None,
            Standing::Whole => {
                let Self { status, headers, body, .. } = self;
                Some(Answered::Whole(Answer { status, headers, body }))
            }
            Standing::TooLarge => Some(Answered::TooLarge),
            Standing::Withheld => Some(Answered::Withheld),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copied(pieces: &[&[u8]]) -> Copying {
        let mut copying = Copying::default();
        let mut headers = HeaderMap::new();
        headers.insert("x-tag", HeaderValue::from_static("a"));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("9"));
        copying.begins(StatusCode::CREATED, &headers);
        for piece in pieces {
            copying.takes(piece);
        }
        copying
    }

    #[test]
    fn a_copy_is_whole_or_nothing() {
        assert_eq!(copied(&[b"half"]).answered(), None);
        let mut whole = copied(&[b"one ", b"two"]);
        whole.ends();
        let headers = vec![("x-tag".to_owned(), b"a".to_vec())];
        let expected = Answer { status: 201, headers, body: b"one two".to_vec() };
        assert_eq!(whole.answered(), Some(Answered::Whole(expected)));
    }

    #[test]
    fn one_byte_too_many_and_nothing_is_kept() {
        let most = vec![b'x'; ANSWER_MAX];
        let mut fits = copied(&[&most]);
        fits.ends();
        assert!(matches!(fits.answered(), Some(Answered::Whole(answer)) if answer.body.len() == ANSWER_MAX));
        let mut beyond = copied(&[&most, b"x"]);
        beyond.takes(b"more");
        beyond.ends();
        assert!(beyond.body.is_empty());
        assert_eq!(beyond.answered(), Some(Answered::TooLarge));
    }

    #[test]
    fn what_is_given_again_says_so() {
        let answer = Answer {
            status: 404,
            headers: vec![("x-tag".to_owned(), b"a".to_vec()), ("x-tag".to_owned(), b"b".to_vec())],
            body: b"none".to_vec(),
        };
        let reply = answer.again();
        assert_eq!((reply.status, &reply.body[..]), (StatusCode::NOT_FOUND, &b"none"[..]));
        assert_eq!(reply.headers["x-portcullis-replayed"], "true");
        assert_eq!(reply.headers.get_all("x-tag").iter().count(), 2);
    }
}
