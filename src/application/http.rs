//! The rows of `applications/` (contract section 20).
//!
//! Law: who manages applications sees and changes those of the own site only; for all others they
//! do not exist. A secret is in the one answer that made it.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::{Activity, Application, Credentials, NAME_MAX, NewApplication, Origin, RedirectUri, WriteError};
use crate::app::Change;
use crate::base::Id;
use crate::http::{
    ApiError, Call, Created, ErrorCode, Fields, FromFields, Json, Nothing, Ordering, Paged, Paging, Query,
    Row, del, get, patch, post, put,
};

const DESCRIPTION_MAX: usize = 2000;
const LIST_MAX: usize = 100;
const KEEP_IT: &str = "Save the access_secret now! It will never be shown again.";
/// What must be said before keys end that may be in use.
const SURE: &str = "REGENERATE";

/// Endpoints for those who manage the clients of the API.
#[must_use]
pub fn rows() -> Vec<Row> {
    vec![
        get("/applications/", list)
            .allow("applications.view")
            .strict()
            .codes(&[ErrorCode::NotFound])
            .about("Applications, page by page"),
        post("/applications/", create)
            .allow("applications.create")
            .strict()
            .audited(&["app_created"])
            .about("Make an application; its secret is shown once"),
        get("/applications/{id}/", show)
            .allow("applications.view")
            .codes(&[ErrorCode::NotFound])
            .about("One application"),
        put("/applications/{id}/", update)
            .allow("applications.update")
            .strict()
            .codes(&[ErrorCode::NotFound])
            .audited(&["app_updated", "app_enabled", "app_disabled"])
            .about("Change what is sent, and leave the rest"),
        patch("/applications/{id}/", switch)
            .allow("applications.update")
            .codes(&[ErrorCode::NotFound, ErrorCode::InvalidFields])
            .audited(&["app_enabled", "app_disabled"])
            .about("Switch an application on or off"),
        del("/applications/{id}/", delete)
            .allow("applications.delete")
            .codes(&[ErrorCode::NotFound])
            .audited(&["app_deleted", "agent_token_revoked"])
            .about("Remove an application; its sessions and agent tokens end"),
        post("/applications/{id}/regenerate/", regenerate)
            .allow("applications.regenerate")
            .strict()
            .codes(&[ErrorCode::NotFound, ErrorCode::ConfirmationRequired])
            .audited(&["app_credentials_regenerated"])
            .about("Give an application a new key and secret; the old ones end at once"),
    ]
}

/// An application, without its secret.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Application")]
struct Shown {
    id: String,
    name: String,
    description: String,
    access_key: String,
    is_active: bool,
    /// From where browsers may call with the key alone.
    allowed_origins: Vec<String>,
    /// Where providers of identities may send people with a code.
    redirect_uris: Vec<String>,
    /// RFC 3339, UTC.
    created_at: String,
    /// RFC 3339, UTC.
    updated_at: String,
}

impl From<&Application> for Shown {
    fn from(of: &Application) -> Self {
        Self {
            id: of.number.to_string(),
            name: of.name.clone(),
            description: of.description.clone(),
            access_key: of.access_key.as_str().to_owned(),
            is_active: of.is_active,
            allowed_origins: of.allowed_origins.iter().map(ToString::to_string).collect(),
            redirect_uris: of.redirect_uris.iter().map(ToString::to_string).collect(),
            created_at: of.created_at.rfc3339(),
            updated_at: of.updated_at.rfc3339(),
        }
    }
}

/// A key and its secret.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ApplicationCredentials")]
struct Keys {
    access_key: String,
    access_secret: String,
}

impl From<&Credentials> for Keys {
    fn from(of: &Credentials) -> Self {
        Self {
            access_key: of.access_key.as_str().to_owned(),
            access_secret: of.access_secret.expose().clone(),
        }
    }
}

/// Which applications, in which order.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "ApplicationQuery")]
struct ListQuery {
    #[schemars(flatten)]
    paging: Paging,
    /// Part of the name or of the description.
    #[schemars(skip_serializing_if = "Option::is_none")]
    search: Option<String>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    is_active: Option<bool>,
    /// Any of `name`, `is_active`, `created_at` and `updated_at`, joined by commas; with a `-` before one the other
    /// way round.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    ordering: Ordering,
}

impl FromFields for ListQuery {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let paging = Paging::exact(fields);
        let search = fields.optional("search").or_blank().text();
        let is_active = fields.optional("is_active").flag();
        let ordering = Ordering::from_fields(fields, &["name", "is_active", "created_at", "updated_at"]);
        Some(Self { paging, search, is_active, ordering })
    }
}

impl ListQuery {
    fn asks_for(&self, application: &Application) -> bool {
        let part = self.search.as_deref().unwrap_or_default().to_lowercase();
        let is_found = [&application.name, &application.description]
            .into_iter()
            .any(|text| text.to_lowercase().contains(&part));
        is_found && self.is_active.is_none_or(|wanted| application.is_active == wanted)
    }
}

