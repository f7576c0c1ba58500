-- Auditors follow one prompt through everything that it caused, and one request through its rows.

ALTER TABLE audit_personal ADD COLUMN trace VARCHAR(128);
CREATE INDEX audit_personal_trace ON audit_personal (trace, seq);
CREATE INDEX audit_request ON audit (request_id, seq);
