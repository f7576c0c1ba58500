-- A page of somebody's sessions is a range of one index, however many they have had.

CREATE INDEX session_by_account ON session (account_id, id);
