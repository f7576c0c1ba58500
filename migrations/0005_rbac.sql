-- Permissions, roles and groups that were made here, and who was granted which.
-- Grants name codes, not rows: what a code means is decided by the catalogue, and a code that is
-- defined nowhere grants nothing. A grant's id tells, of several that came at once, which one stands.

CREATE TABLE permission (
    id ID NOT NULL PRIMARY KEY,
    number BIGINT NOT NULL,
    code VARCHAR(100) NOT NULL,
    name VARCHAR(150) NOT NULL,
    description TEXT NOT NULL,
    parent_code VARCHAR(100),
    created_at MOMENT NOT NULL,
    updated_at MOMENT NOT NULL
);
CREATE UNIQUE INDEX permission_code_key ON permission (code);
CREATE UNIQUE INDEX permission_number_key ON permission (number);

CREATE TABLE role (
    id ID NOT NULL PRIMARY KEY,
    number BIGINT NOT NULL,
    code VARCHAR(100) NOT NULL,
    name VARCHAR(150) NOT NULL,
    description TEXT NOT NULL,
    is_default FLAG NOT NULL,
    created_at MOMENT NOT NULL,
    updated_at MOMENT NOT NULL
);
CREATE UNIQUE INDEX role_code_key ON role (code);
CREATE UNIQUE INDEX role_number_key ON role (number);

CREATE TABLE account_group (
    id ID NOT NULL PRIMARY KEY,
    number BIGINT NOT NULL,
    code VARCHAR(100) NOT NULL,
    name VARCHAR(150) NOT NULL,
    description TEXT NOT NULL,
    created_at MOMENT NOT NULL,
    updated_at MOMENT NOT NULL
);
CREATE UNIQUE INDEX account_group_code_key ON account_group (code);
CREATE UNIQUE INDEX account_group_number_key ON account_group (number);

-- What a role has: permissions, and other roles that it inherits.
CREATE TABLE role_grant (
    role_code VARCHAR(100) NOT NULL,
    kind VARCHAR(10) NOT NULL,
    code VARCHAR(100) NOT NULL,
    PRIMARY KEY (role_code, kind, code)
);

-- What the members of a group have: roles and permissions.
CREATE TABLE group_grant (
    group_code VARCHAR(100) NOT NULL,
    kind VARCHAR(10) NOT NULL,
    code VARCHAR(100) NOT NULL,
    grant_id ID NOT NULL,
    PRIMARY KEY (group_code, kind, code)
);

-- What an account has: roles, permissions and groups.
CREATE TABLE account_grant (
    account_id ID NOT NULL,
    kind VARCHAR(10) NOT NULL,
    code VARCHAR(100) NOT NULL,
    grant_id ID NOT NULL,
    granted_at MOMENT NOT NULL,
    PRIMARY KEY (account_id, kind, code)
);
CREATE INDEX account_grant_code ON account_grant (kind, code, account_id);
