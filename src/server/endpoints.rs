//! Every built-in endpoint, in one list.
//!
//! Law: what is not in this list is not served. The API's document is made from it, and stands on
//! the public listener only where the configuration says so.

use crate::config::{Config, Docs, Preset, Required};
use crate::http::openapi::{self, Keys};
use crate::http::{Row, Table, page};
use crate::{gate, login};

/// The endpoints of the native API and those at the root.
fn rows() -> Vec<Row> {
    let mut rows = login::rows();
    rows.push(gate::ticket_row());
    rows
}

/// The API's document.
pub fn document(config: &Config) -> serde_json::Value {
    let keys = match config.applications.required {
        Required::Nowhere => Keys::NotRequired,
        Required::Api | Required::Everywhere => Keys::Required,
    };
    openapi::document(&Table::new(&config.api.prefix, rows()), &config.public_url.to_string(), keys)
}

/// What the public listener answers itself.
pub(super) fn public(config: &Config) -> Table {
    let mut all = rows();
    let is_public = match config.api.docs {
        Docs::Public => true,
        Docs::Auto => config.preset == Preset::Development,
        Docs::Admin => false,
    };
    if is_public {
        all.extend(page::rows(&document(config)));
    }
    Table::new(&config.api.prefix, all)
}
