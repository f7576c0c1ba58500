//! What follows from an event: what other slices write down in reaction to it, in the change that it is of.
//!
//! Law: whoever declares that a call may leave an event declares what follows from it too, because this table is read
//! where it is declared; a test on the running gateway holds what is declared to what is written.

/// Codes, each with those of what may follow at once.
const FOLLOWING: [(&str, &[&str]); 17] = [
    ("account_activated", &["deletion_request_put_off"]),
    ("account_banned", &["session_ended"]),
    ("account_deactivated", &["session_ended"]),
    (
        "account_deleted",
        &[
            "agent_tokens_revoked",
            "api_key_revoked",
            "deletion_request_cancelled",
            "group_left",
            "member_removed",
            "organization_deleted",
            "permission_revoked",
            "role_removed",
            "session_ended",
        ],
    ),
    ("account_locked", &["deletion_request_put_off", "session_ended"]),
    ("account_unbanned", &["deletion_request_put_off"]),
    ("account_unlocked", &["deletion_request_put_off"]),
    ("agent_token_expired", &["approval_voided"]),
    ("agent_token_revoked", &["approval_voided"]),
    ("agent_token_suspended", &["approval_voided"]),
    ("agent_tokens_revoked", &["approval_voided"]),
    ("app_deleted", &["agent_token_revoked"]),
    ("member_removed", &["invitation_ended"]),
    ("member_role_updated", &["invitation_ended"]),
    ("organization_deleted", &["agent_token_revoked", "invitation_ended"]),
    ("password_change", &["agent_tokens_revoked", "api_key_revoked", "session_ended"]),
    // Of a permission that goes, or is made anew: it is taken from keys and tokens that name it.
    ("permission_changed", &["permission_revoked"]),
];

/// The codes of what may follow at once from an event of this code; what follows from those is theirs.
#[must_use]
pub fn following(code: &str) -> &'static [&'static str] {
    FOLLOWING.iter().find(|(own, _)| *own == code).map_or(&[], |(_, all)| *all)
}

#[cfg(test)]
mod tests {
    use super::super::CODES;
    use super::*;

    #[test]
    fn only_what_events_are_called_stands_here() {
        for (code, all) in FOLLOWING {
            assert!(CODES.contains(&code) && !all.is_empty(), "{code}");
            for following in all {
                assert!(CODES.contains(following) && *following != code, "{code}: {following}");
            }
        }
        assert!(FOLLOWING.is_sorted_by_key(|(code, _)| *code), "sorted, so that nobody adds one twice");
        assert_eq!(following("password_change").len(), 3);
        assert_eq!(following("login"), &[] as &[&str]);
    }
}
