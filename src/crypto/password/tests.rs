//! The contract's vectors, every stored format, and the bounds of the pool.

use super::policy::{Class, Owner, Policy, Rules, Strength, Weakness};
use super::*;
use crate::base::random::SeededRandom;

const CHEAP: Argon2Cost = Argon2Cost { memory_kib: 64, passes: 1, lanes: 1 };

fn hasher_with(threads: usize, queue: usize) -> Hasher {
    let settings = HasherSettings { cost: CHEAP, threads, queue };
    Hasher::new(settings, Arc::new(SeededRandom::new(1))).unwrap()
}

fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

async fn verdict(stored: &str, password: &str) -> Match {
    hasher_with(1, 8).verify(stored, secret(password)).await.unwrap()
}

#[tokio::test]
async fn what_is_hashed_verifies_and_is_current() {
    let hasher = hasher_with(2, 8);
    let long = "x".repeat(1024);
    for password in ["SecureP@ss1!x", "", " ", "pass\0word", "Ünïcödé9!Ab", long.as_str()] {
        let stored = hasher.hash(secret(password)).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{stored}");
        assert_eq!(hasher.verify(&stored, secret(password)).await, Ok(Match::Yes));
        let other = format!("{password}!");
        assert_eq!(hasher.verify(&stored, secret(&other)).await, Ok(Match::No), "{password:?}");
    }
}

#[tokio::test]
async fn nothing_is_cut_off_a_password() {
    let hasher = hasher_with(1, 8);
    let (short, long) = ("a".repeat(72), "a".repeat(1024));
    let stored = hasher.hash(secret(&long)).await.unwrap();
    assert_eq!(hasher.verify(&stored, secret(&short)).await, Ok(Match::No));
    assert_eq!(hasher.verify(&stored, secret(&long[..1023])).await, Ok(Match::No));
    let nul = hasher.hash(secret("pass\0word")).await.unwrap();
    assert_eq!(hasher.verify(&nul, secret("pass")).await, Ok(Match::No));
}

#[tokio::test]
async fn equal_passwords_are_stored_differently() {
    let hasher = hasher_with(1, 8);
    assert_ne!(hasher.hash(secret("same")).await, hasher.hash(secret("same")).await);
}

#[tokio::test]
async fn every_foreign_format_is_read_and_asks_to_be_rewritten() {
    let bcrypt_of_sha = "$2b$04$abcdefghijklmnopqrstuu2ZrgmYFpq92dKYDL5JP7YXDR4lovHyG";
    for (stored, password) in [
        (
            "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            "password",
        ),
        (
            "argon2$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            "password",
        ),
        (&format!("tenxyte${bcrypt_of_sha}"), "SecureP@ss1!x"),
        (&format!("bcrypt_sha256${bcrypt_of_sha}"), "SecureP@ss1!x"),
        (bcrypt_of_sha, "b81d69ada0c79be2ebfaf2b89dbdc964334068343938b97d939121e1faed9910"),
        (
            &bcrypt_of_sha.replace("$2b$", "$2a$"),
            "b81d69ada0c79be2ebfaf2b89dbdc964334068343938b97d939121e1faed9910",
        ),
        (
            &bcrypt_of_sha.replace("$2b$", "$2y$"),
            "b81d69ada0c79be2ebfaf2b89dbdc964334068343938b97d939121e1faed9910",
        ),
        (PBKDF2, "lètmein"),
        (SCRYPT_DJANGO, "lètmein"),
        (SCRYPT_PHC, "pw"),
    ] {
        assert_eq!(verdict(stored, password).await, Match::YesButRehash, "{stored}");
        assert_eq!(verdict(stored, "wrong").await, Match::No, "{stored}");
    }
}

const PBKDF2: &str = "pbkdf2_sha256$10000$seasalt$CWWFdHOWwPnki7HvkcqN9iA2T3KLW1cf2uZ5kvArtVY=";
const SCRYPT_DJANGO: &str = "scrypt$16384$seasalt$8$1$Qj3+9PPyRjSJIebHnG81TMjsqtaIGxNQG/aEB/NYafTJ7tibgfYz71m0ldQESkXFRkdVCBhhY8mx7rQwite/Pw==";
const SCRYPT_PHC: &str =
    "$scrypt$ln=10,r=8,p=1$MDEyMzQ1Njc4OWFiY2RlZg$aMVTuQEI+jkaGyQcKvYHZwvQAIPq1C1TACYLFE9oZeo";

