//! `Row`: everything about one built-in endpoint, in one place.
//!
//! Law: access is data. `post("/x/", handler)` is not yet a row; naming who may call it makes it
//! one, so an endpoint that forgot to say does not compile:
//!
//! ```compile_fail
//! use portcullis::http::{get, Call, Nothing, Reply, ApiError, Row};
//! async fn me(_: Call, _: Nothing) -> Result<Reply, ApiError> { unreachable!() }
//! let row: Row = get("/me/", me);
//! ```

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use ::http::Method;
use futures::future::BoxFuture;

use super::call::{Body, Call};
use super::code::ErrorCode;
use super::error::ApiError;
use super::fields::Unknown;
use super::input::{Accepts, Input};
use super::limit::Bucket;
use super::reply::{Answer, Output, Reply};
use super::shape::Shapes;
use super::wording::Wording;
use crate::audit::following;
use crate::principal::Scope;

/// Who may call an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anyone; a credential that comes along is not looked at, so a stale one does no harm.
    Open,
    /// A person with a live session.
    Person,
    /// A person who holds this permission.
    Permission(&'static str),
    /// An agent, by its own token. The handler looks the token up.
    Agent,
    /// Anyone with a browser; who is logged in is known by the cookie of pages, and nobody is by a
    /// token. The handler says what it shows to whom.
    Page,
    /// A person with a live session, or an agent by its own token.
    PersonOrAgent,
}

/// Where a path begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mount {
    /// Under `api.prefix`.
    Api,
    /// At the root of the listener.
    Root,
    /// Where the configuration mounts the profile of this name; nowhere if it does not.
    Profile(&'static str),
}

/// Whether an application's keys are asked for where the configuration asks for any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeysAsked {
    Yes,
    /// People come here by a link, with a browser that has none. Keys that are sent are looked at.
    No,
}

/// What a call of a mutating method leaves in the audit trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trace {
    /// These audit events.
    Audited(Vec<&'static str>),
    /// Nothing, for this reason.
    Unaudited(&'static str),
}

type Handle = dyn Fn(Call, Body, Unknown) -> BoxFuture<'static, Result<Reply, ApiError>> + Send + Sync;

/// A handler: `async fn(call: Call, input: I) -> Result<O, E>`.
pub trait Handler<Signature>: Send + Sync + 'static {
    /// Reads the input and runs.
    fn handle(
        &self,
        call: Call,
        body: &Body,
        unknown: Unknown,
    ) -> BoxFuture<'static, Result<Reply, ApiError>>;

    /// What it takes and what it answers, for the API document.
    fn describe(shapes: &mut Shapes) -> (Accepts, Answer);
}

impl<F, Ran, I, O, E> Handler<(I, O, E)> for F
where
    F: Fn(Call, I) -> Ran + Send + Sync + 'static,
    Ran: Future<Output = Result<O, E>> + Send + 'static,
    I: Input,
    O: Output,
    E: Into<ApiError> + 'static,
{
    fn handle(
        &self,
        call: Call,
        body: &Body,
        unknown: Unknown,
    ) -> BoxFuture<'static, Result<Reply, ApiError>> {
        match I::read(&call, body, unknown) {
            Ok(input) => {
                let running = self(call, input);
                Box::pin(async move { running.await.map_err(Into::into)?.into_reply() })
            }
            Err(refused) => Box::pin(std::future::ready(Err(refused))),
        }
    }

    fn describe(shapes: &mut Shapes) -> (Accepts, Answer) {
        (I::describe(&mut shapes.inputs), O::describe(&mut shapes.outputs))
    }
}

/// One built-in endpoint.
#[derive(Clone)]
pub struct Row {
    method: Method,
    path: &'static str,
    mount: Mount,
    access: Access,
    admitted: Option<Scope>,
    when_anonymous: ErrorCode,
    limit: Option<Bucket>,
    keys: KeysAsked,
    is_in_organization: bool,
    codes: Vec<ErrorCode>,
    about: &'static str,
    trace: Option<Trace>,
    unknown: Unknown,
    wording: Option<Wording>,
    handle: Arc<Handle>,
    describe: fn(&mut Shapes) -> (Accepts, Answer),
}

