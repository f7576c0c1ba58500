//! Who is made up: people with names, flags and dates, by what they are found, their roles and their logins.
//! Law: everything about somebody follows from their number, in the same words for both databases; so it is known
//! where a list has its middle and its end without reading it.

use portcullis::base::{Clock as _, SystemClock};
use portcullis::store::DEFAULT_SITE;

pub const COMMON_ROLE: &str = "librarian";
pub const RARE_ROLE: &str = "keeper";
pub const DAY: i64 = 86_400_000;
/// Behind every other name.
const RARE_NAME: &str = "Zygmuntowicz";
const DOMAINS: [&str; 4] = ["example.com", "example.net", "example.org", "mail.example"];
/// In the order of their letters, as the others below.
const FIRST: [&str; 40] = [
    "Ada", "Alan", "Amir", "Anna", "Barbara", "Ben", "Carla", "Chen", "David", "Dora", "Edgar", "Elena",
    "Emil", "Fatima", "Felix", "Grace", "Hana", "Hugo", "Ines", "Ivan", "Jana", "Karim", "Laura", "Leo",
    "Lin", "Maria", "Marie", "Mark", "Nadia", "Noah", "Olga", "Omar", "Paul", "Rosa", "Samir", "Sofia",
    "Thomas", "Vera", "Yuki", "Zoe",
];
const LAST_BEGINS: [&str; 32] = [
    "Acker", "Alt", "Bauer", "Berg", "Blum", "Brand", "Dahl", "Eber", "Feld", "Fischer", "Gold", "Gross",
    "Hart", "Heim", "Holm", "Kauf", "Klein", "Krug", "Lang", "Lund", "Meer", "Nord", "Ost", "Quell", "Rosen",
    "Sand", "Stein", "Sund", "Thal", "Vogel", "Wald", "Winter",
];
const LAST_ENDS: [&str; 32] = [
    "acher", "auer", "bach", "baum", "beck", "berg", "blad", "bloom", "born", "burg", "by", "dal", "eck",
    "er", "feld", "gaard", "gren", "hauser", "hoff", "holt", "horn", "ing", "kamp", "lund", "mann", "quist",
    "son", "stad", "stedt", "strom", "thal", "wald",
];

/// How much there is.
#[derive(Clone, Copy)]
pub struct Size {
    pub people: i64,
    /// Of the trail, in both of its streams.
    pub rows: i64,
    /// When the bench began: the end of the year that is made up.
    pub now: i64,
}

/// `--people COUNT` and `--rows COUNT`; what is wrong with the words, where they say anything else.
pub fn wished(words: &[&str]) -> Result<Size, String> {
    let mut size = Size { people: 1_000_000, rows: 10_000_000, now: SystemClock.now().as_millis() };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let count = match *word {
            // What cargo says to every benchmark.
            "--bench" => continue,
            "--people" => &mut size.people,
            "--rows" => &mut size.rows,
            other => return Err(format!("{other} means nothing here.\n{USAGE}")),
        };
        // With fewer the pages that are asked for are not there.
        let told = words.next().and_then(|text| text.parse::<i64>().ok()).filter(|told| *told >= 100_000);
        *count = told.ok_or_else(|| format!("{word}: a number from 100000 on.\n{USAGE}"))?;
    }
    if size.rows < 10 * size.people {
        return Err(format!("At least ten rows for each of the people.\n{USAGE}"));
    }
    Ok(size)
}

const USAGE: &str = "cargo bench --bench lists -- [--people COUNT] [--rows COUNT]";

impl Size {
    pub const fn sessions(self) -> i64 {
        self.people / 2
    }

    /// Everybody came within three years, one after the other.
    pub const fn created_at(self, number: i64) -> i64 {
        self.now - 3 * 365 * DAY + number * self.step()
    }

    const fn step(self) -> i64 {
        3 * 365 * DAY / self.people
    }

    /// Who logged in last so manieth, from the one on who has been away for longest: for 300 days.
    pub const fn logged_in_at(self, place: i64) -> i64 {
        self.now - 300 * DAY + place * (300 * DAY / self.people)
    }

