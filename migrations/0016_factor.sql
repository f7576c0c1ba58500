-- Second factors: seeds of time-based codes, and backup codes.

-- Since when a login of this account asks for a second factor.
ALTER TABLE account ADD COLUMN second_factor_at MOMENT;

-- When a second factor was last proved in this session.
ALTER TABLE session ADD COLUMN second_factor_at MOMENT;

CREATE TABLE totp (
    account_id ID NOT NULL PRIMARY KEY,
    sealed_seed BYTES NOT NULL,
    -- The last time step whose code was taken: no earlier one is, nor this one again.
    last_step BIGINT NOT NULL,
    created_at MOMENT NOT NULL,
    -- Until then it opens nothing.
    confirmed_at MOMENT
);

CREATE TABLE backup_code (
    account_id ID NOT NULL,
    digest VARCHAR(64) NOT NULL,
    used_at MOMENT,
    PRIMARY KEY (account_id, digest)
);
