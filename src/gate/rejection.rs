//! Every reason for which the gate refuses a request, and how each one is told.
//!
//! Law: one enum, exhaustive matches, no catch-all with a text. The status, the code and the
//! sentence are fixed per variant and tell an attacker nothing that the request did not know;
//! the true cause goes to the log. `label` is what metrics and audit rows count by.

mod flaw;
mod silent;

use std::time::Duration;

use ::http::header::{ALLOW, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use ::http::{HeaderValue, StatusCode, StatusCode as S};
use serde_json::{Map, Value, json};

use super::agent::AgentRefusal;
use super::hold::HoldRefusal;
use crate::base::Timestamp;
use crate::http::error;
use crate::metrics::Dependency;
use crate::policy::Code;
use crate::policy::judge::Failure;
use crate::principal::Scope;

pub use flaw::Flaw;
pub use silent::Silent;

/// Why a request goes no further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejection {
    /// The request itself has no single reading.
    Malformed(Flaw),
    /// A method that is never forwarded, on any route.
    MethodUnknown,
    TargetTooLong,
    HeadTooLarge,
    ExpectationFailed,
    /// A host that this gateway does not answer for.
    Misdirected,
    /// The client did not send what it announced in time.
    RequestTimeout,
    /// The upstream could not be reached, or did not answer as HTTP asks.
    UpstreamFailed,
    UpstreamTimeout,
    /// The upstream's answer cannot be cleaned of what agents may not read.
    RedactionImpossible,
    /// No server of the upstream is in a state to be asked.
    UpstreamUnavailable,
    /// As many requests as it is to have are there already.
    UpstreamBusy,
    /// As many requests as this process may have at upstreams are there already.
    GatewayBusy,
    /// As many requests of this client's address are there as one address may have.
    TooManyAtOnce,
    /// No route has this host and path: closed by default.
    NoRoute,
    /// The path is known, the method is not. `allow` is the list that the answer names.
    MethodNotAllowed {
        allow: HeaderValue,
    },
    BodyTooLarge,
    /// The caller must say who it is.
    CredentialMissing,
    /// Malformed, forged, expired, or its session is over. Not told apart.
    TokenInvalid,
    /// The same of an API key: unknown, over, revoked, or its human may not act. Not told apart either.
    ApiKeyInvalid,
    /// What an agent shows has not the form of an agent token.
    AgentTokenUnreadable,
    /// An API key where only people and agents may call.
    ApiKeyNotAllowed,
    /// The token was issued to another application than the one that presents it.
    ApplicationMismatch,
    /// The token's scope opens other endpoints than this one.
    ScopeInsufficient(Scope),
    /// Something about an agent.
    Agent(AgentRefusal),
    /// Something about a request that waits for people.
    Held(HoldRefusal),
    ApplicationMissing,
    ApplicationInvalid,
    ApplicationOriginRequired,
    ApplicationOriginDenied,
    /// A browser's WebSocket handshake from an origin that is not listed.
    OriginDenied,
    /// What may change something, by a cookie, and not from a page of ours.
    CookieFromElsewhere,
    /// A WebSocket handshake on a route that takes none.
    UpgradeRefused,
    /// A condition of the route's policy said no.
    Denied(Failure),
    /// No such organization, or none that the caller may know of.
    OrganizationUnknown {
        slug: String,
    },
    /// The policy asks for an organization and the request names none.
    OrganizationMissing,
    /// Too many from one principal or address.
    Limited(Pace),
    /// A built-in endpoint was asked too often.
    Throttled(Pace),
    /// Something that the decision needs gives no answer: cannot tell, so no.
    Unavailable(Silent),
    /// A defect of ours.
    Internal,
}

/// The state of a rate limit, as the answer's headers show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    pub limit: u32,
    pub remaining: u32,
    pub window: Duration,
    /// When the whole limit is free again.
    pub reset_at: Timestamp,
    /// How long until one more request passes.
    pub retry_after: Duration,
}

const ASK: &str = "Ask an administrator to grant what `missing` lists.";
const ASK_ORG: &str = "Ask an owner of the organization to give you the role.";

