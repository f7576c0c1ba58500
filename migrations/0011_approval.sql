-- Approvals: what an agent wants to do, exactly, and what people said about it.

CREATE TABLE approval (
    id ID NOT NULL PRIMARY KEY,
    number BIGINT NOT NULL,
    site_id ID NOT NULL,
    -- SHA-256 of the confirmation token, which is made from the id again where it is shown.
    token_digest VARCHAR(64) NOT NULL,
    -- pending, approved, executing, executed, failed, indeterminate, denied, expired, lapsed, void.
    state VARCHAR(15) NOT NULL,
    agent_token_id ID NOT NULL,
    agent VARCHAR(100) NOT NULL,
    account_id ID NOT NULL,
    application_id ID,
    organization_id ID,
    route VARCHAR(64) NOT NULL,
    permission VARCHAR(100) NOT NULL,
    -- retry: the agent sends it again; sealed: the gateway sends what is kept.
    mode VARCHAR(10) NOT NULL,
    method VARCHAR(10) NOT NULL,
    path TEXT NOT NULL,
    title VARCHAR(300) NOT NULL,
    trace VARCHAR(128),
    -- What it is bound to: the route's policy, the request, and both with this approval.
    policy_digest VARCHAR(64) NOT NULL,
    request_digest VARCHAR(64) NOT NULL,
    binding_digest VARCHAR(64) NOT NULL,
    -- JSON: who may decide, and what their session must be.
    rules TEXT NOT NULL,
    -- Somebody beside the delegating human may decide.
    is_shared FLAG NOT NULL,
    -- Milliseconds.
    execute_within BIGINT NOT NULL,
    created_at MOMENT NOT NULL,
    decide_by MOMENT NOT NULL,
    decided_at MOMENT,
    decided_by ID,
    reason VARCHAR(500),
    execute_by MOMENT,
    -- How often it was taken to be executed, and until when whoever took it is believed alive.
    claims BIGINT NOT NULL,
    lease_until MOMENT,
    ended_at MOMENT,
    -- What the upstream answered.
    status BIGINT,
    -- Sealed: everything but the body, and the body. Gone once it is over.
    head BYTES,
    body BYTES
);
CREATE UNIQUE INDEX approval_number_key ON approval (number);
CREATE UNIQUE INDEX approval_token_digest_key ON approval (token_digest);
CREATE INDEX approval_request ON approval (agent_token_id, request_digest);
CREATE INDEX approval_account ON approval (account_id, number);
CREATE INDEX approval_site ON approval (site_id, number);
CREATE INDEX approval_state ON approval (state, decide_by);

-- Who said yes, where one yes is not enough or may lose its weight.
CREATE TABLE approval_vote (
    approval_id ID NOT NULL,
    account_id ID NOT NULL,
    voted_at MOMENT NOT NULL,
    PRIMARY KEY (approval_id, account_id)
);
