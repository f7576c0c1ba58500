-- How much of a token's budget was handed out or reported, in millionths of a dollar: it counts as
-- spent until it is given back.

ALTER TABLE agent_token ADD COLUMN budget_granted BIGINT NOT NULL DEFAULT 0;

-- What each token did on each day (days since 1970): requests that were dispatched, what they cost,
-- and what the agent reported. For people to read; nothing is decided by it.
CREATE TABLE agent_usage (
    token_id ID NOT NULL,
    day BIGINT NOT NULL,
    requests BIGINT NOT NULL,
    spent BIGINT NOT NULL,
    reported BIGINT NOT NULL,
    PRIMARY KEY (token_id, day)
);

-- Reports that came with an Idempotency-Key, by its digest: each counts once.
CREATE TABLE agent_report (
    token_id ID NOT NULL,
    key_digest VARCHAR(64) NOT NULL,
    amount BIGINT NOT NULL,
    reported_at MOMENT NOT NULL,
    PRIMARY KEY (token_id, key_digest)
);
CREATE INDEX agent_report_reported_at ON agent_report (reported_at);
