//! What refusals owe the client.
//!
//! Law: every one of a kind has what its kind must have.

use super::*;

#[test]
fn every_401_says_how_to_authenticate() {
    for rejection in [
        Rejection::CredentialMissing,
        Rejection::TokenInvalid,
        Rejection::ApiKeyInvalid,
        Rejection::AgentTokenUnreadable,
        Rejection::ApplicationMismatch,
        Rejection::ApplicationMissing,
        Rejection::ApplicationOriginDenied,
    ] {
        assert_eq!(rejection.status(), StatusCode::UNAUTHORIZED);
        let headers = rejection.headers();
        assert!(headers.iter().any(|(name, _)| name == WWW_AUTHENTICATE), "{rejection:?}");
    }
}

#[test]
fn whoever_has_not_proved_enough_learns_what_to_prove() {
    let challenge = |rejection: Rejection| {
        let headers = rejection.headers();
        let found = headers.into_iter().find(|(name, _)| name == WWW_AUTHENTICATE);
        found.map(|(_, value)| value.to_str().unwrap().to_owned())
    };
    let denied = |condition, within| Rejection::Denied(Failure { condition, missing: Vec::new(), within });
    let bearer = |rest: &str| Some(format!("Bearer realm=\"portcullis\", error=\"{rest}"));
    let late = denied("max_age", Some(Duration::from_mins(5)));
    assert_eq!(challenge(late), bearer("insufficient_user_authentication\", max_age=\"300\""));
    assert_eq!(challenge(denied("mfa", None)), bearer("insufficient_user_authentication\""));
    let narrow = Rejection::ScopeInsufficient(Scope::SecondFactorSetupOnly);
    assert_eq!(challenge(narrow), bearer("insufficient_scope\""));
    assert_eq!(challenge(denied("staff", None)), None);
}

#[test]
fn a_remedy_is_of_what_was_shown() {
    let factor = Rejection::ScopeInsufficient(Scope::SecondFactorSetupOnly).remedy();
    assert!(factor.contains("2fa/setup/") && factor.contains("2fa/confirm/"), "{factor}");
    let password = Rejection::ScopeInsufficient(Scope::PasswordChangeOnly).remedy();
    assert!(password.contains("password/change/") && !password.contains("2fa"), "{password}");
    let (token, key) = (Rejection::TokenInvalid, Rejection::ApiKeyInvalid);
    assert_eq!((key.status(), key.code(), key.text()), (token.status(), token.code(), token.text()));
    assert!(token.remedy().contains("Refresh") && !key.remedy().contains("Refresh"), "{}", key.remedy());
}

#[test]
fn a_limited_request_learns_when_to_come_back() {
    let pace = Pace {
        limit: 20,
        remaining: 0,
        window: Duration::from_mins(1),
        reset_at: Timestamp::from_millis(1_700_000_060_000),
        retry_after: Duration::from_millis(2_100),
    };
    let headers = Rejection::Limited(pace).headers();
    let value = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.to_str().unwrap());
    assert_eq!(value("retry-after"), Some("3"));
    assert_eq!(value("x-ratelimit-limit"), Some("20"));
    assert_eq!(value("x-ratelimit-remaining"), Some("0"));
    assert_eq!(value("x-ratelimit-reset"), Some("1700000060"));
    assert_eq!(value("x-ratelimit-window"), Some("60"));
    assert_eq!(Rejection::Limited(pace).body("r")["retry_after"], 3);
}

#[test]
fn silence_is_a_503_that_may_be_tried_again() {
    let rejection = Rejection::Unavailable(Silent::Store);
    assert_eq!(rejection.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(rejection.headers().iter().any(|(name, _)| name == RETRY_AFTER));
    assert_eq!(rejection.body("r")["retryable"], true);
}

#[test]
fn what_comes_before_an_endpoint_is_told_in_the_document() {
    use crate::http::openapi::EARLY;
    for rejection in [
        Rejection::Malformed(Flaw::Target),
        Rejection::RequestTimeout,
        Rejection::BodyTooLarge,
        Rejection::TargetTooLong,
        Rejection::ExpectationFailed,
        Rejection::Misdirected,
        Rejection::HeadTooLarge,
        Rejection::GatewayBusy,
        Rejection::TooManyAtOnce,
    ] {
        let told = EARLY.iter().find(|early| early.status == rejection.status());
        assert!(told.is_some_and(|early| early.codes.contains(&rejection.code())), "{rejection:?}");
    }
    assert_eq!(EARLY.iter().map(|early| early.codes.len()).sum::<usize>(), 9, "and nothing else is");
}
