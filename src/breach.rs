//! Whether a password is known from a breach, asked of a service that does not learn which one it is
//! (k-anonymity, as `haveibeenpwned.com` has it).
//!
//! Law: five hexadecimal digits of a digest leave this process, and nothing else of a password. An answer
//! that is late, too long or of another form is none, and what then happens is the configuration's to say.
//! Nobody is asked inside a change, and no private address unless it was named as one.

use std::sync::{Mutex, PoisonError};

use reqwest::StatusCode;

use crate::app::App;
use crate::base::Secret;
use crate::config::{BreachCheck, OnUnavailable};
use crate::crypto::digest::sha1_hex;
use crate::metrics::Dependency;
use crate::notify::reach::{self, PRIVATE, Reach, problem};
use crate::notify::tls;

/// How many digits of the digest are told.
const TOLD: usize = 5;
/// How many follow them.
const REST: usize = 35;
/// The longest answer that is read: a padded one has some 40 KB.
const ANSWER_MAX: usize = 512 << 10;

/// What is known of a password that may be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Safety {
    /// It is in no breach that the service knows of, or the configuration asks nobody.
    Good,
    /// The service gave no answer, and the configuration says to go on.
    Unknown,
}

/// Why a password is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It has been found so often.
    Known { times: u64 },
    /// The service gave no answer, and the configuration says to wait for one.
    Unavailable,
}

/// Asks about a password that somebody wants to have from now on.
///
/// # Errors
/// [`Refused`].
pub async fn check(app: &App, password: &Secret<String>) -> Result<Safety, Refused> {
    let config = app.config();
    let Some(settings) = &config.accounts.breach_check else { return Ok(Safety::Good) };
    match ask(app, settings, password).await {
        Ok(0) => Ok(Safety::Good),
        Ok(times) => Err(Refused::Known { times }),
        Err(why) => {
            tracing::warn!(why, "whether a password is known from a breach cannot be told");
            app.metrics.unavailable(Dependency::BreachCheck);
            match settings.on_unavailable {
                OnUnavailable::Allow => Ok(Safety::Unknown),
                OnUnavailable::Refuse => Err(Refused::Unavailable),
            }
        }
    }
}

/// How often it was found. No error says what was asked: it would stand in a log.
async fn ask(app: &App, settings: &BreachCheck, password: &Secret<String>) -> Result<u64, &'static str> {
    let digest = Secret::new(sha1_hex(password.expose().as_bytes()).to_ascii_uppercase());
    let (told, rest) = digest.expose().split_at(TOLD);
    let url: reqwest::Url =
        format!("{}/range/{told}", settings.url).parse().map_err(|_| "its URL cannot be read")?;
    let reach = Reach::of(settings.allow_private);
    if !reach.admits_url(&url) {
        return Err(PRIVATE);
    }
    let asked = client(app, settings)?.get(url).header("Add-Padding", "true");
    let mut answer = asked.send().await.map_err(|error| problem(&error))?;
    // Whatever the resolver said: where it was connected to.
    if answer.remote_addr().is_some_and(|address| !reach.admits(address.ip())) {
        return Err(PRIVATE);
    }
    if answer.status() != StatusCode::OK {
        return Err("it answered with another status than 200");
    }
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(|error| problem(&error))? {
        if body.len() + piece.len() > ANSWER_MAX {
            return Err("its answer is too long");
        }
        body.extend_from_slice(&piece);
    }
    found(&body, rest).ok_or("its answer has another form")
}

/// The client for all questions, made with the first one because it reads what the system trusts, and the
/// settings that it was made by.
#[derive(Default)]
struct Asker(Mutex<Option<(BreachCheck, reqwest::Client)>>);

fn client(app: &App, settings: &BreachCheck) -> Result<reqwest::Client, tls::Unusable> {
    let shelf = app.shelf.of::<Asker>();
    let mut known = shelf.0.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((by, client)) = &*known
        && by == settings
    {
        return Ok(client.clone());
    }
    let authorities = settings.authorities.as_deref();
    let made = reach::builder(Reach::of(settings.allow_private), authorities, settings.timeout)?;
    let made = made.build().map_err(|_| "its HTTP client cannot be made")?;
    *known = Some((settings.clone(), made.clone()));
    Ok(made)
}

/// How often the digest with this rest is in the answer; `None` where a line is none of its form. Lines that
/// say 0 are padding.
fn found(body: &[u8], rest: &str) -> Option<u64> {
    let mut lines = std::str::from_utf8(body).ok()?.lines().filter(|line| !line.is_empty()).peekable();
    lines.peek()?;
    let mut times = 0;
    for line in lines {
        let (digits, count) = line.split_once(':')?;
        if digits.len() != REST || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let count: u64 = count.parse().ok()?;
        if digits.eq_ignore_ascii_case(rest) {
            times = count;
        }
    }
    Some(times)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const REST_OF_IT: &str = "1E4C9B93F3F0682250B6CF8331B7EE68FD8";

    #[test]
    fn only_an_answer_of_the_form_says_anything() {
        let other = "0018A45C4D1DEF81644B54AB7F969B88D65:1";
        let all = |lines: &[&str]| found(lines.join("\r\n").as_bytes(), REST_OF_IT);
        assert_eq!(all(&[other, &format!("{REST_OF_IT}:3861493"), other]), Some(3_861_493));
        assert_eq!(all(&[other, &format!("{}:7", REST_OF_IT.to_lowercase()), ""]), Some(7));
        assert_eq!(all(&[other]), Some(0));
        assert_eq!(all(&[other, &format!("{REST_OF_IT}:0")]), Some(0), "padding");
        for line in
            ["", "<html></html>", "x:1", &other[1..], &format!("{other}x"), &format!("{REST_OF_IT}:-1")]
        {
            assert_eq!(all(&[line]), None, "{line}");
        }
        assert_eq!(all(&[&format!("{REST_OF_IT}:5"), "and so on"]), None);
        assert_eq!(found(b"\xff", REST_OF_IT), None);
    }

    #[test]
    fn what_is_told_is_the_beginning_of_the_digest() {
        let digest = sha1_hex(b"password").to_ascii_uppercase();
        assert_eq!(digest.split_at(TOLD), ("5BAA6", REST_OF_IT));
    }

    proptest! {
        #[test]
        fn no_answer_breaks_it(body: Vec<u8>) {
            let _ = found(&body, REST_OF_IT);
        }
    }
}
