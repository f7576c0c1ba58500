//! Facebook, which speaks OAuth 2 to its Graph API.
//!
//! Law: what is asked in the name of a person carries a proof that we are who the token was made for.
//! Facebook does not say whether it has seen that an e-mail address is theirs, so it has not.

use serde_json::Value;

use super::fetch::Proof;
use super::provider::{Code, Provider};
use super::{Address, Failed, Identity, id_token};
use crate::base::{Email, Secret};
use crate::crypto::digest::{hex, hmac_sha256};

fn api(provider: &Provider) -> &str {
    provider.settings.api.as_deref().unwrap_or_default()
}

pub(super) fn door(provider: &Provider) -> String {
    format!("{}/dialog/oauth", provider.settings.site.as_deref().unwrap_or_default())
}

pub(super) async fn redeem(provider: &Provider, code: &Code<'_>) -> Result<Identity, Failed> {
    let mut fields = vec![
        ("code", code.code.expose().as_str()),
        ("redirect_uri", code.redirect_uri),
        ("client_id", provider.settings.client_id.as_str()),
    ];
    fields.extend(code.verifier.map(|verifier| ("code_verifier", verifier.expose().as_str())));
    fields.extend(provider.secret().map(|secret| ("client_secret", secret.expose().as_str())));
    let url = provider.fetch.url(&format!("{}/oauth/access_token", api(provider)))?;
    let answer = provider.fetch.post_form(url, &fields, Proof::None).await?;
    let token = answer.text("access_token").filter(|_| answer.status.is_success()).ok_or(Failed::Code)?;
    person(provider, &Secret::new(token.to_owned()), None).await
}

/// Looks at a token that somebody brings along: Facebook says for whom it was made.
pub(super) async fn look_at(provider: &Provider, token: &Secret<String>) -> Result<Identity, Failed> {
    let client = provider.settings.client_id.as_str();
    let secret = provider.secret().ok_or(Failed::NotOffered)?;
    let mut url = provider.fetch.url(&format!("{}/debug_token", api(provider)))?;
    url.query_pairs_mut().append_pair("input_token", token.expose());
    let own = Secret::new(format!("{client}|{}", secret.expose()));
    let answer = provider.fetch.get(url, Proof::Bearer(&own)).await?.good("it does not know the token")?;
    let about = &answer.body["data"];
    let is_ours = about["is_valid"].as_bool() == Some(true) && about["app_id"].as_str() == Some(client);
    let user = about["user_id"].as_str().filter(|user| is_ours && !user.is_empty());
    let user = user.ok_or(Failed::Refused("the token was made for another client"))?;
    person(provider, token, Some(user)).await
}

async fn person(
    provider: &Provider,
    token: &Secret<String>,
    expected: Option<&str>,
) -> Result<Identity, Failed> {
    let mut url = provider.fetch.url(&format!("{}/me", api(provider)))?;
    url.query_pairs_mut().append_pair("fields", "id,email,first_name,last_name");
    if let Some(secret) = provider.secret() {
        let proof = hex(&hmac_sha256(secret.expose().as_bytes(), token.expose().as_bytes()));
        url.query_pairs_mut().append_pair("appsecret_proof", &proof);
    }
    let answer =
        provider.fetch.get(url, Proof::Bearer(token)).await?.good("it says nothing of this person")?;
    let id = answer.text("id").filter(|id| !id.is_empty() && id.len() <= id_token::SUBJECT_MAX);
    let id = id.filter(|id| expected.is_none_or(|expected| *id == expected));
    let id = id.ok_or(Failed::Refused("it does not say who this is"))?.to_owned();
    let Value::Object(user) = &answer.body else {
        return Err(Failed::Refused("it does not say who this is"));
    };
    let email = user.get("email").and_then(Value::as_str).and_then(|text| Email::parse(text).ok());
    Ok(Identity {
        issuer: provider.settings.site.clone().unwrap_or_default(),
        subject: id,
        address: email.map_or(Address::None, Address::Claimed),
        first_name: id_token::name(user, "first_name"),
        last_name: id_token::name(user, "last_name"),
    })
}
