//! What stands between the judgement of a request and its sending.
//! Law: it holds the permit, so what was not judged cannot be sent.

use bytes::Bytes;

use super::agent::Paid;
use super::hold::Kept;
use super::laps::Laps;
use super::permit::Permit;
use crate::http::Reply;

/// What was found about an agent's request.
pub(super) enum Judged<'l> {
    Passes(Box<Passing<'l>>),
    /// It is not sent, because it waits for people or was sent before, and this is the answer.
    Answered(Reply),
}

/// An agent's request that may be sent.
pub(super) struct Passing<'l> {
    pub permit: Permit,
    pub has_failures: bool,
    pub paid: Paid,
    pub sending: Sending,
    pub laps: Laps<'l>,
}

/// What of a request is sent.
pub(super) enum Sending {
    /// What comes, as it comes, unless somebody must read it first.
    Unread,
    /// What came: this is its body.
    Read(Bytes),
    /// What people have approved.
    Kept(Box<Kept>),
}
