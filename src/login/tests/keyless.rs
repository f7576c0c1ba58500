//! Logging in while no key signs: an answer that says later, and nothing that was taken.

use super::*;

fn is_later(answer: &Answer) -> bool {
    answer.verdict() == (503, "SERVICE_UNAVAILABLE") && answer.headers.contains_key("retry-after")
}

#[tokio::test]
async fn without_a_key_nobody_gets_in_and_nothing_is_used_up() {
    let scene = Scene::with("tokens: { rotation: true }\n").await;
    let ada = scene.ada().await;
    let before = scene.in_as_ada().await;
    let refresh = json!({"refresh_token": before.text("refresh_token")});
    let (sessions, trail) = (scene.live(&ada).await, scene.codes().await);

    scene.app.set_keyring(Keyring::default());
    let answer = scene.log_in("ada@example.com", PASSWORD).await;
    assert!(is_later(&answer), "{answer:?}");
    let answer = scene.post("/refresh/", refresh.clone()).await;
    assert!(is_later(&answer), "{answer:?}");
    assert_eq!((scene.live(&ada).await, scene.codes().await), (sessions, trail), "nothing was begun");

    scene.app.set_keyring(ring());
    let answer = scene.post("/refresh/", refresh).await;
    assert_eq!(answer.status, 200, "the refresh token was not used up: {}", answer.body);
}
