//! What a form of ours sent, and whether it is a form of ours.
//!
//! Law: a browser says where a form came from. One that says another origin than ours is refused,
//! whatever it carries; one of ours must know the secret that only a page of the same session held, for
//! backends may show pages of their own under this origin. Nothing that cannot be read is guessed at.

use ::http::StatusCode;
use maud::html;
use schemars::SchemaGenerator;
use serde_json::{Map, Value};
use subtle::ConstantTimeEq as _;

use super::layout::page;
use crate::app::App;
use crate::base::Id;
use crate::crypto::digest;
use crate::http::input::Accepts;
use crate::http::{ApiError, Body, Call, Input, Reply, Unknown, csrf, form};

/// The fields of a form.
pub(super) struct Form(Map<String, Value>);

impl Form {
    /// What a field holds; nothing where it is not there.
    pub(super) fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether a field is there, be it empty.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Those of these fields that are there and not empty, for an endpoint's own reader.
    pub(super) fn given(&self, names: &[&str]) -> Map<String, Value> {
        let given = names.iter().filter(|name| !self.text(name).is_empty());
        given.map(|name| ((*name).to_owned(), Value::from(self.text(name)))).collect()
    }

    /// What stands behind `prefix` in the names of boxes that were ticked.
    pub(super) fn ticked<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.keys().filter_map(move |name| name.strip_prefix(prefix))
    }
}

impl Input for Form {
    /// Never refuses: a form that cannot be read has no fields, and then also no proof.
    fn read(_: &Call, body: &Body, _: Unknown) -> Result<Self, ApiError> {
        let kind = body.content_type.as_deref().unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        let is_form = kind.eq_ignore_ascii_case("application/x-www-form-urlencoded");
        let fields = if is_form { form::fields(&body.bytes).unwrap_or_default() } else { Map::new() };
        Ok(Self(fields))
    }

    fn describe(_: &mut SchemaGenerator) -> Accepts {
        Accepts::Nothing
    }
}

/// The secret that the forms of a session's pages carry.
pub(super) fn secret_of(app: &App, sid: Id) -> String {
    let key = app.seal.derive("page forms");
    digest::base64url(&digest::hmac_sha256(key.expose(), &sid.as_u128().to_be_bytes()))
}

/// Whether a form was sent by a page of ours in this session.
pub(super) fn is_ours(call: &Call, sid: Id, form: &Form) -> bool {
    let knows: bool = secret_of(&call.app, sid).as_bytes().ct_eq(form.text("csrf").as_bytes()).into();
    knows && is_not_foreign(call)
}

/// Says that a form was not believed, and where the page that is believed stands.
pub(super) fn not_ours(call: &Call) -> Reply {
    let at = format!("{}{}", call.app.config().public_url, super::HOME);
    let content = html! {
        h1 { "Not done" }
        p { "This did not come from a page of this gateway, or from one that is too old. Nothing was done." }
        p { "Open " a href=(at) { (at) } ", log in there, and try once more." }
    };
    page(StatusCode::FORBIDDEN, "Not done", None, &content)
}

/// Whether the form to log in may have been sent by a page of ours: there is no session yet that
/// could hold a secret.
pub(super) fn is_not_foreign(call: &Call) -> bool {
    csrf::refuse_foreign(call, &call.app.config().public_url.to_string()).is_ok()
}
