-- Tickets of WebSockets that have been used, for as long as they could be shown again.

CREATE TABLE used_ticket (
    id ID NOT NULL PRIMARY KEY,
    forget_at MOMENT NOT NULL
);
CREATE INDEX used_ticket_forget_at ON used_ticket (forget_at);
