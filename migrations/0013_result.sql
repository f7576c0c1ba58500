-- What upstreams answered to what people approved, and what the gateway sends itself.

-- What nobody knows the end of may be sent again: the route says so.
ALTER TABLE approval ADD COLUMN is_idempotent FLAG NOT NULL DEFAULT FALSE;
-- When the gateway sends it, or tries again; null where the agent does, and once it is over.
ALTER TABLE approval ADD COLUMN send_at MOMENT;
CREATE INDEX approval_send_at ON approval (send_at);

CREATE TABLE approval_result (
    approval_id ID NOT NULL PRIMARY KEY,
    -- whole, too_large, withheld.
    kind VARCHAR(10) NOT NULL,
    -- Sealed, where it is whole: status and headers, and the body.
    head BYTES,
    body BYTES,
    -- Nobody gets it from here on.
    ends_at MOMENT NOT NULL
);
CREATE INDEX approval_result_ends_at ON approval_result (ends_at);
