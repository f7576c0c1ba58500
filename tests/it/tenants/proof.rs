//! That the sweep fails where it must: what it takes for wrong is told to it, and is found.
//! A sweep that nothing stops shows nothing.

use portcullis::store::Dialect;

use super::{MARK, OTHER_SITE, Scene, problem, silence};
use crate::support::raw::Answer;

#[tokio::test]
async fn the_sweep_can_fail() {
    let scene = Scene::new(Dialect::Sqlite).await;
    let mallory = scene.foreigner().await;
    assert_eq!(scene.damage().await, Vec::<String>::new());
    let row = scene.rows().into_iter().find(|row| row.path() == "/admin/users/{id}/").unwrap();
    let answer = |status: u16, text: &str| Answer { status, headers: Vec::new(), body: text.into() };
    assert_eq!(problem(&row, &answer(404, "{}"), &mallory), None);
    for wrong in
        [answer(200, "{}"), answer(401, "{}"), answer(403, "{}"), answer(500, "{}"), answer(404, MARK)]
    {
        assert!(problem(&row, &wrong, &mallory).is_some(), "{wrong:?}");
    }
    // For want of a permission nobody learns anything; where none is needed "you may not" says that it is there.
    let eve = scene.neighbour().await;
    let rows = scene.rows();
    let with = |path: &str, method: &str| {
        rows.iter().find(|row| row.path() == path && row.method() == method).unwrap()
    };
    assert_eq!(problem(&row, &answer(403, "{}"), &eve), None);
    for (method, path) in [
        ("GET", "/ai/tokens/{id}/"),
        ("DELETE", "/api-keys/{id}/"),
        ("DELETE", "/organizations/members/{id}/remove/"),
        ("GET", "/ai/pending-actions/{token}/"),
    ] {
        let row = with(path, method);
        assert_eq!(problem(row, &answer(404, "{}"), &eve), None);
        assert!(problem(row, &answer(403, "{}"), &eve).is_some(), "{method} {path}");
    }
    // A row that never says so is found, and so is one that says so although it stands among those that do not.
    for (method, path, is_said) in
        [("GET", "/api-keys/{id}/", false), ("POST", "/ai/pending-actions/{token}/deny/", true)]
    {
        assert!(silence(with(path, method), is_said).is_some(), "{method} {path}");
        assert_eq!(silence(with(path, method), !is_said), None, "{method} {path}");
    }
    // What has a number is asked for by it, and by nothing that the number means elsewhere.
    let asked = |path: &str, method: &str, id: &str| scene.names_for(with(path, method)).contains(&id);
    for (piece, number) in &scene.numbers {
        let named = rows.iter().find(|row| row.path().contains(&format!("/{piece}/{{"))).expect("a row");
        assert!(scene.names_for(named).contains(&number.as_str()), "{piece} {number}");
        assert!(!asked("/roles/{id}/", "GET", number), "{piece} {number}");
    }
    // A row that is changed, and one that ties the foreigner to what is the first one's.
    scene.move_to(scene.ids[0].parse().unwrap(), OTHER_SITE).await;
    let organization = scene.gateway.organization_of(MARK).await.unwrap();
    scene.gateway.join(organization, mallory.user.id, "member").await;
    let damage = scene.damage().await.join("\n");
    assert!(damage.contains("account was changed"), "{damage}");
    assert!(damage.contains("membership has a new row"), "{damage}");
}
