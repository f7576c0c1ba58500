-- The kernel: sites, the change counter, the audit chain, numbers, signing keys, leases, settings.
-- Words in capitals (ID, MOMENT, FLAG, TEXT, BYTES) are replaced by each database's type.

CREATE TABLE site (
    id ID NOT NULL PRIMARY KEY,
    name VARCHAR(60) NOT NULL,
    created_at MOMENT NOT NULL
);
CREATE UNIQUE INDEX site_name_key ON site (name);
INSERT INTO site (id, name, created_at) VALUES ('00000000-0000-7000-8000-000000000001', 'default', 0);

-- One row. Whoever commits a change holds it from here to COMMIT, so that the order of numbers is
-- the order of commits and a reader that saw number n has seen everything before it.
CREATE TABLE change_counter (
    id BIGINT NOT NULL PRIMARY KEY,
    last_seq BIGINT NOT NULL,
    last_hash VARCHAR(64) NOT NULL,
    pruned_to BIGINT NOT NULL
);
INSERT INTO change_counter (id, last_seq, last_hash, pruned_to) VALUES (1, 0, '', 0);

CREATE TABLE changes (
    seq BIGINT NOT NULL,
    subject VARCHAR(60) NOT NULL,
    happened_at MOMENT NOT NULL,
    PRIMARY KEY (seq, subject)
);
CREATE INDEX changes_happened_at ON changes (happened_at);

CREATE TABLE audit (
    seq BIGINT NOT NULL PRIMARY KEY,
    happened_at MOMENT NOT NULL,
    code VARCHAR(60) NOT NULL,
    site_id ID NOT NULL,
    actor_kind VARCHAR(20) NOT NULL,
    actor_id ID,
    account_id ID,
    organization_id ID,
    application_id ID,
    request_id VARCHAR(64),
    digest VARCHAR(64) NOT NULL,
    prev_hash VARCHAR(64) NOT NULL,
    hash VARCHAR(64) NOT NULL
);
CREATE INDEX audit_happened_at ON audit (happened_at, seq);
CREATE INDEX audit_account ON audit (account_id, seq);
CREATE INDEX audit_code ON audit (code, seq);

-- What may have to be erased. The chain holds only a salted digest of it and stays whole.
CREATE TABLE audit_personal (
    seq BIGINT NOT NULL PRIMARY KEY,
    account_id ID,
    salt VARCHAR(64) NOT NULL,
    content TEXT NOT NULL
);
CREATE INDEX audit_personal_account ON audit_personal (account_id);

CREATE TABLE number_series (
    name VARCHAR(60) NOT NULL PRIMARY KEY,
    next_number BIGINT NOT NULL
);

CREATE TABLE signing_key (
    kid VARCHAR(64) NOT NULL PRIMARY KEY,
    purpose VARCHAR(20) NOT NULL,
    -- Counts up within a purpose: of two replicas that add a key at once, one learns of the other.
    generation BIGINT NOT NULL,
    algorithm VARCHAR(10) NOT NULL,
    sealed BYTES NOT NULL,
    created_at MOMENT NOT NULL,
    active_from MOMENT NOT NULL,
    published_until MOMENT
);
CREATE UNIQUE INDEX signing_key_generation_key ON signing_key (purpose, generation);

CREATE TABLE lease (
    name VARCHAR(100) NOT NULL PRIMARY KEY,
    holder VARCHAR(64) NOT NULL,
    ends_at MOMENT NOT NULL
);

CREATE TABLE setting (
    name VARCHAR(100) NOT NULL PRIMARY KEY,
    content TEXT NOT NULL
);
