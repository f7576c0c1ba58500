//! The examples of the contract (sections 14, 18, 20, 23 and 24), as `transcript` compares them.
//! Law: a field that the contract shows is there, with the type that it has there.

use portcullis::account::{self, Reference};
use portcullis::base::Email;
use portcullis::store::DEFAULT_SITE;
use serde_json::{Value, json};

use crate::codes::text_of;
use crate::support::authenticator::{Authenticator, Twist};
use crate::support::people::permission;
use crate::transcript::{Client, PASSWORD, alice, user};

/// Gives Alice what an administrator has.
async fn promote(client: &Client) {
    let reference = Reference::Email(Email::parse("alice@example.com").unwrap());
    let found = account::find(&client.post.gateway.running.app.db, DEFAULT_SITE, &reference).await;
    let id = found.unwrap().expect("Alice").id;
    for code in ["applications", "gdpr.admin", "gdpr.process", "dashboard.view"] {
        client.post.gateway.grant(id, permission(code)).await;
    }
}

#[tokio::test]
async fn a_profile() {
    let client = alice().await;
    client.says("GET /me/", Value::Null, 200, user()).await;
    client.says("GET /me/roles/", Value::Null, 200, json!({"roles": [], "permissions": []})).await;
    let shown = json!({"message": "=Profile updated successfully", "updated_fields": [""], "user": user(),
        "verification_required": {"email_changed": false, "phone_changed": false}});
    let edited =
        client.says("PATCH /me/", json!({"bio": "hi", "custom_fields": {"a": 1}}), 200, shown.clone()).await;
    assert_eq!((&edited["user"]["bio"], &edited["user"]["custom_fields"]), (&json!("hi"), &json!({"a": 1})));
    let mut moved = shown;
    moved["verification_required"]["email_changed"] = json!(true);
    let body = json!({"email": "carol2@example.com", "current_password": PASSWORD});
    client.says("PATCH /me/", body, 200, moved).await;
}

#[tokio::test]
async fn passkeys() {
    let client = alice().await;
    let asked = json!({"challenge_id": "1", "options": ""});
    let begun = client.says("POST /webauthn/register/begin/", json!({}), 200, asked.clone()).await;
    let complete = "POST /webauthn/register/complete/";
    let missing = json!({"challenge_id": begun["challenge_id"]});
    client.refused(complete, missing, 400, "credential is required", "MISSING_FIELDS").await;
    let mut device = Authenticator::new();
    let credential = device.create(&begun["options"], &Twist::default());
    let body =
        json!({"challenge_id": begun["challenge_id"], "credential": credential, "device_name": "Soft Key"});
    let shown = json!({"message": "=Passkey registered successfully",
        "credential": {"id": "1", "device_name": "=Soft Key", "created_at": "2026"}});
    client.says(complete, body, 201, shown).await;
    let listed = json!({"count": 1, "credentials": [{"id": null, "device_name": "=Soft Key", "created_at": "2026",
        "last_used_at": null, "transports": [""]}]});
    let listed = client.says("GET /webauthn/credentials/", Value::Null, 200, listed).await;
    let begun = client.says("POST /webauthn/authenticate/begin/", json!({}), 200, asked).await;
    let complete = "POST /webauthn/authenticate/complete/";
    let missing = json!({"challenge_id": begun["challenge_id"]});
    client.refused(complete, missing, 400, "credential is required", "MISSING_FIELDS").await;
    let answer = device.get(&begun["options"], &Twist::default());
    let body = json!({"challenge_id": begun["challenge_id"], "credential": answer});
    let shown = json!({"access": "", "refresh": "", "access_token": "", "refresh_token": "", "credential_used": "",
        "message": "=Authentication successful", "user": {"id": "", "email": "=alice@example.com"}});
    client.says(complete, body, 200, shown).await;
    let gone = format!("DELETE /webauthn/credentials/{}/", listed["credentials"][0]["id"]).replace('"', "");
    client.says(&gone, json!({}), 204, Value::Null).await;
    client.refused(&gone, json!({}), 404, "Credential not found", "CREDENTIAL_NOT_FOUND").await;
}

