//! What waits in the outbox, opened: for tests of slices that tell people something secret.
//!
//! Law: only tests read what others are told.

use serde::Deserialize;

use super::{Content, context};
use crate::app::App;
use crate::base::Id;
use crate::store::{FromRow, Source as _, sql};

/// A mail or a text message that waits.
#[derive(Debug, Clone, Deserialize)]
pub struct Waiting {
    pub to: String,
    pub text: String,
}

impl Waiting {
    /// The six digits in it.
    ///
    /// # Panics
    /// Where there are none.
    pub fn code(&self) -> String {
        let words = self.text.split(|c: char| !c.is_ascii_digit());
        words.into_iter().find(|word| word.len() == 6).expect("a code").to_owned()
    }
}

#[derive(FromRow)]
struct Row {
    id: Id,
    content: Vec<u8>,
}

/// Everything that waits, the oldest first.
///
/// # Panics
/// Where the store does not answer, or a row does not open.
pub async fn waiting(app: &App) -> Vec<Waiting> {
    let rows = sql("SELECT id, content FROM outbox WHERE state = 'WAITING' ORDER BY id");
    let rows: Vec<Row> = (&app.db).all(rows).await.unwrap();
    let told = |row: Row| {
        let plain = app.seal.open(&context(row.id), &row.content).unwrap();
        match serde_json::from_slice(plain.expose()).unwrap() {
            Content::Mail { to, text, .. } | Content::Sms { to, text } => Some(Waiting { to, text }),
            Content::Webhook { .. } => None,
        }
    };
    rows.into_iter().filter_map(told).collect()
}
