-- What those see and do who watch over deletions, and how often a code was sent to an address or number, whoever asked.

ALTER TABLE account_deletion ADD COLUMN address VARCHAR(45);
ALTER TABLE account_deletion ADD COLUMN processed_by ID;
ALTER TABLE account_deletion ADD COLUMN notes VARCHAR(500) NOT NULL DEFAULT '';
CREATE INDEX account_deletion_site ON account_deletion (site_id, number);

CREATE TABLE code_target (
    -- A keyed digest of site and address or number: who reads the store learns no address.
    digest VARCHAR(64) NOT NULL PRIMARY KEY,
    sends BIGINT NOT NULL,
    sent_at MOMENT NOT NULL,
    forget_at MOMENT NOT NULL
);
CREATE INDEX code_target_forget_at ON code_target (forget_at);