#[tokio::test]
async fn applications() {
    let client = alice().await;
    promote(&client).await;
    let body = json!({"name": "Mobile", "description": "x", "allowed_origins": ["https://m.example.com"], "redirect_uris": ["https://m.example.com/cb"]});
    let application = json!({"id": "6", "name": "=Mobile", "description": "=x", "access_key": "", "is_active": true,
        "allowed_origins": ["=https://m.example.com"], "created_at": "2026", "updated_at": "2026"});
    let shown = json!({"message": "=Application created successfully", "application": application,
        "credentials": {"access_key": "", "access_secret": ""}, "warning": "=Save the access_secret now! It will never be shown again."});
    let made = client.says("POST /applications/", body, 201, shown).await;
    let bad = json!({"allowed_origins": ["nowhere"]});
    let invalid = json!({"error": "=Validation error", "details": {"name": ["=This field is required."], "allowed_origins": {"0": ["=Enter a valid URL."]}}});
    client.says("POST /applications/", bad, 400, invalid).await;
    let path = format!("/applications/{}/", made["application"]["id"].as_str().unwrap());
    client
        .refused(&format!("PATCH {path}"), json!({}), 400, "No valid fields provided", "INVALID_FIELDS")
        .await;
    let off =
        json!({"message": "=Application deactivated successfully", "application": {"is_active": false}});
    client.says(&format!("PATCH {path}"), json!({"is_active": false}), 200, off).await;
    client
        .refused(
            &format!("POST {path}regenerate/"),
            json!({}),
            400,
            "Confirmation required",
            "CONFIRMATION_REQUIRED",
        )
        .await;
    let anew = json!({"message": "", "application": {}, "credentials": {"access_key": "", "access_secret": ""}, "warning": "", "old_credentials_invalidated": true});
    client.says(&format!("POST {path}regenerate/"), json!({"confirmation": "REGENERATE"}), 200, anew).await;
    let gone = json!({"message": "=Application \"Mobile\" deleted successfully"});
    client.says(&format!("DELETE {path}"), Value::Null, 200, gone).await;
    client.refused(&format!("GET {path}"), Value::Null, 404, "Application not found", "NOT_FOUND").await;
}

#[tokio::test]
async fn an_account_that_goes() {
    let client = alice().await;
    promote(&client).await;
    let either = "Current password or a valid OTP code is required";
    client.refused("POST /request-account-deletion/", json!({}), 400, either, "REAUTH_REQUIRED").await;
    let letters = client.post.mail.taken().len();
    let asked = json!({"request_id": 1, "grace_period_days": 30,
        "message": "=Deletion request created. Please check your email for confirmation."});
    client
        .says("POST /request-account-deletion/", json!({"password": PASSWORD, "reason": "bye"}), 201, asked)
        .await;
    let mut at = letters.max(1);
    let letter = loop {
        let letter = text_of(&client.post.letter(at).await);
        if letter.contains("/portcullis/deletion/?token=") {
            break letter;
        }
        at += 1;
    };
    let token: String = letter.split_once("?token=").unwrap().1.split_whitespace().next().unwrap().to_owned();
    client
        .says(
            "POST /confirm-account-deletion/",
            json!({}),
            400,
            json!({"error": "=Confirmation token is required"}),
        )
        .await;
    let confirmed = json!({"grace_period_ends_at": "2026", "days_remaining": 30,
        "message": "=Deletion request confirmed. Your account will be deleted after the grace period."});
    client.says("POST /confirm-account-deletion/", json!({"token": token}), 200, confirmed).await;
    let again = json!({"error": "=Invalid or expired confirmation token"});
    client.says("POST /confirm-account-deletion/", json!({"token": token}), 400, again).await;
    let status = json!({
        "total_requests": 1,
        "active_request": {"id": 1, "status": "=confirmed", "requested_at": "2026", "grace_period_ends_at": "2026", "days_remaining": 29},
        "history": [{"id": 1, "status": "=confirmed", "requested_at": "2026", "confirmed_at": "2026", "completed_at": null, "reason": "=bye"}],
    });
    let status = client.says("GET /account-deletion-status/", Value::Null, 200, status).await;
    let exported = json!({"user_info": {}, "roles": [], "permissions": [], "sessions": [], "social_connections": [], "login_attempts": [],
        "agent_tokens": [], "applications": [], "audit_logs": [], "export_metadata": {}});
    client.says("POST /export-user-data/", json!({"password": PASSWORD}), 200, exported).await;
    let kept = json!({"message": "=Cancelled 1 deletion request(s).", "cancelled_count": 1});
    client.says("POST /cancel-account-deletion/", json!({"password": PASSWORD}), 200, kept).await;
    let none = json!({"error": "=No active deletion requests found"});
    client.says("POST /cancel-account-deletion/", json!({"password": PASSWORD}), 400, none).await;
    let process = format!("POST /admin/deletion-requests/{}/process/", status["active_request"]["id"]);
    let text = "Explicit confirmation required";
    client.refused(&process, json!({}), 400, text, "CONFIRMATION_REQUIRED").await;
    let text = "Cannot process request with status \"cancelled\". Only confirmed requests can be processed.";
    client
        .refused(&process, json!({"confirmation": "PERMANENTLY DELETE"}), 400, text, "REQUEST_NOT_CONFIRMED")
        .await;
    let none = json!({"message": "=0 deletion(s) processed, 0 failed", "processed": 0, "failed": 0});
    client.says("POST /admin/deletion-requests/process-expired/", json!({}), 200, none).await;
    let listed = json!({"count": 1, "page": 1, "page_size": 20, "total_pages": 1, "next": null, "previous": null,
        "results": [{"id": "2", "user": 15, "user_email": "", "status": "=cancelled", "requested_at": "2026", "confirmed_at": "2026",
            "grace_period_ends_at": "2026", "completed_at": null, "ip_address": "", "reason": "=bye", "admin_notes": "=",
            "processed_by": null, "processed_by_email": null, "is_grace_period_expired": false}]});
    client.says("GET /admin/deletion-requests/", Value::Null, 200, listed).await;
}

