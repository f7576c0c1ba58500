-- Two roles on PostgreSQL, for psql as a superuser: one owns the tables, the other is for gateways.
-- Afterwards, with the owner's address in a file of mode 0600:
--   portcullis migrate --store-file owner.url --grant-to portcullis_gateway

CREATE ROLE portcullis_owner LOGIN;
CREATE ROLE portcullis_gateway LOGIN;
\password portcullis_owner
\password portcullis_gateway
CREATE DATABASE portcullis OWNER portcullis_owner;
REVOKE ALL ON DATABASE portcullis FROM PUBLIC;
GRANT CONNECT ON DATABASE portcullis TO portcullis_gateway;
