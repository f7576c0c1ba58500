-- Who was invited into which organization, by the digest of what came with the mail; and org roles that were
-- made here, with what each grants.

CREATE TABLE invitation (
    id ID NOT NULL PRIMARY KEY,
    number BIGINT NOT NULL,
    site_id ID NOT NULL,
    organization_id ID NOT NULL,
    email VARCHAR(254) NOT NULL,
    role_code VARCHAR(100) NOT NULL,
    token_hash VARCHAR(64) NOT NULL,
    status VARCHAR(10) NOT NULL,
    invited_by ID,
    days BIGINT NOT NULL,
    sends BIGINT NOT NULL,
    sent_at MOMENT NOT NULL,
    created_at MOMENT NOT NULL,
    expires_at MOMENT NOT NULL,
    ended_at MOMENT
);
CREATE UNIQUE INDEX invitation_number_key ON invitation (number);
CREATE UNIQUE INDEX invitation_token_key ON invitation (token_hash);
CREATE INDEX invitation_organization ON invitation (organization_id, number);
CREATE INDEX invitation_email ON invitation (site_id, email);

CREATE TABLE org_role (
    id ID NOT NULL PRIMARY KEY,
    number BIGINT NOT NULL,
    code VARCHAR(100) NOT NULL,
    name VARCHAR(150) NOT NULL,
    description TEXT NOT NULL,
    created_at MOMENT NOT NULL,
    updated_at MOMENT NOT NULL
);
CREATE UNIQUE INDEX org_role_code_key ON org_role (code);
CREATE UNIQUE INDEX org_role_number_key ON org_role (number);

CREATE TABLE org_role_grant (
    role_code VARCHAR(100) NOT NULL,
    permission VARCHAR(110) NOT NULL,
    PRIMARY KEY (role_code, permission)
);

CREATE INDEX membership_role ON membership (role_code);