/// How a condition's no is told. The contract's code where it has one for the condition.
#[rustfmt::skip]
fn denied(failure: &Failure) -> Told {
    let row = |code, label, text, remedy| Told { status: S::FORBIDDEN, code, label, text, remedy };
    let role_text = "Organization role required";
    match failure.condition {
        "permission" => row("PERMISSION_REQUIRED", "permission", "Permission denied.", ASK),
        "role" => row("ROLE_REQUIRED", "role", "Permission denied.", ASK),
        "group" => row("GROUP_REQUIRED", "group", "Permission denied.", ASK),
        "org.member" => row("ORG_MEMBERSHIP_REQUIRED", "org_member",
            "You are not a member of this organization", "Ask an owner of the organization to add you."),
        "org.role" => row("ORG_ROLE_REQUIRED", "org_role", role_text, ASK_ORG),
        "org.owner" => row("ORG_ROLE_REQUIRED", "org_owner", role_text, ASK_ORG),
        "org.admin" => row("ORG_ROLE_REQUIRED", "org_admin", role_text, ASK_ORG),
        "org.permission" => row("ORG_PERMISSION_REQUIRED", "org_permission",
            "Organization permission required", ASK_ORG),
        "org.plan" => row("ORG_PLAN_REQUIRED", "org_plan", "The organization's plan does not include this", ASK_ORG),
        "org.status" => row("ORG_STATUS_REQUIRED", "org_status", "The organization's status does not allow this", ASK_ORG),
        "verified.email" => row("EMAIL_NOT_VERIFIED", "verified_email",
            "Email verification required", "Verify the account's e-mail address."),
        "verified.phone" => row("PHONE_NOT_VERIFIED", "verified_phone",
            "Phone verification required", "Verify the account's phone number."),
        "mfa" => row("MFA_REQUIRED", "mfa", "A second factor is required", "Turn on a second factor and log in with it, or prove it at 2fa/verify/."),
        "max_age" => row("REAUTHENTICATION_REQUIRED", "max_age", "The login is too old for this", "Log in again, or prove a second factor at 2fa/verify/."),
        "staff" => row("STAFF_REQUIRED", "staff", "Permission denied.", "Ask an administrator."),
        "superuser" => row("SUPERUSER_REQUIRED", "superuser", "Permission denied.", "Ask an administrator."),
        "owner" => row("OWNER_REQUIRED", "owner", "Permission denied.", "Use your own id in the path."),
        "application" => row("APPLICATION_REQUIRED", "application_name",
            "This application may not do this", "Call through an application that the route names."),
        "scope" => row("INSUFFICIENT_SCOPE", "token_scope", "Insufficient token scope", "Use a token with the scope."),
        _ => row("PERMISSION_DENIED", "policy", "You do not have permission to perform this action.", ASK),
    }
}

/// What a restricted token is there for.
const fn what_for(scope: Scope) -> &'static str {
    match scope {
        Scope::PasswordChangeOnly => {
            "Choose another password with `password/change/`, or on the page /portcullis/login/, then log in again."
        }
        Scope::SecondFactorSetupOnly => {
            "Set up a second factor with `2fa/setup/` and `2fa/confirm/`, or on the page /portcullis/login/."
        }
    }
}

const RETRY_AFTER_SILENCE: Duration = Duration::from_secs(1);

/// What one refusal tells: all of it in one row, so that none can be forgotten.
pub(super) struct Told {
    pub status: StatusCode,
    pub code: &'static str,
    pub label: &'static str,
    pub text: &'static str,
    pub remedy: &'static str,
}

impl Rejection {
    pub fn status(&self) -> StatusCode {
        self.told().status
    }

