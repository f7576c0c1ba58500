//! The audit rows that are made up: what happened in a year, to whom, by whom, from where, in both streams.
//! Law: everything about a row follows from its number in its stream. What was rare happened in the first fiftieth of
//! the year, so that whoever looks for it looks past everything else. The hashes are filler: this bench verifies
//! nothing.

use portcullis::audit::Stream;
use portcullis::store::DEFAULT_SITE;

use crate::made::{self, ACCOUNT, AGENT, APPLICATION, DAY, ORGANIZATION, Size};

/// What happened how often: of a thousand rows those before the number that no line above has.
type Way = (i64, &'static str, &'static str);
const CHANGES: [Way; 10] = [
    (500, "login", "account"),
    (620, "login_failed", "anonymous"),
    (800, "session_ended", "account"),
    (830, "approval_requested", "agent"),
    (850, "approval_approved", "account"),
    (900, "code_sent", "system"),
    (950, "2fa_verified", "account"),
    (965, "password_change", "account"),
    (980, "account_locked", "system"),
    (1000, "account_created", "system"),
];
const DECISIONS: [Way; 4] = [
    (550, "request_passed", "account"),
    (800, "agent_action", "agent"),
    (900, "agent_cost_settled", "agent"),
    (1000, "request_refused", "anonymous"),
];
pub const COMMON_EVENT: &str = "login";
/// One of the changes.
pub const RARE_EVENT: &str = "key_retired";
pub const COMMON_DECISION: &str = "request_refused";
/// Somebody whom one row in fifty is about.
pub const BUSY: i64 = 3;
pub const COMMON_ADDRESS: &str = "203.0.113.7";
pub const RARE_ADDRESS: &str = "198.51.100.9";
pub const COMMON_TRACE: &str = "trace-common";
pub const RARE_TRACE: &str = "trace-rare";
/// Of agents, organizations and applications the first is common and this one rare.
pub const RARE: i64 = 9999;
/// Through which application something rare was done.
pub const RARE_APPLICATION: i64 = 2;
/// How many rows there are of each rare thing.
const RARE_ROWS: i64 = 100;

impl Size {
    /// How many rows a stream has: of five one tells of a change, the others of decisions about requests.
    pub const fn rows_of(self, stream: Stream) -> i64 {
        match stream {
            Stream::Changes => self.rows / 5,
            Stream::DataPlane => self.rows - self.rows / 5,
        }
    }

    /// When so many thousandths of the year were over. Rows of a stream were written one after the other.
    pub const fn moment(self, thousandths: i64) -> i64 {
        self.now - 365 * DAY + 365 * DAY * thousandths / 1000
    }

    const fn pace(self, stream: Stream) -> i64 {
        365 * DAY / self.rows_of(stream)
    }

    /// The last row of the time in which rare things happened.
    const fn early(self, stream: Stream) -> i64 {
        self.rows_of(stream) / 50
    }
}

const fn often(stream: Stream) -> &'static [Way] {
    match stream {
        Stream::Changes => &CHANGES,
        Stream::DataPlane => &DECISIONS,
    }
}

/// What happened seldom, what an agent did that does little, and who did the first.
const fn rarely(stream: Stream) -> (&'static str, &'static str, &'static str) {
    match stream {
        Stream::Changes => (RARE_EVENT, "approval_requested", "command_line"),
        Stream::DataPlane => (COMMON_DECISION, "agent_action", "system"),
    }
}

/// Whether a row is one of the rare ones of a kind.
fn is_rare_sql(size: Size, stream: Stream, row: &str, kind: i64) -> String {
    let early = size.early(stream);
    format!("{row} <= {early} AND {row} % {} = {kind}", early / RARE_ROWS)
}