async fn list(call: Call, Query(query): Query<ListQuery>) -> Result<Json<Paged<Shown>>, ApiError> {
    let mut all = super::list(&call.app.db, call.person()?.account.site).await?;
    all.retain(|application| query.asks_for(application));
    query.ordering.sort(&mut all, |field, left, right| match field {
        "is_active" => left.is_active.cmp(&right.is_active),
        "created_at" => left.created_at.cmp(&right.created_at),
        "updated_at" => left.updated_at.cmp(&right.updated_at),
        _ => left.name.cmp(&right.name),
    });
    let all = all.iter().map(Shown::from).collect();
    query.paging.cut(&call, all).map(Json)
}

/// A new application.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "ApplicationRequest")]
struct NewBody {
    name: String,
    #[schemars(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// From where browsers may call with the key alone, such as `https://app.example.com`.
    #[schemars(with = "Option<Vec<String>>", skip_serializing_if = "Option::is_none")]
    allowed_origins: Option<Vec<Origin>>,
    /// Where providers of identities may send people with a code, each compared as a whole.
    #[schemars(with = "Option<Vec<String>>", skip_serializing_if = "Option::is_none")]
    redirect_uris: Option<Vec<RedirectUri>>,
}

impl FromFields for NewBody {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let name = fields.required("name").max(NAME_MAX).text();
        let description = fields.optional("description").max(DESCRIPTION_MAX).or_blank().text();
        let allowed_origins = list_of(fields, "allowed_origins", |text| Origin::parse(text).ok());
        let redirect_uris = list_of(fields, "redirect_uris", |text| RedirectUri::parse(text).ok());
        Some(Self { name: name?, description, allowed_origins, redirect_uris })
    }
}

fn list_of<T>(fields: &mut Fields, name: &'static str, parse: fn(&str) -> Option<T>) -> Option<Vec<T>> {
    let members = match fields.optional(name).or_null().json()? {
        Value::Array(members) if members.len() <= LIST_MAX => members,
        Value::Array(_) => {
            fields.problem(name, format!("Ensure this field has no more than {LIST_MAX} elements."));
            return None;
        }
        _ => {
            fields.problem(name, "Expected a list of items.");
            return None;
        }
    };
    let mut all = Vec::new();
    for (place, member) in members.iter().enumerate() {
        match member.as_str().and_then(parse) {
            Some(one) => all.push(one),
            None => fields.problem_in(name, place, "Enter a valid URL."),
        }
    }
    Some(all)
}

/// What was made, with the only showing of its secret.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ApplicationCreated")]
struct Made {
    message: &'static str,
    application: Shown,
    credentials: Keys,
    warning: &'static str,
}

async fn create(call: Call, Json(body): Json<NewBody>) -> Result<Created<Made>, ApiError> {
    let new = NewApplication {
        site: call.person()?.account.site,
        name: body.name,
        description: body.description.unwrap_or_default(),
        allowed_origins: body.allowed_origins.unwrap_or_default(),
        redirect_uris: body.redirect_uris.unwrap_or_default(),
    };
    let mut change = call.app.change(call.actor()).await?;
    let (application, credentials) = super::create(&mut change, new).await?;
    change.commit().await?;
    Ok(Created(Made {
        message: "Application created successfully",
        application: Shown::from(&application),
        credentials: Keys::from(&credentials),
        warning: KEEP_IT,
    }))
}

async fn show(call: Call, _: Nothing) -> Result<Json<Shown>, ApiError> {
    Ok(Json(Shown::from(&named(&call).await?)))
}

/// What is new. What is left out stays.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "ApplicationUpdate")]
struct UpdateBody {
    #[schemars(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    is_active: Option<bool>,
    #[schemars(with = "Option<Vec<String>>", skip_serializing_if = "Option::is_none")]
    allowed_origins: Option<Vec<Origin>>,
    #[schemars(with = "Option<Vec<String>>", skip_serializing_if = "Option::is_none")]
    redirect_uris: Option<Vec<RedirectUri>>,
}

impl FromFields for UpdateBody {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let name = fields.optional("name").max(NAME_MAX).text();
        let description = fields.optional("description").max(DESCRIPTION_MAX).or_blank().text();
        let is_active = fields.optional("is_active").flag();
        let allowed_origins = list_of(fields, "allowed_origins", |text| Origin::parse(text).ok());
        let redirect_uris = list_of(fields, "redirect_uris", |text| RedirectUri::parse(text).ok());
        Some(Self { name, description, is_active, allowed_origins, redirect_uris })
    }
}

