//! The registry of stable error codes: what a client may branch on.
//!
//! Law: a code has one status and one public text, both fixed here. The text tells a client what
//! to do and helps no attacker; what really happened goes to the log and the audit trail.
//! Codes are never renamed: clients of the native API (contract section 31) depend on them.

use ::http::StatusCode;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $status:ident $text:literal $public:literal,)*) => {
        /// A stable error code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorCode { $($(#[$doc])* $name,)* }

        impl ErrorCode {
            /// Every code, in the order of the registry.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code as clients see it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The status that goes with it.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            /// The sentence that goes with it.
            #[must_use]
            pub const fn public_text(self) -> &'static str {
                match self { $(Self::$name => $public,)* }
            }
        }
    };
}

codes! {
    // The application that calls.
    AppAuthRequired = UNAUTHORIZED "APP_AUTH_REQUIRED" "Missing application credentials",
    AppAuthInvalid = UNAUTHORIZED "APP_AUTH_INVALID" "Invalid application credentials",
    AppAuthOriginRequired = UNAUTHORIZED "APP_AUTH_ORIGIN_REQUIRED" "Missing Origin header for key-only auth",
    AppAuthOriginDenied = UNAUTHORIZED "APP_AUTH_ORIGIN_DENIED" "Origin not allowed for this application",

    // The person who calls.
    Unauthorized = UNAUTHORIZED "UNAUTHORIZED" "Authentication credentials were not provided.",
    AuthRequired = UNAUTHORIZED "AUTH_REQUIRED" "Authorization header required",
    InsufficientScope = FORBIDDEN "INSUFFICIENT_SCOPE" "Insufficient token scope",
    PermissionRequired = FORBIDDEN "PERMISSION_REQUIRED" "Permission required",
    /// A caller known by a cookie sent an unsafe request that our own pages did not make.
    CsrfFailed = FORBIDDEN "CSRF_FAILED" "Cookie-authenticated requests need a matching Origin",

    /// More was asked for than the caller holds.
    PermissionDenied = FORBIDDEN "PERMISSION_DENIED" "You do not have permission to perform this action.",
    TokenAppMismatch = UNAUTHORIZED "TOKEN_APP_MISMATCH" "Token does not match application",

    // Agents. The texts are the contract's (section 26.2).
    AgentNotAllowed = FORBIDDEN "AGENT_NOT_ALLOWED" "This endpoint is for people",
    /// The credential is an API key, which opens routes.
    ApiKeyNotAllowed = FORBIDDEN "API_KEY_NOT_ALLOWED" "This endpoint is not for API keys",
    AirsDisabled = FORBIDDEN "AIRS_DISABLED" "AIRS module is disabled.",
    AgentTokenNotFound = FORBIDDEN "AGENT_TOKEN_NOT_FOUND" "NOT_FOUND",
    AgentTokenStatusSuspended = FORBIDDEN "AGENT_TOKEN_STATUS_SUSPENDED" "STATUS_SUSPENDED",
    AgentTokenStatusRevoked = FORBIDDEN "AGENT_TOKEN_STATUS_REVOKED" "STATUS_REVOKED",
    AgentTokenStatusExpired = FORBIDDEN "AGENT_TOKEN_STATUS_EXPIRED" "STATUS_EXPIRED",
    AgentTokenExpired = FORBIDDEN "AGENT_TOKEN_EXPIRED" "EXPIRED",
    AgentTokenHeartbeatMissing = FORBIDDEN "AGENT_TOKEN_HEARTBEAT_MISSING" "HEARTBEAT_MISSING",
    BudgetExceeded = FORBIDDEN "BUDGET_EXCEEDED" "Budget exceeded",
    /// What was to be changed has been revoked, or its time is over.
    AgentTokenEnded = CONFLICT "AGENT_TOKEN_ENDED" "The agent token has ended",
    IdempotencyKeyReused = CONFLICT "IDEMPOTENCY_KEY_REUSED" "This Idempotency-Key came with something else before",
    /// As many tokens of this human are alive as may be.
    TooManyAgentTokens = TOO_MANY_REQUESTS "TOO_MANY_AGENT_TOKENS" "Too many of your agent tokens are alive. Revoke some first",
    /// The kill switch was thrown while a token was being minted.
    AgentsStopped = CONFLICT "AGENTS_STOPPED" "All agents were stopped at this moment",

    /// As many keys of this person are alive as may be.
    TooManyApiKeys = CONFLICT "TOO_MANY_API_KEYS" "Too many of your API keys are alive. Revoke some first",

    // What agents want to do, and people decide about.
    ApprovalUnknown = CONFLICT "APPROVAL_UNKNOWN" "There is no such approval",
    ApprovalUsed = CONFLICT "APPROVAL_USED" "The approval was used",
    ApprovalDenied = FORBIDDEN "APPROVAL_DENIED" "A human denied this",
    ApprovalExpired = GONE "APPROVAL_EXPIRED" "The approval's time is over",
    ApprovalVoid = CONFLICT "APPROVAL_VOID" "What was asked for cannot be had any more",
    ResultTooLarge = CONFLICT "RESULT_TOO_LARGE" "It was executed, and the answer was too large to be kept",
    ResultWithheld = CONFLICT "RESULT_WITHHELD" "It was executed, and agents may not read the answer",
    MfaRequired = FORBIDDEN "MFA_REQUIRED" "A second factor is required",
    ReauthenticationRequired = FORBIDDEN "REAUTHENTICATION_REQUIRED" "The login is too old for this",

    // Login, refresh, registration.
    LoginFailed = UNAUTHORIZED "LOGIN_FAILED" "Invalid email or password",
    SecondFactorRequired = UNAUTHORIZED "2FA_REQUIRED" "2FA code required",
    SecondFactorInvalid = UNAUTHORIZED "INVALID_2FA_CODE" "Invalid 2FA code.",
    AccountLocked = LOCKED "ACCOUNT_LOCKED" "Account locked",
    SessionLimitExceeded = CONFLICT "SESSION_LIMIT_EXCEEDED" "Too many open sessions",
    DeviceLimitExceeded = CONFLICT "DEVICE_LIMIT_EXCEEDED" "Too many devices",
    MissingRefreshToken = BAD_REQUEST "MISSING_REFRESH_TOKEN" "refresh_token is required",
    RefreshFailed = UNAUTHORIZED "REFRESH_FAILED" "Invalid or expired refresh token",
    RegistrationClosed = FORBIDDEN "REGISTRATION_CLOSED" "Registration is closed",

    // Passwords and other re-authentication.
    InvalidPassword = BAD_REQUEST "INVALID_PASSWORD" "Current password is incorrect",
    ReauthRequired = BAD_REQUEST "REAUTH_REQUIRED" "Current password is required",
    PasswordReused = BAD_REQUEST "PASSWORD_REUSED" "This password was used before. Choose a different one.",
    PasswordBreached = BAD_REQUEST "PASSWORD_BREACHED" "This password has appeared in data breaches. Please choose a different password.",
    ResetFailed = BAD_REQUEST "RESET_FAILED" "Invalid or expired code",
    PasswordlessAccount = BAD_REQUEST "PASSWORDLESS_ACCOUNT_USE_SET_INITIAL_PASSWORD"
        "Passwordless accounts must set their first password via the dedicated endpoint",
    HasPassword = BAD_REQUEST "ALREADY_HAS_PASSWORD"
        "Account already has a usable password. Use /password/change/ instead.",
    LoginCodeRequired = BAD_REQUEST "OTP_REQUIRED" "No login code found",

    // Links that log in.
    EmailRequired = BAD_REQUEST "EMAIL_REQUIRED" "Email is required",
    ValidationUrlRequired = BAD_REQUEST "VALIDATION_URL_REQUIRED" "Validation URL is required",
    TokenRequired = BAD_REQUEST "TOKEN_REQUIRED" "Token is required",
    MagicLinkInvalid = UNAUTHORIZED "MAGIC_LINK_INVALID" "Invalid or expired magic link.",

    // One-time codes.
    NoEmail = BAD_REQUEST "NO_EMAIL" "No email address on account",
    NoPhone = BAD_REQUEST "NO_PHONE" "No phone number on account",
    OtpInvalid = UNAUTHORIZED "OTP_INVALID" "Invalid or expired code",
    OtpVerificationFailed = BAD_REQUEST "OTP_VERIFICATION_FAILED" "No verification code found",
    /// The gateway is not configured to do it.
    FeatureDisabled = NOT_FOUND "FEATURE_DISABLED" "This feature is not enabled",

    // Second factors.
    SecondFactorAlreadyOn = BAD_REQUEST "2FA_ALREADY_ENABLED" "2FA is already enabled",
    CodeRequired = BAD_REQUEST "CODE_REQUIRED" "Code is required",
    InvalidCode = BAD_REQUEST "INVALID_CODE" "Invalid code. Please try again.",

    // Passkeys.
    MissingFields = BAD_REQUEST "MISSING_FIELDS" "Required fields are missing",
    RegistrationFailed = BAD_REQUEST "REGISTRATION_FAILED" "The passkey was not accepted",
    WebauthnAuthFailed = UNAUTHORIZED "WEBAUTHN_AUTH_FAILED" "The passkey was not accepted",
    CredentialNotFound = NOT_FOUND "CREDENTIAL_NOT_FOUND" "Credential not found",
    TooManyPasskeys = CONFLICT "TOO_MANY_PASSKEYS" "There are enough passkeys. Remove one first",
    /// Without it nobody could log in to the account any more.
    LastFactor = CONFLICT "LAST_FACTOR" "This is the only way in to the account. Set a password or add another way first",

    // Identities that somebody else vouches for. The texts are the contract's (section 13).
    ProviderNotSupported = BAD_REQUEST "PROVIDER_NOT_SUPPORTED" "This provider is not supported or not enabled.",
    MissingCredentials = BAD_REQUEST "MISSING_CREDENTIALS" "Provide access_token, code+redirect_uri, or id_token.",
    RedirectUriRequired = BAD_REQUEST "REDIRECT_URI_REQUIRED" "redirect_uri is required with code",
    InvalidRedirectUri = BAD_REQUEST "INVALID_REDIRECT_URI" "redirect_uri is not in the application's whitelist",
    MissingCode = BAD_REQUEST "MISSING_CODE" "code is required",
    MissingRedirectUri = BAD_REQUEST "MISSING_REDIRECT_URI" "redirect_uri is required",
    ProviderAuthFailed = UNAUTHORIZED "PROVIDER_AUTH_FAILED" "Could not retrieve user data from the provider.",
    CodeExchangeFailed = UNAUTHORIZED "CODE_EXCHANGE_FAILED" "The provider does not take this code",
    SocialAuthFailed = UNAUTHORIZED "SOCIAL_AUTH_FAILED" "This identity opens no account",
    ProviderUnavailable = SERVICE_UNAVAILABLE "PROVIDER_UNAVAILABLE" "The provider does not answer; try again, or log in another way",
    DirectoryAuthFailed = UNAUTHORIZED "DIRECTORY_AUTH_FAILED" "This person of the directory opens no account",
    DirectoryUnavailable = SERVICE_UNAVAILABLE "DIRECTORY_UNAVAILABLE" "The directory does not answer; try again, or log in another way",
    SocialAlreadyLinked = CONFLICT "SOCIAL_ALREADY_LINKED" "This identity opens an account already",

    // Applications.
    InvalidFields = BAD_REQUEST "INVALID_FIELDS" "No valid fields provided",
    ConfirmationRequired = BAD_REQUEST "CONFIRMATION_REQUIRED" "Confirmation required",

    // Accounts that go.
    NoDeletionPending = BAD_REQUEST "NO_PENDING_DELETION" "No active deletion requests found",
    /// Whoever stopped an account may have done so because its deletion is not its person's wish.
    AccountStopped = CONFLICT "ACCOUNT_STOPPED" "This account may not be used, so its deletion waits. Let its person back first, or delete the account",
    /// What nobody confirmed is not carried out.
    DeletionNotConfirmed = BAD_REQUEST "REQUEST_NOT_CONFIRMED" "Only confirmed requests can be processed.",
    DeletionTokenInvalid = BAD_REQUEST "INVALID_TOKEN" "Invalid or expired confirmation token",
    /// Others would be left in organizations that nobody owns.
    SoleOwner = CONFLICT "SOLE_OWNER" "You are the only owner of organizations that others belong to. Make somebody else owner first",

    /// Nobody could do any more what only superusers do.
    LastSuperuser = CONFLICT "LAST_SUPERUSER" "This is the last superuser who can log in. Make somebody else superuser first",

    // People, by those who look after them. The texts are the contract's (sections 21 and 22).
    AlreadyLocked = BAD_REQUEST "ALREADY_LOCKED" "User already locked",
    NotLocked = BAD_REQUEST "NOT_LOCKED" "User is not locked",
    AlreadyBanned = BAD_REQUEST "ALREADY_BANNED" "User already banned",
    NotBanned = BAD_REQUEST "NOT_BANNED" "User is not banned",
    AlreadyRevoked = BAD_REQUEST "ALREADY_REVOKED" "Token already revoked",

    // Rights. The texts are the contract's where it has them (section 19).
    PermissionsNotFound = BAD_REQUEST "PERMISSIONS_NOT_FOUND" "Some permissions not found",
    RoleNotFound = NOT_FOUND "ROLE_NOT_FOUND" "Role not found",
    GroupNotFound = NOT_FOUND "GROUP_NOT_FOUND" "Group not found",
    MissingParam = BAD_REQUEST "MISSING_PARAM" "A query parameter is missing",
    /// The configuration file defines it.
    ManagedByConfig = CONFLICT "MANAGED_BY_CONFIG" "This is defined in the configuration file: change it there",
    /// It came with the gateway.
    BuiltIn = CONFLICT "BUILT_IN" "This came with the gateway and cannot be changed. Define one of your own",
    CircularHierarchy = CONFLICT "CIRCULAR_HIERARCHY" "Nothing can be below itself",
    /// Nobody could manage rights any more.
    LastAdministrator = CONFLICT "LAST_ADMINISTRATOR" "Nobody else could manage rights. Make somebody else administrator first",
    /// The store has as many definitions as it may.
    TooManyDefinitions = CONFLICT "TOO_MANY_DEFINITIONS" "There are too many definitions of this kind. Remove some that nobody needs first",

    // Organizations.
    OrgNotFound = NOT_FOUND "ORG_NOT_FOUND" "Organization not found",
    OrgContextRequired = BAD_REQUEST "ORG_CONTEXT_REQUIRED" "Organization context required. Please provide X-Org-Slug header.",
    OrgMembershipRequired = FORBIDDEN "ORG_MEMBERSHIP_REQUIRED" "You are not a member of this organization",
    OrgPermissionRequired = FORBIDDEN "ORG_PERMISSION_REQUIRED" "Permission denied.",
    OrgRoleRequired = FORBIDDEN "ORG_ROLE_REQUIRED" "Permission denied.",
    OrgTooDeep = BAD_REQUEST "ORG_TOO_DEEP" "Maximum organization depth reached",
    OrgHasChildren = BAD_REQUEST "ORG_HAS_CHILDREN" "Cannot delete organization with child organizations",
    AlreadyMember = BAD_REQUEST "ALREADY_MEMBER" "User is already a member",
    MemberLimitReached = BAD_REQUEST "MEMBER_LIMIT_REACHED" "Organization has reached its member limit",
    /// Others would be left in an organization that nobody owns.
    LastOwner = CONFLICT "LAST_OWNER" "This is the last owner. Make somebody else owner first",
    /// Unknown, or sent to somebody else: nobody learns which.
    InvitationNotFound = NOT_FOUND "INVITATION_NOT_FOUND" "There is no such invitation for you",
    InvitationOver = GONE "INVITATION_OVER" "This invitation was used, replaced or taken back, or its time is over. Ask for another one",
    InvitedTooOften = TOO_MANY_REQUESTS "INVITED_TOO_OFTEN" "There were enough invitations for now. Wait before the next one",
    EmailNotVerified = FORBIDDEN "EMAIL_NOT_VERIFIED" "Confirm your e-mail address first",
    /// Members would be what nothing defines.
    OrgRoleInUse = CONFLICT "ORG_ROLE_IN_USE" "Somebody is this. Make them something else first",
    TooManyOrganizations = CONFLICT "TOO_MANY_ORGANIZATIONS" "You own as many organizations as one may. Delete some that nobody needs first",

    // The shape of a request.
    BadRequest = BAD_REQUEST "BAD_REQUEST" "The request is malformed",
    ParseError = BAD_REQUEST "PARSE_ERROR" "The body cannot be read",
    ValidationError = BAD_REQUEST "VALIDATION_ERROR" "Validation error",
    NotFound = NOT_FOUND "NOT_FOUND" "Not found.",
    BodyTooLarge = PAYLOAD_TOO_LARGE "BODY_TOO_LARGE" "The request body is too large.",
    UnsupportedMediaType = UNSUPPORTED_MEDIA_TYPE "UNSUPPORTED_MEDIA_TYPE"
        "Send the header Content-Type: application/json, or application/x-www-form-urlencoded with a form",

    // Later, or not at all.
    RateLimited = TOO_MANY_REQUESTS "RATE_LIMITED" "Request was throttled.",
    Overloaded = SERVICE_UNAVAILABLE "OVERLOADED" "Too busy to answer now; try again shortly",
    ServiceUnavailable = SERVICE_UNAVAILABLE "SERVICE_UNAVAILABLE" "Temporarily unavailable; try again shortly",
    InternalError = INTERNAL_SERVER_ERROR "INTERNAL_ERROR" "Something went wrong here",
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn codes_are_unique_and_spelled_alike() {
        let mut seen = HashSet::new();
        for code in ErrorCode::ALL {
            let text = code.as_str();
            assert!(seen.insert(text), "{text} twice");
            assert!(
                text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_'),
                "{text}"
            );
            assert!(!code.public_text().is_empty() && code.status().as_u16() >= 400, "{text}");
        }
    }
}
