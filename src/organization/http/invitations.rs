//! The rows of `organizations/invitations/`: invite, look, send again, take back, accept and decline.
//!
//! Law: an invitation is for one address, and exists for nobody else. Who holds its token and is somebody
//! else gets the answer of a token that there is not.

use schemars::JsonSchema;
use serde::Serialize;

use super::view::Shown;
use super::{caller, conclude, may_there, there, trees};
use crate::account::{self, Account};
use crate::app::Change;
use crate::base::{Email, Id, Number};
use crate::crypto::token::Token;
use crate::http::{
    ApiError, Bucket, Call, Created, Cursor, ErrorCode, Fields, FromFields, Json, Keyset, Nothing, Query,
    Row, del, get, post,
};
use crate::organization::invitation::{
    self, DAYS, DAYS_USUAL, INVITES, Invitation, NewInvitation, Sought, Status,
};
use crate::organization::{Organization, Refused, Standing};
use crate::policy::Code;
use crate::rbac::Outcome;
use crate::store::again;

pub(super) fn rows() -> Vec<Row> {
    let refusals =
        [ErrorCode::InvitationNotFound, ErrorCode::OrgPermissionRequired, ErrorCode::PermissionDenied];
    let answers = [ErrorCode::FeatureDisabled, ErrorCode::InvitationNotFound, ErrorCode::InvitationOver];
    vec![
        get("/organizations/invitations/", list)
            .person()
            .in_organization()
            .codes(&[ErrorCode::OrgPermissionRequired])
            .strict()
            .about("Who was invited, page by page, the latest first"),
        post("/organizations/invitations/", invite)
            .person()
            .limit(Bucket::Invitation)
            .in_organization()
            .codes(&[
                ErrorCode::OrgPermissionRequired,
                ErrorCode::PermissionDenied,
                ErrorCode::AlreadyMember,
                ErrorCode::EmailNotVerified,
                ErrorCode::InvitedTooOften,
            ])
            .strict()
            .audited(&["member_invited", "invitation_ended"])
            .about("Invite somebody by their e-mail address"),
        post("/organizations/invitations/{id}/resend/", resend)
            .person()
            .limit(Bucket::Invitation)
            .in_organization()
            .codes(&refusals)
            .codes(&[ErrorCode::InvitationOver, ErrorCode::InvitedTooOften])
            .audited(&["member_invited"])
            .about("Send an open invitation again; what was sent before opens nothing any more"),
        del("/organizations/invitations/{id}/", revoke)
            .person()
            .limit(Bucket::Rights)
            .in_organization()
            .codes(&refusals)
            .codes(&[ErrorCode::InvitationOver])
            .audited(&["invitation_ended"])
            .about("Take an open invitation back"),
        post("/organizations/invitations/accept/", accept)
            .person()
            .limit(Bucket::InvitationAnswer)
            .codes(&answers)
            .codes(&[ErrorCode::EmailNotVerified, ErrorCode::AlreadyMember, ErrorCode::MemberLimitReached])
            .strict()
            .audited(&["invitation_ended", "member_added"])
            .about("Accept an invitation to your own, confirmed address"),
        post("/organizations/invitations/decline/", decline)
            .person()
            .limit(Bucket::InvitationAnswer)
            .codes(&answers)
            .strict()
            .audited(&["invitation_ended"])
            .about("Decline an invitation to your own address"),
    ]
}

/// An invitation.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "Invitation")]
struct InvitationShown {
    id: String,
    organization_name: String,
    email: String,
    role_code: String,
    role_name: String,
    /// `pending`, `accepted`, `declined`, `expired` or `revoked`.
    status: &'static str,
    /// Null where an operator invited.
    invited_by_email: Option<String>,
    /// RFC 3339, UTC.
    created_at: String,
    expires_at: String,
}

/// A new invitation, with what opens it for whom it is for.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "InvitationMade")]
struct Made {
    #[serde(flatten)]
    invitation: InvitationShown,
    /// Shown here and in the mail, and never again.
    token: String,
}

