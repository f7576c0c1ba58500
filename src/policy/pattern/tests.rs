use proptest::prelude::*;

use super::*;

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).unwrap()
}

/// Patterns and paths over a small alphabet, so that they often meet.
pub(in crate::policy) fn any_pattern() -> impl Strategy<Value = Pattern> {
    let segment = prop_oneof![Just("a"), Just("b"), Just("{}")];
    (proptest::collection::vec(segment, 0..4), prop_oneof![Just(""), Just("/"), Just("/**")]).prop_map(
        |(segments, end)| {
            let mut text = String::new();
            for (at, segment) in segments.iter().enumerate() {
                text.push('/');
                text.push_str(&segment.replace("{}", &format!("{{p{at}}}")));
            }
            text.push_str(end);
            if text.is_empty() {
                text.push('/');
            }
            pattern(&text)
        },
    )
}

pub(in crate::policy) fn any_path() -> impl Strategy<Value = String> {
    let segment = prop_oneof![Just("/a"), Just("/b"), Just("/c")];
    (proptest::collection::vec(segment, 0..5), any::<bool>()).prop_map(|(segments, slash)| {
        let path = segments.concat();
        if slash || path.is_empty() { path + "/" } else { path }
    })
}

#[test]
fn whole_segments_count_and_nothing_else() {
    for (text, yes, no) in [
        ("/", &["/"][..], &["/a", "//", ""][..]),
        ("/a", &["/a"], &["/a/", "/A", "/ab", "/"]),
        ("/a/", &["/a/"], &["/a", "/a/b", "/a//"]),
        ("/a/{id}", &["/a/1", "/a/%2E"], &["/a/", "/a", "/a/1/", "/a/1/2"]),
        ("/a/**", &["/a", "/a/", "/a/b", "/a/b/c/"], &["/ab", "/", "/A/b"]),
        ("/**", &["/", "/a", "/a/b/"], &["", "a"]),
        ("/{x}/**", &["/a", "/a/", "/a/b"], &["/"]),
    ] {
        for path in yes {
            assert!(pattern(text).matches(path), "{text} should fit {path:?}");
        }
        for path in no {
            assert!(!pattern(text).matches(path), "{text} should not fit {path:?}");
        }
    }
}

#[test]
fn what_could_never_match_is_refused() {
    use NotAPattern as No;
    for (text, why) in [
        ("", No::NoLeadingSlash),
        ("a", No::NoLeadingSlash),
        ("//a", No::EmptySegment),
        ("/a//b", No::EmptySegment),
        ("/a/../b", No::DotSegment),
        ("/./a", No::DotSegment),
        ("/a b", No::Character(' ')),
        ("/a?b", No::Character('?')),
        ("/a#b", No::Character('#')),
        ("/a\\b", No::Character('\\')),
        ("/é", No::Character('é')),
        ("/a%2", No::Percent),
        ("/a%zz", No::Percent),
        ("/a%2f", No::Percent),
        ("/a%2F", No::Percent),
        ("/%61", No::Percent),
        ("/%c3", No::Percent),
        ("/a%é", No::Percent),
        ("/a*", No::PartOfSegment),
        ("/*", No::PartOfSegment),
        ("/{id}.json", No::PartOfSegment),
        ("/{}", No::ParamName),
        ("/{a-b}", No::ParamName),
        ("/{a}/{a}", No::ParamTwice("a".to_owned())),
        ("/**/a", No::RestNotLast),
    ] {
        assert_eq!(Pattern::parse(text), Err(why), "{text:?}");
    }
    assert_eq!(Pattern::parse(&"/a".repeat(SEGMENTS_MAX + 1)), Err(No::TooLong));
    assert!(Pattern::parse("/caf%C3%A9/a;b=c/@me:x").is_ok());
}

proptest! {
    #[test]
    fn containment_means_fitting_every_path_of_the_other(a in any_pattern(), b in any_pattern(), path in any_path()) {
        if a.contains(&b) && b.matches(&path) {
            prop_assert!(a.matches(&path), "{} contains {} but not {}", a, b, path);
        }
    }

    #[test]
    fn the_meet_fits_exactly_what_both_fit(a in any_pattern(), b in any_pattern(), path in any_path()) {
        let both = a.matches(&path) && b.matches(&path);
        prop_assert_eq!(a.meet(&b).is_some_and(|meet| meet.matches(&path)), both);
    }

    #[test]
    fn the_meet_is_contained_in_both(a in any_pattern(), b in any_pattern()) {
        if let Some(meet) = a.meet(&b) {
            prop_assert!(a.contains(&meet) && b.contains(&meet), "{} and {}: {}", a, b, meet);
            prop_assert_eq!(Pattern::parse(meet.as_str()).map(|again| again.same_shape(&meet)), Ok(true));
        }
    }

    #[test]
    fn parsing_never_panics(text in "\\PC{0,40}") {
        let _ = Pattern::parse(&text);
        let _ = Pattern::parse(&format!("/{text}"));
    }
}