async fn update(call: Call, Json(body): Json<UpdateBody>) -> Result<Json<Shown>, ApiError> {
    let id = named(&call).await?.id;
    let mut change = call.app.change(call.actor()).await?;
    if body.name.is_some() || body.description.is_some() {
        let (name, description) = (body.name.as_deref(), body.description.as_deref());
        found(super::describe(&mut change, id, name, description).await?)?;
    }
    if let Some(origins) = &body.allowed_origins {
        found(super::set_origins(&mut change, id, origins).await?)?;
    }
    if let Some(uris) = &body.redirect_uris {
        found(super::set_redirects(&mut change, id, uris).await?)?;
    }
    if let Some(is_active) = body.is_active {
        super::set_activity(&mut change, id, activity(is_active)).await?;
    }
    let now = by_id(&mut change, id).await?;
    // Nothing was named, or what was is so already.
    change.settle().await?;
    Ok(Json(Shown::from(&now)))
}

/// The one thing that may be switched.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "ApplicationSwitch")]
struct SwitchBody {
    #[schemars(skip_serializing_if = "Option::is_none")]
    is_active: Option<bool>,
}

impl FromFields for SwitchBody {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        Some(Self { is_active: fields.optional("is_active").flag() })
    }
}

/// What was done to an application.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ApplicationSwitched")]
struct Switched {
    message: &'static str,
    application: Shown,
}

async fn switch(call: Call, Json(body): Json<SwitchBody>) -> Result<Json<Switched>, ApiError> {
    let id = named(&call).await?.id;
    let is_active = body.is_active.ok_or_else(|| ApiError::new(ErrorCode::InvalidFields))?;
    let mut change = call.app.change(call.actor()).await?;
    // That it is so already is as good.
    super::set_activity(&mut change, id, activity(is_active)).await?;
    let application = Shown::from(&by_id(&mut change, id).await?);
    change.settle().await?;
    let message =
        if is_active { "Application activated successfully" } else { "Application deactivated successfully" };
    Ok(Json(Switched { message, application }))
}

/// What became of it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ApplicationDeleted")]
struct Deleted {
    message: String,
}

async fn delete(call: Call, _: Nothing) -> Result<Json<Deleted>, ApiError> {
    let application = named(&call).await?;
    let mut change = call.app.change(call.actor()).await?;
    found(super::delete(&mut change, &application).await?)?;
    change.commit().await?;
    let message = format!("Application \"{}\" deleted successfully", application.name);
    Ok(Json(Deleted { message }))
}

/// That somebody means it.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "ApplicationRegenerate")]
struct RegenerateBody {
    /// The word `REGENERATE`.
    #[schemars(skip_serializing_if = "Option::is_none")]
    confirmation: Option<String>,
}

impl FromFields for RegenerateBody {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        Some(Self { confirmation: fields.optional("confirmation").or_blank().text() })
    }
}

/// New keys, with the only showing of their secret.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ApplicationRegenerated")]
struct Regenerated {
    message: &'static str,
    application: Shown,
    credentials: Keys,
    warning: &'static str,
    old_credentials_invalidated: bool,
}

async fn regenerate(call: Call, Json(body): Json<RegenerateBody>) -> Result<Json<Regenerated>, ApiError> {
    let id = named(&call).await?.id;
    if body.confirmation.as_deref() != Some(SURE) {
        return Err(ApiError::new(ErrorCode::ConfirmationRequired));
    }
    let mut change = call.app.change(call.actor()).await?;
    let credentials = super::regenerate(&mut change, id).await?.ok_or_else(missing)?;
    let application = Shown::from(&by_id(&mut change, id).await?);
    change.commit().await?;
    Ok(Json(Regenerated {
        message: "Credentials regenerated successfully",
        application,
        credentials: Keys::from(&credentials),
        warning: KEEP_IT,
        old_credentials_invalidated: true,
    }))
}

/// The application of the caller's site that the path names, by number or id.
async fn named(call: &Call) -> Result<Application, ApiError> {
    let (text, site) = (call.param("id")?, call.person()?.account.site);
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number && text.parse::<Id>().is_err() {
        return Err(missing());
    }
    super::find(&call.app.db, site, text).await?.ok_or_else(missing)
}

/// As it stands in this change.
async fn by_id(change: &mut Change<'_>, id: Id) -> Result<Application, ApiError> {
    super::store::by_id(change.tx(), id).await?.ok_or_else(missing)
}

fn found(is_found: bool) -> Result<(), ApiError> {
    if is_found { Ok(()) } else { Err(missing()) }
}

fn missing() -> ApiError {
    ApiError::new(ErrorCode::NotFound).saying("Application not found")
}

const fn activity(is_active: bool) -> Activity {
    if is_active { Activity::Active } else { Activity::Disabled }
}

impl From<WriteError> for ApiError {
    fn from(refused: WriteError) -> Self {
        match refused {
            WriteError::BadName => Self::invalid("name", &["Not a valid string.".to_owned()]),
            WriteError::NameTaken => {
                Self::invalid("name", &["Another application has this name.".to_owned()])
            }
            WriteError::Store(cause) => cause.into(),
        }
    }
}
