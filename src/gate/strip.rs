//! Which headers of an incoming request are nobody's to send.
//!
//! Law: whatever an upstream could take for the gateway's word is removed before anything reads
//! headers, in every spelling that some backend folds into the same name (whatever is no letter
//! and no digit counts as `-`, case never counts). The gateway writes its own, last.

/// Namespaces in which only the gateway speaks, as folded prefixes.
const NAMESPACES: [&str; 5] = ["x-user", "x-org", "x-agent", "x-auth", "x-portcullis"];

/// Single names that backends trust from the proxy before them.
const NAMES: [&str; 26] = [
    "cf-connecting-ip",
    "forwarded",
    "proxy",
    "remote-user",
    "true-client-ip",
    "x-access-key",
    "x-access-secret",
    "x-action-confirmation",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-forwarded",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-host",
    "x-original-method",
    "x-original-uri",
    "x-original-url",
    "x-permissions",
    "x-prompt-trace-id",
    "x-real-ip",
    "x-remote-user",
    "x-request-id",
    "x-rewrite-url",
    "x-role",
    "x-roles",
];

/// Names that decide how a request is read. Under another spelling they would smuggle one past us.
const FRAMING: [&str; 9] = [
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "expect",
    "host",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Longer than every name above; what is longer can only match a namespace by its beginning.
const FOLDED_MAX: usize = 48;

/// Whether an incoming request header of this (lower-case) name is removed.
pub fn is_removed(name: &str) -> bool {
    if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return is_ours(name);
    }
    let mut buffer = [0u8; FOLDED_MAX];
    let folded = fold(name, &mut buffer);
    is_ours(folded) || FRAMING.contains(&folded)
}

/// Whether this (lower-case) name is that of an API key, which is removed where the key is one of ours: an
/// upstream may have keys of its own.
pub fn names_api_key(name: &str) -> bool {
    const NAME: &str = "x-api-key";
    name.len() == NAME.len() && {
        let mut buffer = [0u8; FOLDED_MAX];
        fold(name, &mut buffer) == NAME
    }
}

/// Whether an upstream's response header of this (lower-case) name is removed: our own names, and
/// those by which an upstream could steer whatever stands before the gateway.
pub fn is_removed_from_response(name: &str) -> bool {
    // With it, a page of one backend would stand between a browser and everything else on this host.
    if name == "service-worker-allowed" {
        return true;
    }
    if !matches!(name.as_bytes().first(), Some(b'x' | b'k' | b'p')) {
        return false;
    }
    let mut buffer = [0u8; FOLDED_MAX];
    let folded = fold(name, &mut buffer);
    in_namespace(folded)
        || has_prefix(folded, "x-accel")
        || matches!(folded, "keep-alive" | "proxy-connection")
}

fn is_ours(name: &str) -> bool {
    match name.as_bytes().first() {
        Some(b'x') => {
            in_namespace(name) || has_prefix(name, "x-forwarded") || NAMES.binary_search(&name).is_ok()
        }
        Some(b'c' | b'f' | b'p' | b'r' | b't') => NAMES.binary_search(&name).is_ok(),
        _ => false,
    }
}

fn in_namespace(name: &str) -> bool {
    NAMESPACES.iter().any(|namespace| has_prefix(name, namespace))
}

/// `x-user` and `x-user-…`, but not `x-username`.
fn has_prefix(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// The name as backends that fold would see it, cut to what can matter.
fn fold<'a>(name: &str, buffer: &'a mut [u8; FOLDED_MAX]) -> &'a str {
    let length = name.len().min(FOLDED_MAX);
    for (to, from) in buffer.iter_mut().zip(name.bytes()) {
        *to = if from.is_ascii_alphanumeric() { from.to_ascii_lowercase() } else { b'-' };
    }
    std::str::from_utf8(&buffer[..length]).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_names_is_sorted_for_the_search() {
        assert!(NAMES.is_sorted());
        assert!(NAMES.iter().all(|name| name.len() < FOLDED_MAX));
    }

    #[test]
    fn our_names_are_removed_in_every_spelling() {
        for name in [
            "x-user-id",
            "x_user_id",
            "x.user.id",
            "x-user_id",
            "x!user~id",
            "x+roles",
            "x-user",
            "x_org_slug",
            "x-agent-token-id",
            "x-auth-method",
            "x-portcullis-assertion",
            "x-forwarded-for",
            "x_forwarded_proto",
            "x-forwarded-prefix",
            "forwarded",
            "x-real-ip",
            "x.real.ip",
            "x-roles",
            "x_http_method_override",
            "transfer_encoding",
            "content.length",
            "x-access-secret",
            "proxy",
        ] {
            assert!(is_removed(name), "{name}");
        }
    }

    #[test]
    fn other_names_are_left_alone() {
        for name in [
            "host",
            "authorization",
            "cookie",
            "content-type",
            "x-username",
            "x-organic",
            "x-custom_header",
            "x-trace.id",
            "accept",
            "range",
            "x-api-key",
            "transfer-encoding",
        ] {
            assert!(!is_removed(name), "{name}");
        }
    }

    #[test]
    fn an_api_key_is_known_under_every_spelling() {
        assert!(["x-api-key", "x_api_key", "x.api-key"].into_iter().all(names_api_key));
        assert!(
            ["x-api-keys", "x-apikey", "api-key", "x-app-key"].into_iter().all(|name| !names_api_key(name))
        );
    }

    #[test]
    fn an_upstream_cannot_answer_in_our_name() {
        for name in ["x-user-id", "x_portcullis_x", "x-accel-redirect", "keep-alive", "x.auth.method"] {
            assert!(is_removed_from_response(name), "{name}");
        }
        for name in ["content-type", "set-cookie", "x-custom", "x-acceleration", "x-forwarded-for"] {
            assert!(!is_removed_from_response(name), "{name}");
        }
    }
}
