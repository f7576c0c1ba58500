//! User names, and which connections are the directory's.

use super::*;
use crate::base::Timestamp;

#[test]
fn a_user_name_has_one_form() {
    assert_eq!(UserName::parse("Ada").unwrap(), UserName::parse("ADA").unwrap());
    assert_eq!(UserName::parse("o,reilly*(x)").unwrap().as_str(), "o,reilly*(x)");
    for text in ["", " ada", "ada ", "a da", "ada\0", "ａda", "ádám", "a\tb", &"x".repeat(129)] {
        assert_eq!(UserName::parse(text), Err(NotAUserName), "{text:?}");
    }
    assert!(!format!("{:?}", UserName::parse("ada").unwrap()).contains("ada"));
}

#[test]
fn a_connection_is_usable_while_its_directory_is_named() {
    let config = |login: &str| config::load_text(&format!("preset: development\n{login}")).unwrap().config;
    let here =
        config("login: { ldap: { servers: ['ldaps://a.example'], name: a, bind_as: 'uid={username}' } }\n");
    let connection = |provider: &str, issuer: &str| Connection {
        id: Id::from_u128(1),
        account: Id::from_u128(2),
        provider: provider.to_owned(),
        issuer: issuer.to_owned(),
        subject: "s".to_owned(),
        email: None,
        created_at: Timestamp::from_millis(0),
        used_at: Timestamp::from_millis(0),
    };
    assert!(is_usable(&here, &connection("ldap", "ldap:a")));
    assert!(!is_usable(&here, &connection("ldap", "ldap:b")), "another directory");
    assert!(!is_usable(&here, &connection("google", "ldap:a")));
    assert!(!is_usable(&config(""), &connection("ldap", "ldap:a")), "none any more");
}
