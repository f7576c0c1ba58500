//! Permissions, roles, groups and org roles from the command line, and what `user` and `group` tell scripts.
//! What came with the gateway or stands in the file stays as it is, and what is refused leaves nothing.

use serde_json::{Value, json};

use super::{GOOD, Place};

const PASSWORD: &str = "Correct7!horse";

/// A place with two people.
fn place() -> Place {
    let place = Place::with(&format!(
        "preset: development
permissions: [ {{code: reports.read}} ]
roles: [ {{code: analyst, permissions: [reports.read]}} ]
{GOOD}"
    ));
    for name in ["ada", "bob"] {
        place.run_with(&format!("user create {name}@example.com --password-stdin"), PASSWORD).good();
    }
    place
}

/// The JSON that a command answers which did what it was asked.
#[track_caller]
fn told(place: &Place, line: &str) -> Value {
    let outcome = place.run(&format!("{line} --json"));
    assert_eq!(outcome.code, 0, "{line}: {outcome:?}");
    outcome.json()
}

/// The one of a list that has this code.
fn listed(place: &Place, list: &str, code: &str) -> Option<Value> {
    let all = told(place, list);
    all.as_array().expect("a list").iter().find(|one| one["code"] == code).cloned()
}

fn ada(place: &Place) -> Value {
    told(place, "user show ada@example.com")
}

#[test]
fn a_role_is_made_filled_given_and_taken_from_everybody_with_its_end() {
    let place = place();
    let line = "role create press --name Press --permission reports.read --permission reports.read";
    let mut press = json!({
        "code": "press", "name": "Press", "description": "", "permissions": ["reports.read"], "inherits": [],
        "default": false, "managed_by": "store", "changed": true,
    });
    assert_eq!(told(&place, line), press);
    place.run("user grant ada@example.com --role press").good();
    assert_eq!(ada(&place)["permissions"], json!(["reports.read"]));
    assert_eq!(
        place.run("role grant press --permission users.view --permission reports.read").good(),
        "permission reports.read was granted already\ngranted permission users.view\n"
    );
    assert_eq!(ada(&place)["permissions"], json!(["reports.read", "users.view"]));
    let revoke = "role revoke press --permission users.view";
    assert_eq!(told(&place, revoke), press);
    press["changed"] = json!(false);
    assert_eq!(told(&place, revoke), press, "it was so already");
    assert_eq!(place.run(revoke).good(), "permission users.view was not granted\n");
    assert_eq!(ada(&place)["permissions"], json!(["reports.read"]));

    let set = told(&place, "role set press --name News --description Papers --default");
    assert_eq!(
        (&set["name"], &set["default"], &set["changed"]),
        (&json!("News"), &json!(true), &json!(true))
    );
    assert_eq!(told(&place, "role set press --name News")["changed"], false);
    assert_eq!(told(&place, "role set press --not-default")["default"], false);
    let own = listed(&place, "role list", "press").expect("the role");
    assert_eq!((&own["description"], &own["managed_by"]), (&json!("Papers"), &json!("store")));
    assert!(place.run("role list").good().contains("press"));

    assert_eq!(place.run("role remove press").good(), "removed role press\n");
    assert_eq!((&ada(&place)["roles"], &ada(&place)["permissions"]), (&json!([]), &json!([])));
    assert!(place.run("role remove press").bad().contains("there is no role press"));
    place.run("role create press").good();
    assert_eq!(ada(&place)["roles"], json!([]), "the next one of this code begins with nobody");
    let trail = place.run("audit tail -n 100").good();
    for part in ["permission_changed", "role_removed", "by=command_line"] {
        assert!(trail.contains(part), "{part} is not in {trail}");
    }
}

#[test]
fn what_is_refused_leaves_nothing_and_says_why() {
    let place = place();
    place.run("role create press --permission reports.read").good();
    let lists = ["role list", "permission list", "org roles"];
    let before = lists.map(|list| told(&place, list));
    for (line, why) in [
        ("role create press", "there is a role press already"),
        ("role create editor", "there is a role editor already"),
        ("role create half --permission reports.read --permission users.veiw", "did you mean `users.view`?"),
        ("role grant press --permission users.veiw", "did you mean `users.view`?"),
        (
            "role grant press --permission users.ban --permission users.veiw",
            "there is no permission users.veiw",
        ),
        ("role grant prss --permission users.view", "did you mean `press`?"),
        ("role grant analyst --permission users.view", "defined in the configuration file"),
        ("role set editor --name Other", "came with the gateway"),
        ("role remove analyst", "defined in the configuration file"),
        ("role remove editor", "came with the gateway"),
        ("permission create users.view", "there is a permission users.view already"),
        ("permission create odd --parent nowhere", "there is no permission nowhere"),
        ("permission set reports.read --name Other", "defined in the configuration file"),
        ("permission remove users.view", "came with the gateway"),
        ("permission remove xyzzyquux", "there is no permission xyzzyquux"),
        ("org role create owner", "there is an org role with this code already"),
        ("org role set ownr --name Other", "there is no org role ownr; did you mean `owner`?"),
        ("org role remove owner", "came with the gateway"),
    ] {
        let outcome = place.run(&format!("{line} --json"));
        assert_eq!((outcome.code, outcome.out.as_str()), (1, ""), "{line}: {outcome:?}");
        assert!(outcome.err.contains(why), "{line}: {outcome:?}");
    }
    assert_eq!(lists.map(|list| told(&place, list)), before);
}

