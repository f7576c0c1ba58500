-- Accounts whose people want them gone: asked for, confirmed by whoever reads their mail, done when
-- the time to change one's mind is over.

-- Since when nothing is kept of a person but that there was one.
ALTER TABLE account ADD COLUMN deleted_at MOMENT;

CREATE TABLE account_deletion (
    id ID NOT NULL PRIMARY KEY,
    number BIGINT NOT NULL,
    site_id ID NOT NULL,
    account_id ID NOT NULL,
    -- Through which it was asked for.
    application_id ID,
    -- confirmation_sent, confirmed, completed, cancelled.
    status VARCHAR(20) NOT NULL,
    -- Of the token that confirms it, once.
    token_digest VARCHAR(64),
    token_ends_at MOMENT,
    reason VARCHAR(500) NOT NULL,
    requested_at MOMENT NOT NULL,
    confirmed_at MOMENT,
    -- When the account goes, and when that is tried, or tried again.
    due_at MOMENT,
    try_at MOMENT,
    -- Since when something stands in its way.
    held_back_at MOMENT,
    completed_at MOMENT,
    cancelled_at MOMENT
);
CREATE UNIQUE INDEX account_deletion_number_key ON account_deletion (number);
CREATE UNIQUE INDEX account_deletion_token_key ON account_deletion (token_digest);
CREATE INDEX account_deletion_account ON account_deletion (account_id, number);
CREATE INDEX account_deletion_try_at ON account_deletion (status, try_at);
