-- Failed logins, by identifier: a row exists whether or not an account does.

CREATE TABLE login_failure (
    site_id ID NOT NULL,
    identifier_digest VARCHAR(64) NOT NULL,
    -- Attempts since the last success or lock, the ones still being judged included.
    attempts BIGINT NOT NULL,
    forget_at MOMENT NOT NULL,
    locked_until MOMENT,
    -- How long the next lock will hold, in milliseconds.
    next_lock_for BIGINT NOT NULL,
    PRIMARY KEY (site_id, identifier_digest)
);
CREATE INDEX login_failure_forget_at ON login_failure (forget_at);
