//! Accounts, rights and organizations from the command line, in the forms that scripts rely on.
//! Every change has to show up in the audit trail.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use super::{GOOD, Outcome, Place};
use serde_json::{Value, json};

const PASSWORD: &str = "Correct7!horse";

fn place() -> Place {
    Place::with(&format!(
        "preset: development
permissions: [ {{code: reports.read}} ]
roles: [ {{code: analyst, permissions: [reports.read]}} ]
{GOOD}"
    ))
}

fn create(place: &Place, email: &str) -> Outcome {
    place.run_with(&format!("user create {email} --password-stdin"), PASSWORD)
}

fn shown(place: &Place, user: &str) -> Value {
    place.run(&format!("user show {user} --json")).json()
}

#[test]
fn a_user_is_created_with_a_password_from_standard_input() {
    let place = place();
    let line = "user create Ada@Example.com --phone +33612345678 --superuser --verified --password-stdin";
    let made = place.run_with(line, &format!("{PASSWORD}\n")).json();
    assert_eq!(made["email"], "ada@example.com");
    assert!(made["id"].as_str().is_some_and(|id| id.len() == 36));
    let ada = shown(&place, "+33612345678");
    assert_eq!(
        (&ada["superuser"], &ada["email_verified"], &ada["standing"]),
        (&json!(true), &json!(true), &json!("good"))
    );
    assert!(!place.run("user show ada@example.com").good().contains("argon2"));
    let trail = place.run("audit tail").good();
    assert!(trail.contains("by=command_line"), "{trail}");
    let id = made["id"].as_str().expect("an id");
    assert!(trail.contains(&format!("account={id}(\"ada@example.com\")")), "names stand beside ids: {trail}");
}

#[test]
fn an_account_is_exported_deleted_later_called_off_and_deleted_at_once() {
    let place = place();
    create(&place, "ada@example.com").good();
    create(&place, "bob@example.com").good();
    let all = place.run("user export ada@example.com").json();
    assert_eq!(all["user_info"]["email"], "ada@example.com");
    assert!(!all.to_string().contains("argon2"), "{all}");
    assert!(place.run("user delete ada@example.com --cancel").good().contains("no deletion"));
    assert!(place.run("user delete ada@example.com").good().contains("will be deleted after"));
    let waits = place.run("user export ada@example.com").json();
    assert_eq!(waits["deletion_requests"][0]["status"], "confirmed");
    assert!(place.run("user delete ada@example.com --cancel").good().contains("called off"));
    assert_eq!(place.run("user delete ada@example.com --now --cancel").code, 2);
    assert!(place.run("user delete ada@example.com --now").good().contains("deleted"));
    assert!(place.run("user show ada@example.com").bad().contains("no such account"));
    assert_eq!(place.run("user list --json").json().as_array().map(Vec::len), Some(1));
    // The last superuser stays, however it is tried.
    place.run("user grant bob@example.com --superuser").good();
    for command in [
        "delete bob@example.com --now",
        "delete bob@example.com",
        "ban bob@example.com",
        "lock bob@example.com",
    ] {
        let told = place.run(&format!("user {command}")).bad();
        assert!(told.contains("last superuser"), "{command}: {told}");
    }
    assert_eq!(shown(&place, "bob@example.com")["standing"], "good");
    create(&place, "ada@example.com").good();
}

#[test]
fn a_user_is_refused_with_the_reason() {
    let place = place();
    create(&place, "ada@example.com").good();
    assert!(create(&place, "ada@example.com").bad().contains("has an account already"));
    let weak = place.run_with("user create bob@example.com --password-stdin", "short");
    assert!(weak.bad().contains("at least 8 characters"));
    assert_eq!(place.run_with("user create bob@example.com --password-stdin", "").code, 2);
    assert_eq!(place.run("user create bob@example.com").code, 2);
    assert_eq!(place.run("user create bob@example.com --no-password --must-change").code, 2);
    assert_eq!(place.run_with("user create bob --password-stdin", PASSWORD).code, 2);
    assert_eq!(place.run("user list --json").json().as_array().map(Vec::len), Some(1));
    let told = place.run("user show nobody@example.com").bad();
    assert!(told.contains("no such account") && told.contains("nobody@example.com"), "{told}");
}

