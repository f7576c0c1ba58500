//! The running gateway as a person reaches it from the command line: over its API, logged in.
//!
//! Law: what decides is the gateway. A secret is sent over TLS that can be trusted, or to this very
//! machine; a session that was begun here is ended here.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Method, Url, redirect};
use serde_json::{Value, json};

use crate::base::Secret;
use crate::cli::open;
use crate::cli::out::Failure;
use crate::cli::password::{CodeFromStdin, FromStdin, Proof, ask_for_code};
use crate::config::file;
use crate::notify::tls;

const WITHIN: Duration = Duration::from_secs(30);
/// What the API answers to a password that is right, where that is not enough.
const CODE_WANTED: &str = "2FA_REQUIRED";

/// Which gateway, and who decides.
#[derive(clap::Args, Debug)]
pub(super) struct Access {
    /// The gateway's API, such as https://gw.example.com/api/v1/auth, where the configuration does not say
    #[arg(long, value_name = "URL")]
    url: Option<Url>,
    /// PEM: authorities that are trusted beside those of the system
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// The approver's e-mail address; asked for if absent
    #[arg(long)]
    email: Option<String>,
    #[command(flatten)]
    password: FromStdin,
    #[command(flatten)]
    code: CodeFromStdin,
    /// A file with the approver's access token, instead of e-mail address and password
    #[arg(long, value_name = "FILE", conflicts_with_all = ["email", "password_stdin"])]
    token_file: Option<PathBuf>,
    /// The access key of an application, where the API asks for one
    #[arg(long = "access-key", value_name = "KEY")]
    key: Option<String>,
    /// A file with that application's secret
    #[arg(long = "access-secret-file", value_name = "FILE", requires = "key")]
    secret_file: Option<PathBuf>,
}

