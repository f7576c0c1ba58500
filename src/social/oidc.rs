//! OpenID Connect: a provider that describes itself, and gives signed tokens about people.
//!
//! Law: a provider describes nobody but itself. An ID token counts when it was read by
//! [`foreign::read`] and [`id_token::read`] both; what the provider says elsewhere of somebody counts
//! when it is about the same subject.

use std::sync::Arc;

use serde_json::Value;

use super::fetch::Proof;
use super::id_token::{self, Expected};
use super::kept::Want;
use super::provider::{Code, Nonce, Provider};
use super::{Address, Failed, Identity};
use crate::base::{Secret, Timestamp};
use crate::config::ProviderKind;
use crate::crypto::jwt::Invalid;
use crate::crypto::jwt::foreign::{self, ForeignKeys};

const NOT_A_DESCRIPTION: Failed = Failed::Unavailable("its description is not one");
const NOBODY: Failed = Failed::Refused("the ID token cannot be believed");

/// How a provider describes itself (OpenID Connect Discovery, section 3).
pub(super) struct Description {
    pub(super) issuer: String,
    pub(super) authorize: String,
    token: String,
    keys: String,
    userinfo: Option<String>,
    /// The client's secret goes into the form; else into a header, which every provider must take
    /// that does not say otherwise (Discovery, section 3).
    takes_secret_in_form: bool,
    /// Its answers say whose they are (RFC 9207).
    pub(super) names_itself: bool,
}

pub(super) async fn description(provider: &Provider, now: Timestamp) -> Result<Arc<Description>, Failed> {
    provider.description.get(now, Want::Any, async || read_description(provider).await).await
}

async fn read_description(provider: &Provider) -> Result<Description, Failed> {
    let issuer = provider.settings.issuer.as_deref().ok_or(NOT_A_DESCRIPTION)?;
    let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let answer = provider.fetch.get(provider.fetch.url(&url)?, Proof::None).await?;
    if !answer.status.is_success() {
        return Err(NOT_A_DESCRIPTION);
    }
    let own = |name: &str| answer.text(name).map(str::to_owned).ok_or(NOT_A_DESCRIPTION);
    let named = own("issuer")?;
    // Microsoft describes all tenants at once, and says so in its issuer.
    let is_one_of_many = provider.kind() == ProviderKind::Microsoft
        && named.contains("{tenantid}")
        && same_host(&named, issuer);
    if named != issuer && !is_one_of_many {
        return Err(Failed::Unavailable("its description is another issuer's"));
    }
    let names_itself =
        answer.body.get("authorization_response_iss_parameter_supported").and_then(Value::as_bool);
    let methods = answer.body.get("token_endpoint_auth_methods_supported").and_then(Value::as_array);
    let takes_secret_in_form =
        methods.is_some_and(|all| all.iter().any(|one| one.as_str() == Some("client_secret_post")));
    Ok(Description {
        takes_secret_in_form,
        issuer: named,
        authorize: own("authorization_endpoint")?,
        token: own("token_endpoint")?,
        keys: own("jwks_uri")?,
        userinfo: own("userinfo_endpoint").ok(),
        names_itself: names_itself.unwrap_or(false),
    })
}

fn same_host(one: &str, other: &str) -> bool {
    let origin = |url: &str| url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
    origin(one) == origin(other)
}

/// Redeems a code for an ID token, and reads it.
pub(super) async fn redeem(provider: &Provider, now: Timestamp, code: &Code<'_>) -> Result<Identity, Failed> {
    let description = description(provider, now).await?;
    let mut fields = vec![
        ("grant_type", "authorization_code"),
        ("code", code.code.expose().as_str()),
        ("redirect_uri", code.redirect_uri),
        ("client_id", &provider.settings.client_id),
    ];
    fields.extend(code.verifier.map(|verifier| ("code_verifier", verifier.expose().as_str())));
    let url = provider.fetch.url(&description.token)?;
    let answer = match provider.secret() {
        Some(secret) if description.takes_secret_in_form => {
            fields.push(("client_secret", secret.expose()));
            provider.fetch.post_form(url, &fields, Proof::None).await?
        }
        Some(secret) => {
            // As in a form, and then in base64 (RFC 6749, section 2.3.1).
            let plain = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            let (name, secret) = (plain(&provider.settings.client_id), Secret::new(plain(secret.expose())));
            provider.fetch.post_form(url, &fields, Proof::Basic(&name, &secret)).await?
        }
        None => provider.fetch.post_form(url, &fields, Proof::None).await?,
    };
    if !answer.status.is_success() {
        return Err(Failed::Code);
    }
    let text = |name: &str| answer.text(name).map(|text| Secret::new(text.to_owned()));
    let token = text("id_token").ok_or(Failed::Refused("it gave no ID token"))?;
    // What was asked for by this client is for this client alone.
    let ours = vec![provider.settings.client_id.as_str()];
    let identity = of_token(provider, now, &description, &token, code.nonce, ours).await?;
    match (&identity.address, text("access_token"), &description.userinfo) {
        (Address::None, Some(access), Some(userinfo)) => more(provider, identity, userinfo, &access).await,
        _ => Ok(identity),
    }
}