#[test]
fn wrong_usage_of_rights_exits_with_2() {
    let place = place();
    for line in [
        "role",
        "role create",
        "role create Press",
        "role create 12",
        "role set analyst",
        "role set analyst --default --not-default",
        "role grant analyst",
        "role grant analyst --permission Users",
        "permission create a..b",
        "permission set reports.read",
        "permission set reports.read --parent users --root",
        "group create 12",
        "group grant night-shift",
        "org role",
        "org role create buyer --permission *",
        "org role set buyer",
        "org role set buyer --permission org.read --no-permissions",
    ] {
        let outcome = place.run(line);
        assert!(
            outcome.code == 2 && outcome.out.is_empty() && !outcome.err.is_empty(),
            "{line}: {outcome:?}"
        );
    }
    let long = format!("role create press --name {}", "a".repeat(101));
    assert!(place.run(&long).err.contains("1 to 100 characters"));
    assert_eq!(listed(&place, "role list", "press"), None);
}

#[test]
fn a_permission_stands_below_another_one_and_goes_with_it() {
    let place = place();
    let posts = json!({
        "code": "posts", "name": "Posts", "description": "", "parent": null, "managed_by": "store", "changed": true,
    });
    assert_eq!(told(&place, "permission create posts --name Posts"), posts);
    let made = place.run("permission create posts.publish --parent posts").good();
    assert_eq!(made, "made permission posts.publish\n");
    place.run("role create press --permission posts").good();
    place.run("user grant ada@example.com --role press").good();
    assert_eq!(
        ada(&place)["permissions"],
        json!(["posts", "posts.publish"]),
        "who holds the parent holds it"
    );
    assert!(place.run("permission set posts --parent posts.publish").bad().contains("its own ancestor"));

    let alone = told(&place, "permission set posts.publish --root");
    assert_eq!((&alone["parent"], &alone["changed"]), (&Value::Null, &json!(true)));
    assert_eq!(ada(&place)["permissions"], json!(["posts"]));
    assert_eq!(place.run("permission set posts.publish --parent posts").good(), "done\n");
    let again = place.run("permission set posts.publish --parent posts").good();
    assert!(again.contains("nothing to do"), "{again}");

    assert_eq!(told(&place, "permission remove posts"), json!({"code": "posts", "changed": true}));
    for code in ["posts", "posts.publish"] {
        assert_eq!(listed(&place, "permission list", code), None);
    }
    let press = listed(&place, "role list", "press").expect("the role");
    assert_eq!((&press["permissions"], &ada(&place)["permissions"]), (&json!([]), &json!([])));
    let table = place.run("permission list").good();
    assert!(table.starts_with("permission") && table.contains("users.view"), "{table}");
    let read = listed(&place, "permission list", "reports.read").expect("the file's");
    assert_eq!(read["managed_by"], "config");
}

#[test]
fn an_org_role_is_what_members_are_and_stays_while_somebody_is_it() {
    let place = place();
    place.run("org create Acme --owner ada@example.com --json").good();
    let line = "org role create auditor --name Auditor --permission reports.* --permission org.read";
    let made = json!({
        "code": "auditor", "name": "Auditor", "description": "", "permissions": ["org.read", "reports.*"],
        "managed_by": "store", "changed": true,
    });
    assert_eq!(told(&place, line), made);
    place.run("org add acme bob@example.com --role auditor").good();
    let used = place.run("org role remove auditor").bad();
    assert!(used.contains("give them another role first"), "{used}");
    assert!(listed(&place, "org roles", "auditor").is_some());

    let set = "org role set auditor --permission org.read";
    let now = told(&place, set);
    assert_eq!((&now["permissions"], &now["changed"]), (&json!(["org.read"]), &json!(true)));
    assert_eq!(told(&place, set)["changed"], false);
    assert_eq!(told(&place, "org role set auditor --name Reader")["permissions"], json!(["org.read"]));
    assert_eq!(place.run("org role set auditor --no-permissions").good(), "done\n");
    let own = listed(&place, "org roles", "auditor").expect("the org role");
    assert_eq!((&own["name"], &own["permissions"]), (&json!("Reader"), &json!([])));

    place.run("org add acme bob@example.com --role member").good();
    place.run("org invite acme new@example.com --role auditor").good();
    assert_eq!(place.run("org role remove auditor").good(), "removed org role auditor\n");
    assert_eq!(told(&place, "org invitations acme")[0]["status"], "revoked", "nobody becomes what is gone");
    assert!(place.run("org role remove auditor").bad().contains("there is no org role auditor"));
}

