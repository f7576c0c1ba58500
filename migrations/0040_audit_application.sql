-- Who watches over a site looks for what was done through an application, and so seldom that most rows lie between.

CREATE INDEX audit_application ON audit (application_id, seq);
