-- Passkeys: the public keys that people log in with.

CREATE TABLE passkey (
    id ID NOT NULL PRIMARY KEY,
    number BIGINT NOT NULL,
    site_id ID NOT NULL,
    account_id ID NOT NULL,
    -- SHA-256 of the credential id, in hex.
    credential_digest VARCHAR(64) NOT NULL,
    -- What its person calls it.
    name VARCHAR(100) NOT NULL,
    -- The public key, and what the authenticator said about itself. JSON.
    credential TEXT NOT NULL,
    -- How often it has signed, as it says itself; 0: it does not count.
    counter BIGINT NOT NULL,
    -- How its device is reached, as the browser said, with blanks between.
    transports VARCHAR(100) NOT NULL,
    created_at MOMENT NOT NULL,
    last_used_at MOMENT
);
CREATE UNIQUE INDEX passkey_number_key ON passkey (number);
CREATE UNIQUE INDEX passkey_credential_key ON passkey (site_id, credential_digest);
CREATE INDEX passkey_account ON passkey (account_id);
