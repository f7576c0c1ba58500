//! The trail as a file over HTTP: what the list shows, in three forms, whole or visibly not.
//!
//! Law: who may not watch takes nothing away, what somebody takes is written down, and however long it is it
//! takes no more memory than a piece of it.

use std::io::{BufRead as _, BufReader, Read as _, Seek as _, Write as _};

use portcullis::store::{DEFAULT_SITE, Dialect, sql};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::h2::H2Client;
use crate::support::people::{Keys, PASSWORD, User, elsewhere, permission, request};
use crate::support::raw::{Answer, exchange};
use crate::support::{Gateway, Replicas, Upstream, times};
use crate::{on_mariadb, on_one_and_on_two};

const EXPORT: &str = "/admin/audit-logs/export/";
/// What a call of the list would be shown of all that these tests do.
const LIST: &str = "/admin/audit-logs/?page_size=100";
const EVIL: &str = "=cmd|' /C calc'!A0";

struct Scene {
    _upstream: Upstream,
    replicas: Replicas,
    keys: Keys,
    watcher: User,
    ada: User,
}

impl Scene {
    async fn on(dialect: Dialect) -> Self {
        let upstream = Upstream::echo().await;
        let yaml = format!(
            "listen: {{ public: '127.0.0.1:0', admin: '127.0.0.1:0', h2c: true, trusted_proxies: ['127.0.0.1/32'] }}
upstreams: {{ up: {{ servers: ['{}'] }} }}
routes: [ {{ name: mine, match: {{ path: /mine }}, upstream: up, allow: signed_in }} ]
tokens: {{ access_for: 1h }}
",
            upstream.address
        );
        let replicas = Replicas::on(dialect, &yaml).await;
        let keys = replicas.here.application(EVIL, &[]).await;
        let watcher = replicas.here.user("watcher", &keys).await;
        replicas.here.grant(watcher.id, permission("security.view")).await;
        let ada = replicas.here.user("ada", &keys).await;
        Self { _upstream: upstream, replicas, keys, watcher, ada }
    }

    fn here(&self) -> &Gateway {
        &self.replicas.here
    }

    fn lines(&self, user: &User) -> Vec<String> {
        [vec![user.bearer()], self.keys.lines().to_vec()].concat()
    }

    async fn call(&self, user: &User, method: &str, path: &str) -> Answer {
        let lines = [self.lines(user), vec![elsewhere()]].concat();
        self.here().call(method, path, &lines, &Value::Null).await
    }

    async fn export(&self, query: &str) -> Answer {
        let answer = self.call(&self.watcher, "GET", &format!("{EXPORT}?{query}")).await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.text());
        answer
    }

    async fn list(&self, more: &str) -> Vec<Value> {
        let answer = self.call(&self.watcher, "GET", &format!("{LIST}{more}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()["next"], Value::Null, "all of it is on one page");
        answer.json()["results"].as_array().unwrap().clone()
    }

    /// A login that fails, by a program that calls itself so.
    async fn fail(&self, program: &str) {
        let lines = [&self.keys.lines()[..], &[elsewhere(), format!("User-Agent: {program}")]].concat();
        let body = json!({"email": "ada@example.com", "password": "Wrong-horse-9-battery"});
        let answer = self.here().call("POST", "/login/email/", &lines, &body).await;
        assert_eq!(answer.status, 401, "{}", answer.text());
    }
}

fn cells(answer: &Answer) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(&answer.body[..]);
    reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect()
}

