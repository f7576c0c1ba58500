//! Many who stop, resume and end the same agents at once, on every database.
//!
//! Law: a database may give up one of those that race; whoever asked for it never learns of it.

use super::super::mint::mint_since;
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

/// What was begun when so often everything had been stopped: 1 where it is refused, 0 where it is minted.
async fn refused_since(scene: &Scene, kills: i64) -> usize {
    let minted = again(|| async {
        match mint_since(&scene.app, Actor::system(), scene.ask(&["reports"]), kills).await {
            Err(MintError::Store(cause)) => Err(cause),
            other => Ok(other),
        }
    });
    match minted.await.unwrap() {
        Ok(_) => 0,
        Err(MintError::Killed) => 1,
        Err(other) => panic!("{other:?}"),
    }
}

on_every_store! {
    async fn t9_what_was_being_minted_when_the_switch_was_thrown_is_not_minted(store: TestStore) {
        let scene = Scene::on(store).await;
        let kills = store::kills(&scene.app.db, scene.account.id).await.unwrap();
        scene.kill().await;
        let late = mint_since(&scene.app, Actor::system(), scene.ask(&["reports"]), kills).await;
        assert!(matches!(late, Err(MintError::Killed)));
        assert!(scene.try_mint(&["reports"]).await.is_ok(), "whoever asks after it may");
        for round in 0..5 {
            // All of them have begun when it is thrown: what is minted before it is ended by it.
            let kills = store::kills(&scene.app.db, scene.account.id).await.unwrap();
            let racing = join_all((0..16).map(|n| {
                let scene = &scene;
                async move { if n == 8 { scene.kill().await } else { refused_since(scene, kills).await } }
            }));
            // How many were ended, and how many refused: all of them, and the one from before.
            let done = racing.await;
            assert_eq!(done.iter().sum::<usize>(), 15 + usize::from(round == 0), "round {round}: {done:?}");
            let left = list(&scene.app.db, DEFAULT_SITE, None, 1000).await.unwrap();
            assert!(left.iter().all(|token| token.status == Status::Revoked), "round {round}: {left:?}");
        }
    }

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
        audit::verify(&scene.app.db, &scene.app.seal, audit::Stream::Changes).await.unwrap();
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
