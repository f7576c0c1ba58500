-- Sessions in lists: the latest first, of everybody, of somebody, through an application; and those that were
-- ended, by when.

CREATE INDEX session_by_account ON session (account_id, id);
CREATE INDEX session_by_application ON session (application_id, id);
CREATE INDEX session_ended ON session (ended_at, id);
CREATE INDEX session_ended_of_account ON session (account_id, ended_at, id);
