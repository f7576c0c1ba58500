-- Social login: whose identity elsewhere opens which account, what opens nothing a second time, and
-- where codes for an application may go.

CREATE TABLE social_connection (
    id ID NOT NULL PRIMARY KEY,
    site_id ID NOT NULL,
    account_id ID NOT NULL,
    -- What the configuration calls the provider: for people.
    provider VARCHAR(40) NOT NULL,
    -- Who says so, and who it says it is. The name of a provider may stand for another one tomorrow.
    issuer VARCHAR(255) NOT NULL,
    subject VARCHAR(255) NOT NULL,
    -- What the provider said when it was connected: for people.
    email VARCHAR(254),
    created_at MOMENT NOT NULL,
    used_at MOMENT NOT NULL
);
CREATE UNIQUE INDEX social_connection_subject_key ON social_connection (site_id, issuer, subject);
CREATE INDEX social_connection_account ON social_connection (account_id, created_at);

CREATE TABLE social_use (
    digest VARCHAR(64) NOT NULL PRIMARY KEY,
    forget_at MOMENT NOT NULL
);
CREATE INDEX social_use_forget_at ON social_use (forget_at);

CREATE TABLE application_redirect (
    application_id ID NOT NULL,
    uri VARCHAR(500) NOT NULL,
    PRIMARY KEY (application_id, uri)
);
