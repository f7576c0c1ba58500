//! Every built-in endpoint, in one list.
//!
//! Law: what is not in this list is not served. The API's document is made from it, and stands on
//! the public listener only where the configuration says so.

use std::collections::BTreeSet;

use crate::config::{Config, Docs, Preset, Required};
use crate::http::openapi::{self, Keys};
use crate::http::row::Mount;
use crate::http::{Access, Row, Table, page, wellknown};
use crate::policy::Code;
use crate::{
    administration, agent, apikey, application, approval, compat, gate, login, organization, otp, privacy,
    profile, rbac, statistics, trail, web,
};

/// The endpoints of the native API and those at the root.
fn rows() -> Vec<Row> {
    let mut rows = wellknown::rows();
    rows.extend(login::rows());
    rows.extend(otp::rows());
    rows.extend(profile::rows());
    rows.extend(rbac::rows());
    rows.extend(organization::rows());
    rows.extend(application::rows());
    rows.extend(apikey::rows());
    rows.extend(privacy::rows());
    rows.extend(trail::rows());
    rows.extend(statistics::rows());
    rows.extend(administration::rows());
    rows.extend(agent::rows());
    rows.extend(approval::rows());
    rows.push(gate::ticket_row());
    rows.extend(web::rows());
    rows
}

/// The same with those of the profiles that the configuration mounts. Health is answered once.
fn mounted(config: &Config) -> Vec<Row> {
    let mut rows = rows();
    for profile in &config.api.profiles {
        if profile.answers_health() {
            rows.retain(|row| row.mount() != Mount::Root || row.path() != "/api/v1/health/");
        }
        rows.extend(compat::rows(profile.wire));
    }
    rows
}

fn table(config: &Config, rows: Vec<Row>) -> Table {
    let profiles = config.api.profiles.iter();
    let mounts = profiles.map(|profile| (profile.wire.name(), profile.prefix.clone())).collect();
    Table::mounted(&config.api.prefix, mounts, rows)
}

/// The permissions that the gateway's own endpoints ask for.
pub fn permissions_asked() -> BTreeSet<Code> {
    let asked = rows().into_iter().filter_map(|row| match row.access() {
        Access::Permission(code) => Code::parse(code).ok(),
        _ => None,
    });
    asked.collect()
}

/// The API's document.
pub fn document(config: &Config) -> serde_json::Value {
    let keys = match config.applications.required {
        Required::Nowhere => Keys::NotRequired,
        Required::Api | Required::Everywhere => Keys::Required,
    };
    openapi::document(&table(config, mounted(config)), &config.public_url.to_string(), keys)
}

/// What the public listener answers itself, each with who may call it.
pub fn public(config: &Config) -> Table {
    let mut all = mounted(config);
    let is_public = match config.api.docs {
        Docs::Public => true,
        Docs::Auto => config.preset == Preset::Development,
        Docs::Admin => false,
    };
    if is_public {
        all.extend(page::rows(&document(config)));
    }
    table(config, all)
}

