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

    async fn a_sign_of_life_beside_a_narrowing_lasts_no_longer_than_what_it_was_narrowed_to(store: TestStore) {
        let scene = Scene::on(store).await;
        for round in 0..8 {
            let ask = Mint { limits: Limits { heartbeat_every: Some(300), ..limits() }, ..scene.ask(&["reports"]) };
            // As whoever calls read it, before anything was narrowed.
            let token = mint(&scene.app, Actor::system(), ask).await.unwrap().0;
            let narrowing = again(|| async {
                let mut change = scene.app.change(Actor::system()).await?;
                let to = Narrowing { heartbeat_every: Some(60), ..Narrowing::default() };
                match narrow_by(&mut change, token.id, to).await {
                    Ok(_) => change.commit().await,
                    Err(NarrowError::Store(cause)) => Err(cause),
                    Err(other) => panic!("{other:?}"),
                }
            });
            let beats = join_all((0..6).map(|_| again(|| beat(&scene.app, token.id))));
            if round % 2 == 0 {
                let (narrowed, beats) = futures::join!(narrowing, beats);
                narrowed.unwrap();
                assert!(beats.into_iter().all(|beat| beat.unwrap()));
            } else {
                narrowing.await.unwrap();
                assert!(beats.await.into_iter().all(|beat| beat.unwrap()));
            }
            let due_at = scene.now(&token).await.heartbeat_due_at.unwrap();
            assert_eq!(due_at, scene.app.now().plus(Duration::from_mins(1)), "round {round}");
        }
        let ask = Mint { limits: Limits { heartbeat_every: Some(300), ..limits() }, ..scene.ask(&["reports"]) };
        let token = mint(&scene.app, Actor::system(), ask).await.unwrap().0;
        let mut change = scene.app.change(Actor::system()).await.unwrap();
        assert!(suspend(&mut change, token.delegation(), Suspension::Manual).await.unwrap());
        let to = Narrowing { heartbeat_every: Some(60), ..Narrowing::default() };
        narrow_by(&mut change, token.id, to).await.unwrap();
        change.commit().await.unwrap();
        assert!(scene.resume(&token).await);
        let due_at = scene.now(&token).await.heartbeat_due_at.unwrap();
        assert_eq!(due_at, scene.app.now().plus(Duration::from_mins(1)), "resumed by who had read it before");
    }
}
