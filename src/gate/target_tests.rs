use proptest::prelude::*;

use super::*;

const STRICT: TargetRules =
    TargetRules { encoded_slash: Doubtful::Refuse, params: Doubtful::Refuse, max: 8192 };
const LAX: TargetRules = TargetRules { encoded_slash: Doubtful::Keep, params: Doubtful::Keep, max: 8192 };

fn strict(raw: &str) -> Result<String, BadTarget> {
    CanonicalTarget::parse(raw.as_bytes(), STRICT).map(|target| target.as_str().to_owned())
}

#[test]
fn plain_targets_are_kept_byte_for_byte() {
    for raw in
        ["/", "/a", "/a/", "/a/b.c/d-e_f~g", "/a:b@c!$&'()*+,=", "/a?x=1&y=%zz&z={}", "/a?", "/...", "/.a/b."]
    {
        assert_eq!(strict(raw).as_deref(), Ok(raw), "{raw}");
    }
}

#[test]
fn one_path_has_one_spelling() {
    for (raw, canonical) in [
        ("/%61dmin", "/admin"),
        ("/%7euser", "/~user"),
        ("/caf%c3%a9", "/caf%C3%A9"),
        ("/café", "/caf%C3%A9"),
        ("/a%20b", "/a%20b"),
        ("/a{b}|c", "/a%7Bb%7D%7Cc"),
        ("/a%3bb", "/a%3Bb"),
        ("/a?q=é", "/a?q=%C3%A9"),
    ] {
        assert_eq!(strict(raw).as_deref(), Ok(canonical), "{raw}");
        assert_eq!(strict(canonical).as_deref(), Ok(canonical), "{canonical} is a fixed point");
    }
}

#[test]
fn nothing_is_decoded_twice() {
    assert_eq!(strict("/pub/%252e%252e/admin").as_deref(), Ok("/pub/%252e%252e/admin"));
    assert_eq!(strict("/a%2525").as_deref(), Ok("/a%2525"));
}

#[test]
fn every_ambiguous_target_is_refused() {
    for (raw, why) in [
        ("", BadTarget::Form),
        ("admin", BadTarget::Form),
        ("*", BadTarget::Form),
        ("@b/x", BadTarget::Form),
        ("?x=1", BadTarget::Form),
        ("http://a/p", BadTarget::Form),
        ("/pub/../admin", BadTarget::DotSegment),
        ("/pub/%2e%2e/admin", BadTarget::DotSegment),
        ("/pub/.%2E/admin", BadTarget::DotSegment),
        ("/./admin", BadTarget::DotSegment),
        ("/admin/.", BadTarget::DotSegment),
        ("/admin/..", BadTarget::DotSegment),
        ("//admin", BadTarget::EmptySegment),
        ("/pub//x", BadTarget::EmptySegment),
        ("/x//", BadTarget::EmptySegment),
        ("/%2fadmin", BadTarget::Separator),
        ("/pub/%2e%2e%2fadmin", BadTarget::Separator),
        ("/pub\\..\\admin", BadTarget::Separator),
        ("/pub%5c..%5cadmin", BadTarget::Separator),
        ("/pub/..;/admin", BadTarget::Params),
        ("/pub/..;a=b/admin", BadTarget::Params),
        ("/pub/%2e%2e;x/admin", BadTarget::Params),
        ("/a;b", BadTarget::Params),
        ("/a%", BadTarget::Percent),
        ("/a%2", BadTarget::Percent),
        ("/a%zz", BadTarget::Percent),
        ("/a%00", BadTarget::Byte),
        ("/a%0d%0aX:1", BadTarget::Byte),
        ("/a%7f", BadTarget::Byte),
        ("/a%09b", BadTarget::Byte),
        ("/%c0%ae%c0%ae/x", BadTarget::Byte),
        ("/a%ff", BadTarget::Byte),
        ("/a#b", BadTarget::Byte),
        ("/a?b#c", BadTarget::Byte),
        ("/a b", BadTarget::Byte),
        ("/a?b c", BadTarget::Byte),
    ] {
        assert_eq!(strict(raw), Err(why), "{raw}");
    }
    assert_eq!(CanonicalTarget::parse(b"/a\xff", STRICT).unwrap_err(), BadTarget::Byte);
    assert_eq!(strict(&format!("/{}", "a".repeat(8192))), Err(BadTarget::TooLong));
    // A byte that is encoded on the way through counts as the three that it becomes.
    assert_eq!(strict(&format!("/{}", "|".repeat(2731))), Err(BadTarget::TooLong));
    assert!(strict(&format!("/{}", "|".repeat(2730))).is_ok());
}

#[test]
fn what_a_configuration_lets_through_a_route_can_still_refuse() {
    let parse = |raw: &str| CanonicalTarget::parse(raw.as_bytes(), LAX);
    for raw in ["/a%2Fb", "/a;v=1/b"] {
        let target = parse(raw).unwrap();
        assert_eq!(target.as_str(), raw);
        assert!(target.fits(LAX) && !target.fits(STRICT), "{raw}");
    }
    for raw in ["/..;x/a", "/..%2fa", "/a%2f..", "/a%2f..%2fb", "/.;/a", "/a%2F.;x"] {
        assert_eq!(parse(raw), Err(BadTarget::DotSegment), "{raw}");
    }
}

#[test]
fn a_rewritten_path_is_read_as_strictly_as_a_received_one() {
    let target = CanonicalTarget::parse(b"/api/x?q=1", STRICT).unwrap();
    assert_eq!(target.with_path("/v1/x", STRICT).unwrap().as_str(), "/v1/x?q=1");
    assert_eq!(target.with_path("/../x", STRICT), Err(BadTarget::DotSegment));
    assert_eq!(target.with_query(None, STRICT).unwrap().as_str(), "/api/x");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn a_canonical_target_is_a_fixed_point_without_dots_or_doubled_slashes(
        raw in r"/([a-z.;%/\\]|%2e|%2E|%2f|%5c|%25|%3b|%c3%a9|%00|é){0,24}(\?[a-z/.%]{0,6})?"
    ) {
        for rules in [STRICT, LAX] {
            let Ok(target) = CanonicalTarget::parse(raw.as_bytes(), rules) else { continue };
            let again = CanonicalTarget::parse(target.as_str().as_bytes(), rules).unwrap();
            prop_assert_eq!(&again, &target);
            prop_assert!(!target.path().contains("//"));
            let climbs = target.path().split('/').any(|s| s == "." || s == "..");
            prop_assert!(!climbs);
        }
    }
}
