//! Which web pages may call, and how their browsers are told (the Fetch standard, "CORS protocol").
//!
//! Law: an origin is compared whole and exactly, `null` never matches, and `*` is never sent beside
//! credentials. A preflight is answered here and never reaches an upstream; one that is refused
//! gets an answer without any permission in it, which is how browsers are told no.

use std::collections::HashSet;

use ::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HeaderName, VARY,
};
use ::http::{HeaderValue, StatusCode};

use crate::config;
use crate::http::Reply;

/// What one `cors` section says, ready to be asked and answered with.
#[derive(Debug)]
pub struct Cors {
    is_any: bool,
    origins: HashSet<Box<str>>,
    methods: HeaderValue,
    headers: HeaderValue,
    expose: Option<HeaderValue>,
    credentials: Credentials,
    max_age: HeaderValue,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Credentials {
    Allowed,
    Refused,
}

/// Whether an application lists an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfApplication {
    Yes,
    No,
}

/// The permission of one origin, to be written on the answer to it.
#[derive(Debug, Clone)]
pub struct Granted {
    origin: HeaderValue,
    expose: Option<HeaderValue>,
    credentials: Credentials,
}

impl Cors {
    pub fn new(section: &config::Cors) -> Self {
        let joined = |names: &[String]| HeaderValue::from_str(&names.join(", ")).ok();
        let empty = || HeaderValue::from_static("");
        Self {
            is_any: section.allows_any(),
            origins: section.origins.iter().map(|origin| origin.as_str().into()).collect(),
            methods: joined(&section.methods).unwrap_or_else(empty),
            headers: joined(&section.headers).unwrap_or_else(empty),
            expose: joined(&section.expose).filter(|value| !value.is_empty()),
            credentials: if section.credentials { Credentials::Allowed } else { Credentials::Refused },
            max_age: HeaderValue::from(section.max_age.as_secs()),
        }
    }

    /// Whether the section itself lists this origin.
    pub fn lists(&self, origin: &str) -> bool {
        self.origins.contains(origin)
    }

    /// Whether pages of this origin may call.
    pub fn grant(&self, origin: &HeaderValue, of_application: OfApplication) -> Option<Granted> {
        let text = origin.to_str().ok().filter(|text| *text != "null")?;
        let is_listed = self.lists(text) || of_application == OfApplication::Yes;
        let origin = if is_listed {
            origin.clone()
        } else if self.is_any {
            HeaderValue::from_static("*")
        } else {
            return None;
        };
        let credentials = if is_listed { self.credentials } else { Credentials::Refused };
        Some(Granted { origin, expose: self.expose.clone(), credentials })
    }

    /// The answer to a preflight.
    pub fn preflight(&self, granted: Option<&Granted>) -> Reply {
        let reply = Reply::empty(StatusCode::OK).with(VARY, HeaderValue::from_static(PREFLIGHT_VARY));
        let Some(granted) = granted else { return reply };
        let mut reply = reply
            .with(ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone())
            .with(ACCESS_CONTROL_ALLOW_HEADERS, self.headers.clone())
            .with(ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        granted.write(&mut |name, value| {
            reply.headers.insert(name, value);
        });
        reply
    }
}

/// What a preflight's answer depends on.
const PREFLIGHT_VARY: &str = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";

impl Granted {
    /// Whether this very origin is known, not just any.
    pub fn is_listed(&self) -> bool {
        self.origin != "*"
    }

    /// Writes the permission. `Vary: Origin` belongs on every answer of a route with CORS, granted
    /// or not, and is the caller's to add to what an upstream may have said.
    pub fn write(&self, out: &mut dyn FnMut(HeaderName, HeaderValue)) {
        out(ACCESS_CONTROL_ALLOW_ORIGIN, self.origin.clone());
        if self.credentials == Credentials::Allowed {
            out(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        if let Some(expose) = &self.expose {
            out(ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn section(origins: &[&str], credentials: bool) -> config::Cors {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        config::Cors {
            origins: texts(origins),
            methods: texts(&["GET", "POST"]),
            headers: texts(&["authorization", "content-type"]),
            expose: texts(&["x-request-id"]),
            credentials,
            max_age: Duration::from_mins(10),
        }
    }

    fn allowed(cors: &Cors, origin: &str) -> Option<String> {
        let granted = cors.grant(&HeaderValue::from_str(origin).unwrap(), OfApplication::No)?;
        let mut found = None;
        granted.write(&mut |name, value| {
            if name == ACCESS_CONTROL_ALLOW_ORIGIN {
                found = Some(value.to_str().unwrap().to_owned());
            }
        });
        found
    }

    #[test]
    fn only_exactly_listed_origins_are_reflected() {
        let cors = Cors::new(&section(&["https://app.example.com"], true));
        assert_eq!(allowed(&cors, "https://app.example.com").as_deref(), Some("https://app.example.com"));
        for other in [
            "null",
            "https://app.example.com.evil.org",
            "https://evilapp.example.com",
            "http://app.example.com",
            "https://app.example.com:8443",
            "https://app.example.com/",
            "https://APP.example.com",
            "*",
            "",
        ] {
            assert_eq!(allowed(&cors, other), None, "{other}");
        }
    }

    #[test]
    fn a_star_is_never_sent_beside_credentials() {
        let cors = Cors::new(&section(&["*", "https://app.example.com"], true));
        let grant = |origin| cors.grant(&HeaderValue::from_static(origin), OfApplication::No).unwrap();
        let star = grant("https://other.example.com");
        assert_eq!((star.origin, star.credentials), (HeaderValue::from_static("*"), Credentials::Refused));
        assert_eq!(grant("https://app.example.com").credentials, Credentials::Allowed);
    }

    #[test]
    fn an_applications_origin_counts_like_a_listed_one_and_null_never() {
        let cors = Cors::new(&section(&[], false));
        let origin = HeaderValue::from_static("https://shop.example.com");
        assert!(cors.grant(&origin, OfApplication::Yes).is_some_and(|granted| granted.is_listed()));
        assert!(cors.grant(&origin, OfApplication::No).is_none());
        assert!(cors.grant(&HeaderValue::from_static("null"), OfApplication::Yes).is_none());
    }

    #[test]
    fn a_refused_preflight_is_answered_without_any_permission() {
        let cors = Cors::new(&section(&["https://app.example.com"], true));
        let origin = HeaderValue::from_static("https://app.example.com");
        let granted = cors.grant(&origin, OfApplication::No);
        let reply = cors.preflight(granted.as_ref());
        assert_eq!(reply.headers[ACCESS_CONTROL_ALLOW_METHODS], "GET, POST");
        assert_eq!(reply.headers[ACCESS_CONTROL_MAX_AGE], "600");
        let refused = cors.preflight(None);
        assert_eq!(refused.status, StatusCode::OK);
        assert!(refused.headers.keys().all(|name| !name.as_str().starts_with("access-control")));
    }
}
