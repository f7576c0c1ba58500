-- The latest moment of each stream of the trail, and how far behind the latest so far any entry was ever written: by
-- these a range of moments is a range of numbers, and whoever looks for what is long past does not look past all that
-- came since. The numbers of the second stream begin behind ten million millions.

ALTER TABLE change_counter ADD COLUMN latest_at MOMENT NOT NULL DEFAULT 0;
ALTER TABLE change_counter ADD COLUMN set_back BIGINT NOT NULL DEFAULT 0;
UPDATE change_counter SET
    latest_at = (SELECT COALESCE(MAX(happened_at), 0) FROM audit WHERE seq < 10000000000000),
    set_back = (SELECT COALESCE(MAX(w.latest - w.happened_at), 0) FROM
        (SELECT happened_at, MAX(happened_at) OVER (ORDER BY seq) AS latest FROM audit WHERE seq < 10000000000000) w)
    WHERE id = 1;
UPDATE change_counter SET
    latest_at = (SELECT COALESCE(MAX(happened_at), 0) FROM audit WHERE seq > 10000000000000),
    set_back = (SELECT COALESCE(MAX(w.latest - w.happened_at), 0) FROM
        (SELECT happened_at, MAX(happened_at) OVER (ORDER BY seq) AS latest FROM audit WHERE seq > 10000000000000) w)
    WHERE id = 2;
