-- What an organization is to its operator (plan, status), how many may belong to it, and who made it; who
-- brought in whom; and the turn of whoever changes the shape of the trees.

ALTER TABLE organization ADD COLUMN plan VARCHAR(50) NOT NULL DEFAULT '';
ALTER TABLE organization ADD COLUMN status VARCHAR(50) NOT NULL DEFAULT 'active';
ALTER TABLE organization ADD COLUMN max_members BIGINT NOT NULL DEFAULT 0;
ALTER TABLE organization ADD COLUMN metadata TEXT;
ALTER TABLE organization ADD COLUMN created_by ID;
CREATE INDEX organization_created_by ON organization (created_by);

ALTER TABLE membership ADD COLUMN invited_by ID;
CREATE INDEX membership_organization_number ON membership (organization_id, number);

CREATE INDEX agent_token_organization ON agent_token (organization_id);

-- One row. Whoever puts an organization below another one holds it to COMMIT, so that no two moves close a
-- circle together and no depth is counted from one that changes.
CREATE TABLE organization_turn (
    id BIGINT NOT NULL PRIMARY KEY,
    taken_at MOMENT NOT NULL
);
INSERT INTO organization_turn (id, taken_at) VALUES (1, 0);
