-- One-time codes: what people were sent to prove that an address or a number is theirs.

CREATE TABLE one_time_code (
    account_id ID NOT NULL,
    -- contact, reset, login.
    purpose VARCHAR(10) NOT NULL,
    -- email, phone.
    channel VARCHAR(10) NOT NULL,
    -- Names the code that is in force; a new one has another.
    id ID NOT NULL,
    -- A keyed digest: who reads the store cannot try all codes there are.
    code_digest VARCHAR(64) NOT NULL,
    -- The digest of a link's token, where a link was sent too.
    link_digest VARCHAR(64),
    -- Where it was sent: it proves this address or number and no other.
    target VARCHAR(254) NOT NULL,
    sent_at MOMENT NOT NULL,
    expires_at MOMENT NOT NULL,
    used_at MOMENT,
    -- Wrong tries and codes sent, until both are forgotten; a new code forgets neither.
    tries BIGINT NOT NULL,
    sends BIGINT NOT NULL,
    forget_at MOMENT NOT NULL,
    PRIMARY KEY (account_id, purpose, channel)
);
CREATE UNIQUE INDEX one_time_code_link_key ON one_time_code (link_digest);
CREATE INDEX one_time_code_forget_at ON one_time_code (forget_at);