#[test]
fn scripts_are_told_whose_account_it_is_and_whether_anything_changed() {
    let place = place();
    let line = "user create eve@example.com --no-password --json";
    assert_eq!(place.run(line).json()["email"], "eve@example.com");
    let id = ada(&place)["id"].clone();
    for (line, is_changed) in [
        ("user lock ada@example.com", true),
        ("user unlock ada@example.com", true),
        ("user unlock ada@example.com", false),
        ("user ban ada@example.com", true),
        ("user ban ada@example.com", false),
        ("user unban ada@example.com", true),
        ("user unban ada@example.com", false),
        ("user verify ada@example.com", true),
        ("user verify ada@example.com", false),
        ("user reset-2fa ada@example.com", false),
        ("user delete ada@example.com", true),
        ("user delete ada@example.com --cancel", true),
        ("user delete ada@example.com --cancel", false),
        ("user grant ada@example.com --staff", true),
        ("user grant ada@example.com --staff", false),
        ("user revoke ada@example.com --staff", true),
        ("user revoke ada@example.com --staff", false),
    ] {
        let told = told(&place, line);
        assert_eq!((&told["id"], told["changed"].as_bool()), (&id, Some(is_changed)), "{line}");
        assert_eq!(told["email"], "ada@example.com", "{line}");
    }
    let granted = told(&place, "user grant ada@example.com --role analyst --permission users.view");
    assert_eq!(granted["granted"], json!(["role analyst", "permission users.view"]));
    let revoked = told(&place, "user revoke ada@example.com --role analyst --role editor");
    assert_eq!(revoked["revoked"], json!(["role analyst"]), "what was not granted was not taken");
    let until = told(&place, "user lock ada@example.com --minutes 5")["until"].clone();
    assert!(until.as_str().is_some_and(|until| until.ends_with('Z')), "{until}");
    assert_eq!(told(&place, "user lock ada@example.com")["until"], Value::Null);
    assert!(told(&place, "user delete bob@example.com")["due_at"].is_string());
    let set = place.run_with("user password ada@example.com --password-stdin --json", "Another8!staple");
    assert_eq!((set.code, set.json()["changed"].clone()), (0, json!(true)));
    assert_eq!(told(&place, "user export ada@example.com")["user_info"]["email"], "ada@example.com");
    assert_eq!(told(&place, "user delete bob@example.com --now")["changed"], true);
    let gone = place.run("user lock bob@example.com --json");
    assert_eq!((gone.code, gone.out.as_str()), (1, ""), "a refusal is no result: {gone:?}");
}

#[test]
fn scripts_are_told_what_a_group_brings_and_whether_that_changed() {
    let place = place();
    let mut group = json!({
        "code": "night-shift", "name": "Nights", "description": "", "roles": [], "permissions": [],
        "managed_by": "store", "changed": true,
    });
    let create = "group create night-shift --name Nights";
    assert_eq!(told(&place, create), group);
    group["changed"] = json!(false);
    assert_eq!(told(&place, create), group);
    let given = told(&place, "group grant night-shift --role analyst");
    assert_eq!((&given["roles"], &given["changed"]), (&json!(["analyst"]), &json!(true)));
    assert_eq!(told(&place, "group grant night-shift --role analyst")["changed"], false);
    let slip = place.run("group grant night-shift --role analist").bad();
    assert!(slip.contains("did you mean `analyst`?"), "{slip}");
    let taken = told(&place, "group revoke night-shift --role analyst");
    assert_eq!((&taken["roles"], &taken["changed"]), (&json!([]), &json!(true)));
    let removed = |is_changed: bool| json!({"code": "night-shift", "changed": is_changed});
    for is_changed in [true, false] {
        assert_eq!(told(&place, "group remove night-shift"), removed(is_changed));
    }
}