/// What the operator's listener shows beside metrics: the document and its pages, unless everyone
/// may see them, and then too.
pub(super) fn operator(config: &Config) -> Vec<page::File> {
    page::files(&document(config))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::http::{fresh, law};

    #[test]
    fn the_whole_table_keeps_the_laws() {
        let config = crate::config::load_text("preset: development\n").unwrap().config;
        assert_eq!(law::breaches(&public(&config)), Vec::<String>::new());
    }

    #[test]
    fn a_mounted_profile_keeps_the_laws_and_is_open_where_people_come_in() {
        let text = "preset: development\napi: { prefix: /gate, profiles: [ { use: auth-system, prefix: /api/v1 } ] }\n";
        let config = crate::config::load_text(text).unwrap().config;
        let table = public(&config);
        assert_eq!(law::breaches(&table), Vec::<String>::new());
        let own = |row: &&Row| matches!(row.mount(), Mount::Profile(_)) && row.access() == Access::Open;
        let mut open: Vec<_> = table.rows().iter().filter(own).map(Row::path).collect();
        open.sort_unstable();
        assert_eq!(
            open,
            ["/auth/forgot-password", "/auth/login", "/auth/refresh", "/auth/reset-password", "/health"]
        );
        // In the place of the native one.
        let health = |row: &&Row| table.full_path(row).trim_end_matches('/') == "/api/v1/health";
        assert_eq!(table.rows().iter().filter(health).count(), 1);
    }

    /// What may change keys or rights, and nothing else, asks how old the login is (`api.admin_max_age`).
    #[test]
    fn a_fresh_login_is_asked_for_where_keys_or_rights_change() {
        let text = "preset: development\napi: { profiles: [ { use: auth-system, prefix: /compat } ] }\n";
        let table = public(&crate::config::load_text(text).unwrap().config);
        let asked = table.rows().iter().filter(|row| fresh::is_asked(row));
        let mut asked: Vec<String> = asked.map(|row| format!("{} {}", row.path(), row.method())).collect();
        asked.sort_unstable();
        let expected = [
            "/admin/deletion-requests/process-expired/ POST",
            "/admin/deletion-requests/{id}/process/ POST",
            "/admin/users POST",
            "/admin/users/{id}/ DELETE",
            "/admin/users/{id}/permissions PUT",
            "/applications/ POST",
            "/applications/{id}/ DELETE",
            "/applications/{id}/regenerate/ POST",
            "/groups/ POST",
            "/groups/{id}/ DELETE",
            "/groups/{id}/ PUT",
            "/groups/{id}/grants/ DELETE",
            "/groups/{id}/grants/ POST",
            "/org-roles/ POST",
            "/org-roles/{id}/ DELETE",
            "/org-roles/{id}/ PUT",
            "/permissions/ POST",
            "/permissions/{id}/ DELETE",
            "/permissions/{id}/ PUT",
            "/roles/ POST",
            "/roles/{id}/ DELETE",
            "/roles/{id}/ PUT",
            "/roles/{id}/permissions/ DELETE",
            "/roles/{id}/permissions/ POST",
            "/users POST",
            "/users/bulk-actions POST",
            "/users/{id} DELETE",
            "/users/{id} PATCH",
            "/users/{id} PUT",
            "/users/{id}/groups/ DELETE",
            "/users/{id}/groups/ POST",
            "/users/{id}/permissions/ DELETE",
            "/users/{id}/permissions/ POST",
            "/users/{id}/roles/ DELETE",
            "/users/{id}/roles/ POST",
        ];
        assert_eq!(asked, expected);
    }

    #[test]
    fn the_document_tells_of_a_profile_in_its_own_words() {
        let text = "preset: development\napi: { profiles: [ { use: auth-system, prefix: /compat } ] }\n";
        let document = document(&crate::config::load_text(text).unwrap().config);
        let login = &document["paths"]["/compat/auth/login"]["post"];
        assert_eq!((&login["tags"][0], &login["security"]), (&json!("auth-system"), &json!([])));
        let refusals = login["responses"].as_object().unwrap();
        for (status, code) in
            [("400", "VALIDATION_ERROR"), ("401", "AUTHENTICATION_FAILED"), ("423", "ACCOUNT_LOCKED")]
        {
            let refusal = &refusals[status];
            assert!(refusal["description"].as_str().unwrap().contains(code), "{refusal}");
            let shape = &refusal["content"]["application/json"]["schema"];
            let shape = shape["anyOf"].get(0).unwrap_or(shape);
            assert_eq!(shape["$ref"], "#/components/schemas/AuthSystemError");
        }
        let users = &document["paths"]["/compat/users"];
        assert_eq!(users["get"]["security"], json!([{ "accessToken": [] }]));
        for status in ["400", "409", "422"] {
            assert!(users["post"]["responses"][status].is_object(), "{status}");
        }
        // Before it is known which endpoint is meant, a refusal has our own shape.
        let either = &users["post"]["responses"]["400"]["content"]["application/json"]["schema"]["anyOf"];
        assert_eq!(either.as_array().map(Vec::len), Some(2), "{either}");
        assert!(document["paths"]["/compat/users/{id}"]["delete"]["responses"]["204"].is_object());
        for path in ["/compat/stats/overview", "/compat/stats/users", "/compat/audit/logs/export"] {
            let responses = &document["paths"][path]["get"]["responses"];
            let told: Vec<&str> = responses.as_object().unwrap().keys().map(String::as_str).collect();
            for status in ["200", "400", "401", "403", "422", "429"] {
                assert!(told.contains(&status), "{path} {status} {told:?}");
            }
        }
        let shape = &document["components"]["schemas"]["AuthSystemLog"]["properties"];
        assert!(shape["additional_info"].is_object() && shape["old_values"].is_object(), "{shape}");
        assert!(document["paths"].get("/api/v1/auth/login/email/").is_some());
        let none = super::document(&crate::config::load_text("preset: development\n").unwrap().config);
        assert!(!none.to_string().contains("AuthSystem"));
    }

    /// Whoever adds an endpoint that asks for nothing adds it here, and says why in the review.
    #[test]
    fn the_endpoints_that_are_open_to_everyone_are_these() {
        let config = crate::config::load_text("preset: development\napi: { docs: admin }\n").unwrap().config;
        let table = public(&config);
        let is_open = |row: &&Row| matches!(row.access(), Access::Open);
        let mut open: Vec<_> = table
            .rows()
            .iter()
            .filter(is_open)
            .map(|row| format!("{} {}", row.method(), row.path()))
            .collect();
        open.sort();
        assert_eq!(
            open,
            [
                "GET /.well-known/jwks.json",
                "GET /api/v1/health/",
                "GET /magic-link/verify/",
                "GET /password/requirements/",
                // A code that the application listed a place for; keys are asked for all the same.
                "GET /social/{provider}/callback/",
                // A link that was sent; a token of its own is the proof.
                "POST /confirm-account-deletion/",
                "POST /login/email/",
                "POST /login/ldap/",
                "POST /login/otp/request/",
                "POST /login/otp/verify/",
                "POST /login/phone/",
                "POST /logout/",
                "POST /magic-link/request/",
                "POST /magic-link/verify/",
                "POST /password/reset/confirm/",
                "POST /password/reset/request/",
                "POST /password/strength/",
                "POST /refresh/",
                "POST /register/",
                "POST /social/{provider}/",
                "POST /webauthn/authenticate/begin/",
                "POST /webauthn/authenticate/complete/",
            ]
        );
    }
}
