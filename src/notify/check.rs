//! Whether notices would go out, for whoever asks before something has to be told.
//!
//! Law: it goes as far as a notice would and stops before anything is told to anybody.

use std::sync::Arc;

use super::courier::Ways;
use crate::config::Config;

/// One way out.
#[derive(Debug)]
pub struct Checked {
    /// `mail`, `sms`, or the name of a webhook.
    pub name: String,
    /// What is good about it, or what is wrong.
    pub outcome: Result<&'static str, String>,
}

/// Tries every way that the configuration names.
pub async fn check(config: &Arc<Config>) -> Vec<Checked> {
    let ways = Ways::of(Arc::clone(config));
    let mut all = Vec::new();
    if let Some(mailer) = &ways.mail {
        let outcome = match mailer {
            Ok(mailer) => mailer.check().await,
            Err(why) => Err((*why).to_owned()),
        };
        all.push(Checked { name: "mail".to_owned(), outcome });
    }
    if let Some(texter) = &ways.sms {
        let outcome = match texter {
            Ok(texter) => texter.check().await,
            Err(why) => Err((*why).to_owned()),
        };
        all.push(Checked { name: "sms".to_owned(), outcome });
    }
    for (name, caller) in &ways.webhooks {
        let outcome = match caller {
            Ok(caller) => caller.check().await,
            Err(why) => Err((*why).to_owned()),
        };
        all.push(Checked { name: name.clone(), outcome });
    }
    all
}