#[tokio::test]
async fn dashboards() {
    let client = alice().await;
    promote(&client).await;
    let users = json!({"total": 13, "active": 12, "locked": 2, "banned": 1, "deleted": 0, "verified_email": 1,
        "verified_phone": 2, "with_2fa": 1, "new_today": 13, "new_this_week": 13, "new_this_month": 13});
    let stats = json!({
        "users": users,
        "auth": {"total_logins_today": 0, "failed_logins_today": 25, "active_refresh_tokens": 13},
        "applications": {"total": 5, "active": 4},
        "security": {"blacklisted_tokens": 0, "suspicious_activity_24h": 0},
        "gdpr": {"pending": 0, "confirmed": 0, "expiring_7d": 0},
    });
    client.says("GET /dashboard/stats/", Value::Null, 200, stats).await;
    let tries = json!({"total": 25, "success": 0, "failed": 25});
    let auth = json!({
        "login_stats": {"today": tries, "this_week": tries, "this_month": tries},
        "login_by_method": {"total": 0},
        "registration_stats": {"today": 13, "this_week": 13, "this_month": 13},
        "token_stats": {"active_refresh_tokens": 13, "tokens_refreshed_today": 0, "tokens_revoked_today": 9},
        "top_login_failure_reasons": [],
        "charts": {"logins_per_day_7d": [{"date": "2026-11-20", "success": 0, "failed": 25}]},
    });
    client.says("GET /dashboard/auth/", Value::Null, 200, auth).await;
    let security = json!({
        "audit_summary_24h": {"total_events": 10, "by_action": {}},
        "blacklisted_tokens": {"total_active": 0, "by_reason": {}, "expired_pending_cleanup": 0},
        "suspicious_activity": {"last_24h": 0, "last_7d": 0, "top_ips": []},
        "account_security": {"locked_accounts": 2, "banned_accounts": 1, "2fa_adoption_rate": 8.3, "password_changes_today": 0},
    });
    client.says("GET /dashboard/security/", Value::Null, 200, security).await;
    let privacy = json!({
        "deletion_requests": {"total": 2, "by_status": {}, "grace_period_expiring_7d": 0},
        "data_exports": {"total_today": 0, "total_this_month": 0},
    });
    client.says("GET /dashboard/gdpr/", Value::Null, 200, privacy).await;
    let organizations = json!({
        "enabled": true, "total_organizations": 8, "active": 7, "with_sub_orgs": 6,
        "members": {"total": 10, "avg_per_org": 1.2, "by_role": {}},
        "top_organizations": [],
    });
    client.says("GET /dashboard/organizations/", Value::Null, 200, organizations).await;
}
