//! People as a table (RFC 4180), whose first line says what its columns are.
//!
//! Law: a column that nobody reads is a mistake, and a flag says yes or no.

use super::Found;
use super::person::Person;
use crate::cli::out::Failure;

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
    Ok(Found { people, remarks: Vec::new() })
}

/// The line where a row begins. After `\r\n` the reader takes the second half for its beginning.
fn line_of(bytes: &[u8], start: &csv::Position) -> u64 {
    let first = usize::try_from(start.byte()).ok().and_then(|at| bytes.get(at));
    start.line() + u64::from(first == Some(&b'\n'))
}

fn check(columns: &[String]) -> Result<(), Failure> {
    let known = COLUMNS.join(", ");
    for (at, column) in columns.iter().enumerate() {
        if !COLUMNS.contains(&column.as_str()) {
            let text = format!("nothing is done with a column `{column}`; there are: {known}");
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
    }
}