/// The rows of a stream from its first to its last so manieth.
pub fn rows(size: Size, stream: Stream, first: i64, last: i64) -> String {
    // Of a thousand rows in turn each has another place; none of what is chosen below goes by thousands.
    let class = "n.i * 48271 % 1000";
    let choose = |what: fn(&Way) -> &'static str| {
        let ways = often(stream).iter().map(|way| format!("WHEN {class} < {} THEN '{}'", way.0, what(way)));
        ways.collect::<Vec<_>>().join(" ")
    };
    let (codes, kinds) = (choose(|way| way.1), choose(|way| way.2));
    let (rare_code, agents_code, rare_kind) = rarely(stream);
    let rare = |kind| is_rare_sql(size, stream, "n.i", kind);
    let (is_code, is_agent, is_organization, is_application) = (rare(11), rare(12), rare(13), rare(14));
    let numbers = made::numbers(first, last);
    let (zero, pace, others) = (size.moment(0), size.pace(stream), size.people - 1);
    let (account, busy) =
        (made::id_sql(ACCOUNT, &format!("(n.i * 7919 % {others} + 1)")), made::id(ACCOUNT, BUSY));
    let (agent, rare_agent) = (made::id_sql(AGENT, "(n.i / 7 % 5000 + 1)"), made::id(AGENT, RARE));
    let (common_agent, organization) =
        (made::id(AGENT, 1), made::id_sql(ORGANIZATION, "(n.i / 20 % 200 + 1)"));
    let (common_organization, rare_organization) = (made::id(ORGANIZATION, 1), made::id(ORGANIZATION, RARE));
    let (common_application, rare_application) =
        (made::id(APPLICATION, 1), made::id(APPLICATION, RARE_APPLICATION));
    format!(
        "WITH RECURSIVE {numbers}, \
         r(i, kind, account_id) AS (SELECT n.i, \
         CASE WHEN {is_code} THEN '{rare_kind}' WHEN {is_agent} THEN 'agent' ELSE CASE {kinds} END END, \
         CASE WHEN n.i % 50 = 7 THEN '{busy}' WHEN n.i % 31 <> 30 THEN {account} END FROM n) \
         INSERT INTO audit (seq, happened_at, code, site_id, actor_kind, actor_id, account_id, organization_id, \
         application_id, request_id, digest, prev_hash, hash) \
         SELECT {} + n.i, {zero} + n.i * {pace} + n.i * 7919 % 1500, \
         CASE WHEN {is_code} THEN '{rare_code}' WHEN {is_agent} THEN '{agents_code}' ELSE CASE {codes} END END, \
         '{DEFAULT_SITE}', n.kind, \
         CASE WHEN {is_agent} THEN '{rare_agent}' WHEN n.kind = 'agent' AND n.i % 6 = 5 THEN '{common_agent}' \
         WHEN n.kind = 'agent' THEN {agent} WHEN n.kind = 'account' THEN n.account_id END, n.account_id, \
         CASE WHEN {is_organization} THEN '{rare_organization}' WHEN n.i % 20 = 4 THEN {organization} \
         WHEN n.i % 20 = 5 THEN '{common_organization}' END, \
         CASE WHEN {is_application} THEN '{rare_application}' WHEN n.i % 3 = 0 THEN '{common_application}' END, \
         'req-' || n.i, '-', '-', '-' FROM r AS n",
        stream.floor()
    )
}

/// What lies beside the rows: a fifth came from one address, the others from fifty thousand.
pub fn beside(size: Size, stream: Stream, first: i64, last: i64) -> String {
    let rare = |kind| is_rare_sql(size, stream, "a.i", kind);
    let (is_address, is_trace, floor) = (rare(15), rare(16), stream.floor());
    format!(
        "INSERT INTO audit_personal (seq, account_id, salt, content, address, trace) \
         SELECT seq, account_id, '-', '{{\"address\":\"' || address || '\",\"user_agent\":\"Mozilla/5.0 (X11; Linux \
         x86_64)\",\"detail\":{{\"method\":\"password\"}}}}', address, trace FROM (SELECT a.seq, a.account_id, \
         CASE WHEN {is_address} THEN '{RARE_ADDRESS}' WHEN a.i % 5 = 2 THEN '{COMMON_ADDRESS}' \
         ELSE '10.' || (a.i * 31 % 250) || '.' || (a.i / 250 % 200) || '.' || (a.i % 250) END AS address, \
         CASE WHEN {is_trace} THEN '{RARE_TRACE}' WHEN a.actor_kind = 'agent' AND a.i % 7 = 0 THEN '{COMMON_TRACE}' \
         WHEN a.actor_kind = 'agent' THEN 'trace-' || (a.i / 200) END AS trace \
         FROM (SELECT seq - {floor} AS i, seq, account_id, actor_kind FROM audit \
         WHERE seq BETWEEN {floor} + {first} AND {floor} + {last}) AS a) AS made"
    )
}

/// The counters go on behind the rows, and statistics stand as if all of them had been counted.
pub fn counted(size: Size) -> Vec<String> {
    let today = size.now - size.now % DAY;
    let days = made::numbers(0, 365);
    let kinds: Vec<String> =
        CHANGES.iter().chain(&DECISIONS).map(|(share, code, _)| format!("({share}, '{code}')")).collect();
    let mut statements = vec![format!(
        "WITH RECURSIVE {days}, k(share, code) AS (VALUES {}) \
         INSERT INTO statistic (site_id, organization_id, span, starts_at, kind, detail, amount) \
         SELECT '{DEFAULT_SITE}', '', 'day', {today} - n.i * {DAY}, k.code, '', k.share + n.i % 7 FROM n CROSS JOIN k",
        kinds.join(", ")
    )];
    for (counter, stream) in (1..).zip(Stream::ALL) {
        let last = stream.floor() + size.rows_of(stream);
        statements.push(format!(
            "UPDATE change_counter SET last_seq = {last}, last_hash = '-', latest_at = {}, set_back = 1500 \
             WHERE id = {counter}",
            size.now
        ));
        statements.push(format!("UPDATE statistic_cursor SET last_seq = {last} WHERE id = {counter}"));
    }
    statements
}
