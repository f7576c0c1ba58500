//! The plain-http listener that only sends browsers to https.
//!
//! Law: it redirects to a host that this gateway answers for, never to whatever a request names,
//! and never a request whose method would lose its body.

use ::http::header::LOCATION;
use ::http::{HeaderValue, Method, StatusCode};
use async_trait::async_trait;

use crate::config::{Listen, PublicUrl};
use crate::gate::CanonicalTarget;
use crate::gate::authority::Authority;
use crate::gate::target::{Doubtful, TargetRules};
use crate::http::Reply;
use crate::proxy::{Ask, Small};

const RULES: TargetRules =
    TargetRules { encoded_slash: Doubtful::Keep, params: Doubtful::Keep, max: 8 * 1024 };

/// Sends everyone to the same path under https.
pub(super) struct Redirect {
    pub(super) listen: Listen,
    pub(super) public_url: PublicUrl,
}

#[async_trait]
impl Small for Redirect {
    async fn answer(&self, ask: &Ask<'_>) -> Reply {
        let Ok(target) = CanonicalTarget::parse(ask.target, RULES) else {
            return Reply::empty(StatusCode::BAD_REQUEST);
        };
        let Some(Ok(authority)) = ask.host.map(Authority::parse) else {
            return Reply::empty(StatusCode::BAD_REQUEST);
        };
        let origin = self.origin(authority.host());
        let Ok(location) = HeaderValue::try_from(format!("{origin}{}", target.as_str())) else {
            return Reply::empty(StatusCode::BAD_REQUEST);
        };
        let is_safe = matches!(*ask.method, Method::GET | Method::HEAD);
        let status = if is_safe { StatusCode::MOVED_PERMANENTLY } else { StatusCode::PERMANENT_REDIRECT };
        Reply::empty(status).with(LOCATION, location)
    }
}

impl Redirect {
    /// The host that was asked for if it is one of a fixed list, else the public one.
    fn origin(&self, host: &str) -> String {
        if self.listen.hosts.is_empty() || !self.listen.serves(host) {
            return self.public_url.to_string();
        }
        PublicUrl { host: host.to_owned(), is_https: true, ..self.public_url.clone() }.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(method: Method, host: &str, target: &str) -> (StatusCode, Option<String>) {
        let config = crate::config::load_text(
            "preset: development\npublic_url: https://gw.example:8443\nlisten: {hosts: [gw.example, api.example]}\n",
        )
        .unwrap()
        .config;
        let redirect = Redirect { listen: config.listen.clone(), public_url: config.public_url.clone() };
        let host = HeaderValue::from_str(host).unwrap();
        let ask = Ask { method: &method, target: target.as_bytes(), host: Some(&host) };
        let reply = redirect.answer(&ask).await;
        (reply.status, reply.headers.get(LOCATION).map(|value| value.to_str().unwrap().to_owned()))
    }

    #[tokio::test]
    async fn a_redirect_leads_only_to_hosts_of_ours() {
        let to = |text: &str| Some(text.to_owned());
        assert_eq!(
            ask(Method::GET, "api.example:80", "/a?b").await,
            (StatusCode::MOVED_PERMANENTLY, to("https://api.example:8443/a?b"))
        );
        assert_eq!(
            ask(Method::GET, "evil.example", "/a").await,
            (StatusCode::MOVED_PERMANENTLY, to("https://gw.example:8443/a"))
        );
        assert_eq!(ask(Method::POST, "gw.example", "/a").await.0, StatusCode::PERMANENT_REDIRECT);
        for target in ["//evil.example/", "/a/../b", "http://evil.example/", "\\evil"] {
            assert_eq!(ask(Method::GET, "gw.example", target).await.0, StatusCode::BAD_REQUEST, "{target}");
        }
    }
}
