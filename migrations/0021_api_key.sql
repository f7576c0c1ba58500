-- API keys: what people give to programs that call as them, within the permissions that each names.

CREATE TABLE api_key (
    id ID NOT NULL PRIMARY KEY,
    number BIGINT NOT NULL,
    account_id ID NOT NULL,
    name VARCHAR(100) NOT NULL,
    -- How the key begins, for people to tell theirs apart.
    hint VARCHAR(32) NOT NULL,
    digest VARCHAR(64) NOT NULL,
    created_at MOMENT NOT NULL,
    expires_at MOMENT NOT NULL,
    revoked_at MOMENT,
    last_used_at MOMENT
);
CREATE UNIQUE INDEX api_key_number_key ON api_key (number);
CREATE UNIQUE INDEX api_key_digest_key ON api_key (digest);
CREATE INDEX api_key_account ON api_key (account_id, number);
CREATE INDEX api_key_expires_at ON api_key (expires_at);

CREATE TABLE api_key_scope (
    key_id ID NOT NULL,
    code VARCHAR(100) NOT NULL,
    PRIMARY KEY (key_id, code)
);
