-- Who wants an account gone: its person, whose wish waits while the account may not be used, or an operator,
-- whose order does not.
ALTER TABLE account_deletion ADD COLUMN is_ordered FLAG NOT NULL DEFAULT FALSE;
