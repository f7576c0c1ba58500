-- Accounts: people, and the passwords they had.

CREATE TABLE account (
    id ID NOT NULL PRIMARY KEY,
    number BIGINT NOT NULL,
    site_id ID NOT NULL,
    email VARCHAR(254),
    phone VARCHAR(20),
    username VARCHAR(191),
    -- Wished for, and not yet proved to be theirs.
    pending_email VARCHAR(254),
    pending_phone VARCHAR(20),
    password_hash VARCHAR(500),
    password_changed_at MOMENT,
    must_change_password FLAG NOT NULL,
    first_name VARCHAR(100) NOT NULL,
    last_name VARCHAR(100) NOT NULL,
    bio VARCHAR(500) NOT NULL,
    timezone VARCHAR(63) NOT NULL,
    language VARCHAR(10) NOT NULL,
    custom_fields TEXT,
    is_active FLAG NOT NULL,
    is_banned FLAG NOT NULL,
    is_staff FLAG NOT NULL,
    is_superuser FLAG NOT NULL,
    is_email_verified FLAG NOT NULL,
    is_phone_verified FLAG NOT NULL,
    -- An administrator's lock; without an end it holds until it is lifted.
    is_locked FLAG NOT NULL,
    locked_until MOMENT,
    created_at MOMENT NOT NULL,
    updated_at MOMENT NOT NULL,
    last_login_at MOMENT
);
CREATE UNIQUE INDEX account_number_key ON account (number);
CREATE UNIQUE INDEX account_email_key ON account (site_id, email);
CREATE UNIQUE INDEX account_phone_key ON account (site_id, phone);
CREATE UNIQUE INDEX account_username_key ON account (site_id, username);

CREATE TABLE password_history (
    id ID NOT NULL PRIMARY KEY,
    account_id ID NOT NULL,
    password_hash VARCHAR(500) NOT NULL,
    replaced_at MOMENT NOT NULL
);
CREATE INDEX password_history_account ON password_history (account_id, replaced_at);