    /// The stable code of the answer's `code` key.
    pub fn code(&self) -> &'static str {
        self.told().code
    }

    /// What metrics and audit rows count by: one word per reason, finer than the code where the
    /// caller must not learn the difference.
    pub fn label(&self) -> &'static str {
        self.told().label
    }

    /// What did not answer, for who counts such refusals.
    pub const fn lacks(&self) -> Option<Dependency> {
        match self {
            Self::Unavailable(silent) => silent.dependency(),
            _ => None,
        }
    }

    /// The fixed public sentence.
    pub fn text(&self) -> &'static str {
        self.told().text
    }

    /// One sentence: what the caller can do about it.
    pub fn remedy(&self) -> &'static str {
        self.told().remedy
    }

    #[rustfmt::skip]
    fn told(&self) -> Told {
        let row = |status, code, label, text, remedy| Told { status, code, label, text, remedy };
        match self {
            Self::Malformed(flaw) => row(S::BAD_REQUEST, "BAD_REQUEST", flaw.label(),
                "The request is malformed.", flaw.remedy()),
            Self::MethodUnknown => row(S::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", "method_unknown",
                "Method not allowed.", "Use one of the methods in the Allow header."),
            Self::TargetTooLong => row(S::URI_TOO_LONG, "URI_TOO_LONG", "uri_too_long",
                "The address is too long.", "Send a shorter path and query."),
            Self::HeadTooLarge => row(S::REQUEST_HEADER_FIELDS_TOO_LARGE, "HEADERS_TOO_LARGE", "headers_too_large",
                "The request headers are too large.", "Send fewer or shorter headers and cookies."),
            Self::ExpectationFailed => row(S::EXPECTATION_FAILED, "EXPECTATION_FAILED", "expectation",
                "The expectation cannot be met.", "Send no Expect header, or `100-continue`."),
            Self::Misdirected => row(S::MISDIRECTED_REQUEST, "MISDIRECTED_REQUEST", "unknown_host",
                "This host is not served here.", "Check the host name, or add it to `listen.hosts`."),
            Self::RequestTimeout => row(S::REQUEST_TIMEOUT, "REQUEST_TIMEOUT", "request_timeout",
                "The request took too long to arrive.", "Send the request again, faster."),
            Self::UpstreamFailed => row(S::BAD_GATEWAY, "UPSTREAM_FAILED", "upstream_failed",
                "The upstream did not answer.", "Try again; if it lasts, report the request id."),
            Self::UpstreamTimeout => row(S::GATEWAY_TIMEOUT, "UPSTREAM_TIMEOUT", "upstream_timeout",
                "The upstream took too long to answer.", "Try again; if it lasts, report the request id."),
            Self::RedactionImpossible => row(S::BAD_GATEWAY, "REDACTION_IMPOSSIBLE", "redaction",
                "The answer cannot be redacted.", "Have the upstream answer agents with plain JSON, or the route pass other types."),
            Self::UpstreamUnavailable => row(S::SERVICE_UNAVAILABLE, "UPSTREAM_UNAVAILABLE", "upstream_unavailable",
                "The upstream is not available.", "Try again shortly."),
            Self::UpstreamBusy => row(S::SERVICE_UNAVAILABLE, "UPSTREAM_BUSY", "upstream_busy",
                "The upstream has too much to do.", "Try again shortly."),
            Self::GatewayBusy => row(S::SERVICE_UNAVAILABLE, "GATEWAY_BUSY", "gateway_busy",
                "The gateway has too much to do.", "Try again shortly."),
            Self::TooManyAtOnce => row(S::SERVICE_UNAVAILABLE, "TOO_MANY_AT_ONCE", "too_many_at_once",
                "Too many requests of this address are being answered.", "Wait for answers before sending more requests, then try again."),
            Self::NoRoute => row(S::NOT_FOUND, "NOT_FOUND", "no_route",
                "Not found.", "Check the host and the path: this gateway has no route for them."),
            Self::MethodNotAllowed { .. } => row(S::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", "method",
                "Method not allowed.", "Use one of the methods in the Allow header."),
            Self::BodyTooLarge => row(S::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE", "body_too_large",
                "The request body is too large.", "Send a smaller body."),
            Self::CredentialMissing => row(S::UNAUTHORIZED, "AUTH_REQUIRED", "no_credential",
                "Authorization header required", "Log in and send the access token as `Authorization: Bearer <token>`."),
            Self::TokenInvalid => row(S::UNAUTHORIZED, "TOKEN_INVALID", "token",
                "Invalid or expired token", "Refresh the access token, or log in again."),
            Self::ApiKeyInvalid => row(S::UNAUTHORIZED, "TOKEN_INVALID", "token",
                "Invalid or expired token", "Have the key's human make another one: `api-keys/`, or /portcullis/account/keys/."),
            Self::AgentTokenUnreadable => row(S::UNAUTHORIZED, "TOKEN_INVALID", "token",
                "Invalid or expired token", "Send the whole `token` that minting answered, as `Authorization: AgentBearer <token>`."),
            Self::ApiKeyNotAllowed => row(S::FORBIDDEN, "API_KEY_NOT_ALLOWED", "api_key",
                "This endpoint is not for API keys", "Log in and send the access token as `Authorization: Bearer <token>`."),
            Self::ApplicationMismatch => row(S::UNAUTHORIZED, "TOKEN_APP_MISMATCH", "application_mismatch",
                "Token does not match application", "Send the keys of the application that the token was issued to."),
            Self::ScopeInsufficient(scope) => row(S::FORBIDDEN, "INSUFFICIENT_SCOPE", "scope",
                "Insufficient token scope", what_for(*scope)),
            Self::Agent(refusal) => refusal.told(),
            Self::Held(refusal) => refusal.told(),
            Self::ApplicationMissing => row(S::UNAUTHORIZED, "APP_AUTH_REQUIRED", "no_application",
                "Missing application credentials", "Send X-Access-Key and X-Access-Secret."),
            Self::ApplicationInvalid => row(S::UNAUTHORIZED, "APP_AUTH_INVALID", "application",
                "Invalid application credentials", "Check X-Access-Key and X-Access-Secret."),
            Self::ApplicationOriginRequired => row(S::UNAUTHORIZED, "APP_AUTH_ORIGIN_REQUIRED", "application_no_origin",
                "Missing Origin header for key-only auth", "Send X-Access-Secret, or call from a browser."),
            Self::ApplicationOriginDenied => row(S::UNAUTHORIZED, "APP_AUTH_ORIGIN_DENIED", "application_origin",
                "Origin not allowed for this application", "Ask an administrator to add this origin to the application."),
            Self::OriginDenied => row(S::FORBIDDEN, "ORIGIN_DENIED", "origin",
                "Origin not allowed", "Ask an administrator to allow this origin."),
            Self::CookieFromElsewhere => row(S::FORBIDDEN, "CSRF_FAILED", "csrf",
                "Cookie-authenticated requests need a matching Origin", "Send it from a page of the same origin."),
            Self::UpgradeRefused => row(S::FORBIDDEN, "UPGRADE_REFUSED", "upgrade",
                "This route takes no WebSocket.", "Connect to a route that allows WebSocket."),
            Self::Denied(failure) => denied(failure),
            Self::OrganizationUnknown { .. } => row(S::NOT_FOUND, "ORG_NOT_FOUND", "organization",
                "Organization not found", "Name an organization that you belong to in X-Org-Slug."),
            Self::OrganizationMissing => row(S::BAD_REQUEST, "ORG_CONTEXT_REQUIRED", "no_organization",
                "Organization context required. Please provide X-Org-Slug header.", "Name an organization in the X-Org-Slug header."),
            Self::Limited(_) | Self::Throttled(_) => row(S::TOO_MANY_REQUESTS, "RATE_LIMITED", "rate_limit",
                "Rate limit exceeded", "Wait as long as Retry-After says, then send the request again."),
            Self::Unavailable(silent) => row(S::SERVICE_UNAVAILABLE, "SERVICE_UNAVAILABLE", silent.label(),
                "The service cannot decide about this request right now.", "Try again shortly."),
            Self::Internal => row(S::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR", "internal",
                "Internal error.", "Report the request id to an administrator."),
        }
    }

    /// The condition that said no, where a policy did.
    pub fn failed(&self) -> Option<&str> {
        match self {
            Self::Denied(failure) => Some(failure.condition),
            Self::OrganizationMissing | Self::OrganizationUnknown { .. } => Some("org"),
            Self::CredentialMissing => Some("signed_in"),
            Self::Agent(refusal) => refusal.failed(),
            Self::ApplicationMissing | Self::ApplicationInvalid => Some("application"),
            _ => None,
        }
    }

    /// The codes that would have made it a yes.
    pub fn missing(&self) -> &[Code] {
        match self {
            Self::Denied(failure) => &failure.missing,
            Self::Agent(AgentRefusal::Denied(denial)) => &denial.missing,
            _ => &[],
        }
    }

    /// Whether the same request may pass later without the caller changing it.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Limited(_)
                | Self::Throttled(_)
                | Self::Unavailable(_)
                | Self::RequestTimeout
                | Self::UpstreamFailed
                | Self::UpstreamTimeout
                | Self::UpstreamUnavailable
                | Self::UpstreamBusy
                | Self::GatewayBusy
                | Self::TooManyAtOnce
        )
    }

    /// The headers that this refusal owes the client.
    pub fn headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        match self {
            Self::MethodNotAllowed { allow } => vec![(ALLOW, allow.clone())],
            Self::Limited(pace) | Self::Throttled(pace) => pace.headers(),
            Self::Agent(refusal) => refusal.headers(),
            Self::Held(refusal) => refusal.headers(),
            Self::MethodUnknown => vec![(ALLOW, HeaderValue::from_static(METHODS))],
            Self::Unavailable(silent) => vec![(RETRY_AFTER, whole_seconds(silent.retry_after()))],
            Self::UpstreamUnavailable | Self::UpstreamBusy | Self::GatewayBusy | Self::TooManyAtOnce => {
                vec![(RETRY_AFTER, whole_seconds(RETRY_AFTER_SILENCE))]
            }
            Self::TokenInvalid
            | Self::ApiKeyInvalid
            | Self::AgentTokenUnreadable
            | Self::ApplicationMismatch => {
                vec![(WWW_AUTHENTICATE, HeaderValue::from_static(BEARER_INVALID))]
            }
            Self::ScopeInsufficient(_) => {
                vec![(WWW_AUTHENTICATE, HeaderValue::from_static(BEARER_SCOPE))]
            }
            Self::Denied(failure) if matches!(failure.condition, "mfa" | "max_age") => {
                vec![(WWW_AUTHENTICATE, step_up(failure))]
            }
            _ if self.status() == StatusCode::UNAUTHORIZED => {
                vec![(WWW_AUTHENTICATE, HeaderValue::from_static(BEARER))]
            }
            _ => Vec::new(),
        }
    }

    /// The JSON of the answer, for a request that carries this id.
    pub fn body(&self, request_id: &str) -> Value {
        let mut body = Map::new();
        body.insert("error".into(), json!(self.text()));
        body.insert("code".into(), json!(self.code()));
        body.insert("details".into(), json!({}));
        body.insert("request_id".into(), json!(request_id));
        body.insert("failed".into(), json!(self.failed()));
        body.insert("missing".into(), json!(self.missing()));
        body.insert("remedy".into(), json!(self.remedy()));
        body.insert("retryable".into(), json!(self.is_retryable()));
        match self {
            Self::OrganizationUnknown { slug } => body.insert("slug".into(), json!(slug)),
            Self::Limited(pace) | Self::Throttled(pace) => {
                body.insert("retry_after".into(), json!(seconds(pace.retry_after)))
            }
            _ => None,
        };
        // The contract spells the wait in the sentence too (section 7).
        if let Self::Throttled(pace) = self {
            let wait = seconds(pace.retry_after);
            let unit = if wait == 1 { "second" } else { "seconds" };
            let text = format!("Request was throttled. Expected available in {wait} {unit}.");
            body.insert("error".into(), json!(text));
        }
        if let Self::Agent(refusal) = self {
            refusal.extend(&mut body);
        }
        if let Self::Held(refusal) = self {
            refusal.extend(&mut body);
        }
        Value::Object(body)
    }
}

