//! `portcullis approvals approve` and `deny`: a person decides, as on the page.
//!
//! Law: nothing is decided here and nothing is written to the store: a person logs in to the running
//! gateway and calls its API. What is decided is shown first, whole, and asked about.

use std::io::IsTerminal;
use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};

use super::gateway::{Access, Gateway};
use crate::base::visible;
use crate::cli::out::{AsJson, Failure, Format, Out, note};
use crate::crypto::digest::unbase64;

/// What is decided, and by whom.
#[derive(clap::Args, Debug)]
pub(super) struct Which {
    /// Its number, id or confirmation token
    // A confirmation token may begin with any sign of its alphabet.
    #[arg(allow_hyphen_values = true)]
    approval: String,
    #[command(flatten)]
    access: Access,
    /// Do not ask once more
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    json: AsJson,
}

/// What is said to it.
pub(super) enum Word<'a> {
    Approve,
    Deny { reason: Option<&'a str> },
}

impl Word<'_> {
    const fn name(&self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Deny { .. } => "deny",
        }
    }
}

pub(super) async fn decide(
    config: &Path,
    which: &Which,
    word: Word<'_>,
    out: &mut Out,
) -> Result<(), Failure> {
    if !which.yes && !std::io::stdin().is_terminal() {
        return Err(Failure::usage("nobody can be asked here: use --yes"));
    }
    let named = path_segment(&which.approval)?;
    let gateway = which.access.open(config).await?;
    let decided = say(&gateway, &named, which, &word).await;
    gateway.close().await;
    let (shown, decided) = decided?;
    if which.json.format() == Format::Json {
        let mut told = decided;
        told["id"] = shown["id"].clone();
        told["binding_digest"] = shown["binding_digest"].clone();
        return out.json(&told);
    }
    out.line(match (decided["status"].as_str(), decided["missing"].as_u64()) {
        (Some("pending"), Some(missing)) => format!("counted; {missing} more must agree"),
        (status, _) => visible(status.unwrap_or("decided").as_bytes()),
    })
}

/// What was shown, and what the gateway said to the decision about it.
async fn say(
    gateway: &Gateway,
    named: &str,
    which: &Which,
    word: &Word<'_>,
) -> Result<(Value, Value), Failure> {
    let shown = gateway.call(Method::GET, &format!("/ai/pending-actions/{named}/"), None).await?;
    for line in lines(&shown) {
        note(line);
    }
    match shown["state"].as_str() {
        Some("pending") => {}
        state => {
            let state = visible(state.unwrap_or("unknown").as_bytes());
            return Err(Failure::problem(format_args!("nothing to decide: it is {state}")));
        }
    }
    if !which.yes && super::ask(&format!("{} this? Type yes: ", word.name()), "use --yes")? != "yes" {
        return Err(Failure::problem("nothing was decided"));
    }
    // By the id of what was shown, whatever the name leads to by now.
    let id = path_segment(shown["uuid"].as_str().unwrap_or_default())?;
    let body = match word {
        Word::Approve => json!({}),
        Word::Deny { reason } => json!({"reason": reason}),
    };
    let path = format!("/ai/pending-actions/{id}/{}/", word.name());
    let decided = gateway.call(Method::POST, &path, Some(&body)).await?;
    Ok((shown, decided))
}

/// What would be sent, exactly, with everything visible.
fn lines(shown: &Value) -> Vec<String> {
    let text = |key: &str| visible(shown[key].as_str().unwrap_or_default().as_bytes());
    let mut lines = vec![
        format!("what            {}", text("title")),
        format!("agent           {}", text("agent_id")),
        format!("until           {}", text("expires_at")),
        format!("binding digest  {}", text("binding_digest")),
        String::new(),
        format!("{} {}{}", text("method"), text("host"), text("target")),
    ];
    for header in shown["headers"].as_array().into_iter().flatten() {
        let part = |at: usize| visible(header[at].as_str().unwrap_or_default().as_bytes());
        lines.push(format!("{}: {}", part(0), part(1)));
    }
    if let Some(key) = shown["idempotency_key"].as_str() {
        lines.push(format!("idempotency-key: {} (the agent's own)", visible(key.as_bytes())));
    }
    let body = match (shown["body"].as_str(), shown["body_base64"].as_str().and_then(unbase64)) {
        (Some(text), _) => text.as_bytes().to_vec(),
        (None, Some(bytes)) => bytes,
        (None, None) => Vec::new(),
    };
    if !body.is_empty() {
        lines.push(String::new());
        lines.push(visible(&body));
    }
    lines
}

/// A name that is one segment of a path, whatever it is a name of.
fn path_segment(text: &str) -> Result<String, Failure> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if text.is_empty() || !text.bytes().all(is_plain) {
        return Err(Failure::usage("an approval is named by its number, id or confirmation token"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_decided_is_shown_whole_and_nothing_in_it_hides() {
        let shown = json!({
            "title": "POST through route pay (pay)", "agent_id": "robot\u{1b}[2J", "expires_at": "soon",
            "binding_digest": "ab12", "method": "POST", "host": "gw.test", "target": "/pay?to=zoe",
            "headers": [["content-type", "text/plain"]], "idempotency_key": "k\u{200b}7", "body": "a\u{202e}b",
        });
        let text = lines(&shown).join("\n");
        for part in [
            "POST gw.test/pay?to=zoe",
            "content-type: text/plain",
            "ab12",
            "a\\u{202e}b",
            "robot\\u{1b}[2J",
            "idempotency-key: k\\u{200b}7",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let bytes = lines(&json!({"body": null, "body_base64": "/wA="})).join("\n");
        assert!(bytes.ends_with("\\xff\\u{0}"), "{bytes}");
    }

    #[test]
    fn a_name_cannot_lead_to_another_path() {
        for bad in ["", "../1", "1/confirm", "a?b", "a%2f"] {
            assert!(path_segment(bad).is_err(), "{bad}");
        }
        assert_eq!(path_segment("Ab-_9").unwrap(), "Ab-_9");
    }
}