on_one_and_on_two! {
    async fn an_export_holds_what_the_list_shows_and_says_that_it_was_made(dialect: Dialect) {
        let scene = Scene::on(dialect).await;
        let programs = ["@SUM(1+1)", "-2+3", "\"quoted\", and; more", "שלום 👩‍👩‍👧"];
        for program in programs {
            scene.fail(program).await;
        }
        let shown = scene.list("").await;
        assert!(shown.len() > 8, "{shown:?}");
        let json = scene.export("format=json").await;
        assert_eq!(json.json(), Value::Array(shown.clone()), "entry for entry");
        assert_eq!(json.header("content-type"), Some("application/json"));
        assert_eq!(json.header("transfer-encoding"), Some("chunked"));
        assert_eq!(json.header("content-length"), None);
        assert_eq!(json.header("cache-control"), Some("no-store"));
        assert_eq!(json.header("x-content-type-options"), Some("nosniff"));
        let named = json.header("content-disposition").unwrap();
        assert!(named.starts_with("attachment; filename=\"audit-2") && named.ends_with(".json\""), "{named}");
        let failed = scene.list("&action=login_failed").await;
        let csv = scene.export("format=csv&action=login_failed").await;
        assert!(csv.header("content-type").unwrap().starts_with("text/csv"));
        let table = cells(&csv);
        let at = |name: &str| table[0].iter().position(|column| column == name).unwrap();
        assert_eq!(table.len(), programs.len() + 1);
        for (row, one) in table[1..].iter().zip(&failed) {
            assert_eq!(row[at("id")], one["id"].as_str().unwrap());
            assert_eq!(row[at("application_name")], format!("'{EVIL}"), "a name is no formula");
            let program = one["user_agent"].as_str().unwrap();
            let is_live = program.starts_with(['@', '-']);
            assert_eq!(row[at("user_agent")], if is_live { format!("'{program}") } else { program.to_owned() });
        }
        let sheet = scene.export(&format!("format=xlsx&user_id={}", scene.ada.id)).await;
        assert!(sheet.body.starts_with(b"PK") && sheet.header("content-type").unwrap().contains("spreadsheetml"));
        let told = scene.list("&action=audit_exported").await;
        let details: Vec<_> = told.iter().map(|one| one["details"].clone()).collect();
        let hers = sheets(&sheet.body)[0] - 1;
        assert_eq!(
            details,
            [
                json!({"format": "xlsx", "filters": {"user_id": scene.ada.id.to_string()}, "rows": hers}),
                json!({"format": "csv", "filters": {"action": "login_failed"}, "rows": programs.len()}),
                json!({"format": "json", "filters": {}, "rows": shown.len()}),
            ]
        );
        assert!(told.iter().all(|one| one["actor_id"] == json!(scene.watcher.id.to_string())), "{told:?}");
        for secret in [PASSWORD, scene.watcher.access.as_str(), scene.keys.secret.as_str()] {
            assert!(!json.text().contains(secret) && !csv.text().contains(secret));
        }
    }

    async fn who_may_not_watch_and_what_there_is_not_are_refused_and_leave_nothing(dialect: Dialect) {
        let scene = Scene::on(dialect).await;
        for (query, field) in [
            ("", "format"),
            ("format=pdf", "format"),
            ("format=CSV", "format"),
            ("format=csv&colour=red", "colour"),
            ("format=csv&page_size=10", "page_size"),
            ("format=csv&before=7", "before"),
            ("format=csv&ordering=-created_at", "ordering"),
            ("format=csv&date_from=yesterday", "date_from"),
            ("format=csv&ip_address=1.2.3", "ip_address"),
            ("format=csv&user_id=99999", "user_id"),
            ("format=csv&organization=1%20OR%201", "organization"),
            ("format=csv&agent_token=x", "agent_token"),
            ("format=csv&action=%20,", "action"),
            ("format=csv&application_id=nothing", "application_id"),
        ] {
            let answer = scene.call(&scene.watcher, "GET", &format!("{EXPORT}?{query}")).await;
            let is_named = answer.json()["details"].get(field).is_some();
            assert!(answer.status == 400 && is_named, "{query}: {}", answer.text());
        }
        let refused = scene.call(&scene.ada, "GET", &format!("{EXPORT}?format=csv")).await;
        assert_eq!((refused.status, refused.code().as_str()), (403, "PERMISSION_REQUIRED"));
        let bare = scene.here().call("GET", &format!("{EXPORT}?format=csv"), &scene.keys.lines(), &Value::Null).await;
        assert_eq!(bare.status, 401, "{}", bare.text());
        let posted = scene.call(&scene.watcher, "POST", &format!("{EXPORT}?format=csv")).await;
        assert_eq!(posted.status, 405);
        let head = scene.call(&scene.watcher, "HEAD", &format!("{EXPORT}?format=csv")).await;
        assert_eq!((head.status, head.body.len()), (200, 0), "nothing was taken, so nothing is told");
        assert_eq!(scene.list("&action=audit_exported").await, Vec::<Value>::new());
    }

    async fn every_version_of_http_gets_the_whole_of_it(dialect: Dialect) {
        let scene = Scene::on(dialect).await;
        let path = format!("/api/v1/auth{EXPORT}?format=json&action=login");
        let lines = scene.lines(&scene.watcher);
        let logins = scene.list("&action=login").await;
        let old = request("GET", &path, &lines, "").replacen("HTTP/1.1", "HTTP/1.0", 1);
        let old = exchange(scene.here().public(), old).await.unwrap();
        assert_eq!((old.status, old.header("transfer-encoding")), (200, None));
        assert_eq!(old.json(), json!(logins), "the end of the connection is its end");
        let new = H2Client::cleartext(scene.here().public()).await;
        let mut ask = http::Request::get(format!("http://gw.test{path}"));
        for line in &lines {
            let (name, value) = line.split_once(": ").unwrap();
            ask = ask.header(name, value);
        }
        let new = new.send(ask.body(()).unwrap(), None).await.unwrap();
        assert_eq!(new.head.status(), 200);
        assert_eq!(serde_json::from_slice::<Value>(&new.body).unwrap(), json!(logins));
        let kept = [request("GET", &path, &lines, ""), request("GET", &path, &lines, "")].concat();
        let mut client = crate::support::Client::connect(scene.here().public()).await;
        client.send(&kept[..kept.len() / 2]).await;
        assert_eq!(client.answer().await.unwrap().json(), json!(logins));
        client.send(&kept[kept.len() / 2..]).await;
        assert_eq!(client.answer().await.unwrap().json(), json!(logins), "on the same connection");
    }
}