#[tokio::test]
async fn an_application_secret_of_the_original_verifies() {
    use base64::Engine;
    let stored = "JDJiJDA0JGFiY2RlZmdoaWprbG1ub3BxcnN0dXUxaUc3TTJxdTFGekFLYzlkRHd3TlRYUnVnLzdrdDd5";
    let text = base64::engine::general_purpose::STANDARD.decode(stored).unwrap();
    let text = String::from_utf8(text).unwrap();
    let secret = "0bf887d6ea49dc5fca8a0db769f25d53e6d32d101297a7dc5b5341de936d4014";
    assert_eq!(verdict(&text, secret).await, Match::YesButRehash);
}

#[tokio::test]
async fn a_hash_at_another_cost_is_rewritten() {
    let dear = Argon2Cost { memory_kib: 128, passes: 2, lanes: 1 };
    let settings = HasherSettings { cost: dear, threads: 1, queue: 4 };
    let other = Hasher::new(settings, Arc::new(SeededRandom::new(2))).unwrap();
    let stored = other.hash(secret("pw")).await.unwrap();
    assert_eq!(verdict(&stored, "pw").await, Match::YesButRehash);
    assert_eq!(other.verify(&stored, secret("pw")).await, Ok(Match::Yes));
}

#[tokio::test]
async fn what_is_no_hash_or_would_stall_us_matches_nothing_after_the_usual_work() {
    let hasher = hasher_with(1, 8);
    let before = hasher.performed();
    let stored = [
        "",
        "!",
        "pw",
        "$",
        "$argon2id$",
        "md5$x$y",
        "$2b$31$abcdefghijklmnopqrstuu2ZrgmYFpq92dKYDL5JP7YXDR4lovHyG",
        "$argon2id$v=19$m=4294967295,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
        "$argon2id$v=19$m=64,t=4294967295,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
        "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$",
        "$argon2id$v=19$t=1,m=64,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
        "pbkdf2_sha256$4294967295$s$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "pbkdf2_sha256$0$s$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "scrypt$1099511627776$s$8$1$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "scrypt$16384$s$4294967295$4294967295$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "$scrypt$ln=63,r=8,p=1$c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "tenxyte$",
        "bcrypt_sha256$x",
    ];
    for text in stored {
        assert_eq!(hasher.verify(text, secret("")).await, Ok(Match::No), "{text}");
    }
    assert_eq!(hasher.performed() - before, stored.len() as u64);
}

#[tokio::test]
async fn an_unknown_account_costs_one_hash_as_a_known_one_does() {
    let hasher = hasher_with(1, 8);
    let stored = hasher.hash(secret("pw")).await.unwrap();
    let start = hasher.performed();
    hasher.verify(&stored, secret("wrong")).await.unwrap();
    let known = hasher.performed() - start;
    hasher.dummy(secret("wrong")).await.unwrap();
    assert_eq!((known, hasher.performed() - start - known), (1, 1));
}

#[tokio::test]
async fn what_does_not_fit_in_the_queue_is_refused_at_once() {
    let slow = Argon2Cost { memory_kib: 64 * 1024, passes: 3, lanes: 1 };
    let settings = HasherSettings { cost: slow, threads: 1, queue: 2 };
    let hasher = Arc::new(Hasher::new(settings, Arc::new(SeededRandom::new(1))).unwrap());
    let jobs = (0..50).map(|_| hasher.hash(secret("pw")));
    let answers = futures::future::join_all(jobs).await;
    let done = answers.iter().filter(|answer| answer.is_ok()).count();
    assert!((1..=3).contains(&done), "one at work and two waiting, not {done}");
    assert!(answers.iter().filter(|a| a.is_err()).all(|a| *a == Err(Overloaded)));
    assert_eq!(hasher.hash(secret("pw")).await.map(|_| ()), Ok(()), "afterwards there is room again");
}

#[tokio::test]
async fn a_job_whose_caller_has_gone_is_not_done() {
    let slow = Argon2Cost { memory_kib: 64 * 1024, passes: 3, lanes: 1 };
    let settings = HasherSettings { cost: slow, threads: 1, queue: 16 };
    let hasher = Hasher::new(settings, Arc::new(SeededRandom::new(1))).unwrap();
    for _ in 0..10 {
        let mut job = Box::pin(hasher.hash(secret("pw")));
        assert!(futures::poll!(&mut job).is_pending());
    }
    hasher.hash(secret("pw")).await.unwrap();
    assert!(hasher.performed() <= 2, "at most the first, which had begun, and the last");
}

