-- The audit trail has two chains: what was changed (row 1 of the counter, as before), and what the data plane
-- decided about requests (row 2). The numbers of the second begin where those of the first never come, so a row
-- says by its number which chain it is of. Rows that are there stay in the first one, as they were hashed.

INSERT INTO change_counter (id, last_seq, last_hash, pruned_to) VALUES (2, 10000000000000, '', 0);

-- How far statistics have counted it.
INSERT INTO statistic_cursor (id, last_seq) VALUES (2, 10000000000000);
