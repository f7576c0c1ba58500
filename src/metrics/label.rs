//! The words that may stand as a label's value.
//!
//! Law: every label but a route's, an upstream's or a task's name is one of these enums, so no
//! request can make a new time series.

/// A closed set of label values.
pub trait Label: Copy + 'static {
    /// Every value, in the order of [`Label::index`].
    const ALL: &'static [Self];
    /// The place in [`Label::ALL`].
    fn index(self) -> usize;
    /// The text on the wire.
    fn text(self) -> &'static str;
}

macro_rules! label {
    ($(#[$doc:meta])* $name:ident { $($(#[$about:meta])* $value:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$about])* $value),+ }

        impl Label for $name {
            const ALL: &'static [Self] = &[$(Self::$value),+];
            fn index(self) -> usize {
                self as usize
            }
            fn text(self) -> &'static str {
                match self { $(Self::$value => $text),+ }
            }
        }
    };
}

label!(
    /// A request's method; whatever is not one of the usual ones is `Other`.
    Method {
        Get = "GET",
        Head = "HEAD",
        Post = "POST",
        Put = "PUT",
        Patch = "PATCH",
        Delete = "DELETE",
        Options = "OPTIONS",
        Other = "other",
    }
);

impl Method {
    /// The label of a method as it stands on the wire.
    #[must_use]
    pub fn of(method: &str) -> Self {
        Self::ALL.iter().copied().find(|known| known.text() == method).unwrap_or(Self::Other)
    }
}

label!(
    /// Where an approval stands.
    ApprovalState {
        Pending = "pending",
        Approved = "approved",
        Executing = "executing",
        Executed = "executed",
        Failed = "failed",
        Indeterminate = "indeterminate",
        Denied = "denied",
        Expired = "expired",
        Lapsed = "lapsed",
        Void = "void",
    }
);

label!(
    /// How an exchange ended, by the first digit of its status.
    Class {
        Informational = "1xx",
        Success = "2xx",
        Redirection = "3xx",
        ClientError = "4xx",
        ServerError = "5xx",
        /// No answer was sent: the client left, or the connection was cut.
        Cut = "cut",
    }
);

impl Class {
    /// The class of an answer's number; anything outside 100 to 599 counts as no answer.
    #[must_use]
    pub const fn of(number: u16) -> Self {
        match number / 100 {
            1 => Self::Informational,
            2 => Self::Success,
            3 => Self::Redirection,
            4 => Self::ClientError,
            5 => Self::ServerError,
            _ => Self::Cut,
        }
    }
}

label!(
    /// A step of the decision whose time is measured.
    Stage {
        Route = "route",
        Authenticate = "authenticate",
        Authorize = "authorize",
        Limit = "limit",
        Identity = "identity",
    }
);

label!(
    /// Whether a cache had the answer.
    Cached {
        Hit = "true",
        Miss = "false",
    }
);

label!(
    /// A way in.
    LoginMethod {
        Email = "email",
        Phone = "phone",
        Code = "code",
        Link = "magic_link",
        Passkey = "passkey",
        Social = "social",
        Directory = "ldap",
        Register = "register",
    }
);

label!(
    /// How a login ended.
    LoginResult {
        Success = "success",
        BadCredentials = "bad_credentials",
        /// The password was right, and the second factor was wrong or is asked for.
        SecondFactor = "second_factor",
        Locked = "locked",
        Refused = "refused",
        Overloaded = "overloaded",
        Unavailable = "unavailable",
    }
);

label!(
    /// How a refresh ended.
    RefreshResult {
        Rotated = "rotated",
        Grace = "grace",
        Unknown = "unknown",
        Expired = "expired",
        Reused = "reused",
        Refused = "refused",
    }
);

label!(
    /// Which kind of limit said "slow down".
    Limiter {
        Endpoint = "endpoint",
        Route = "route",
        Connection = "connection",
        Agent = "agent",
    }
);

label!(
    /// Why the gateway suspended an agent token.
    AgentTrip {
        RateLimit = "RATE_LIMIT",
        Anomaly = "ANOMALY",
        HeartbeatMissing = "HEARTBEAT_MISSING",
        BudgetExceeded = "BUDGET_EXCEEDED",
    }
);

label!(
    /// How people and programs are told what happened.
    NoticeChannel {
        Mail = "mail",
        Sms = "sms",
        Webhook = "webhook",
    }
);

label!(
    /// What a try to tell something came to.
    NoticeOutcome {
        Delivered = "delivered",
        /// It is tried again.
        Failed = "failed",
        GivenUp = "given_up",
    }
);

label!(
    /// A kind of rows that are removed once they have been over for long enough.
    Swept {
        Answers = "answers",
        LoginAttempts = "login_attempts",
        Sessions = "sessions",
        Tickets = "tickets",
        OtpCodes = "otp_codes",
        Identities = "identities",
        Outbox = "outbox",
        Approvals = "approvals",
        AgentTokens = "agent_tokens",
        ApiKeys = "api_keys",
        Deletions = "deletions",
        Invitations = "invitations",
        Keys = "keys",
        Changes = "changes",
    }
);

label!(
    /// Something this process depends on.
    Dependency {
        Store = "store",
        Shared = "shared",
        BreachCheck = "breach_check",
        Directory = "ldap",
    }
);