/// The table of the contract's section 32.
#[test]
fn passwords_are_judged_as_the_contract_shows() {
    let owner = Owner { email: Some("john.doe@example.com"), username: None };
    let policy = Policy::default();
    for (password, score, strength, errors) in [
        ("SecureP@ss1!", 85, "strong", 0),
        ("SecureP@ss1!x", 85, "strong", 0),
        ("Tr0ub4dor&3xyz", 85, "strong", 0),
        ("password", 0, "weak", 4),
        ("P@ssw0rd", 35, "fair", 1),
        ("Passw0rd!", 75, "strong", 0),
        ("Aa1!", 45, "fair", 2),
        ("aaaaAAAA1111!!!!", 75, "strong", 2),
        ("abcd1234", 0, "weak", 4),
        ("John.doe99!X", 70, "strong", 1),
        ("Zx9$kLm2#Qw7&Rt4", 95, "excellent", 0),
        ("Azerty12!", 55, "good", 1),
        ("Ünïcödé9!Ab", 75, "strong", 0),
    ] {
        let found = policy.check(password, &owner);
        assert_eq!(policy.score(password, &owner), score, "{password}");
        assert_eq!(Strength::of(score).name(), strength, "{password}");
        assert_eq!(found.len(), errors, "{password}: {found:?}");
    }
}

#[test]
fn an_empty_password_has_one_fault_and_a_long_one_is_counted_in_characters() {
    let policy = Policy::default();
    assert_eq!(policy.check("", &Owner::default()), [Weakness::Empty]);
    assert_eq!(policy.score("", &Owner::default()), 0);
    let long = format!("{}Aa1!", "éüñ".repeat(41));
    assert_eq!(long.chars().count(), 127);
    assert_eq!(policy.check(&long, &Owner::default()), []);
    assert_eq!(policy.check(&format!("{long}xx"), &Owner::default()), [Weakness::TooLong(128)]);
}

#[test]
fn classes_that_are_not_asked_for_are_not_missed() {
    let policy = Policy { classes: vec![Class::Digit], ..Policy::default() };
    assert_eq!(policy.check("lowercaseonly", &Owner::default()), [Weakness::Missing(Class::Digit)]);
    assert_eq!(
        policy.requirements(),
        ["At least 8 characters", "At least one digit (0-9)", "At least 5 different characters"]
    );
    assert_eq!(Policy::default().requirements().len(), 6);
}

#[test]
fn nist_rules_ask_for_length_and_see_through_decoration() {
    let policy = Policy { rules: Rules::Nist, min_length: 15, max_length: 1024, classes: vec![] };
    let owner = Owner { email: Some("ada.lovelace@example.com"), username: Some("countess") };
    for good in ["tomatoes dance quietly", "korrekt pferd batterie", "aXqLmnPddRzWwhK"] {
        assert_eq!(policy.check(good, &owner), [], "{good}");
    }
    for bad in
        ["P@ssw0rd20262026", "letmein-letmein-", "passwordpassword", "Pa$$word!!!!!!!!", "1234567password1"]
    {
        assert_eq!(policy.check(bad, &owner), [Weakness::Common], "{bad}");
    }
    assert_eq!(policy.check("tomatoes dance", &owner), [Weakness::TooShort(15)]);
    assert_eq!(policy.check("ADA.lovelace dances well", &owner), [Weakness::ContainsEmail]);
    assert_eq!(policy.check("the countess dances well", &owner), [Weakness::ContainsUsername]);
    assert_eq!(policy.check("aaaaaaaaaaaaaaaaaaa", &owner), [Weakness::TooFewDistinct]);
    assert_eq!(policy.check(&"é".repeat(1025), &owner).first(), Some(&Weakness::TooLong(1024)));
}

#[test]
fn the_list_of_common_passwords_can_be_searched() {
    assert!(common::COMMON.is_sorted());
    let policy = Policy { classes: vec![], ..Policy::default() };
    for word in common::COMMON {
        assert!(policy.check(&word.to_uppercase(), &Owner::default()).contains(&Weakness::Common), "{word}");
    }
}
