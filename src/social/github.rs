//! GitHub, which speaks OAuth 2 and no OpenID Connect.
//!
//! Law: a person is the number that GitHub gives them: names change hands there. The e-mail address is
//! the primary one, and only where GitHub has it confirmed; the public one is whatever they wrote.

use serde_json::{Value, json};

use super::fetch::Proof;
use super::provider::{Code, Provider};
use super::{Address, Failed, Identity, id_token};
use crate::base::{Email, Secret};

fn site(provider: &Provider) -> &str {
    provider.settings.site.as_deref().unwrap_or_default()
}

fn api(provider: &Provider) -> &str {
    provider.settings.api.as_deref().unwrap_or_default()
}

pub(super) fn door(provider: &Provider) -> String {
    format!("{}/login/oauth/authorize", site(provider))
}

pub(super) async fn redeem(provider: &Provider, code: &Code<'_>) -> Result<Identity, Failed> {
    let mut fields = vec![
        ("code", code.code.expose().as_str()),
        ("redirect_uri", code.redirect_uri),
        ("client_id", provider.settings.client_id.as_str()),
    ];
    fields.extend(code.verifier.map(|verifier| ("code_verifier", verifier.expose().as_str())));
    fields.extend(provider.secret().map(|secret| ("client_secret", secret.expose().as_str())));
    let url = provider.fetch.url(&format!("{}/login/oauth/access_token", site(provider)))?;
    let answer = provider.fetch.post_form(url, &fields, Proof::None).await?;
    // It says no with the status 200.
    let token = answer.text("access_token").filter(|_| answer.status.is_success()).ok_or(Failed::Code)?;
    person(provider, &Secret::new(token.to_owned())).await
}

/// Looks at a token that somebody brings along: GitHub says whether it was made for us.
pub(super) async fn look_at(provider: &Provider, token: &Secret<String>) -> Result<Identity, Failed> {
    let client = provider.settings.client_id.as_str();
    let secret = provider.secret().ok_or(Failed::NotOffered)?;
    let url = provider.fetch.url(&format!("{}/applications/{client}/token", api(provider)))?;
    let body = json!({"access_token": token.expose()});
    let answer = provider.fetch.post_json(url, &body, Proof::Basic(client, secret)).await?;
    let answer = answer.good("the token was made for another client")?;
    if answer.body["app"]["client_id"].as_str() != Some(client) {
        return Err(Failed::Refused("the token was made for another client"));
    }
    person(provider, token).await
}

async fn person(provider: &Provider, token: &Secret<String>) -> Result<Identity, Failed> {
    let ask = async |path: &str| {
        let url = provider.fetch.url(&format!("{}{path}", api(provider)))?;
        provider.fetch.get(url, Proof::Bearer(token)).await?.good("it says nothing of this person")
    };
    let user = ask("/user").await?;
    let number = user.body.get("id").and_then(Value::as_u64).filter(|number| *number > 0);
    let number = number.ok_or(Failed::Refused("it does not say who this is"))?;
    let emails = ask("/user/emails").await?.body;
    let name = user.body.as_object().map(|user| id_token::name(user, "name")).unwrap_or_default();
    let (first, last) = name.split_once(' ').unwrap_or((&name, ""));
    Ok(Identity {
        issuer: site(provider).to_owned(),
        subject: number.to_string(),
        address: primary(&emails),
        first_name: first.to_owned(),
        last_name: last.trim().to_owned(),
    })
}

fn primary(emails: &Value) -> Address {
    let is = |one: &Value, name: &str| one.get(name).and_then(Value::as_bool) == Some(true);
    let Some(primary) = emails.as_array().and_then(|all| all.iter().find(|one| is(one, "primary"))) else {
        return Address::None;
    };
    let email = primary.get("email").and_then(Value::as_str).and_then(|text| Email::parse(text).ok());
    match email {
        Some(email) if is(primary, "verified") => Address::Verified(email),
        Some(_) => Address::Unverified,
        None => Address::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_the_primary_one_and_confirmed() {
        let (ada, old) = ("ada@example.com", "old@example.com");
        let list = |primary: bool, verified: bool| {
            json!([
                {"email": old, "primary": !primary, "verified": true},
                {"email": ada, "primary": primary, "verified": verified},
            ])
        };
        let email = |text: &str| Email::parse(text).unwrap();
        assert_eq!(primary(&list(true, true)), Address::Verified(email(ada)));
        assert_eq!(primary(&list(false, true)), Address::Verified(email(old)));
        assert_eq!(primary(&list(true, false)), Address::Unverified);
        for nothing in [json!([]), json!({}), json!([{"email": ada, "primary": "true", "verified": true}])] {
            assert_eq!(primary(&nothing), Address::None);
        }
    }
}