async fn shown(
    call: &Call,
    own: &Organization,
    all: Vec<Invitation>,
) -> Result<Vec<(i64, InvitationShown)>, ApiError> {
    let inviters: Vec<Id> = all.iter().filter_map(|one| one.invited_by).collect();
    let inviters = account::known(&call.app.db, own.site, &inviters).await?;
    let catalogue = call.app.catalogue();
    let one = |one: Invitation| {
        let by = inviters.iter().find(|inviter| Some(inviter.id) == one.invited_by);
        let role = catalogue.definitions().org_roles.get(&one.role);
        let shown = InvitationShown {
            id: one.number.to_string(),
            organization_name: own.name.clone(),
            email: one.email.to_string(),
            role_code: one.role.to_string(),
            role_name: role.map_or_else(|| one.role.to_string(), |role| role.name.clone()),
            status: one.status.name(),
            invited_by_email: by.and_then(|inviter| inviter.email.as_ref()).map(ToString::to_string),
            created_at: one.created_at.rfc3339(),
            expires_at: one.expires_at.rfc3339(),
        };
        (one.number.0, shown)
    };
    Ok(all.into_iter().map(one).collect())
}

/// Which invitations.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "InvitationQuery")]
struct ListQuery {
    #[schemars(flatten)]
    cursor: Cursor,
    /// Those to this address.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    email: Option<Email>,
    /// `pending`, `accepted`, `declined`, `expired` or `revoked`.
    #[schemars(with = "Option<String>", skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
}

impl FromFields for ListQuery {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let cursor = Cursor::from_fields(fields);
        let email = fields.optional("email").email();
        let status = fields.optional("status").parsed(|text| {
            Status::named(text).ok_or("One of pending, accepted, declined, expired, revoked.")
        });
        Some(Self { cursor, email, status })
    }
}

async fn list(call: Call, Query(query): Query<ListQuery>) -> Result<Json<Keyset<InvitationShown>>, ApiError> {
    let own = there(&call).await?;
    may_there(&call, &own, INVITES).await?;
    let sought = Sought { status: query.status, email: query.email, before: query.cursor.place() };
    let rows = invitation::list(&call.app.db, own.id, &sought, call.app.now(), query.cursor.limit()).await?;
    query.cursor.page(&call, shown(&call, &own, rows).await?).map(Json)
}

/// Somebody to invite.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "InvitationRequest")]
struct InviteBody {
    #[schemars(with = "String")]
    email: Email,
    /// What they are to be there.
    role_code: Code,
    /// How long it stands, from 1 to 30 days: 7 if absent.
    #[schemars(skip_serializing_if = "Option::is_none")]
    expires_in_days: Option<u32>,
}

impl FromFields for InviteBody {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let email = fields.required("email").email();
        let role_code = fields.required("role_code").parsed(Code::parse);
        let days = fields.optional("expires_in_days");
        let days = days.whole(u64::from(*DAYS.start()), u64::from(*DAYS.end()));
        let expires_in_days = days.and_then(|days| u32::try_from(days).ok());
        Some(Self { email: email?, role_code: role_code?, expires_in_days })
    }
}

async fn invite(call: Call, Json(body): Json<InviteBody>) -> Result<Created<Made>, ApiError> {
    let (by, own) = (caller(&call)?, there(&call).await?);
    let days = body.expires_in_days.unwrap_or(DAYS_USUAL);
    let made = again(|| async {
        let mut change = call.app.change(call.actor()).await?;
        // Before the organization: what one person causes in many of them is counted one after the other.
        if !account::hold(&mut change, by).await? {
            return Err(Refused::Gone);
        }
        let standing = Standing::take(&mut change, by, own.id).await?;
        standing.may(INVITES)?;
        standing.reach(&body.role_code)?;
        let new = NewInvitation { organization: own.id, email: &body.email, role: &body.role_code, days };
        let made = invitation::invite(&mut change, standing.definitions(), new).await?;
        conclude(change, Outcome::Changed).await?;
        Ok::<(Invitation, Token), Refused>(made)
    });
    let (made, token) = made.await?;
    let (_, invitation) = shown(&call, &own, vec![made]).await?.pop().ok_or(Refused::NoInvitation)?;
    Ok(Created(Made { invitation, token: token.expose().to_owned() }))
}