/// An endpoint that nobody may call yet.
#[must_use = "name who may call it"]
pub struct Closed(Row);

macro_rules! methods {
    ($($name:ident $method:ident),*) => {$(
        #[doc = concat!("Declares a `", stringify!($method), "` endpoint.")]
        pub fn $name<S, H: Handler<S>>(path: &'static str, handler: H) -> Closed {
            Closed(Row::new(Method::$method, path, handler))
        }
    )*};
}

methods!(get GET, post POST, put PUT, patch PATCH, del DELETE);

impl Closed {
    /// Anyone may call it.
    #[must_use]
    pub fn open(self) -> Row {
        self.with(Access::Open)
    }

    /// Any person with a live session may call it.
    #[must_use]
    pub fn person(self) -> Row {
        self.with(Access::Person)
    }

    /// A person who holds the permission may call it.
    #[must_use]
    pub fn allow(self, permission: &'static str) -> Row {
        self.with(Access::Permission(permission))
    }

    /// An agent may call it, and nobody else.
    #[must_use]
    pub fn agent(self) -> Row {
        let mut row = self.with(Access::Agent);
        row.when_anonymous = ErrorCode::Unauthorized;
        row
    }

    /// It is a page, or belongs to one. It stands at the root and in no API document.
    #[must_use]
    pub fn page(self) -> Row {
        self.with(Access::Page).at_root()
    }

    /// Any person with a live session, and any agent, may call it.
    #[must_use]
    pub fn person_or_agent(self) -> Row {
        self.with(Access::PersonOrAgent)
    }

    fn with(mut self, access: Access) -> Row {
        self.0.access = access;
        self.0
    }
}

impl Row {
    fn new<S, H: Handler<S>>(method: Method, path: &'static str, handler: H) -> Self {
        Self {
            method,
            path,
            mount: Mount::Api,
            access: Access::Person,
            admitted: None,
            when_anonymous: ErrorCode::AuthRequired,
            limit: None,
            keys: KeysAsked::Yes,
            is_in_organization: false,
            codes: Vec::new(),
            about: "",
            trace: None,
            unknown: Unknown::Ignored,
            wording: None,
            handle: Arc::new(move |call, body, unknown| handler.handle(call, &body, unknown)),
            describe: H::describe,
        }
    }

    /// Counts calls in a bucket.
    #[must_use]
    pub const fn limit(mut self, bucket: Bucket) -> Self {
        self.limit = Some(bucket);
        self
    }

    /// Serves people who come by a link, and asks them for no application's keys.
    #[must_use]
    pub const fn by_link(mut self) -> Self {
        self.keys = KeysAsked::No;
        self
    }

    /// Looks at the organization that `X-Org-Slug` names, and refuses where it names none.
    #[must_use]
    pub const fn in_organization(mut self) -> Self {
        self.is_in_organization = true;
        self
    }

    /// The codes of its own refusals, beyond those that its access and input imply; more of them where
    /// it is said again.
    #[must_use]
    pub fn codes(mut self, codes: &[ErrorCode]) -> Self {
        self.codes.extend(codes);
        self
    }

    /// One line for the API document.
    #[must_use]
    pub const fn about(mut self, text: &'static str) -> Self {
        self.about = text;
        self
    }

