//! What is asked: each list as a caller asks for it, and where its pages are.
//! Law: where a page begins is said in the words of `next`, so that a page deep in a list is asked for without
//! turning all those before it; what is made up is known well enough for that.

use portcullis::audit::{Before, Stream};
use portcullis::base::Timestamp;
use portcullis::crypto::digest::base64url;
use serde_json::{Value, json};

use crate::client::Answer;
use crate::made::{self, ACCOUNT, AGENT, COMMON_ROLE, ORGANIZATION, RARE_ROLE, SESSION, Size};
use crate::trail::{
    BUSY, COMMON_ADDRESS, COMMON_DECISION, COMMON_EVENT, COMMON_TRACE, RARE, RARE_ADDRESS, RARE_APPLICATION,
    RARE_EVENT, RARE_TRACE,
};

const USERS: &str = "admin/users/";
const LOGS: &str = "admin/audit-logs/";
const ATTEMPTS: &str = "admin/login-attempts/";
const TOKENS: &str = "admin/refresh-tokens/";
const ENDED: &str = "admin/blacklisted-tokens/";
const DASHBOARDS: [&str; 5] = ["auth", "organizations", "stats", "gdpr", "security"];

pub struct List {
    pub name: String,
    pub pages: Vec<Page>,
}

pub struct Page {
    pub which: &'static str,
    pub path: String,
    holds: Holds,
}

/// What an answer must have.
#[derive(Clone, Copy)]
enum Holds {
    Rows,
    /// Rows, or where to look further: nothing that an index knows tells them from others.
    Perhaps,
    Figures,
}

impl Page {
    /// # Panics
    /// Where the answer is not one of this list.
    pub fn judge(&self, answer: &Answer) {
        let Answer { status, body } = answer;
        assert_eq!(*status, 200, "{}: {body}", self.path);
        let body: Value = serde_json::from_str(body).expect("an answer is JSON");
        let has_rows = body["results"].as_array().is_some_and(|rows| !rows.is_empty());
        let is_fine = match self.holds {
            Holds::Rows => has_rows,
            Holds::Perhaps => body["results"].is_array(),
            Holds::Figures => body.is_object(),
        };
        assert!(is_fine, "{}: {body}", self.path);
    }
}

