//! What makes a request malformed, and what to send instead.
//!
//! Law: the sentence helps whoever wrote the client, and tells nothing of what was sent.

/// What makes a request malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Where it ends is in doubt: the connection ends with it.
    Framing,
    Target,
    Host,
    /// A header that may stand once stands twice.
    Duplicate,
    Upgrade,
    /// It names what is not for a neighbour to name.
    Connection,
    /// Two credentials came: choosing would be guessing.
    Credentials,
}

impl Flaw {
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Framing => "bad_framing",
            Self::Target => "bad_target",
            Self::Host => "bad_host",
            Self::Duplicate => "duplicate_header",
            Self::Upgrade => "bad_upgrade",
            Self::Connection => "bad_connection",
            Self::Credentials => "two_credentials",
        }
    }

    pub(super) const fn remedy(self) -> &'static str {
        match self {
            Self::Framing => {
                "Send one Content-Length or `Transfer-Encoding: chunked`, and end lines with CR LF."
            }
            Self::Target => {
                "Send a plain path: no dot segments, doubled or encoded slashes, backslashes or `;`, and nothing encoded that may stand plainly."
            }
            Self::Host => "Send exactly one valid Host.",
            Self::Duplicate => "Send each header once.",
            Self::Upgrade => "Send a WebSocket handshake as a GET without a body.",
            Self::Credentials => "Send one credential: Authorization or X-API-Key.",
            Self::Connection => "Name in Connection only headers that are for the next hop, and few of them.",
        }
    }
}