    /// The audit events that a call may leave, and with each what follows from it; more of them where it is said
    /// again.
    #[must_use]
    pub fn audited(mut self, events: &[&'static str]) -> Self {
        let mut all = match self.trace.take() {
            Some(Trace::Audited(all)) => all,
            Some(Trace::Unaudited(_)) | None => Vec::new(),
        };
        for event in events.iter().copied() {
            declare(&mut all, event);
        }
        self.trace = Some(Trace::Audited(all));
        self
    }

    /// Why a call leaves no audit event although its method could change something.
    #[must_use]
    pub fn unaudited(mut self, reason: &'static str) -> Self {
        self.trace = Some(Trace::Unaudited(reason));
        self
    }

    /// Refuses fields that the input does not offer.
    #[must_use]
    pub const fn strict(mut self) -> Self {
        self.unknown = Unknown::Refused;
        self
    }

    /// The path stands at the root of the listener, not under `api.prefix`.
    #[must_use]
    pub const fn at_root(mut self) -> Self {
        self.mount = Mount::Root;
        self
    }

    /// The path stands where a profile is mounted, and refusals are in its words. Its clients are
    /// asked for no application's keys.
    #[must_use]
    pub const fn of_profile(mut self, name: &'static str, wording: Wording) -> Self {
        self.mount = Mount::Profile(name);
        self.wording = Some(wording);
        self
    }

    /// Sessions restricted to this scope may call it too.
    #[must_use]
    pub const fn admitting(mut self, scope: Scope) -> Self {
        self.admitted = Some(scope);
        self
    }

    /// The code for a caller without a credential, where the contract has another one here.
    #[must_use]
    pub const fn when_anonymous(mut self, code: ErrorCode) -> Self {
        self.when_anonymous = code;
        self
    }

    #[must_use]
    pub const fn method(&self) -> &Method {
        &self.method
    }

    /// The path as declared: with a slash at both ends, relative to its mount.
    #[must_use]
    pub const fn path(&self) -> &'static str {
        self.path
    }

    #[must_use]
    pub const fn mount(&self) -> Mount {
        self.mount
    }

    #[must_use]
    pub const fn access(&self) -> Access {
        self.access
    }

    /// The scope of restricted sessions that may call it.
    #[must_use]
    pub const fn admitted(&self) -> Option<Scope> {
        self.admitted
    }

    /// The code for a caller without a credential.
    #[must_use]
    pub const fn code_when_anonymous(&self) -> ErrorCode {
        self.when_anonymous
    }

    #[must_use]
    pub const fn bucket(&self) -> Option<Bucket> {
        self.limit
    }

    #[must_use]
    pub const fn keys_asked(&self) -> KeysAsked {
        self.keys
    }

    /// The words of its refusals, where they are not our own.
    #[must_use]
    pub const fn wording(&self) -> Option<Wording> {
        self.wording
    }

    #[must_use]
    pub const fn is_in_organization(&self) -> bool {
        self.is_in_organization
    }

    #[must_use]
    pub fn declared_codes(&self) -> &[ErrorCode] {
        &self.codes
    }

    #[must_use]
    pub const fn summary(&self) -> &'static str {
        self.about
    }

    #[must_use]
    pub const fn trace(&self) -> Option<&Trace> {
        self.trace.as_ref()
    }

    /// The name of the operation in the API document: method and path, made one word.
    #[must_use]
    pub fn operation(&self) -> String {
        let method = self.method.as_str().to_ascii_lowercase();
        let begins = match self.mount {
            Mount::Profile(name) => format!("{}_{method}", name.replace('-', "_")),
            Mount::Api | Mount::Root => method,
        };
        let words = self.path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        words.fold(begins, |name, word| format!("{name}_{word}"))
    }

    /// What it takes and answers, for the API document.
    pub fn describe(&self, shapes: &mut Shapes) -> (Accepts, Answer) {
        (self.describe)(shapes)
    }

    /// Runs the handler for a page of ours, which puts a refusal into words of its own. Whoever calls this has
    /// checked the row's access.
    ///
    /// # Errors
    /// What the endpoint refuses.
    pub async fn ask(&self, call: Call, body: Body) -> Result<Reply, ApiError> {
        (self.handle)(call, body, self.unknown).await
    }

    /// Runs the handler. Whoever calls this has checked the row's access.
    pub async fn answer(&self, call: Call, body: Body) -> Reply {
        let (request_id, app) = (call.head.request_id.clone(), Arc::clone(&call.app));
        match self.ask(call, body).await {
            Ok(reply) => reply,
            Err(refused) => {
                if let Some(dependency) = refused.lacks() {
                    app.metrics.unavailable(dependency);
                }
                refused.into_reply(&request_id)
            }
        }
    }
}

/// What reacts to an event writes its own down in the same change.
fn declare(all: &mut Vec<&'static str>, event: &'static str) {
    if all.contains(&event) {
        return;
    }
    all.push(event);
    for next in following(event).iter().copied() {
        declare(all, next);
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({:?})", self.method, self.path, self.access)
    }
}
