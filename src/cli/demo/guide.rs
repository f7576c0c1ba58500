//! What the demo prints: where everything is, and calls that work when they are pasted into a
//! POSIX shell one after another. A test pastes them.
//!
//! Law: comments hold nothing that a shell which does not know comments would act on, and no call
//! needs anything but curl and sed.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::story;
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
    /// This program, and the configuration that the demo runs with.
    pub program: PathBuf,
    pub configuration: PathBuf,
}

/// Calls that belong together.
pub struct Section {
    pub title: &'static str,
    pub steps: Vec<Step>,
}

/// Why, and the lines that do it.
pub struct Step {
    pub why: &'static str,
    pub lines: Vec<String>,
}

impl Step {
    pub fn new(why: &'static str, lines: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { why, lines: lines.into_iter().map(Into::into).collect() }
    }
}

/// Keeps a value of an answer in a shell variable.
pub fn take(variable: &str, key: &str, from: &str) -> String {
    format!(r#"{variable}=$(echo "${from}" | field {key})"#)
}

impl Guide {
    pub fn print(&self, public: SocketAddr, admin: SocketAddr, out: &mut Out) -> Result<(), Failure> {
        let gateway = format!("http://{public}");
        out.line("Portcullis stands in front of an example backend. Nothing of this outlives Ctrl-C.")?;
        out.line("")?;
        out.line(format_args!("  gateway      {gateway}"))?;
        out.line(format_args!("  approvals    {gateway}/portcullis/"))?;
        out.line(format_args!("  API pages    {gateway}/docs"))?;
        out.line(format_args!("  metrics      http://{admin}/metrics"))?;
        for (who, login) in [("superuser", &self.owner), ("analyst", &self.ada)] {
            out.line(format_args!("  {who:<12} {}  {}", login.email, login.password.expose()))?;
        }
        out.line("")?;
        out.line("Paste these into another shell, one after another:")?;
        let sections = [self.tools(&gateway), self.people()];
        for section in sections.into_iter().chain(story::sections(self)).chain([leaving()]) {
            out.line("")?;
            out.line(format_args!("# ---- {} ----", section.title))?;
            for step in &section.steps {
                out.line("")?;
                out.line(format_args!("# {}", step.why))?;
                step.lines.iter().try_for_each(|line| out.line(line))?;
            }
        }
        out.line("")?;
        out.line("A line per request follows.")
    }

    fn tools(&self, gateway: &str) -> Section {
        let (key, secret) = (self.credentials.access_key.as_str(), self.credentials.access_secret.expose());
        let curl = r"curl -sS -w '\n[%{http_code}]\n' -H 'Content-Type: application/json'";
        let (program, file) = (quoted(&self.program), quoted(&self.configuration));
        Section {
            title: "Tools",
            steps: vec![
                Step::new(
                    "The API wants the keys of an application with every call. Each answer ends with its status.",
                    [
                        format!("GW={gateway}"),
                        "API=$GW/api/v1/auth".to_owned(),
                        format!(
                            "api() {{ {curl} -H 'X-Access-Key: {key}' -H 'X-Access-Secret: {secret}' \"$@\"; }}"
                        ),
                    ],
                ),
                Step::new(
                    "A human calls with an access token, an agent with its own, and says which prompt made it call.",
                    [
                        r#"human() { api -H "Authorization: Bearer $ACCESS" "$@"; }"#.to_owned(),
                        format!(
                            r#"agent() {{ {curl} -H "Authorization: AgentBearer $AGENT" -H 'X-Prompt-Trace-ID: trace_7f3a2b9c' "$@"; }}"#
                        ),
                    ],
                ),
                Step::new(
                    "This takes one value out of an answer.",
                    [r#"field() { sed -nE "s/.*\"$1\": ?\"?([^\",}]+).*/\1/p"; }"#],
                ),
                Step::new(
                    "An operator has the command line, beside the running gateway.",
                    [format!("operator() {{ {program} --config {file} \"$@\"; }}")],
                ),
            ],
        }
    }

    fn people(&self) -> Section {
        Section {
            title: "People",
            steps: vec![
                Step::new("Register.", [format!("api $API/register/ -d '{}'", self.newcomer.body())]),
                Step::new(
                    "Log in as Ada, who is an analyst, and keep the tokens.",
                    [
                        format!("LOGIN=$(api $API/login/email/ -d '{}')", self.ada.body()),
                        take("ACCESS", "access_token", "LOGIN"),
                        take("REFRESH", "refresh_token", "LOGIN"),
                    ],
                ),
                Step::new(
                    "Allowed: analysts may read reports. The backend shows who the gateway says is calling.",
                    ["human $GW/reports"],
                ),
                Step::new(
                    "Refused: deleting reports takes another permission, and the answer says which.",
                    ["human -X DELETE $GW/reports/1"],
                ),
                Step::new(
                    "Refused: nobody is calling, whatever headers they invent.",
                    ["api $GW/reports -H 'X-User-Id: root'"],
                ),
                Step::new(
                    "Members of Acme Corp see its invoices.",
                    ["human $GW/invoices -H 'X-Org-Slug: acme-corp'"],
                ),
            ],
        }
    }
}

/// What keeps a session going, and what ends it.
fn leaving() -> Section {
    Section {
        title: "The end of a session",
        steps: vec![
            Step::new(
                "Exchange the refresh token for new tokens.",
                [
                    r#"LOGIN=$(api $API/refresh/ -d "{\"refresh_token\":\"$REFRESH\"}")"#.to_owned(),
                    take("ACCESS", "access_token", "LOGIN"),
                    take("REFRESH", "refresh_token", "LOGIN"),
                ],
            ),
            Step::new(
                "Log out: the access token is dead at once, not when it expires.",
                [r#"human $API/logout/ -d "{\"refresh_token\":\"$REFRESH\"}""#, "human $GW/reports"],
            ),
        ],
    }
}

/// A path as one word of a shell.
fn quoted(path: &std::path::Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_whatever_is_in_it() {
        assert_eq!(quoted(std::path::Path::new("/a b/it's")), r"'/a b/it'\''s'");
    }
}