impl List {
    /// The first page of a list, and others by how they are asked for.
    fn of(endpoint: &str, query: &str, others: &[(&'static str, String)]) -> Self {
        let page = |which, more: &str| {
            let path = format!("/api/v1/auth/{endpoint}?page_size=20{}{more}", and(query));
            Page { which, path, holds: Holds::Rows }
        };
        let mut pages = vec![page("first", "")];
        pages.extend(others.iter().map(|(which, more)| page(*which, &and(more))));
        Self { name: format!("{endpoint}?{query}"), pages }
    }

    fn perhaps(mut self) -> Self {
        for page in &mut self.pages {
            page.holds = Holds::Perhaps;
        }
        self
    }
}

fn and(query: &str) -> String {
    if query.is_empty() { String::new() } else { format!("&{query}") }
}

pub fn all(size: Size) -> Vec<List> {
    let mut all = orders(size);
    all.extend(flags(size));
    all.extend(searches(size));
    all.extend(trail(size));
    all.extend(trail_by_date(size));
    all.extend(attempts(size));
    all.extend(sessions(size));
    all.extend(DASHBOARDS.map(|name| {
        let path = format!("/api/v1/auth/dashboard/{name}/");
        let page = Page { which: "whole", path, holds: Holds::Figures };
        List { name: format!("dashboard/{name}/"), pages: vec![page] }
    }));
    all
}

fn after(place: &Value) -> String {
    format!("after={}", base64url(place.to_string().as_bytes()))
}

/// A place in a list of people: in which part of it, behind which value, behind which number.
fn place(part: usize, key: &Value, number: i64) -> String {
    after(&json!({"part": part, "key": key, "last": number.to_string()}))
}

fn text(part: usize, text: &str, number: i64) -> String {
    place(part, &json!({"Text": text}), number)
}

fn made_at(size: Size, part: usize, number: i64) -> String {
    place(part, &json!({"Moment": size.created_at(number)}), number)
}

fn pages(middle: String, last: String) -> [(&'static str, String); 2] {
    [("middle", middle), ("last", last)]
}

/// People in every order.
fn orders(size: Size) -> Vec<List> {
    let people = size.people;
    let [common, first, last] = made::NAMES;
    let [middle_last, first_last, last_last] = made::last_names();
    let address = |first: &str, last: &str| format!("{first}.{last}").to_lowercase();
    let logged_in = |part, at: i64| place(part, &json!({"Moment": size.logged_in_at(at)}), 0);
    let of = |order: &str, middle, last| List::of(USERS, &format!("ordering={order}"), &pages(middle, last));
    vec![
        of("created_at", made_at(size, 0, people / 2), made_at(size, 0, people - 12)),
        of("-created_at", made_at(size, 0, people / 2), made_at(size, 0, 12)),
        // A letter is behind the digits that follow a name.
        of(
            "email",
            text(0, &address(common, &middle_last), 0),
            text(0, &address(last, made::LAST_OF_MANY), 0),
        ),
        of(
            "-email",
            text(1, &address(common, &middle_last), 0),
            text(1, &format!("{}a", address(first, &first_last)), 0),
        ),
        of("first_name", text(0, common, people / 2), text(0, last, people - 500)),
        of("-first_name", text(0, common, people / 2), text(0, first, 500)),
        of("last_name", text(0, &middle_last, people / 2), text(0, &last_last, 0)),
        of("-last_name", text(0, &middle_last, people / 2), text(0, &first_last, 50_000)),
        // Those who never came are a part of their own, one in five.
        of("last_login", logged_in(0, people / 2), place(1, &json!("Nothing"), people - 60)),
        of("-last_login", logged_in(1, people / 2), logged_in(1, 60)),
        // One in 33 is not active, one in 200 is locked.
        of("is_active", made_at(size, 1, people / 2), made_at(size, 1, people - 12)),
        of("-is_active", made_at(size, 0, people / 2), made_at(size, 1, 400)),
        of("is_locked", made_at(size, 0, people / 2), made_at(size, 1, people - 2500)),
        of("-is_locked", made_at(size, 1, people / 2), made_at(size, 1, 12)),
    ]
}

/// People of whom something is so, the latest first.
fn flags(size: Size) -> Vec<List> {
    let people = size.people;
    let of = |query: &str, last| {
        List::of(USERS, query, &pages(made_at(size, 0, people / 2), made_at(size, 0, last)))
    };
    let day = |number| date(size.created_at(number));
    let holder = |number| after(&json!({"part": 0, "key": "Nothing", "last": made::id(ACCOUNT, number)}));
    let of_role =
        |role: &str, last| List::of(USERS, &format!("role={role}"), &pages(holder(people / 2), holder(last)));
    let long_ago = format!("date_from={}&date_to={}", day(people / 10), day(people / 5));
    vec![
        of("is_active=true", 12),
        of("is_active=false", 400),
        of("is_locked=true", 2500),
        of("is_locked=false", 12),
        of("is_banned=true", 1200),
        of("is_banned=false", 12),
        of("is_email_verified=true", 12),
        of("is_email_verified=false", 120),
        of("is_2fa_enabled=true", 80),
        of("is_banned=true&is_2fa_enabled=true", 9000),
        // Nobody is gone: the most that a page looks through.
        of("is_deleted=true", 12).perhaps(),
        List::of(
            USERS,
            &long_ago,
            &pages(made_at(size, 0, people * 3 / 20), made_at(size, 0, people / 10 + people / 500)),
        ),
        of_role(COMMON_ROLE, 120),
        of_role(RARE_ROLE, 25_000),
    ]
}

/// People by how a word of theirs begins.
fn searches(size: Size) -> Vec<List> {
    let people = size.people;
    let [name, ..] = made::NAMES;
    let name = name.to_lowercase();
    let word = |word: &str, number: i64| {
        after(&json!({"part": 0, "key": {"Text": word}, "last": made::id(ACCOUNT, number)}))
    };
    let of = |begins: &str, found: &str| {
        let others = pages(word(found, people / 2), word(found, people - 500));
        List::of(USERS, &format!("search={begins}"), &others)
    };
    let [_, _, rare] = made::last_names();
    let rare = rare.to_lowercase();
    vec![
        of(&name, &name),
        of(&name[..2], &name),
        of("example.org", "example.org"),
        List::of(USERS, &format!("search={}", &rare[..6]), &[]),
        List::of(USERS, &format!("search={rare}"), &[]),
        // Nobody is called so.
        List::of(USERS, "search=xyzzy", &[]).perhaps(),
        List::of(USERS, &format!("search={name}&is_banned=true"), &[]).perhaps(),
    ]
}

const BOTH: &[Stream] = &Stream::ALL;
const CHANGES: &[Stream] = &[Stream::Changes];

/// Before such a row of each of the streams that a list has.
fn before(streams: &[Stream], row: impl Fn(Stream) -> i64) -> String {
    let place = |place: Before, stream: &Stream| place.with(stream.floor() + row(*stream));
    format!("before={}", streams.iter().fold(Before::default(), place))
}

/// Before what was written when so many thousandths of the year were over.
fn over(size: Size, streams: &[Stream], thousandths: i64) -> String {
    before(streams, |stream| size.rows_of(stream) * thousandths / 1000)
}

/// The day of a moment.
fn date(millis: i64) -> String {
    Timestamp::from_millis(millis).rfc3339().chars().take("2026-11-20".len()).collect()
}

/// The pages of what happens all the time, and of what happened long ago and seldom.
fn often(size: Size, streams: &[Stream]) -> [(&'static str, String); 2] {
    pages(over(size, streams, 500), before(streams, |_| 3000))
}

fn seldom(size: Size) -> [(&'static str, String); 2] {
    pages(over(size, BOTH, 10), over(size, BOTH, 1))
}

/// The pages of the second tenth of the year.
fn long_ago(size: Size, streams: &[Stream]) -> [(&'static str, String); 2] {
    pages(over(size, streams, 150), over(size, streams, 105))
}

/// The second tenth of the year.
fn month(size: Size) -> String {
    format!("date_from={}&date_to={}", date(size.moment(100)), date(size.moment(200)))
}

/// The trail by what, who, whom and from where.
fn trail(size: Size) -> Vec<List> {
    let common = |query: &str| List::of(LOGS, query, &often(size, BOTH));
    let rare = |query: &str| List::of(LOGS, query, &seldom(size));
    let agent = |number| format!("agent_token={}", made::id(AGENT, number));
    let organization = |number| format!("organization={}", made::id(ORGANIZATION, number));
    let busy = format!("user_id={BUSY}");
    let row = size.rows_of(Stream::Changes) / 3;
    let of_one = |stream: Stream, query: &str| {
        List::of(LOGS, &format!("stream={}{query}", stream.name()), &often(size, &[stream]))
    };
    vec![
        common(""),
        of_one(Stream::Changes, ""),
        of_one(Stream::DataPlane, ""),
        of_one(Stream::DataPlane, &format!("&{busy}")),
        common(&format!("action={COMMON_EVENT}")),
        common("action=approval_requested"),
        common("action=login,login_failed,session_ended"),
        common(&format!("action={COMMON_DECISION}")),
        common(&format!("action={COMMON_EVENT},agent_action,{COMMON_DECISION}")),
        rare(&format!("action={RARE_EVENT}")),
        common(&format!("action={RARE_EVENT},login")),
        common(&busy),
        List::of(
            LOGS,
            &format!("user_id={}", made::id(ACCOUNT, size.people / 2)),
            &[("middle", over(size, BOTH, 500))],
        ),
        common(&format!("{busy}&action=2fa_verified")),
        common(&format!("ip_address={COMMON_ADDRESS}")),
        rare(&format!("ip_address={RARE_ADDRESS}")),
        common("application_id=1"),
        rare(&format!("application_id={RARE_APPLICATION}")),
        common(&agent(1)),
        rare(&agent(RARE)),
        common(&organization(1)),
        rare(&organization(RARE)),
        common(&format!("prompt_trace_id={COMMON_TRACE}")),
        rare(&format!("prompt_trace_id={RARE_TRACE}")),
        List::of(LOGS, &format!("request_id=req-{row}"), &[]),
        common(&format!("ip_address={COMMON_ADDRESS}&action={COMMON_EVENT}")),
    ]
}

/// The same within days that are long past.
fn trail_by_date(size: Size) -> Vec<List> {
    let (from, to, month) = (date(size.moment(100)), date(size.moment(200)), month(size));
    let at = |thousandths| over(size, BOTH, thousandths);
    let of = |query: &str| List::of(LOGS, query, &long_ago(size, BOTH));
    vec![
        of(&month),
        List::of(LOGS, &format!("date_to={to}"), &pages(at(100), at(1))),
        List::of(LOGS, &format!("date_from={from}"), &pages(at(500), at(105))),
        List::of(LOGS, &format!("{month}&stream=changes"), &long_ago(size, CHANGES)),
        of(&format!("{month}&action={COMMON_EVENT}")),
        of(&format!("{month}&action={COMMON_EVENT},{COMMON_DECISION}")),
        of(&format!("{month}&user_id={BUSY}")),
        of(&format!("{month}&ip_address={COMMON_ADDRESS}")),
        of(&format!("{month}&application_id=1")),
        List::of(LOGS, &format!("date_to={to}&action={RARE_EVENT}"), &seldom(size)),
    ]
}

/// Logins that succeeded and that did not.
fn attempts(size: Size) -> Vec<List> {
    let (month, within) = (month(size), long_ago(size, CHANGES));
    let of = |query: &str| List::of(ATTEMPTS, query, &often(size, CHANGES));
    vec![
        of(""),
        of("success=true"),
        of("success=false"),
        of(&format!("user_id={BUSY}")),
        List::of(ATTEMPTS, &format!("user_id={}", size.people / 2), &[]).perhaps(),
        of(&format!("ip_address={COMMON_ADDRESS}")),
        List::of(ATTEMPTS, &format!("ip_address={RARE_ADDRESS}"), &[]).perhaps(),
        List::of(ATTEMPTS, &month, &within),
        List::of(ATTEMPTS, &format!("{month}&success=false"), &within),
    ]
}

/// Logins that are kept, and those that were ended.
fn sessions(size: Size) -> Vec<List> {
    let count = size.sessions();
    let at = |number| after(&json!({"ended_at": null, "id": made::id(SESSION, number)}));
    // One in three has ended, and its number is a multiple of three.
    let end = |number: i64| {
        let number = number / 3 * 3;
        after(&json!({"ended_at": size.ended_at(number), "id": made::id(SESSION, number)}))
    };
    let of = |query: &str, last| List::of(TOKENS, query, &pages(at(count / 2), at(last)));
    vec![
        of("", 12),
        of("is_revoked=true", 60),
        of("is_revoked=false", 30),
        of("expired=false", 12),
        List::of(TOKENS, "expired=true", &[]).perhaps(),
        of("application_id=1", 60),
        of(&format!("application_id={RARE_APPLICATION}"), 25_000),
        List::of(TOKENS, &format!("user_id={}", made::id(ACCOUNT, 2000)), &[]),
        List::of(ENDED, "", &pages(end(count / 2), end(60))),
        List::of(ENDED, "reason=logged_out", &pages(end(count / 2), end(60))),
        List::of(ENDED, "reason=administrator", &pages(end(count / 2), end(7000))),
        List::of(ENDED, &format!("user_id={}", made::id(ACCOUNT, 6000)), &[]),
    ]
}
