//! What the demo prints: where everything is, and calls that work when they are pasted into a
//! shell one after another. A test pastes them.

use std::net::SocketAddr;

use crate::application::Credentials;
use crate::base::Secret;
use crate::cli::out::{Failure, Out};

/// Somebody who can log in, or could register.
pub struct Login {
    pub email: &'static str,
    pub password: Secret<String>,
}

impl Login {
    pub fn new(email: &'static str, password: Secret<String>) -> Self {
        Self { email, password }
    }

    fn body(&self) -> String {
        format!(r#"{{"email":"{}","password":"{}"}}"#, self.email, self.password.expose())
    }
}

/// Everything that the text names.
pub struct Guide {
    pub owner: Login,
    pub ada: Login,
    pub newcomer: Login,
    pub credentials: Credentials,
}

impl Guide {
    pub fn print(&self, public: SocketAddr, admin: SocketAddr, out: &mut Out) -> Result<(), Failure> {
        let gateway = format!("http://{public}");
        out.line("Portcullis stands in front of an example backend. Nothing of this outlives Ctrl-C.")?;
        out.line("")?;
        out.line(format_args!("  gateway      {gateway}"))?;
        out.line(format_args!("  API pages    {gateway}/docs"))?;
        out.line(format_args!("  metrics      http://{admin}/metrics"))?;
        for (who, login) in [("superuser", &self.owner), ("analyst", &self.ada)] {
            out.line(format_args!("  {who:<12} {}  {}", login.email, login.password.expose()))?;
        }
        out.line("")?;
        out.line("Paste these into another shell, one after another:")?;
        let (begin, end) = (self.steps(&gateway), last_steps(&gateway));
        for (what, lines) in begin.into_iter().chain(agent_steps(&gateway)).chain(end) {
            out.line("")?;
            out.line(format_args!("# {what}"))?;
            lines.iter().try_for_each(|line| out.line(line))?;
        }
        out.line("")?;
        out.line("A line per request follows.")
    }

    fn steps(&self, gateway: &str) -> Vec<Step> {
        let (key, secret) = (self.credentials.access_key.as_str(), self.credentials.access_secret.expose());
        let api = format!("{gateway}/api/v1/auth");
        vec![
            (
                "The API wants an application's keys with every call; `field` takes one value out of an answer.",
                vec![
                    format!(
                        "api() {{ curl -sS -H 'X-Access-Key: {key}' -H 'X-Access-Secret: {secret}' \
                         -H 'Content-Type: application/json' \"$@\"; echo; }}"
                    ),
                    r#"field() { sed -E "s/.*\"$1\": ?\"?([^\",}]+).*/\1/"; }"#.to_owned(),
                ],
            ),
            ("Register.", vec![format!("api {api}/register/ -d '{}'", self.newcomer.body())]),
            (
                "Log in as Ada, who is an analyst, and keep the tokens.",
                vec![
                    format!("LOGIN=$(api {api}/login/email/ -d '{}')", self.ada.body()),
                    take("ACCESS", "access_token", "LOGIN"),
                    take("REFRESH", "refresh_token", "LOGIN"),
                ],
            ),
            (
                "Allowed: analysts may read reports. The backend shows who the gateway says is calling.",
                vec![format!("curl -sS {gateway}/reports {BEARER}")],
            ),
            (
                "Refused: paying invoices takes another permission, and the answer says which.",
                vec![format!("curl -sS -X POST {gateway}/invoices/7/pay {BEARER}; echo")],
            ),
            (
                "Refused: nobody is calling, whatever headers they invent.",
                vec![format!("curl -sS {gateway}/reports -H 'X-User-Id: root'; echo")],
            ),
            (
                "Members of Acme see its invoices.",
                vec![format!("curl -sS {gateway}/invoices {BEARER} -H 'X-Org-Slug: acme'")],
            ),
        ]
    }
}

/// What an agent may do, and what stops it.
fn agent_steps(gateway: &str) -> Vec<Step> {
    let tokens = format!("{gateway}/api/v1/auth/ai/tokens");
    let agent = r#"-H "Authorization: AgentBearer $AGENT""#;
    let read = format!("curl -sS {gateway}/reports {agent}; echo");
    let delegation = r#"{"agent_id":"report-bot","permissions":["reports.read"],"circuit_breaker":{"max_requests_total":2}}"#;
    vec![
        (
            "Delegate to an agent: reading reports and nothing else, twice.",
            vec![
                format!("DELEGATED=$(api {tokens}/ {BEARER} -d '{delegation}')"),
                take("AGENT", "token", "DELEGATED"),
                take("ID", "id", "DELEGATED"),
                read.clone(),
            ],
        ),
        (
            "Refused: that was not delegated. Neither may an agent use what is for people only.",
            vec![
                format!("curl -sS -X POST {gateway}/invoices/7/pay {agent}; echo"),
                format!("curl -sS {gateway}/invoices {agent}; echo"),
            ],
        ),
        (
            "Stop the agent, and let it go on.",
            vec![
                format!(r#"api -X POST "{tokens}/$ID/suspend/" {BEARER}"#),
                read.clone(),
                format!(r#"api -X POST "{tokens}/$ID/resume/" {BEARER}"#),
                read.clone(),
            ],
        ),
        ("Its third request is one too many.", vec![read]),
    ]
}

/// What is done, and the lines that do it.
type Step = (&'static str, Vec<String>);

const BEARER: &str = r#"-H "Authorization: Bearer $ACCESS""#;

/// Keeps a value of an answer in a shell variable.
fn take(variable: &str, key: &str, from: &str) -> String {
    format!(r#"{variable}=$(printf '%s' "${from}" | field {key})"#)
}

/// What keeps a session going, and what ends it.
fn last_steps(gateway: &str) -> Vec<Step> {
    let api = format!("{gateway}/api/v1/auth");
    vec![
        (
            "Exchange the refresh token for new tokens.",
            vec![
                format!(r#"LOGIN=$(api {api}/refresh/ -d "{{\"refresh_token\":\"$REFRESH\"}}")"#),
                take("ACCESS", "access_token", "LOGIN"),
                take("REFRESH", "refresh_token", "LOGIN"),
            ],
        ),
        (
            "Log out: the access token is dead at once, not when it expires.",
            vec![
                format!(r#"api {api}/logout/ {BEARER} -d "{{\"refresh_token\":\"$REFRESH\"}}""#),
                format!("curl -sS {gateway}/reports {BEARER}; echo"),
            ],
        ),
    ]
}
