-- Links that log in: through which application each was asked for.

ALTER TABLE one_time_code ADD COLUMN application_id ID;
