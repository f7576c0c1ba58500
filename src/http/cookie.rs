//! Cookies: reading what a client sent, and writing ours.
//!
//! Law: our cookies carry a name prefix (`__Host-`, `__Secure-`) that browsers guard, `HttpOnly`
//! and `SameSite`: `Strict` for the API, `Lax` for pages, which people reach by links in mails. Only a gateway that is reached by plain http drops prefix and `Secure`,
//! because a browser would refuse them there. A name that was sent twice is not believed at all:
//! one of the two may have been tossed in by a sibling host.

use std::fmt;
use std::time::Duration;

use crate::base::Secret;

/// Every name that is ours on some channel. None of them reaches an upstream or is taken from one.
pub const OURS: [&str; 6] = [
    "__Host-portcullis_session",
    "portcullis_session",
    "__Secure-portcullis_refresh",
    "portcullis_refresh",
    "__Host-portcullis_social",
    "portcullis_social",
];

/// How browsers reach the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Over https, with or without a proxy of ours in front.
    Https,
    /// Over plain http: a loopback listener, or one that the configuration calls insecure.
    PlainHttp,
}

impl Channel {
    /// The channel that the configured public URL names.
    #[must_use]
    pub fn of(public_url: &str) -> Self {
        let scheme = public_url.get(..8).unwrap_or_default();
        if scheme.eq_ignore_ascii_case("https://") { Self::Https } else { Self::PlainHttp }
    }

    /// The name of the cookie that carries the refresh token.
    #[must_use]
    pub const fn refresh_cookie(self) -> &'static str {
        match self {
            Self::Https => OURS[2],
            Self::PlainHttp => OURS[3],
        }
    }

    /// The name of the cookie by which pages know who is logged in.
    #[must_use]
    pub const fn session_cookie(self) -> &'static str {
        match self {
            Self::Https => OURS[0],
            Self::PlainHttp => OURS[1],
        }
    }

    /// The name of the cookie that keeps a login which goes on at a provider.
    #[must_use]
    pub const fn social_cookie(self) -> &'static str {
        match self {
            Self::Https => OURS[4],
            Self::PlainHttp => OURS[5],
        }
    }
}

/// The cookies of one request.
#[derive(Debug, Clone, Default)]
pub struct Cookies(Vec<(String, Secret<String>)>);

impl Cookies {
    /// Reads the values of all `Cookie` headers. What is not `name=value` is skipped.
    pub fn parse<'a>(headers: impl IntoIterator<Item = &'a str>) -> Self {
        let pairs = headers.into_iter().flat_map(|header| header.split(';'));
        Self(
            pairs
                .filter_map(|pair| pair.trim_matches([' ', '\t']).split_once('='))
                .map(|(name, value)| (name.to_owned(), Secret::new(unquoted(value).to_owned())))
                .collect(),
        )
    }

    /// The value of a cookie that was sent exactly once.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Secret<String>> {
        let mut found = self.0.iter().filter(|(n, _)| n == name).map(|(_, value)| value);
        let first = found.next()?;
        if found.next().is_none() { Some(first) } else { None }
    }
}

fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value)
}

/// Which requests that began on another site carry a cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SameSite {
    Strict,
    /// Following a link does; nothing that changes anything.
    Lax,
}

/// A cookie that we set. Always `HttpOnly`.
#[derive(Debug, Clone)]
pub struct SetCookie {
    name: &'static str,
    value: Secret<String>,
    path: String,
    max_age: Duration,
    same_site: SameSite,
    channel: Channel,
}

impl SetCookie {
    /// The refresh token, sent back only to the API under `prefix`. `value` must be cookie text,
    /// which our tokens are.
    #[must_use]
    pub fn refresh(channel: Channel, prefix: &str, value: Secret<String>, max_age: Duration) -> Self {
        let path = format!("{}/", prefix.trim_end_matches('/'));
        let same_site = SameSite::Strict;
        Self { name: channel.refresh_cookie(), value, path, max_age, same_site, channel }
    }

    /// Makes the browser forget the refresh token.
    #[must_use]
    pub fn forget_refresh(channel: Channel, prefix: &str) -> Self {
        Self::refresh(channel, prefix, Secret::new(String::new()), Duration::ZERO)
    }

    /// Who is logged in, for pages. `value` must be cookie text.
    #[must_use]
    pub fn session(channel: Channel, value: Secret<String>, max_age: Duration) -> Self {
        let (name, path) = (channel.session_cookie(), "/".to_owned());
        Self { name, value, path, max_age, same_site: SameSite::Lax, channel }
    }

    /// A login that goes on at a provider, which the browser comes back from by a link. `value` must be
    /// cookie text.
    #[must_use]
    pub fn social(channel: Channel, value: Secret<String>, max_age: Duration) -> Self {
        let (name, path) = (channel.social_cookie(), "/".to_owned());
        Self { name, value, path, max_age, same_site: SameSite::Lax, channel }
    }

    /// Makes the browser forget the login that it began.
    #[must_use]
    pub fn forget_social(channel: Channel) -> Self {
        Self::social(channel, Secret::new(String::new()), Duration::ZERO)
    }

    /// Makes the browser forget who is logged in.
    #[must_use]
    pub fn forget_session(channel: Channel) -> Self {
        Self::session(channel, Secret::new(String::new()), Duration::ZERO)
    }
}

/// The value of a `Set-Cookie` header. It holds the secret: for the wire only.
impl fmt::Display for SetCookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, value, path, max_age, same_site, channel } = self;
        let (value, seconds) = (value.expose(), max_age.as_secs());
        write!(f, "{name}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite={same_site:?}")?;
        if *channel == Channel::Https { f.write_str("; Secure") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_sent_twice_is_not_believed() {
        let cookies = Cookies::parse(["a=1; b=2;c=\"3\"", "a=4"]);
        assert!(cookies.get("a").is_none());
        assert_eq!(cookies.get("b").unwrap().expose(), "2");
        assert_eq!(cookies.get("c").unwrap().expose(), "3");
        assert!(cookies.get("B").is_none());
    }

    #[test]
    fn the_refresh_cookie_is_guarded_by_its_name_over_https() {
        let secret = || Secret::new("tok".to_owned());
        let hour = Duration::from_hours(1);
        let https = SetCookie::refresh(Channel::of("https://gw"), "/api/v1/auth", secret(), hour);
        assert_eq!(
            https.to_string(),
            "__Secure-portcullis_refresh=tok; Path=/api/v1/auth/; Max-Age=3600; HttpOnly; SameSite=Strict; Secure"
        );
        let plain = SetCookie::forget_refresh(Channel::of("http://127.0.0.1:8080"), "/api/v1/auth/");
        assert_eq!(
            plain.to_string(),
            "portcullis_refresh=; Path=/api/v1/auth/; Max-Age=0; HttpOnly; SameSite=Strict"
        );
        let session = SetCookie::session(Channel::Https, secret(), hour);
        assert_eq!(
            session.to_string(),
            "__Host-portcullis_session=tok; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax; Secure"
        );
    }

    #[test]
    fn cookies_are_never_shown_in_debug_output() {
        let cookies = Cookies::parse(["portcullis_refresh=hunter2"]);
        assert!(!format!("{cookies:?}").contains("hunter2"));
    }
}
