-- Applications: API clients, the digests of their secrets, and the origins of their browsers.

CREATE TABLE application (
    id ID NOT NULL PRIMARY KEY,
    number BIGINT NOT NULL,
    site_id ID NOT NULL,
    name VARCHAR(100) NOT NULL,
    description TEXT NOT NULL,
    access_key VARCHAR(64) NOT NULL,
    -- `sha256$` and hex, or what was imported: base64 of a bcrypt hash.
    secret_hash VARCHAR(200) NOT NULL,
    is_active FLAG NOT NULL,
    created_at MOMENT NOT NULL,
    updated_at MOMENT NOT NULL
);
CREATE UNIQUE INDEX application_number_key ON application (number);
CREATE UNIQUE INDEX application_name_key ON application (site_id, name);
CREATE UNIQUE INDEX application_access_key ON application (access_key);

CREATE TABLE application_origin (
    application_id ID NOT NULL,
    origin VARCHAR(300) NOT NULL,
    PRIMARY KEY (application_id, origin)
);
