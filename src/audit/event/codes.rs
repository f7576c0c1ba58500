//! The codes of all events, for whoever asks for one by its name.
//!
//! Law: a code that no event has is a slip of who asks, never an empty answer; tests hold this list to the events
//! and the documentation to this list.

/// Every code, sorted.
pub const CODES: [&str; 105] = [
    "2fa_backup_codes_replaced",
    "2fa_backup_used",
    "2fa_disabled",
    "2fa_enabled",
    "2fa_setup",
    "2fa_verified",
    "account_activated",
    "account_banned",
    "account_created",
    "account_deactivated",
    "account_deleted",
    "account_flags_changed",
    "account_locked",
    "account_unbanned",
    "account_unlocked",
    "agent_action",
    "agent_cost_settled",
    "agent_token_created",
    "agent_token_expired",
    "agent_token_narrowed",
    "agent_token_resumed",
    "agent_token_revoked",
    "agent_token_suspended",
    "agent_tokens_revoked",
    "api_key_created",
    "api_key_revoked",
    "app_created",
    "app_credentials_regenerated",
    "app_deleted",
    "app_disabled",
    "app_enabled",
    "app_updated",
    "approval_approved",
    "approval_claimed",
    "approval_denied",
    "approval_executed",
    "approval_expired",
    "approval_failed",
    "approval_indeterminate",
    "approval_lapsed",
    "approval_rearmed",
    "approval_requested",
    "approval_voided",
    "approval_voted",
    "audit_exported",
    "audit_pruned",
    "code_refused",
    "code_sent",
    "config_reloaded",
    "contact_changed",
    "contact_pending",
    "data_exported",
    "deletion_request_cancelled",
    "deletion_request_confirmed",
    "deletion_request_created",
    "deletion_request_failed",
    "deletion_request_processed",
    "deletion_request_put_off",
    "device_limit_exceeded",
    "email_verified",
    "group_joined",
    "group_left",
    "invitation_ended",
    "key_added",
    "key_retired",
    "login",
    "login_code_requested",
    "login_failed",
    "login_link_requested",
    "logout",
    "logout_all",
    "member_added",
    "member_invited",
    "member_removed",
    "member_role_updated",
    "new_device_detected",
    "notice_given_up",
    "organization_created",
    "organization_deleted",
    "organization_moved",
    "organization_updated",
    "passkey_added",
    "passkey_counter_regressed",
    "passkey_removed",
    "passkey_renamed",
    "password_change",
    "password_rehashed",
    "password_reset_complete",
    "password_reset_request",
    "permission_changed",
    "permission_granted",
    "permission_revoked",
    "phone_verified",
    "profile_changed",
    "refresh_reuse",
    "registration_repeated",
    "request_passed",
    "request_refused",
    "role_assigned",
    "role_removed",
    "session_ended",
    "session_limit_exceeded",
    "social_connected",
    "social_disconnected",
    "token_refresh",
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The files that say what events are called.
    const FILES: [&str; 13] = [
        include_str!("account.rs"),
        include_str!("agent.rs"),
        include_str!("apikey.rs"),
        include_str!("application.rs"),
        include_str!("approval.rs"),
        include_str!("factor.rs"),
        include_str!("key.rs"),
        include_str!("organization.rs"),
        include_str!("passkey.rs"),
        include_str!("privacy.rs"),
        include_str!("rights.rs"),
        include_str!("session.rs"),
        include_str!("system.rs"),
    ];

    /// The texts in quotes of the function that names the events of a family.
    fn named(file: &str) -> Vec<&str> {
        let (_, rest) = file.split_once("pub const fn code(&self)").expect("it names its events");
        let (body, _) = rest.split_once("\n    }\n").expect("the function ends");
        body.split('"').skip(1).step_by(2).collect()
    }

    #[test]
    fn the_list_is_what_the_events_are_called() {
        let mut all: Vec<&str> = FILES.iter().flat_map(|file| named(file)).collect();
        all.sort_unstable();
        assert_eq!(all, CODES);
        let families = include_str!("mod.rs").matches("(event) => event.code()").count();
        assert_eq!(families, FILES.len(), "a family of events is not looked at here");
    }
}
