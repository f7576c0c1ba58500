-- Organizations, a forest within each site, and who belongs to them as what.

CREATE TABLE organization (
    id ID NOT NULL PRIMARY KEY,
    number BIGINT NOT NULL,
    site_id ID NOT NULL,
    slug VARCHAR(100) NOT NULL,
    name VARCHAR(200) NOT NULL,
    description TEXT NOT NULL,
    parent_id ID,
    depth BIGINT NOT NULL,
    is_active FLAG NOT NULL,
    created_at MOMENT NOT NULL,
    updated_at MOMENT NOT NULL
);
CREATE UNIQUE INDEX organization_slug_key ON organization (site_id, slug);
CREATE UNIQUE INDEX organization_number_key ON organization (number);
CREATE INDEX organization_parent ON organization (parent_id);

CREATE TABLE membership (
    id ID NOT NULL PRIMARY KEY,
    number BIGINT NOT NULL,
    organization_id ID NOT NULL,
    account_id ID NOT NULL,
    role_code VARCHAR(100) NOT NULL,
    status VARCHAR(10) NOT NULL,
    created_at MOMENT NOT NULL,
    updated_at MOMENT NOT NULL
);
CREATE UNIQUE INDEX membership_account_key ON membership (organization_id, account_id);
CREATE UNIQUE INDEX membership_number_key ON membership (number);
CREATE INDEX membership_account ON membership (account_id);
