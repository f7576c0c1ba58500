-- One row. Whoever changes rights for somebody holds it from their first reading to COMMIT, so that what a
-- change was allowed by is still so when it is made, and no two changes close a circle together.

CREATE TABLE rights_turn (
    id BIGINT NOT NULL PRIMARY KEY,
    taken_at MOMENT NOT NULL
);
INSERT INTO rights_turn (id, taken_at) VALUES (1, 0);
