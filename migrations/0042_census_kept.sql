-- How many there were on a site when that was last counted, so that it is not counted at each call.

CREATE TABLE statistic_census (
    site_id ID NOT NULL PRIMARY KEY,
    counted_at MOMENT NOT NULL,
    -- JSON: each number by its name.
    counts TEXT NOT NULL
);