/// Looks at an ID token that somebody brings along.
pub(super) async fn look_at(
    provider: &Provider,
    now: Timestamp,
    token: &Secret<String>,
    nonce: Nonce<'_>,
) -> Result<Identity, Failed> {
    let description = description(provider, now).await?;
    of_token(provider, now, &description, token, nonce, clients(provider)).await
}

/// Our own clients at this provider.
fn clients(provider: &Provider) -> Vec<&str> {
    let others = provider.settings.audiences.iter().map(String::as_str);
    std::iter::once(provider.settings.client_id.as_str()).chain(others).collect()
}

async fn of_token(
    provider: &Provider,
    now: Timestamp,
    description: &Description,
    token: &Secret<String>,
    nonce: Nonce<'_>,
    audiences: Vec<&str>,
) -> Result<Identity, Failed> {
    let ask = async || {
        let answer = provider.fetch.get(provider.fetch.url(&description.keys)?, Proof::None).await?;
        let keys = ForeignKeys::of(&answer.body).filter(|_| answer.status.is_success());
        keys.ok_or(Failed::Unavailable("its keys cannot be read"))
    };
    let keys = provider.keys.get(now, Want::Any, ask).await?;
    let claims = match foreign::read(&keys, token.expose()) {
        Err(Invalid::UnknownKey) => {
            let newer = provider.keys.get(now, Want::Newer(&keys), ask).await?;
            foreign::read(&newer, token.expose())
        }
        read => read,
    };
    let claims = claims.map_err(|invalid| {
        tracing::info!(provider = provider.name, why = invalid.label(), "an ID token was refused");
        NOBODY
    })?;
    let (kind, issuer) = (provider.kind(), description.issuer.as_str());
    let expected = Expected { kind, issuer, audiences, nonce: nonce.text(), now };
    id_token::read(&claims, &expected).map_err(Failed::Refused)
}

/// What the provider says beside the ID token.
async fn more(
    provider: &Provider,
    identity: Identity,
    userinfo: &str,
    access: &Secret<String>,
) -> Result<Identity, Failed> {
    let answer = provider.fetch.get(provider.fetch.url(userinfo)?, Proof::Bearer(access)).await?;
    let Value::Object(claims) = answer.good("it says nothing of this person")?.body else {
        return Err(Failed::Unavailable("what it says of people cannot be read"));
    };
    let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default();
    // The tenant before the subject is ours, not the provider's.
    let known = match identity.subject.split_once('/') {
        Some((_, known)) if provider.kind() == ProviderKind::Microsoft => known,
        _ => identity.subject.as_str(),
    };
    if known != subject {
        return Err(Failed::Refused("what it says is of somebody else"));
    }
    let or = |own: String, key: &str| if own.is_empty() { id_token::name(&claims, key) } else { own };
    Ok(Identity {
        address: id_token::address(provider.kind(), &claims),
        first_name: or(identity.first_name, "given_name"),
        last_name: or(identity.last_name, "family_name"),
        ..identity
    })
}

/// Looks at an access token of Google, which says for whom it was made.
pub(super) async fn google(
    provider: &Provider,
    now: Timestamp,
    token: &Secret<String>,
) -> Result<Identity, Failed> {
    let api = provider.settings.api.as_deref().unwrap_or_default();
    let mut url = provider.fetch.url(&format!("{api}/tokeninfo"))?;
    url.query_pairs_mut().append_pair("access_token", token.expose());
    let info = provider.fetch.get(url, Proof::None).await?.good("it does not know the token")?;
    let ours = clients(provider);
    let is_ours = |name: &str| info.text(name).is_some_and(|client| ours.contains(&client));
    if !is_ours("aud") || (info.text("azp").is_some() && !is_ours("azp")) {
        return Err(Failed::Refused("the token was made for another client"));
    }
    let subject = info.text("sub").filter(|sub| !sub.is_empty() && sub.len() <= id_token::SUBJECT_MAX);
    let subject = subject.ok_or(Failed::Refused("the token is about nobody"))?.to_owned();
    let description = description(provider, now).await?;
    let (issuer, address) = (description.issuer.clone(), Address::None);
    let identity = Identity { issuer, subject, address, first_name: String::new(), last_name: String::new() };
    match &description.userinfo {
        Some(userinfo) => more(provider, identity, userinfo, token).await,
        None => Ok(identity),
    }
}
