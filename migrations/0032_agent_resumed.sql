-- When a human took a suspension of an agent token back last: what was held against it before is forgiven,
-- also where a Redis that forgot cannot tell how much it was.
ALTER TABLE agent_token ADD COLUMN resumed_at MOMENT;
