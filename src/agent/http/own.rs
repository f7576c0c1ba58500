//! What agents say and ask about themselves: signs of life, and whether they may act at all.
//!
//! Law: an agent is who its token says, for itself alone, and is refused here as on routes. Each thing
//! is counted apart and trips nothing: who polls must not fall silent by it. Nothing is counted by
//! address: those who guess are slowed at the gate, and must not silence who calls beside them.

use std::time::Duration;

use super::State;
use crate::account::{self, Standing};
use crate::agent::{self as delegation, AgentToken, Fault, Reference, Status};
use crate::http::{ApiError, Call, ErrorCode, Json, Nothing};
use crate::shared::Window;

/// How often an agent may say or ask one thing about itself.
const OWN_CALLS: [Window; 1] = [Window { limit: 60, per: Duration::from_mins(1) }];

pub(super) async fn heartbeat(call: Call, _: Nothing) -> Result<Json<State>, ApiError> {
    let token = paced_caller(&call, Own::Heartbeat).await?;
    if !delegation::beat(&call.app, token.id).await? {
        // It ended or fell silent since it was read.
        return Err(caller(&call).await.err().unwrap_or_else(|| refused(Fault::Silent)));
    }
    Ok(Json(State { status: "ok" }))
}

/// The same, unless it calls too often.
pub(super) async fn paced_caller(call: &Call, own: Own) -> Result<AgentToken, ApiError> {
    let token = caller(call).await?;
    count_own(call, &token, own).await?;
    Ok(token)
}

/// What an agent may say and ask about itself. Each is counted apart: who polls must not fall silent by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Own {
    Heartbeat,
    Usage,
    Poll,
}

impl Own {
    const fn name(self) -> &'static str {
        match self {
            Self::Heartbeat => "heartbeat",
            Self::Usage => "usage",
            Self::Poll => "poll",
        }
    }
}

/// Counts what an agent asks about itself.
///
/// # Errors
/// 429 above the limit.
pub async fn count_own(call: &Call, token: &AgentToken, own: Own) -> Result<(), ApiError> {
    let key = format!("agent-{}:{}", own.name(), token.id);
    let hit = call.app.shared.hit(&key, &OWN_CALLS).await;
    let hit = hit.map_err(ApiError::unavailable)?;
    if hit.is_allowed {
        return Ok(());
    }
    Err(ApiError::new(ErrorCode::RateLimited).retry_after(hit.retry_after))
}

/// The token of the agent that calls, if it may act.
///
/// # Errors
/// As the gate refuses it on routes.
pub async fn calling(call: &Call) -> Result<AgentToken, ApiError> {
    if !call.app.config().agents.is_enabled {
        return Err(ApiError::new(ErrorCode::AirsDisabled));
    }
    let text = call.agent()?;
    let found = delegation::presented(&call.app.db, text.expose()).await?;
    let token = found.ok_or_else(|| ApiError::new(ErrorCode::AgentTokenNotFound))?;
    if call.application.as_ref().is_some_and(|application| token.application != Some(application.id)) {
        return Err(ApiError::new(ErrorCode::TokenAppMismatch));
    }
    let now = call.app.now();
    let human = account::by_id(&call.app.db, token.account).await?;
    if human.is_none_or(|human| human.standing(now) != Standing::Good) {
        return Err(ApiError::new(ErrorCode::AgentTokenStatusSuspended));
    }
    if let Err(fault) = token.check(now) {
        delegation::settle(&call.app, token.delegation(), fault).await?;
        return Err(refused(fault));
    }
    Ok(token)
}

/// The same, if the path names it too.
async fn caller(call: &Call) -> Result<AgentToken, ApiError> {
    let token = calling(call).await?;
    let named: Option<Reference> = call.param("id")?.parse().ok();
    let is_own = match named {
        Some(Reference::Id(id)) => id == token.id,
        Some(Reference::Number(number)) => number == token.number,
        None => false,
    };
    let mismatch = || ApiError::new(ErrorCode::AgentNotAllowed).saying("Unauthorized or token mismatch");
    if is_own { Ok(token) } else { Err(mismatch()) }
}

fn refused(fault: Fault) -> ApiError {
    ApiError::new(match fault {
        Fault::Status(Status::Revoked) => ErrorCode::AgentTokenStatusRevoked,
        Fault::Status(Status::Expired) => ErrorCode::AgentTokenStatusExpired,
        Fault::Status(Status::Suspended | Status::Active) => ErrorCode::AgentTokenStatusSuspended,
        Fault::Overdue => ErrorCode::AgentTokenExpired,
        Fault::Silent => ErrorCode::AgentTokenHeartbeatMissing,
    })
}