    /// Logins that are kept are of the last twenty days.
    pub const fn started_at(self, session: i64) -> i64 {
        self.now - 20 * DAY + session * (20 * DAY / self.sessions())
    }

    /// One in three has ended, half an hour after it began.
    pub const fn ended_at(self, session: i64) -> i64 {
        self.started_at(session) + DAY / 48
    }
}

/// An id whose order is that of numbers: digits are what ids are written in. `kind` keeps those of one table from
/// those of another.
pub fn id(kind: u8, number: i64) -> String {
    format!("01900000-0000-{}-8000-{number:012}", 7000 + u16::from(kind))
}

/// The same of a number that the database knows.
pub fn id_sql(kind: u8, number: &str) -> String {
    let kind = 7000 + u16::from(kind);
    format!("'01900000-0000-{kind}-8000-' || SUBSTR(CAST(1000000000000 + {number} AS TEXT), 2)")
}

pub const ACCOUNT: u8 = 0;
pub const SESSION: u8 = 1;
pub const ORGANIZATION: u8 = 2;
pub const APPLICATION: u8 = 3;
pub const AGENT: u8 = 5;

/// The numbers from one to another, as rows `n.i`.
pub fn numbers(first: i64, last: i64) -> String {
    format!("n(i) AS (SELECT CAST({first} AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < {last})")
}

fn table(name: &str, words: &[&str]) -> String {
    let rows: Vec<String> = words.iter().enumerate().map(|(at, word)| format!("({at}, '{word}')")).collect();
    format!("{name}(k, word) AS (VALUES {})", rows.join(", "))
}

/// The e-mail address of somebody whose name is known.
fn domain_sql(number: &str) -> String {
    let [first, second, third, last] = DOMAINS;
    format!(
        "CASE {number} / 7 % 4 WHEN 0 THEN '{first}' WHEN 1 THEN '{second}' WHEN 2 THEN '{third}' ELSE '{last}' END"
    )
}

/// Who has so rare a name, one in fifty thousand.
fn is_rare_sql(number: &str) -> String {
    format!("{number} % 50000 = 777")
}

pub fn accounts(size: Size, first: i64, last: i64) -> String {
    let (numbers, id, domain) = (numbers(first, last), id_sql(ACCOUNT, "n.i"), domain_sql("n.i"));
    let (given, begins, ends) = (table("f", &FIRST), table("b", &LAST_BEGINS), table("e", &LAST_ENDS));
    let called = format!("CASE WHEN {} THEN '{RARE_NAME}' ELSE b.word || e.word END", is_rare_sql("n.i"));
    let (people, now) = (size.people, size.now);
    let (zero, step) = (size.created_at(0), size.step());
    let (oldest, apart) = (size.logged_in_at(0), size.logged_in_at(1) - size.logged_in_at(0));
    // CROSS JOIN: SQLite takes tables in the order in which they stand, the numbers first.
    format!(
        "WITH RECURSIVE {numbers}, {given}, {begins}, {ends} \
         INSERT INTO account (id, number, site_id, email, must_change_password, first_name, last_name, bio, timezone, \
         language, is_active, is_banned, is_staff, is_superuser, is_email_verified, is_phone_verified, is_locked, \
         created_at, updated_at, last_login_at, second_factor_at) \
         SELECT {id}, n.i, '{DEFAULT_SITE}', LOWER(f.word || '.' || {called}) || n.i || '@' || {domain}, FALSE, f.word, \
         {called}, '', '', '', n.i % 33 <> 0, n.i % 100 = 1, FALSE, FALSE, n.i % 10 <> 2, FALSE, n.i % 200 = 3, \
         {zero} + n.i * {step}, {zero} + n.i * {step}, \
         CASE WHEN n.i % 5 <> 4 THEN {oldest} + n.i * 7919 % {people} * {apart} END, \
         CASE WHEN n.i % 7 = 5 THEN {now} END \
         FROM n CROSS JOIN f CROSS JOIN b CROSS JOIN e \
         WHERE f.k = n.i * 7 % 40 AND b.k = n.i / 40 % 32 AND e.k = n.i / 1280 % 32"
    )
}

