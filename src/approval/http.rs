//! What people call to see what agents want to do, and to decide.
//!
//! Law: agents never decide. Whoever does not decide about an approval gets the contract's one
//! answer, whether it exists or not (section 26.4), and it waits as before.

use ::http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use super::decide::REASON_MAX;
use super::{
    Approval, Closed, DecideError, Decided, Decision, Filter, Reference, SessionNeed, Shown, State, Told,
    contents, decide, given, result, shown, stands, waiting,
};
use crate::agent;
use crate::audit::Voided;
use crate::base::Number;
use crate::http::{
    ApiError, Call, ErrorCode, Fields, FromFields, Json, Nothing, Query, Reply, Row, get, post,
};
use crate::principal::Principal;

/// Endpoints for what waits for people.
#[must_use]
pub fn rows() -> Vec<Row> {
    const CODES: &[ErrorCode] = &[
        ErrorCode::BadRequest,
        ErrorCode::ApprovalVoid,
        ErrorCode::MfaRequired,
        ErrorCode::ReauthenticationRequired,
    ];
    const APPROVED: &[&str] = &["approval_voted", "approval_approved", "approval_voided"];
    let yes = |row: Row, about| row.codes(CODES).strict().audited(APPROVED).about(about);
    let no = |row: Row, about| {
        row.codes(&[ErrorCode::BadRequest]).strict().audited(&["approval_denied"]).about(about)
    };
    vec![
        get("/ai/pending-actions/", list)
            .person()
            .strict()
            .about("What agents want to do: mine, and those that I decide about"),
        get("/ai/pending-actions/{token}/", show)
            .person_or_agent()
            .codes(&[
                ErrorCode::NotFound,
                ErrorCode::ApprovalUnknown,
                ErrorCode::ApprovalUsed,
                ErrorCode::ApprovalDenied,
                ErrorCode::ApprovalExpired,
                ErrorCode::ApprovalVoid,
                ErrorCode::ResultTooLarge,
                ErrorCode::ResultWithheld,
                ErrorCode::RateLimited,
            ])
            .about("What an agent wants to do, exactly; to the agent itself, where that stands, or what was answered"),
        yes(
            post("/ai/pending-actions/{token}/confirm/", confirm).person(),
            "Approve what an agent wants to do",
        ),
        yes(post("/ai/pending-actions/{token}/approve/", confirm).person(), "The same as confirm"),
        no(post("/ai/pending-actions/{token}/deny/", deny).person(), "Deny what an agent wants to do"),
        no(post("/ai/pending-actions/{token}/reject/", deny).person(), "The same as deny"),
    ]
}

/// Which approvals to list.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "PendingActionFilter")]
struct ListQuery {
    /// A state, or `all`; `pending` if absent.
    state: Option<String>,
    /// The label of an agent.
    agent_id: Option<String>,
    /// The number or id of an agent token.
    agent_token_id: Option<String>,
    route: Option<String>,
    /// What the agent sent as `X-Prompt-Trace-ID`.
    trace: Option<String>,
    /// Only those with a lesser `id`: what follows after the last one of a list.
    before: Option<i64>,
    /// How many at most; 100 if absent.
    limit: Option<u32>,
}

impl FromFields for ListQuery {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let known = |text: &str| match text {
            "all" => Ok("all".to_owned()),
            _ => State::from_name(text).map(|state| state.name().to_owned()).ok_or("Not a known state."),
        };
        Some(Self {
            state: fields.optional("state").parsed(known),
            agent_id: fields.optional("agent_id").text(),
            agent_token_id: fields.optional("agent_token_id").text(),
            route: fields.optional("route").text(),
            trace: fields.optional("trace").text(),
            before: fields.optional("before").parsed(|text| text.parse().map_err(|_| "A number.")),
            limit: fields.optional("limit").parsed(|text| match text.parse() {
                Ok(number @ 1..=1000) => Ok(number),
                _ => Err("A number from 1 to 1000."),
            }),
        })
    }
}

async fn list(call: Call, Query(query): Query<ListQuery>) -> Result<Json<Vec<Shown>>, ApiError> {
    let person = call.person()?;
    let state = match query.state.as_deref() {
        None => Some(State::Pending),
        Some(word) => State::from_name(word),
    };
    let agent_token = match query.agent_token_id {
        None => None,
        Some(text) => {
            let token = match text.parse() {
                Ok(reference) => agent::find(&call.app.db, reference).await?,
                Err(_) => None,
            };
            let Some(token) = token else { return Ok(Json(Vec::new())) };
            Some(token.id)
        }
    };
    let filter = Filter {
        state,
        agent_token,
        agent: query.agent_id,
        route: query.route,
        trace: query.trace,
        before: query.before.map(Number),
        limit: query.limit,
    };
    let all = super::list_for(&call.app, person, &filter).await?;
    let contents = contents(&call.app, &all).await?;
    Ok(Json(all.iter().zip(&contents).map(|(one, seen)| shown(&call.app, one, seen)).collect()))
}

/// The approval that the path names, if this person may see it.
async fn seen(call: &Call, person: &Principal) -> Result<Approval, ApiError> {
    let missing = || ApiError::new(ErrorCode::NotFound).saying("Not found");
    let found = super::find(&call.app.db, &Reference::of(call.param("token")?)).await?.ok_or_else(missing)?;
    if super::may_see(&call.app, &found, person).await? { Ok(found) } else { Err(missing()) }
}

