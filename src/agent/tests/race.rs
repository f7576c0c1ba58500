//! Many who stop, resume and end the same agents at once, on every database.
//!
//! Law: a database may give up one of those that race; whoever asked for it never learns of it.

use super::*;
use crate::store::again;

/// As many as the servers' pools are asked to serve at once.
const WIDE: usize = 64;

/// One step of one of those who race, as the endpoints take it.
async fn step(scene: &Scene, number: usize, tokens: &[AgentToken]) -> Result<bool, Error> {
    let token = &tokens[number % tokens.len()];
    again(|| async {
        let mut change = scene.app.change(Actor::system()).await?;
        let is_done = match number / tokens.len() % 4 {
            0 => suspend(&mut change, token.delegation(), Suspension::Manual).await?,
            1 => resume(&mut change, token).await?,
            2 if number == WIDE / 2 => revoke_all(&mut change, scene.account.id).await? > 0,
            2 => revoke(&mut change, token.delegation()).await?,
            _ => match narrow_by(&mut change, token.id, less()).await {
                Ok(done) => !done.fields.is_empty(),
                Err(NarrowError::Store(cause)) => return Err(cause),
                Err(NarrowError::Ended | NarrowError::Wider(_)) => false,
            },
        };
        if is_done {
            change.commit().await?;
        }
        Ok(is_done)
    })
    .await
}

fn less() -> Narrowing {
    Narrowing { total: Some(7), ..Narrowing::default() }
}

on_every_store! {
    async fn of_many_who_stop_the_same_agents_at_once_nobody_is_sent_away(store: TestStore) {
        let scene = Scene::on(store).await;
        let tokens = [scene.mint().await, scene.mint().await, scene.mint().await, scene.mint().await];
        let all = join_all((0..WIDE).map(|number| step(&scene, number, &tokens))).await;
        let failed: Vec<_> = all.iter().filter_map(|done| done.as_ref().err()).collect();
        assert!(failed.is_empty(), "{failed:?}");
        for token in &tokens {
            assert_eq!(scene.status(token).await, Status::Revoked, "states only rise");
        }
        assert_eq!(scene.kill().await, 0, "nothing was left");
        audit::verify(&scene.app.db).await.unwrap();
    }
}
