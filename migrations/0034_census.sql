-- How many there are now: each number that statistics show of the present is a range of one index.

CREATE INDEX account_by_deletion ON account (site_id, deleted_at);
CREATE INDEX account_by_phone_proof ON account (site_id, is_phone_verified);
CREATE INDEX account_by_second_factor ON account (site_id, second_factor_at);
CREATE INDEX session_live ON session (ended_at, idle_ends_at, ends_at, account_id);
CREATE INDEX account_deletion_by_status ON account_deletion (site_id, status, due_at);
CREATE INDEX organization_by_activity ON organization (site_id, is_active, parent_id);
CREATE INDEX membership_by_role ON membership (organization_id, status, role_code);
