//! What companies that send for others have in common: an API over HTTP, and a login.
//!
//! Law: what a provider answers goes into no log: it quotes people. A redirect is not followed,
//! because the login would go with it.

use std::time::Duration;

use reqwest::{RequestBuilder, StatusCode, redirect};

use super::courier::Outcome;
use super::tls::{self, Unusable};

const SLOW: &str = "no answer in time";
const UNREACHABLE: &str = "no connection, or no TLS that can be trusted";

pub(super) fn client(authorities: Option<&[u8]>, timeout: Duration) -> Result<reqwest::Client, Unusable> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls::client(authorities)?)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .timeout(timeout)
        .pool_max_idle_per_host(1)
        .user_agent(concat!("portcullis/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|_| "its HTTP client cannot be made")
}

/// One try.
pub(super) async fn hand_over(request: RequestBuilder) -> Outcome {
    match request.send().await {
        Ok(answer) => judged(answer.status()),
        Err(error) if error.is_timeout() => Outcome::Later(SLOW.to_owned()),
        Err(_) => Outcome::Later(UNREACHABLE.to_owned()),
    }
}

/// Something that needs the same login, and sends nothing.
pub(super) async fn look(request: RequestBuilder) -> Result<&'static str, String> {
    match request.send().await {
        Ok(answer) if answer.status().is_success() => Ok("the provider takes the login"),
        Ok(answer) => Err(format!("the provider answered {}", answer.status().as_u16())),
        Err(error) if error.is_timeout() => Err(SLOW.to_owned()),
        Err(_) => Err(UNREACHABLE.to_owned()),
    }
}

fn judged(status: StatusCode) -> Outcome {
    let number = status.as_u16();
    match number {
        200..=299 => Outcome::Done,
        // A login that fails is a setting that somebody will mend.
        401 | 403 | 404 => Outcome::Later(format!("the provider wants another login ({number})")),
        400..=499 if number != 408 && number != 429 => {
            Outcome::Never(format!("the provider refused it ({number})"))
        }
        _ => Outcome::Later(format!("the provider answered {number}")),
    }
}
