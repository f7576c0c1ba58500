-- Agent tokens: what a human delegated to a program, within which limits, and what became of it.

CREATE TABLE agent_token (
    id ID NOT NULL PRIMARY KEY,
    number BIGINT NOT NULL,
    site_id ID NOT NULL,
    digest VARCHAR(64) NOT NULL,
    agent VARCHAR(100) NOT NULL,
    -- The human, and through which application and for which organization the human delegated.
    account_id ID NOT NULL,
    application_id ID,
    organization_id ID,
    -- ACTIVE, SUSPENDED, EXPIRED, REVOKED: rises, except by a human's resume.
    status VARCHAR(10) NOT NULL,
    suspended_reason VARCHAR(20),
    max_requests_per_minute BIGINT NOT NULL,
    max_requests_total BIGINT NOT NULL,
    max_failed_requests BIGINT NOT NULL,
    -- How many breaches of the rate within an hour suspend; 0: none does.
    suspend_after BIGINT NOT NULL,
    -- Seconds between two signs of life, and until when the next one must come; null: none is asked for.
    heartbeat_every BIGINT,
    heartbeat_at MOMENT,
    heartbeat_due_at MOMENT,
    -- Millionths of a dollar.
    budget_limit BIGINT NOT NULL,
    -- The session in which it was delegated: what conditions about a session are judged by.
    method VARCHAR(20) NOT NULL,
    authenticated_at MOMENT NOT NULL,
    has_second_factor FLAG NOT NULL,
    -- How often a human took a suspension back: what is counted against it begins anew each time.
    resumes BIGINT NOT NULL,
    created_at MOMENT NOT NULL,
    changed_at MOMENT NOT NULL,
    expires_at MOMENT NOT NULL,
    suspended_at MOMENT,
    revoked_at MOMENT,
    revoked_by ID,
    last_used_at MOMENT
);
CREATE UNIQUE INDEX agent_token_number_key ON agent_token (number);
CREATE UNIQUE INDEX agent_token_digest_key ON agent_token (digest);
CREATE INDEX agent_token_account ON agent_token (account_id, number);
CREATE INDEX agent_token_expires_at ON agent_token (status, expires_at);
CREATE INDEX agent_token_heartbeat_due_at ON agent_token (status, heartbeat_due_at);

CREATE TABLE agent_token_permission (
    token_id ID NOT NULL,
    code VARCHAR(100) NOT NULL,
    PRIMARY KEY (token_id, code)
);

-- How often each human stopped all of their agents: what is being minted meanwhile is stopped too.
CREATE TABLE agent_kill (
    account_id ID NOT NULL PRIMARY KEY,
    kills BIGINT NOT NULL
);