on_mariadb! { an_export_holds_what_the_list_shows_and_says_that_it_was_made }

#[tokio::test]
async fn ten_an_hour_and_then_the_limit_says_when() {
    let scene = Scene::on(Dialect::Sqlite).await;
    let lines = [scene.lines(&scene.watcher), vec![elsewhere()]].concat();
    let ask = async |query: &str| {
        scene.here().call("GET", &format!("{EXPORT}?{query}"), &lines, &Value::Null).await
    };
    assert_eq!(ask("format=csv").await.status, 200);
    for _ in 1..10 {
        assert_eq!(ask("format=pdf").await.status, 400, "whatever comes of it");
    }
    let last = ask("format=csv").await;
    assert_eq!((last.status, last.code().as_str()), (429, "RATE_LIMITED"));
    assert_eq!(last.header("x-ratelimit-window"), Some("3600"));
    assert_eq!(scene.list("&action=audit_exported").await.len(), 1);
}

/// How many rows each sheet of a workbook has, its heading included.
fn sheets(workbook: &[u8]) -> Vec<usize> {
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(workbook)).unwrap();
    let names = zip.file_names().map(|name| name.unwrap().into_owned());
    let names: Vec<String> = names.filter(|name| name.starts_with("xl/worksheets/")).collect();
    let count = |name: &String| {
        let parts = BufReader::new(zip.by_name(name.as_str()).unwrap()).split(b'<');
        parts.filter(|part| part.as_ref().unwrap().starts_with(b"row ")).count()
    };
    names.iter().map(count).collect()
}

const MOST: usize = 50 << 20;
/// Rows that are written in one transaction.
const BATCH: i64 = 20_000;
/// What programs that read workbooks take in one sheet.
const SHEET: usize = 1_048_576;

/// How many rows, and what each says at least: together so much that no buffer on the way holds it. In the long
/// run more than a sheet holds.
fn amount() -> (usize, usize) {
    (times(40_000, 1_050_000), times(2000, 200))
}

/// Rows that nobody wrote, in front of those that are chained.
async fn fill(scene: &Scene) {
    let app = &scene.here().running.app;
    let (rows, bytes) = amount();
    let rows = i64::try_from(rows).unwrap();
    let detail = json!({"text": "=".repeat(bytes)});
    let content = json!({"address": "192.0.2.7", "user_agent": "x", "detail": detail}).to_string();
    let mut first = 0;
    while first < rows {
        let end = rows.min(first + BATCH);
        let mut tx = app.db.begin().await.unwrap();
        let batch =
            sql("INSERT INTO audit (seq, happened_at, code, site_id, actor_kind, digest, prev_hash, hash) \
                        WITH RECURSIVE n(i) AS (SELECT ? UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?) \
                        SELECT -i, 0, 'login', ?, 'system', '', '', '' FROM n");
        let written = tx.execute(batch.bind(first).bind(end).bind(DEFAULT_SITE)).await.unwrap();
        assert_eq!(i64::try_from(written).unwrap(), end - first);
        let beside = sql("INSERT INTO audit_personal (seq, salt, content) \
                          SELECT seq, '', ? FROM audit WHERE seq <= ? AND seq > ?");
        tx.execute(beside.bind(content.as_str()).bind(-first).bind(-end)).await.unwrap();
        tx.commit().await.unwrap();
        first = end;
    }
}

