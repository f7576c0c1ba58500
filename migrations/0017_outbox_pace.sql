-- How many mails of a kind somebody got of late is asked before each.

CREATE INDEX outbox_pace ON outbox (account_id, notice, created_at);
