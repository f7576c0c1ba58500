//! One's data on a page: the file with everything, and the account that is to go or stays after all.
//! Law: an open session alone does none of it.

use portcullis::privacy::{self, Status};
use portcullis::store::sql;
use serde_json::Value;

use crate::codes::{Post, text_of};
use crate::support::forms::{Browser, form};
use crate::support::people::PASSWORD;

const DATA: &str = "/portcullis/account/data/";
const EXPORT: &str = "/portcullis/account/data/export/";
const DELETE: &str = "/portcullis/account/data/delete/";
const KEEP: &str = "/portcullis/account/data/keep/";

#[tokio::test]
async fn somebody_has_everything_that_is_kept_of_them_as_a_file() {
    let post = Post::start("").await;
    post.gateway.account("ada", |new| new.first_name = "Ada".to_owned()).await;
    let mut ada = Browser::new(&post.gateway);
    assert_eq!(ada.get(DATA).await.status, 303);
    ada.log_in("ada").await;
    for password in ["", "wrong"] {
        let refused = ada.post_elsewhere(EXPORT, &[("password", password)]).await;
        assert!(refused.status == 400 && refused.text().contains("role=\"alert\""), "{}", refused.text());
    }
    let own = [format!("Origin: {}", ada.origin())];
    let fields = [("password", PASSWORD)];
    assert_eq!(ada.ask("POST", EXPORT, &own, &form(&fields)).await.status, 403, "without the secret");
    let file = ada.post_elsewhere(EXPORT, &fields).await;
    assert_eq!(file.header("content-disposition"), Some("attachment; filename=\"portcullis-export.json\""));
    assert_eq!((file.status, file.header("content-type")), (200, Some("application/json")));
    assert_eq!(file.header("x-content-type-options"), Some("nosniff"));
    let all: Value = file.json();
    assert!(all.to_string().contains("ada@example.com"), "{all}");
    assert!(post.codes_of_the_trail().await.iter().any(|code| code == "data_exported"));
}

#[tokio::test]
async fn somebody_asks_for_their_account_to_go_sees_when_and_keeps_it() {
    let post = Post::start("").await;
    let id = post.gateway.account("ada", |_| {}).await;
    let mut ada = Browser::new(&post.gateway);
    ada.log_in("ada").await;
    let newest = async || privacy::of_account(&post.gateway.running.app.db, id).await.unwrap();
    let why = ("reason", "<script>bye</script>");
    let refused = ada.post_elsewhere(DELETE, &[("password", "wrong"), why]).await;
    let text = refused.text();
    assert!(refused.status == 400 && text.contains("The password is wrong"), "{text}");
    assert!(text.contains("&lt;script&gt;bye") && !text.contains("<script"), "{text}");
    assert!(newest().await.is_empty());
    let foreign = ["Origin: https://evil.test".to_owned()];
    assert_eq!(ada.ask("POST", DELETE, &foreign, &form(&[("password", PASSWORD)])).await.status, 403);
    let asked = ada.post_elsewhere(DELETE, &[("password", PASSWORD), why]).await;
    assert_eq!(asked.header("location"), Some("/portcullis/account/data/?asked"), "{}", asked.text());
    let page = ada.get(DATA).await.text();
    assert!(page.contains("not confirmed") && !page.contains("I want to delete"), "{page}");

    let text = text_of(&post.letter(1).await);
    let (_, rest) = text.split_once("/portcullis/deletion/?token=").expect("a link");
    let token: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect();
    assert_eq!(ada.post_elsewhere("/portcullis/deletion/", &[("token", &token)]).await.status, 200);
    let deletion = newest().await.remove(0);
    let due = deletion.due_at.unwrap().rfc3339();
    let page = ada.get(DATA).await.text();
    assert!(page.contains("to be deleted") && page.contains(&due), "{page}");
    assert_eq!(ada.post_elsewhere(KEEP, &[]).await.status, 400);
    assert_eq!(ada.post_elsewhere(KEEP, &[("password", "wrong")]).await.status, 400);
    assert_eq!(newest().await[0].status, Status::Confirmed);
    let kept = ada.post_elsewhere(KEEP, &[("password", PASSWORD)]).await;
    assert_eq!(kept.header("location"), Some("/portcullis/account/data/?kept"), "{}", kept.text());
    assert_eq!(newest().await[0].status, Status::Cancelled);
    let again = ada.post_elsewhere(KEEP, &[("password", PASSWORD)]).await;
    assert!(again.status == 400 && again.text().contains("No active deletion"), "{}", again.text());
    assert!(ada.get(DATA).await.text().contains("I want to delete"));
}

/// Found by reading: the page said what was not so of whom no mail reaches, and why a deletion waits.
#[tokio::test]
async fn the_page_says_what_is_so() {
    let post = Post::start("accounts: { deletion: { grace: 12h } }\n").await;
    for (name, is_verified, said) in [
        ("ada", true, "You get a mail first, whose link confirms it; then you have 12 hours in which"),
        (
            "bob",
            false,
            "It counts at once, because no confirmed address or number of yours can be asked; then you have 12 hours",
        ),
    ] {
        let id = post.gateway.account(name, |new| new.is_verified = is_verified).await;
        let mut own = Browser::new(&post.gateway);
        own.log_in(name).await;
        let page = own.get(DATA).await.text();
        assert!(page.contains(said), "{page}");
        let asked = own.post_elsewhere(DELETE, &[("password", PASSWORD)]).await;
        let word = if is_verified { "?asked" } else { "?confirmed" };
        assert!(asked.header("location").is_some_and(|to| to.ends_with(word)), "{}", asked.text());
        // Whatever stands in the way: here nobody is told that it was an organization.
        let mut tx = post.gateway.running.app.db.begin().await.unwrap();
        let held = sql("UPDATE account_deletion SET held_back_at = requested_at WHERE account_id = ?");
        tx.execute(held.bind(id)).await.unwrap();
        tx.commit().await.unwrap();
        let page = own.get(DATA).await.text();
        assert!(page.contains("nobody could take your place") && !page.contains("only owner"), "{page}");
    }
}