/// Every method that is ever forwarded.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// RFC 6750 section 3: no error attribute where no credential was sent.
const BEARER: &str = r#"Bearer realm="portcullis""#;
const BEARER_INVALID: &str = r#"Bearer realm="portcullis", error="invalid_token""#;

const BEARER_SCOPE: &str = r#"Bearer realm="portcullis", error="insufficient_scope""#;

/// RFC 9470 section 3, with the contract's status: what the client is to have proved, and how lately.
fn step_up(failure: &Failure) -> HeaderValue {
    let age = failure.within.map(|within| format!(", max_age=\"{}\"", within.as_secs()));
    let text = format!("{}{}", error::STEP_UP, age.unwrap_or_default());
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(error::STEP_UP))
}

impl Pace {
    /// `X-RateLimit-*` and, when nothing remains, `Retry-After`.
    pub fn headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        let name = HeaderName::from_static;
        let mut headers = vec![
            (name("x-ratelimit-limit"), HeaderValue::from(self.limit)),
            (name("x-ratelimit-remaining"), HeaderValue::from(self.remaining)),
            (name("x-ratelimit-reset"), HeaderValue::from(self.reset_at.as_secs())),
            (name("x-ratelimit-window"), whole_seconds(self.window)),
        ];
        if !self.retry_after.is_zero() {
            headers.push((RETRY_AFTER, whole_seconds(self.retry_after)));
        }
        headers
    }
}

/// Rounded up, and never zero: a client that comes back too early is refused again.
pub(super) fn seconds(span: Duration) -> u64 {
    let rounded = span.as_secs() + u64::from(span.subsec_nanos() > 0);
    rounded.max(1)
}

pub(super) fn whole_seconds(span: Duration) -> HeaderValue {
    HeaderValue::from(seconds(span))
}

#[cfg(test)]
mod tests;