#[test]
fn rights_are_granted_and_revoked_by_code() {
    let place = place();
    create(&place, "ada@example.com").good();
    place.run("group create night-shift").good();
    place.run("group grant night-shift --permission users.view").good();
    assert_eq!(
        place.run("user grant ada@example.com --role analyst --group night-shift").good(),
        "granted role analyst\ngranted group night-shift\n"
    );
    let ada = shown(&place, "ada@example.com");
    assert_eq!((&ada["roles"], &ada["groups"]), (&json!(["analyst"]), &json!(["night-shift"])));
    assert_eq!(ada["permissions"], json!(["reports.read", "users.view"]));
    assert_eq!(
        place.run("user grant ada@example.com --role analyst --staff").good(),
        "role analyst was granted already\ngranted staff\n"
    );
    let told = place.run("user grant ada@example.com --staff").good();
    assert_eq!(told, "staff was granted already\n", "nothing to write is no failure");
    assert_eq!(shown(&place, "ada@example.com")["staff"], true);
    assert_eq!(place.run("user revoke ada@example.com --superuser").good(), "superuser was not granted\n");
    for (slip, told) in [
        ("--role analist", "there is no role analist; did you mean `analyst`?"),
        ("--permission users.veiw", "there is no permission users.veiw; did you mean `users.view`?"),
        ("--group nihgt-shift", "there is no group nihgt-shift; did you mean `night-shift`?"),
        ("--role xyzzyquux", "there is no role xyzzyquux\n"),
    ] {
        let said = place.run(&format!("user grant ada@example.com {slip}")).bad();
        assert!(said.contains(told), "{said}");
    }
    assert_eq!(place.run("user grant ada@example.com").code, 2);
    assert!(place.run("group members night-shift").good().contains("ada@example.com"));
    place.run("user revoke ada@example.com --role analyst").good();
    place.run("group remove night-shift").good();
    assert_eq!(shown(&place, "ada@example.com")["permissions"], json!([]));
}

#[test]
fn what_the_file_declares_is_shown_and_not_changed() {
    let place = place();
    let roles = place.run("role list --json").json();
    let analyst = roles.as_array().and_then(|all| all.iter().find(|role| role["code"] == "analyst")).cloned();
    assert_eq!(analyst.map(|role| role["managed_by"].clone()), Some(json!("config")));
    let mut text = std::fs::read_to_string(place.path().join("portcullis.yaml")).expect("readable");
    text.push_str("groups: [ {code: editors, roles: [analyst]} ]\n");
    place.write("portcullis.yaml", &text);
    let told = place.run("group grant editors --permission users.view").bad();
    assert!(told.contains("defined in the configuration file"), "{told}");
}

