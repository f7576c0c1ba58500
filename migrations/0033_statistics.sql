-- What happened, counted by folding the audit trail: how much of what on which day of a site or an organization,
-- and how far the fold has come.

CREATE TABLE statistic (
    site_id ID NOT NULL,
    -- Empty where it is counted of the whole site.
    organization_id ID NOT NULL,
    -- day and hour of a site; org: the day of an organization.
    span VARCHAR(4) NOT NULL,
    starts_at MOMENT NOT NULL,
    -- The code of the audit entry, and how or why, where that is counted too.
    kind VARCHAR(60) NOT NULL,
    detail VARCHAR(40) NOT NULL,
    amount BIGINT NOT NULL,
    PRIMARY KEY (site_id, organization_id, span, starts_at, kind, detail)
);
CREATE INDEX statistic_span ON statistic (span, starts_at);

-- One row: the number of the last audit entry that was counted.
CREATE TABLE statistic_cursor (
    id BIGINT NOT NULL PRIMARY KEY,
    last_seq BIGINT NOT NULL
);
INSERT INTO statistic_cursor (id, last_seq) VALUES (1, 0);

-- From where suspicious things came, for some days; so many addresses a day and no more.
CREATE TABLE statistic_address (
    site_id ID NOT NULL,
    starts_at MOMENT NOT NULL,
    address VARCHAR(45) NOT NULL,
    amount BIGINT NOT NULL,
    PRIMARY KEY (site_id, starts_at, address)
);
CREATE INDEX statistic_address_starts_at ON statistic_address (starts_at);