/// A gateway, and a person who is logged in there.
pub(super) struct Gateway {
    client: reqwest::Client,
    api: String,
    keys: Vec<(&'static str, Secret<String>)>,
    token: Secret<String>,
    /// Of the session that was begun for this.
    refresh: Option<Secret<String>>,
}

impl Access {
    pub(super) async fn open(&self, config: &Path) -> Result<Gateway, Failure> {
        let api = self.api(config)?;
        let authorities = self.ca_file.as_deref().map(read).transpose()?;
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::client(authorities.as_deref()).map_err(Failure::problem)?)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .timeout(WITHIN)
            .user_agent(concat!("portcullis/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(Failure::problem)?;
        let mut keys = Vec::new();
        if let Some(key) = &self.key {
            keys.push(("x-access-key", Secret::new(key.clone())));
        }
        if let Some(path) = &self.secret_file {
            keys.push(("x-access-secret", secret(path)?));
        }
        let nobody = Secret::new(String::new());
        let gateway = Gateway { client, api, keys, token: nobody, refresh: None };
        match &self.token_file {
            Some(path) => Ok(Gateway { token: secret(path)?, ..gateway }),
            None => gateway.log_in(&self.email()?, self.code.ask_for(self.password)?).await,
        }
    }

    /// Where the API is. Nothing secret goes to another machine in the clear.
    fn api(&self, config: &Path) -> Result<String, Failure> {
        let url = if let Some(url) = &self.url {
            url.clone()
        } else {
            let config = open::config(config)?.config;
            let text = format!("{}{}", config.public_url, config.api.prefix);
            Url::parse(&text).map_err(Failure::problem)?
        };
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let is_local = host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
        if url.scheme() != "https" && !(url.scheme() == "http" && is_local) {
            return Err(Failure::usage(format_args!(
                "{url} is not https: who decides would be seen on the way"
            )));
        }
        Ok(url.as_str().trim_end_matches('/').to_owned())
    }

    fn email(&self) -> Result<String, Failure> {
        match &self.email {
            Some(email) => Ok(email.clone()),
            None => super::ask("Your e-mail address: ", "use --email, or --token-file"),
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    file::read(path).map_err(|error| Failure::problem(format_args!("{}: {error}", path.display())))
}

/// One line of a file that only its owner may read.
fn secret(path: &Path) -> Result<Secret<String>, Failure> {
    let text = String::from_utf8(read(path)?);
    let text = text.map_err(|_| Failure::problem(format_args!("{} is no text", path.display())))?;
    if file::is_open_to_others(path) {
        return Err(Failure::problem(format_args!("{} can be read by others: chmod 600", path.display())));
    }
    Ok(Secret::new(text.trim().to_owned()))
}

impl Gateway {
    async fn log_in(mut self, email: &str, proof: Proof) -> Result<Self, Failure> {
        let path = "/login/email/";
        let mut body = json!({"email": email, "password": proof.password.expose()});
        // At once where it is known: each login counts against those of this address.
        if let Some(code) = &proof.code {
            body["totp_code"] = json!(code.expose());
        }
        let mut said = self.ask(Method::POST, path, Some(&body)).await?;
        let is_asked = matches!(&said, Said::No { answer, .. } if answer["code"] == CODE_WANTED);
        if is_asked && proof.code.is_none() {
            let code = ask_for_code()?;
            body["totp_code"] = json!(code.expose());
            said = self.ask(Method::POST, path, Some(&body)).await?;
        }
        let done = said.yes()?;
        let text = |key: &str| done[key].as_str().map(|text| Secret::new(text.to_owned()));
        self.refresh = text("refresh_token");
        self.token =
            text("access_token").ok_or_else(|| Failure::problem("the login gave no access token"))?;
        Ok(self)
    }

    /// What the API answers to a call of this person.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        self.ask(method, path, body).await?.yes()
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Said, Failure> {
        let mut request = self.client.request(method, format!("{}{path}", self.api));
        for (name, value) in &self.keys {
            request = request.header(*name, value.expose());
        }
        if !self.token.expose().is_empty() {
            request = request.bearer_auth(self.token.expose());
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let unreached = |error: reqwest::Error| {
            Failure::problem(format_args!("the gateway at {} gives no answer: {}", self.api, cause(&error)))
        };
        let answer = request.send().await.map_err(unreached)?;
        let status = answer.status();
        let bytes = answer.bytes().await.map_err(unreached)?;
        let value: Value = serde_json::from_slice(&bytes).map_err(|_| {
            Failure::problem(format_args!("{} does not answer as a gateway does ({status})", self.api))
        })?;
        let no = |answer| Said::No { answer, status: status.as_u16() };
        Ok(if status.is_success() { Said::Yes(value) } else { no(value) })
    }

    /// Ends the session that was begun for this, if one was.
    pub(super) async fn close(&self) {
        let Some(refresh) = &self.refresh else { return };
        let body = json!({"refresh_token": refresh.expose()});
        // It ends by itself otherwise; what was decided is decided.
        drop(self.call(Method::POST, "/logout/", Some(&body)).await);
    }
}

/// What the gateway said to a call.
enum Said {
    Yes(Value),
    No { answer: Value, status: u16 },
}

impl Said {
    fn yes(self) -> Result<Value, Failure> {
        match self {
            Self::Yes(value) => Ok(value),
            Self::No { answer, status } => Err(refused(&answer, status)),
        }
    }
}

/// What the network did. The first cause says most.
fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

fn refused(answer: &Value, status: u16) -> Failure {
    let text = answer["error"].as_str().unwrap_or("refused");
    let state = answer["state"].as_str().map(|state| format!("; it is {state}")).unwrap_or_default();
    let details = answer["details"].as_object().filter(|details| !details.is_empty());
    let details = details.map(|_| format!(": {}", answer["details"])).unwrap_or_default();
    let code = answer["code"].as_str().unwrap_or_default();
    let remedy = match code {
        "APP_AUTH_REQUIRED" | "APP_AUTH_INVALID" => {
            "; name an application of yours with --access-key and --access-secret-file"
        }
        _ => "",
    };
    let text = format!("{text}{state} ({status} {code}){details}{remedy}");
    Failure::problem(crate::base::visible(text.as_bytes()))
}