/// What became of it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "InvitationAnswer")]
struct Said {
    message: &'static str,
}

async fn resend(call: Call, _: Nothing) -> Result<Json<Said>, ApiError> {
    let (by, own) = (caller(&call)?, there(&call).await?);
    let sent = again(|| async {
        let mut change = call.app.change(call.actor()).await?;
        // The mail is counted as its inviter's: theirs, too, one after the other.
        let found = of_path(&call, &mut change, &own).await?;
        if let Some(inviter) = found.and_then(|found| found.invited_by) {
            account::hold(&mut change, inviter).await?;
        }
        let invitation = within_reach(&call, &mut change, by, &own).await?;
        invitation::resend(&mut change, &invitation).await?;
        conclude(change, Outcome::Changed).await
    });
    sent.await?;
    Ok(Json(Said { message: "Invitation sent again" }))
}

async fn revoke(call: Call, _: Nothing) -> Result<Json<Said>, ApiError> {
    let (by, own) = (caller(&call)?, there(&call).await?);
    let revoked = again(|| async {
        let mut change = call.app.change(call.actor()).await?;
        let invitation = within_reach(&call, &mut change, by, &own).await?;
        invitation::revoke(&mut change, &invitation).await?;
        conclude(change, Outcome::Changed).await
    });
    revoked.await?;
    Ok(Json(Said { message: "Invitation revoked" }))
}

/// The organization's invitation that the path names, if the caller could have sent it.
async fn within_reach(
    call: &Call,
    change: &mut Change<'_>,
    by: Id,
    own: &Organization,
) -> Result<Invitation, Refused> {
    let standing = Standing::take(change, by, own.id).await?;
    standing.may(INVITES)?;
    let found = of_path(call, change, own).await?.ok_or(Refused::NoInvitation)?;
    standing.reach(&found.role)?;
    Ok(found)
}

/// The invitation that the path names.
async fn of_path(
    call: &Call,
    change: &mut Change<'_>,
    own: &Organization,
) -> Result<Option<Invitation>, Refused> {
    let now = change.now();
    match call.param("id").ok().and_then(|text| text.parse().ok()).map(Number) {
        Some(number) => Ok(invitation::by_number(change.tx(), own.id, number, now).await?),
        None => Ok(None),
    }
}

/// What came with the mail.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "InvitationToken")]
struct TokenBody {
    #[schemars(with = "String")]
    token: crate::base::Secret<String>,
}

impl FromFields for TokenBody {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        Some(Self { token: fields.required("token").max(200).secret()? })
    }
}

async fn accept(call: Call, Json(body): Json<TokenBody>) -> Result<Json<Shown>, ApiError> {
    let (person, invitation) = opened(&call, &body).await?;
    let accepted = again(|| async {
        let mut change = call.app.change(call.actor()).await?;
        invitation::accept(&mut change, &invitation, person.id).await?;
        let shown = trees::seen(&mut change, invitation.organization, Some(invitation.role.clone())).await?;
        conclude(change, Outcome::Changed).await?;
        Ok::<_, Refused>(shown)
    });
    Ok(Json(accepted.await?))
}

async fn decline(call: Call, Json(body): Json<TokenBody>) -> Result<Json<Said>, ApiError> {
    let (_, invitation) = opened(&call, &body).await?;
    let declined = again(|| async {
        let mut change = call.app.change(call.actor()).await?;
        invitation::decline(&mut change, &invitation).await?;
        conclude(change, Outcome::Changed).await
    });
    declined.await?;
    Ok(Json(Said { message: "Invitation declined" }))
}

/// The caller, and the invitation to their address that the token opens.
async fn opened(call: &Call, body: &TokenBody) -> Result<(Account, Invitation), ApiError> {
    super::enabled(call)?;
    let missing = || ApiError::from(Refused::NoInvitation);
    let person = account::by_id(&call.app.db, caller(call)?).await?.ok_or_else(missing)?;
    let token = body.token.expose();
    let found = invitation::for_person(&call.app.db, token, &person, call.app.now()).await?;
    found.map(|invitation| (person, invitation)).ok_or_else(missing)
}
