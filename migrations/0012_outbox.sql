-- What people and programs are to be told: written with the change that it tells of, delivered afterwards.

CREATE TABLE outbox (
    id ID NOT NULL PRIMARY KEY,
    site_id ID NOT NULL,
    -- Who is told, where it is a person; null: a program.
    account_id ID,
    -- mail, webhook.
    channel VARCHAR(10) NOT NULL,
    -- The webhook's name; empty for mail.
    target VARCHAR(100) NOT NULL,
    -- What is told: `agent.suspended`.
    notice VARCHAR(60) NOT NULL,
    -- A digest of what must not be told twice.
    dedup_key VARCHAR(64) NOT NULL,
    -- Sealed. Empty once the row is over.
    content BYTES NOT NULL,
    -- WAITING, DELIVERED, GIVEN_UP.
    state VARCHAR(10) NOT NULL,
    -- How often it was tried; who claims a row names the number that it saw.
    tries BIGINT NOT NULL,
    due_at MOMENT NOT NULL,
    -- From here on it is given up.
    ends_at MOMENT NOT NULL,
    created_at MOMENT NOT NULL,
    finished_at MOMENT,
    -- Why the latest try failed.
    problem VARCHAR(200)
);
CREATE UNIQUE INDEX outbox_dedup_key ON outbox (dedup_key);
CREATE INDEX outbox_due_at ON outbox (state, channel, target, due_at);
CREATE INDEX outbox_account ON outbox (account_id);
CREATE INDEX outbox_finished_at ON outbox (finished_at);