#[test]
fn locking_and_a_new_password_are_told_apart_from_nothing_to_do() {
    let place = place();
    create(&place, "ada@example.com").good();
    place.run("user lock ada@example.com").good();
    assert_eq!(shown(&place, "ada@example.com")["standing"], "locked");
    place.run("user unlock ada@example.com").good();
    place.run("user lock ada@example.com --minutes 5").good();
    assert!(
        shown(&place, "ada@example.com")["standing"]
            .as_str()
            .is_some_and(|now| now.starts_with("locked until"))
    );
    place.run("user unlock ada@example.com").good();
    place.run("user ban ada@example.com").good();
    assert_eq!(shown(&place, "ada@example.com")["standing"], "banned");
    assert!(place.run("user ban ada@example.com").good().contains("nothing to do"));
    place.run("user unban ada@example.com").good();
    assert_eq!(shown(&place, "ada@example.com")["standing"], "good");
    assert_eq!(shown(&place, "ada@example.com")["second_factor"], false);
    assert_eq!(shown(&place, "ada@example.com")["must_change_password"], false);
    place.run_with("user password ada@example.com --must-change --password-stdin", "Chosen4her!once").good();
    assert_eq!(shown(&place, "ada@example.com")["must_change_password"], true);
    let told = place.run("user reset-2fa ada@example.com").good();
    assert!(told.contains("nothing to do"), "{told}");
    place.run("user verify ada@example.com").good();
    assert_eq!(shown(&place, "ada@example.com")["email_verified"], true);
    place.run_with("user password ada@example.com --password-stdin", "Another8!staple").good();
    let trail = place.run("audit tail --json").good();
    assert!(trail.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{trail}");
    assert!(!trail.contains("staple"));
}

#[test]
fn organizations_keep_an_owner() {
    let place = place();
    create(&place, "ada@example.com").good();
    create(&place, "bob@example.com").good();
    let made = place.run("org create Acme --owner ada@example.com").json();
    assert_eq!(made["slug"], "acme");
    place.run("org create Labs --owner ada@example.com --parent acme").good();
    place.run("org add acme bob@example.com").good();
    assert!(place.run("org remove acme ada@example.com").bad().contains("owner"));
    place.run("org add acme bob@example.com --role owner").good();
    place.run("org remove acme ada@example.com").good();
    let members = place.run("org list acme --json").json();
    assert_eq!(
        (members[0]["email"].as_str(), members[0]["role"].as_str()),
        (Some("bob@example.com"), Some("owner"))
    );
    assert_eq!(place.run("org list --json").json()[1]["parent"], "acme");
    assert!(place.run("org add acme bob@example.com --role emperor").bad().contains("no org role"));
    // Found by an attacker: whoever an operator stopped could not be made less, either.
    for name in ["cat@example.com", "dan@example.com"] {
        create(&place, name).good();
    }
    place.run("org add acme cat@example.com").good();
    for name in ["cat@example.com", "dan@example.com"] {
        place.run(&format!("user ban {name}")).good();
    }
    place.run("org add acme cat@example.com --role viewer").good();
    assert!(place.run("org add acme dan@example.com --role viewer").bad().contains("may not act now"));
}

#[test]
fn an_organization_is_set_moved_and_deleted_and_invites() {
    let place = place();
    create(&place, "ada@example.com").good();
    place.run("org create Acme --owner ada@example.com").good();
    place.run("org create Labs --owner ada@example.com --parent acme").good();
    let set = place.run("org set acme --plan gold --status suspended --max-members 3 --json").json();
    assert_eq!(
        (&set["plan"], &set["status"], &set["max_members"]),
        (&json!("gold"), &json!("suspended"), &json!(3))
    );
    assert_eq!(place.run("org show acme --json").json(), set);
    assert!(place.run("org show acme").good().contains("gold"));
    assert_eq!(place.run("org set acme --plan so/so").code, 2);
    let slip = place.run("org set acme --max-members many");
    assert!(slip.code == 2 && slip.err.contains("a number from 0"), "{slip:?}");
    assert!(place.run("org show acme").good().starts_with("slug"), "no empty line before it");
    assert!(place.run("org move acme --parent labs").bad().contains("below itself"));
    assert!(place.run("org delete acme").bad().contains("below it"));
    assert_eq!(place.run("org move labs --root --json").json()["parent"], Value::Null);
    let made = place.run("org invite acme new@example.com --role admin --days 2 --json").json();
    assert_eq!((&made["status"], &made["role"]), (&json!("pending"), &json!("admin")));
    assert_eq!(made["token"].as_str().map(str::len), Some(43));
    assert_eq!(place.run("org invite acme new@example.com --days 31").code, 2);
    let listed = place.run("org invitations acme --json").json();
    assert_eq!((&listed[0]["email"], listed[0].get("token")), (&json!("new@example.com"), None));
    let id = &made["id"];
    assert!(place.run(&format!("org resend acme {id}")).bad().contains("wait"));
    assert!(place.run("org resend acme new@example.com").bad().contains("wait"), "the same by its address");
    assert!(place.run("org resend acme old@example.com").bad().contains("old@example.com"));
    let slip = place.run("org resend acme nobody");
    assert!(slip.code == 2 && slip.err.contains("`portcullis org invitations`"), "{slip:?}");
    let ended = place.run("org uninvite acme new@example.com --json").json();
    assert_eq!((&ended["status"], &ended["id"]), (&json!("revoked"), id));
    assert!(place.run(&format!("org uninvite labs {id}")).bad().contains("no invitation"));
    assert!(place.run("org roles").good().contains("owner"));
    assert_eq!(place.run("org delete acme --json").json()["is_active"], false);
    assert!(place.run("org show acme").bad().contains("no organization"));
    let codes: Vec<String> =
        place.run("audit tail -n 100 --json").good().lines().map(str::to_owned).collect();
    for code in [
        "organization_updated",
        "organization_moved",
        "member_invited",
        "invitation_ended",
        "organization_deleted",
    ] {
        assert!(codes.iter().any(|line| line.contains(code)), "{code}");
    }
}

#[test]
fn an_application_shows_its_secret_once() {
    let place = place();
    let made =
        place.run("app create web --origin https://app.example.com --origin http://localhost:3000").json();
    assert_eq!(made["name"], "web");
    let (key, secret) =
        (made["access_key"].as_str().expect("a key"), made["access_secret"].as_str().expect("a secret"));
    assert_eq!((key.len(), secret.len()), (64, 64));
    let listed = place.run("app list --json").good();
    assert!(listed.contains(key) && !listed.contains(secret) && listed.contains("https://app.example.com"));
    assert!(!place.run("audit tail").good().contains(secret));
    let renewed = place.run("app regenerate web").json();
    assert!(renewed["access_secret"] != made["access_secret"] && renewed["access_key"] != made["access_key"]);
    place.run("app disable web").good();
    assert!(place.run("app list").good().contains("disabled"));
    assert!(place.run("app disable web").good().contains("nothing to do"));
    assert!(place.run("app create web").bad().contains("already"));
    assert_eq!(place.run("app create x --origin nonsense").code, 2);
}

#[test]
fn init_sets_up_what_a_gateway_needs_and_keeps_what_is_there() {
    let place = Place::empty();
    let line = "init --email ada@example.com --password-stdin --application web";
    let made = place.run_with(line, PASSWORD);
    assert_eq!((made.code, made.json()["name"].as_str()), (0, Some("web")), "{made:?}");
    assert_eq!(shown(&place, "ada@example.com")["superuser"], true);
    place.run("check").good();
    let seal = std::fs::read(place.path().join("data/seal.key")).expect("the seal key");
    let again = place.run("init");
    assert_eq!((again.code, again.out.as_str()), (0, ""), "{again:?}");
    assert!(again.err.contains("kept portcullis.yaml") && again.err.contains("kept the accounts"));
    assert_eq!(std::fs::read(place.path().join("data/seal.key")).expect("the seal key"), seal);
    let nobody = Place::empty();
    assert_eq!(nobody.run("init").code, 2);
    let left = std::fs::read_dir(nobody.path()).expect("a directory").count();
    assert_eq!(left, 0, "nothing is written before somebody has answered");
}

#[test]
fn init_writes_nothing_before_it_knows_that_all_of_it_is_good() {
    let place = Place::empty();
    let line = "init --email ada@example.com --password-stdin --upstream";
    let typo = place.run_with(&format!("{line} nonsense"), PASSWORD);
    assert_eq!(typo.code, 2, "{typo:?}");
    assert!(typo.err.contains("--upstream `nonsense`") && typo.err.contains("name:9000"), "{typo:?}");
    let weak = place.run_with(&format!("{line} 127.0.0.1:9001"), "short").bad();
    assert!(weak.contains("at least 8 characters"), "{weak}");
    assert_eq!(std::fs::read_dir(place.path()).expect("a directory").count(), 0, "something was written");

    place.run_with(&format!("{line} 127.0.0.1:9001"), PASSWORD).good();
    let written = std::fs::read_to_string(place.path().join("portcullis.yaml")).expect("the file");
    assert!(written.contains("servers: [\"127.0.0.1:9001\"]"), "{written}");
    let same = place.run("init --upstream 127.0.0.1:9001");
    assert!(same.code == 0 && !same.err.contains("is not in it"), "{same:?}");
    let other = place.run("init --upstream 127.0.0.1:9002");
    assert!(other.code == 0 && other.err.contains("--upstream 127.0.0.1:9002 is not in it"), "{other:?}");
}

#[test]
fn explain_says_which_condition_says_no() {
    let place = Place::with(
        "preset: development
permissions: [ {code: reports.read} ]
roles: [ {code: analyst, permissions: [reports.read]} ]
upstreams: { app: { servers: [127.0.0.1:9000] } }
routes:
  - name: reports
    match: { path: '/reports/**', methods: [GET] }
    upstream: app
    allow: { permission: reports.read, org: member }
",
    );
    create(&place, "ada@example.com").good();
    place.run("org create Acme --owner ada@example.com").good();
    let asked = place.run("explain --as ada@example.com --org acme GET /reports/7");
    assert_eq!(asked.code, 1, "{asked:?}");
    assert!(asked.err.is_empty() && asked.out.contains("PERMISSION_REQUIRED"), "{asked:?}");
    assert!(asked.out.contains("no          permission reports.read"), "{asked:?}");
    assert!(asked.out.contains("yes         org.member"), "{asked:?}");
    place.run("user grant ada@example.com --role analyst").good();
    assert!(
        place
            .run("explain --as ada@example.com --org acme GET /reports/7")
            .good()
            .contains("would be forwarded")
    );
    let code = |line: &str| place.run(line).json()["refusal"]["code"].clone();
    assert_eq!(code("explain --as ada@example.com GET /reports/7 --json"), "ORG_CONTEXT_REQUIRED");
    assert_eq!(code("explain GET /reports/7 --json"), "AUTH_REQUIRED");
    let nobody = place.run("explain GET /reports/7").out;
    assert!(nobody.contains("Authorization header required. Log in"), "two sentences: {nobody}");
    assert_eq!(code("explain DELETE /reports/7 --json"), "METHOD_NOT_ALLOWED");
    assert_eq!(code("explain GET /elsewhere --json"), "NOT_FOUND");
    assert_eq!(place.run("explain GET /reports/../x").code, 2);
    assert!(place.run("explain --as nobody@example.com GET /").bad().contains("no such account"));
    assert!(place.run("explain --agent 42 GET /").bad().contains("no such agent token"));
    assert_eq!(place.run("explain --agent 42 --as ada@example.com GET /").code, 2, "whom of the two?");
}

#[test]
fn agents_are_stopped_without_a_running_gateway() {
    let place = place();
    create(&place, "ada@example.com").good();
    assert_eq!(place.run("agent list --json").json(), json!([]));
    assert_eq!(place.run("agent list ada@example.com --json").json(), json!([]));
    for command in ["show", "suspend", "resume", "revoke"] {
        assert!(place.run(&format!("agent {command} 42")).bad().contains("no such agent token"), "{command}");
        assert_eq!(place.run(&format!("agent {command} nonsense")).code, 2, "{command}");
    }
    assert!(place.run("agent kill ada@example.com").good().contains("0 agent tokens revoked"));
    assert!(place.run("agent kill --everyone").good().contains("0 agent tokens revoked"));
    let slip = place.run("agent kill");
    assert!(slip.code == 2 && slip.err.contains("--everyone"), "of whom? {slip:?}");
    assert!(place.run("audit tail").good().contains("agent_tokens_revoked"));
}

#[test]
fn what_a_group_has_is_listed_and_taken_away() {
    let place = place();
    create(&place, "ada@example.com").good();
    place.run("group create night-shift --name Nights").good();
    place.run("group grant night-shift --role analyst").good();
    place.run("user grant ada@example.com --group night-shift").good();
    assert_eq!(shown(&place, "ada@example.com")["permissions"], json!(["reports.read"]));
    let listed = place.run("group list --json").json();
    let all = listed.as_array().expect("a list");
    let own = all.iter().find(|group| group["code"] == "night-shift").expect("the group");
    assert_eq!((&own["name"], &own["roles"]), (&json!("Nights"), &json!(["analyst"])));
    assert!(place.run("group list").good().contains("night-shift"));
    assert_eq!(place.run("group revoke night-shift --role analyst").good(), "done\n");
    assert_eq!(shown(&place, "ada@example.com")["permissions"], json!([]));
    let again = place.run("group revoke night-shift --role analyst").good();
    assert!(again.contains("nothing to do"), "{again}");
}

#[test]
fn the_trail_is_followed_until_nobody_reads_on() {
    let place = place();
    create(&place, "ada@example.com").good();
    let mut following = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["audit", "tail", "--follow", "--json", "--code", "account_created"])
        .current_dir(place.path())
        .env_clear()
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut lines = BufReader::new(following.stdout.take().expect("a pipe")).lines();
    let mut next = || -> Value {
        let line = lines.next().expect("it goes on").expect("a line");
        serde_json::from_str(&line).expect("JSON")
    };
    let first = next();
    create(&place, "bob@example.com").good();
    create(&place, "eve@example.com").good();
    let (second, third) = (next(), next());
    let seq = |row: &Value| row["seq"].as_i64().expect("a number");
    assert!(seq(&first) < seq(&second) && seq(&second) < seq(&third), "each once, in order");
    following.kill().expect("it was still following");
    following.wait().expect("it ends");
}
