//! People as a table (RFC 4180), whose first line says what its columns are.
//!
//! Law: a column that nobody reads is a mistake, and a flag says yes or no.

use super::Found;
use super::person::Person;
use crate::cli::out::Failure;

/// Names of columns are not longer.
const NAME_MAX: usize = 30;
const COLUMNS: [&str; 11] = [
    "email",
    "phone",
    "username",
    "password_hash",
    "first_name",
    "last_name",
    "is_active",
    "is_staff",
    "is_superuser",
    "is_verified",
    "must_change_password",
];

pub(super) fn read(bytes: &[u8]) -> Result<Found, Failure> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut table = csv::ReaderBuilder::new().from_reader(bytes);
    let heads = table.headers().map_err(Failure::problem)?;
    let columns: Vec<String> = heads.iter().map(|head| head.trim().to_ascii_lowercase()).collect();
    check(&columns)?;
    let mut people = Vec::new();
    let mut row = csv::StringRecord::new();
    while table.read_record(&mut row).map_err(Failure::problem)? {
        let line = row.position().map_or(0, |start| line_of(bytes, start));
        people.push(person(line, &columns, &row));
    }
    Ok(Found { people, remarks: Vec::new(), estate: None })
}

/// The line where a row begins. The reader counts the rest of the line before to it, and empty lines.
fn line_of(bytes: &[u8], start: &csv::Position) -> u64 {
    let rest = usize::try_from(start.byte()).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
    let ends = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
    let skipped = ends.filter(|byte| **byte == b'\n').count();
    start.line() + u64::try_from(skipped).unwrap_or_default()
}

fn check(columns: &[String]) -> Result<(), Failure> {
    let known = COLUMNS.join(", ");
    for (at, column) in columns.iter().enumerate() {
        if !is_name(column) {
            let text = format!(
                "the first line must name the columns, with commas between them, and its cell {} is no name; \
                 there are: {known}",
                at + 1
            );
            return Err(Failure::Problem(text));
        }
        if !COLUMNS.contains(&column.as_str()) {
            let text =
                format!("nothing is done with a column `{column}`; take it out, or name it one of: {known}");
            return Err(Failure::Problem(text));
        }
        if columns[..at].contains(column) {
            return Err(Failure::Problem(format!("there are two columns `{column}`")));
        }
    }
    if columns.iter().any(|column| column == "email" || column == "phone") {
        return Ok(());
    }
    Err(Failure::Problem(format!("the first line names no column `email` or `phone`; there are: {known}")))
}

/// Whether it may be shown. In a table without names the first line may hold a hash.
fn is_name(column: &str) -> bool {
    column.len() <= NAME_MAX
        && column.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b' '))
}

fn person(line: u64, columns: &[String], row: &csv::StringRecord) -> Person {
    let cell = |name: &str| {
        let at = columns.iter().position(|column| column == name);
        at.and_then(|at| row.get(at)).unwrap_or_default().trim().to_owned()
    };
    let mut problem = None;
    let mut flag = |name: &'static str, otherwise: bool| match cell(name).to_ascii_lowercase().as_str() {
        "" => otherwise,
        "true" | "t" | "yes" | "1" => true,
        "false" | "f" | "no" | "0" => false,
        _ => {
            problem.get_or_insert_with(|| format!("`{name}` is neither true nor false"));
            otherwise
        }
    };
    let is_inactive = !flag("is_active", true);
    let (is_staff, is_superuser) = (flag("is_staff", false), flag("is_superuser", false));
    let (is_verified, must_change) = (flag("is_verified", false), flag("must_change_password", false));
    Person {
        place: format!("line {line}"),
        email: cell("email"),
        phone: cell("phone"),
        username: cell("username"),
        hash: cell("password_hash"),
        first_name: cell("first_name"),
        last_name: cell("last_name"),
        is_inactive,
        is_staff,
        is_superuser,
        is_verified,
        must_change,
        problem,
        ..Person::default()
    }
}
