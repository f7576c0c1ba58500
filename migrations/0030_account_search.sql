-- Lists of people: each order has its index, with the number last, so that a page goes on where the one
-- before it ended; what people are looked for by stands word by word, in the order of its bytes.

CREATE INDEX account_by_created ON account (site_id, created_at, number);
CREATE INDEX account_by_email ON account (site_id, email, number);
CREATE INDEX account_by_first_name ON account (site_id, first_name, number);
CREATE INDEX account_by_last_name ON account (site_id, last_name, number);
CREATE INDEX account_by_login ON account (site_id, last_login_at, number);
CREATE INDEX account_by_activity ON account (site_id, is_active, created_at, number);
CREATE INDEX account_by_lock ON account (site_id, is_locked, created_at, number);
CREATE INDEX account_by_ban ON account (site_id, is_banned, created_at, number);
CREATE INDEX account_by_proof ON account (site_id, is_email_verified, created_at, number);

CREATE TABLE account_word (
    site_id ID NOT NULL,
    word WORD NOT NULL,
    account_id ID NOT NULL,
    PRIMARY KEY (site_id, word, account_id)
);
CREATE INDEX account_word_account ON account_word (account_id);
INSERT INTO account_word (site_id, word, account_id)
    SELECT site_id, email, id FROM account WHERE email IS NOT NULL
    UNION SELECT site_id, username, id FROM account WHERE username IS NOT NULL
    UNION SELECT site_id, LOWER(first_name), id FROM account WHERE first_name <> ''
    UNION SELECT site_id, LOWER(last_name), id FROM account WHERE last_name <> '';