/// By what everybody is found, as the product writes it down: the address, its domain, what is behind its dot,
/// the whole name, each of its parts.
pub fn words(order: &str) -> String {
    let domain = domain_sql("number");
    let of = |word: &str| format!("SELECT id, {word} AS word FROM account");
    let all = [
        of("email"),
        of(&domain),
        of(&format!("LOWER(last_name) || number || '@' || {domain}")),
        of("LOWER(first_name || ' ' || last_name)"),
        of("LOWER(last_name)"),
        of("LOWER(first_name)"),
    ];
    format!(
        "INSERT INTO account_word (site_id, word, account_id) \
         SELECT '{DEFAULT_SITE}', word, id FROM ({}) AS w ORDER BY {order}, id",
        all.join(" UNION ALL ")
    )
}

/// What everybody has beside, and where numbers go on.
pub fn beside(size: Size) -> Vec<String> {
    let (people, now) = (size.people, size.now);
    let granted = |role: &str, whose: &str| {
        format!(
            "INSERT INTO account_grant (account_id, kind, code, grant_id, granted_at) \
             SELECT id, 'role', '{role}', id, created_at FROM account WHERE {whose}"
        )
    };
    let applications: Vec<String> = (1..=2)
        .map(|number| {
            let id = id(APPLICATION, number);
            format!("('{id}', {number}, '{DEFAULT_SITE}', 'app {number}', '', '{number:064}', 'sha256${number:064}', TRUE, {now}, {now})")
        })
        .collect();
    vec![
        granted(COMMON_ROLE, "number % 10 = 6"),
        granted(RARE_ROLE, "number % 20000 = 8"),
        format!(
            "INSERT INTO application (id, number, site_id, name, description, access_key, secret_hash, is_active, \
             created_at, updated_at) VALUES {}",
            applications.join(", ")
        ),
        format!(
            "INSERT INTO number_series (name, next_number) VALUES ('account', {}), ('application', 3)",
            people + 1
        ),
        sessions(size),
    ]
}

/// Logins of every other person, one in three of them ended, one in three thousand by an administrator. A fourth
/// came through an application; through another one came one in twenty thousand.
fn sessions(size: Size) -> String {
    let (numbers, id, account) =
        (numbers(1, size.sessions()), id_sql(SESSION, "n.i"), id_sql(ACCOUNT, "(n.i * 2)"));
    let (common, rare) = (self::id(APPLICATION, 1), self::id(APPLICATION, 2));
    let zero = size.started_at(0);
    let step = size.started_at(1) - zero;
    let (half_an_hour, later) = (size.ended_at(0) - zero, size.now + 30 * DAY);
    format!(
        "WITH RECURSIVE {numbers} \
         INSERT INTO session (id, account_id, application_id, method, device_info, device_key, address, started_at, \
         authenticated_at, refreshed_at, idle_ends_at, ends_at, ended_at, end_reason) \
         SELECT {id}, {account}, CASE WHEN n.i % 20000 = 9 THEN '{rare}' WHEN n.i % 4 = 0 THEN '{common}' END, \
         'password', 'Firefox on Linux', '-', '10.0.0.1', {zero} + n.i * {step}, {zero} + n.i * {step}, \
         {zero} + n.i * {step}, {later}, {later}, \
         CASE WHEN n.i % 3 = 0 THEN {zero} + n.i * {step} + {half_an_hour} END, \
         CASE WHEN n.i % 3000 = 0 THEN 'administrator' WHEN n.i % 3 = 0 THEN 'logged_out' END FROM n"
    )
}

/// The last of the last names that many have.
pub const LAST_OF_MANY: &str = "Winterwald";

/// A first name that many have, the first of all and the last of all.
pub const NAMES: [&str; 3] = ["Maria", FIRST[0], FIRST[39]];

/// A last name in the middle of all, the first of all and the last of all.
pub fn last_names() -> [String; 3] {
    let of = |begins: usize, ends: usize| format!("{}{}", LAST_BEGINS[begins], LAST_ENDS[ends]);
    // The rare one is behind the last.
    [of(16, 16), of(0, 0), RARE_NAME.to_owned()]
}