/// What the whole process has in memory.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// Asks for everything as a file of a form.
async fn ask(scene: &Scene, format: &str, version: &str) -> TcpStream {
    let path = format!("/api/v1/auth{EXPORT}?format={format}");
    let mut stream = TcpStream::connect(scene.here().public()).await.unwrap();
    let text = request("GET", &path, &scene.lines(&scene.watcher), "").replacen("HTTP/1.1", version, 1);
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

/// The workbook of everything, which is kept in a file while it comes, and the most that was in memory meanwhile.
async fn workbook(scene: &Scene) -> (Vec<u8>, usize) {
    let mut stream = ask(scene, "xlsx", "HTTP/1.0").await;
    let mut file = tempfile::tempfile().unwrap();
    let (mut buffer, mut most) = (vec![0; 256 * 1024], 0);
    loop {
        let read = stream.read(&mut buffer).await.unwrap();
        if read == 0 {
            break;
        }
        file.write_all(&buffer[..read]).unwrap();
        most = most.max(resident());
    }
    let mut answer = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut answer).unwrap();
    let head = answer.windows(4).position(|part| part == b"\r\n\r\n").unwrap() + 4;
    assert!(
        answer[..head].windows(5).any(|part| part == b" 200 "),
        "{}",
        String::from_utf8_lossy(&answer[..head])
    );
    (answer.split_off(head), most)
}

on_one_and_on_two! {
    async fn a_long_export_takes_the_memory_of_a_piece_and_ends_with_the_right_to_it(dialect: Dialect) {
        let scene = Scene::on(dialect).await;
        fill(&scene).await;
        scene.export("format=csv&date_from=2001-01-01").await;
        let (rows, bytes) = amount();
        let (mut buffer, before) = (vec![0; 256 * 1024], resident());
        for format in ["json", "csv"] {
            let mut stream = ask(&scene, format, "HTTP/1.1").await;
            let (mut count, mut tail, mut most) = (0, Vec::new(), 0);
            while !tail.ends_with(b"\r\n0\r\n\r\n") {
                let read = stream.read(&mut buffer).await.unwrap();
                assert!(read > 0, "{format} was cut off after {count} bytes");
                count += read;
                tail.extend_from_slice(&buffer[..read]);
                tail.drain(..tail.len().saturating_sub(16));
                most = most.max(resident());
            }
            assert!(count > rows * bytes, "{format}: {count}");
            assert!(most.saturating_sub(before) < MOST, "{format}: {} bytes more", most - before);
        }
        let (workbook, most) = workbook(&scene).await;
        assert!(most.saturating_sub(before) < MOST, "xlsx: {} bytes more", most - before);
        let sheets = sheets(&workbook);
        drop(workbook);
        assert!(sheets.iter().sum::<usize>() > rows && sheets.iter().all(|rows| *rows <= SHEET), "{sheets:?}");
        assert_eq!(sheets.len() > 1, rows >= SHEET, "{sheets:?}");
        // Somebody who loses the right while it is sent gets no more, and can tell that it is not all.
        let mut stream = ask(&scene, "json", "HTTP/1.1").await;
        let read = stream.read(&mut buffer).await.unwrap();
        assert!(buffer[..read].starts_with(b"HTTP/1.1 200"));
        scene.here().revoke(scene.watcher.id, permission("security.view")).await;
        let mut rest = Vec::new();
        // However the connection ends.
        drop(stream.read_to_end(&mut rest).await);
        assert!(rest.len() < rows * bytes && !rest.ends_with(b"\r\n0\r\n\r\n"), "{}", rest.len());
        let refused = scene.call(&scene.watcher, "GET", &format!("{EXPORT}?format=csv")).await;
        assert_eq!(refused.status, 403);
    }
}
