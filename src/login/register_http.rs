//! The endpoint of registering.
//!
//! Law: the answer tells nothing of whether the identifiers were free, but where the configuration logs people
//! in at once.

use super::breached::breached;
use super::http::{carrier, cookies, device, refuse_foreign, refuse_weak};
use super::input::Register;
use super::newcomer;
use super::password::policy_of;
use super::register::{self, Newcomer, Registered, Then};
use super::show::Registration;
use crate::crypto::password::policy::Owner;
use crate::http::reply::WithCookies;
use crate::http::{ApiError, Bucket, Call, Created, ErrorCode as Code, Json, Row, post};

pub(super) fn rows() -> Vec<Row> {
    vec![
        post("/register/", register)
            .open()
            .limit(Bucket::Register)
            .codes(&[Code::RegistrationClosed, Code::CsrfFailed, Code::PasswordBreached, Code::Overloaded])
            .audited(&["account_created", "registration_repeated", "code_sent", "login"])
            .audited(newcomer::EVENTS)
            .about("Register an account"),
    ]
}

async fn register(
    call: Call,
    Json(body): Json<Register>,
) -> Result<WithCookies<Created<Registration>>, ApiError> {
    let config = call.app.config();
    let then = if body.login == Some(true) { Then::LogIn } else { Then::Nothing };
    if then == Then::LogIn && config.accounts.registration.open {
        refuse_foreign(&call, carrier(&config))?;
    }
    Ok(match registered(&call, body, then).await? {
        Registered::Shown(account) => Created(Registration::shown(&account)).with_cookies(Vec::new()),
        Registered::LoggedIn(entered) => {
            let answer = Registration::logged_in(&entered, carrier(&config), call.app.now());
            Created(answer).with_cookies(cookies(&call, &entered.session, &entered.pair))
        }
    })
}

/// Registers somebody on a page, which logs nobody in: what it says tells nothing of whether the address was free.
///
/// # Errors
/// What the endpoint answers.
pub async fn register_newcomer(call: &Call, wish: Register) -> Result<(), ApiError> {
    registered(call, wish, Then::Nothing).await.map(drop)
}

async fn registered(call: &Call, body: Register, then: Then) -> Result<Registered, ApiError> {
    let config = call.app.config();
    if !config.accounts.registration.open {
        return Err(ApiError::new(Code::RegistrationClosed));
    }
    let owner = Owner { email: body.email.as_ref().map(crate::base::Email::as_str), username: None };
    refuse_weak("password", &policy_of(&config.accounts.password).check(body.password.expose(), &owner))?;
    let newcomer = Newcomer {
        device: device(call, body.device_info),
        email: body.email,
        phone: body.phone,
        password: body.password,
        first_name: body.first_name.unwrap_or_default(),
        last_name: body.last_name.unwrap_or_default(),
        then,
        address: call.head.client,
        actor: call.actor(),
    };
    Ok(register::register(&call.app, newcomer).await?)
}

impl From<register::Refused> for ApiError {
    fn from(refused: register::Refused) -> Self {
        match refused {
            register::Refused::Breached(why) => breached(why),
            register::Refused::Overloaded => Self::new(Code::Overloaded),
            register::Refused::NoKey => Self::unavailable("no key signs access tokens"),
            register::Refused::Store(cause) => cause.into(),
        }
    }
}
