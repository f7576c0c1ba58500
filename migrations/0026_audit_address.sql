-- Who watches over a site looks for what came from an address, and for what an agent did.

ALTER TABLE audit_personal ADD COLUMN address VARCHAR(45);
CREATE INDEX audit_personal_address ON audit_personal (address, seq);
CREATE INDEX audit_actor ON audit (actor_id, seq);
CREATE INDEX audit_organization ON audit (organization_id, seq);
