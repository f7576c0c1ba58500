-- Sessions, and the refresh tokens that each of them has had: a session is a refresh family.

CREATE TABLE session (
    id ID NOT NULL PRIMARY KEY,
    account_id ID NOT NULL,
    application_id ID,
    method VARCHAR(20) NOT NULL,
    scope VARCHAR(40),
    device_info VARCHAR(255) NOT NULL,
    device_key VARCHAR(32) NOT NULL,
    address VARCHAR(45),
    started_at MOMENT NOT NULL,
    authenticated_at MOMENT NOT NULL,
    refreshed_at MOMENT NOT NULL,
    -- When it ends unless it is refreshed, and when it ends in any case.
    idle_ends_at MOMENT NOT NULL,
    ends_at MOMENT NOT NULL,
    ended_at MOMENT,
    end_reason VARCHAR(30)
);
CREATE INDEX session_account ON session (account_id, started_at);
CREATE INDEX session_ends_at ON session (ends_at);

CREATE TABLE refresh_token (
    digest VARCHAR(64) NOT NULL PRIMARY KEY,
    session_id ID NOT NULL,
    generation BIGINT NOT NULL,
    issued_at MOMENT NOT NULL,
    expires_at MOMENT NOT NULL,
    used_at MOMENT,
    -- The pair that followed it, sealed under a key that only this token's holder can make.
    successor BYTES
);
CREATE UNIQUE INDEX refresh_token_generation_key ON refresh_token (session_id, generation);