async fn show(call: Call, _: Nothing) -> Result<Reply, ApiError> {
    if call.head.agent.is_some() {
        return poll(&call).await;
    }
    let approval = seen(&call, call.person()?).await?;
    let seen = super::seen(&call.app, &approval).await?;
    Ok(Reply::json(StatusCode::OK, &shown(&call.app, &approval, &seen)))
}

/// An agent asks where its own approval stands.
async fn poll(call: &Call) -> Result<Reply, ApiError> {
    let token = agent::calling(call).await?;
    agent::count_own(call, &token, agent::Own::Poll).await?;
    let found = super::find(&call.app.db, &Reference::of(call.param("token")?)).await?;
    let approval = found.filter(|approval| approval.agent_token == token.id).ok_or(Told::Unknown)?;
    match stands(&approval, call.app.now()) {
        Ok(_) => Ok(Reply::json(StatusCode::ACCEPTED, &waiting(&call.app, &approval))),
        Err(Told::Used(state)) => {
            let answer = result(&call.app, &approval, state).await??;
            // What may be read now is not what could be read when it was kept.
            if let Some(voided) = super::lost(&call.app, &approval).await? {
                return Err(Told::Withheld(state, Closed::Lost(voided)).into());
            }
            Ok(Reply::json(StatusCode::OK, &given(&answer)))
        }
        Err(other) => Err(other.into()),
    }
}

impl From<Told> for ApiError {
    fn from(told: Told) -> Self {
        match told {
            Told::Unknown | Told::Mismatch => Self::new(ErrorCode::ApprovalUnknown),
            Told::Used(state) => Self::new(ErrorCode::ApprovalUsed).with("state", state.name()),
            Told::TooLarge(state) => Self::new(ErrorCode::ResultTooLarge).with("state", state.name()),
            Told::Withheld(state, why) => {
                Self::new(ErrorCode::ResultWithheld).with("state", state.name()).with("reason", why.name())
            }
            Told::Denied { reason, retry_after } => {
                let denied = Self::new(ErrorCode::ApprovalDenied).with("reason", reason);
                match retry_after {
                    Some(wait) => denied.retry_after(wait),
                    None => denied,
                }
            }
            Told::Over(state) => Self::new(ErrorCode::ApprovalExpired).with("state", state.name()),
            Told::Void => Self::new(ErrorCode::ApprovalVoid),
        }
    }
}

/// What a person says to an approval.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "PendingActionDecision")]
struct Said {
    /// For the agent, if it is a no; at most 500 characters.
    reason: Option<String>,
    /// Ignored: the path names what is decided.
    #[schemars(rename = "token")]
    _token: Option<String>,
}

impl FromFields for Said {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let reason = fields.optional("reason").or_null().or_blank().max(REASON_MAX).text();
        // Whatever it is: the contract has it in the body too, and it decides nothing.
        let token = fields.optional("token").json().and_then(|token| token.as_str().map(str::to_owned));
        Some(Self { reason, _token: token })
    }
}

/// What came of a decision.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PendingActionDecided")]
struct Done {
    /// `confirmed`, `denied`, or `pending` where more people must agree.
    status: &'static str,
    /// How many more.
    missing: usize,
    /// Until when it must be executed. RFC 3339, UTC.
    execute_by: Option<String>,
}

async fn confirm(call: Call, _: Json<Said>) -> Result<Json<Done>, ApiError> {
    run(&call, Decision::Approve).await
}

async fn deny(call: Call, Json(said): Json<Said>) -> Result<Json<Done>, ApiError> {
    let reason = said.reason.filter(|reason| !reason.is_empty());
    run(&call, Decision::Deny { reason }).await
}

async fn run(call: &Call, decision: Decision) -> Result<Json<Done>, ApiError> {
    let person = call.person()?;
    let reference = Reference::of(call.param("token")?);
    let decided = decide(&call.app, &call.actor(), person, &reference, decision).await?;
    let (status, missing, execute_by) = match decided {
        Decided::Approved { execute_by } => ("confirmed", 0, Some(execute_by.rfc3339())),
        Decided::Counted { missing } => ("pending", missing, None),
        Decided::Denied => ("denied", 0, None),
    };
    Ok(Json(Done { status, missing, execute_by }))
}

impl From<DecideError> for ApiError {
    fn from(error: DecideError) -> Self {
        let invalid = || Self::new(ErrorCode::BadRequest).saying("Invalid or expired token");
        match error {
            DecideError::Stranger => invalid(),
            DecideError::Over(state) => invalid().with("state", state.name()),
            DecideError::Void(why) => Self::new(ErrorCode::ApprovalVoid).with("reason", reason(why)),
            DecideError::Session(SessionNeed::SecondFactor) => Self::new(ErrorCode::MfaRequired),
            DecideError::Session(SessionNeed::Recent) => Self::new(ErrorCode::ReauthenticationRequired),
            DecideError::Store(cause) => cause.into(),
        }
    }
}

const fn reason(why: Voided) -> &'static str {
    match why {
        Voided::AgentStopped => "agent_stopped",
        Voided::RightLost => "right_lost",
        Voided::PolicyChanged => "policy_changed",
        Voided::ApproversLost => "approvers_lost",
    }
}
