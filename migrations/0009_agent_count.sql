-- How many of a token's requests were handed out: they count as spent until they are given back.

ALTER TABLE agent_token ADD COLUMN requests_granted BIGINT NOT NULL DEFAULT 0;
