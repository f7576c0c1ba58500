-- The superusers of a site, in the order of their ids: read in pieces, like everybody whom a list is too long for.

CREATE INDEX account_by_superuser ON account (site_id, is_superuser, id);
