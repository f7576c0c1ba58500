//! One more way in to an account, for whoever is logged in to it.

use super::super::connections::connected;
use super::*;
use crate::audit::EndReason;
use crate::on_every_store;
use crate::social::{self, Address, Identity, Owner};

on_every_store! {
    async fn who_was_logged_out_while_the_provider_was_asked_links_nothing(store: TestStore) {
        let scene = Scene::on(store, "").await;
        let ada = scene.ada().await;
        scene.in_as_ada().await;
        let now = scene.app.now();
        let live = session::live_of(&scene.app.db, ada.id, now).await.unwrap().remove(0);
        let identity = Identity {
            issuer: "https://acme.example.com".to_owned(),
            subject: "ada-1".to_owned(),
            address: Address::None,
            first_name: String::new(),
            last_name: String::new(),
        };
        let owner = Owner { account: ada.id, session: live.id };
        let link = async |owner: Owner| {
            connected(&scene.app, Actor::system(), ada.site, owner, "acme", &identity).await
        };
        let mut change = scene.app.change(Actor::system()).await.unwrap();
        session::end(&mut change, &live, EndReason::Revoked).await.unwrap();
        change.commit().await.unwrap();
        assert_eq!(link(owner).await.unwrap_err().code(), crate::http::ErrorCode::Unauthorized);
        assert!(social::connections(&scene.app.db, ada.id).await.unwrap().is_empty());
        scene.in_as_ada().await;
        let live = session::live_of(&scene.app.db, ada.id, now).await.unwrap().remove(0);
        assert_eq!(link(Owner { session: live.id, ..owner }).await.unwrap().subject, "ada-1");
    }
}
