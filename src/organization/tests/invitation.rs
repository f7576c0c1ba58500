//! Invitations on every store: what opens them, what ends them, and many at once.

use std::time::Duration;

use super::standing::{app_with_roles, join, person};
use super::*;
use crate::account;
use crate::base::Email;
use crate::crypto::token::Token;
use crate::notify::testing::waiting;
use crate::organization::invitation::{
    Invitation, NewInvitation, Sought, Status, accept, by_number, decline, for_person, invite, resend,
    revoke, sweep,
};

async fn invited(
    app: &App,
    by: Option<Id>,
    organization: Id,
    email: &str,
    role: &str,
) -> Result<(Invitation, Token), Refused> {
    let all = seed::definitions().under(&app.config().definitions);
    let actor = by.map_or_else(Actor::command_line, |id| Actor::new(audit::Who::Account(id)));
    let (email, role) = (Email::parse(email).unwrap(), code(role));
    loop {
        let outcome = async {
            let mut change = app.change(actor.clone()).await?;
            let new = NewInvitation { organization, email: &email, role: &role, days: 7 };
            let made = invite(&mut change, &all, new).await?;
            change.commit().await?;
            Ok(made)
        };
        match outcome.await {
            Err(Refused::Store(Error::Busy)) => {}
            other => break other,
        }
    }
}

async fn opened(app: &App, token: &Token, person: Id) -> Option<Invitation> {
    let person = account::by_id(&app.db, person).await.unwrap().unwrap();
    for_person(&app.db, token.expose(), &person, app.now()).await.unwrap()
}

async fn accepted(app: &App, invitation: &Invitation, person: Id) -> Result<(), Refused> {
    change!(app, |change| accept(&mut change, invitation, person))
}

async fn status(app: &App, own: &Invitation) -> Status {
    by_number(&app.db, own.organization, own.number, app.now()).await.unwrap().unwrap().status
}

crate::on_every_store! {
    async fn an_invitation_is_for_one_address_and_counts_once(store: TestStore) {
        let app = app_with_roles(store).await;
        let (ada, bob, eve) = (person(&app, "ada").await, person(&app, "bob").await, person(&app, "eve").await);
        let acme = make(&app, new("Acme", ada)).await.unwrap().id;
        let (made, token) = invited(&app, Some(ada), acme, "bob@example.com", "admin").await.unwrap();
        assert!(opened(&app, &token, eve).await.is_none(), "it is for somebody else");
        assert_eq!(accepted(&app, &made, eve).await, Err(Refused::NoInvitation));
        let own = opened(&app, &token, bob).await.unwrap();
        let tries = (0..64).map(|_| accepted(&app, &own, bob));
        let outcomes = join_all(tries).await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
        assert!(outcomes.iter().all(|one| matches!(one, Ok(()) | Err(Refused::InvitationOver))), "{outcomes:?}");
        assert_eq!(roles(&app, acme).await.len(), 2);
        assert_eq!(status(&app, &made).await, Status::Accepted);
        let again = invited(&app, Some(ada), acme, "BOB@example.com", "member").await;
        assert_eq!(again.map(drop), Err(Refused::AlreadyMember));
    }

    async fn time_another_one_and_a_no_end_it(store: TestStore) {
        let app = app_with_roles(store).await;
        let (ada, bob) = (person(&app, "ada").await, person(&app, "bob").await);
        let acme = make(&app, new("Acme", ada)).await.unwrap().id;
        let (first, old) = invited(&app, Some(ada), acme, "bob@example.com", "member").await.unwrap();
        let (second, token) = invited(&app, Some(ada), acme, "bob@example.com", "viewer").await.unwrap();
        assert_eq!((status(&app, &first).await, status(&app, &second).await), (Status::Expired, Status::Pending));
        assert_eq!(accepted(&app, &opened(&app, &old, bob).await.unwrap(), bob).await, Err(Refused::InvitationOver));
        assert_eq!(change!(app, |change| resend(&mut change, &second)), Err(Refused::InvitedOften));
        app.clock.advance(Duration::from_hours(24 * 7));
        assert_eq!(status(&app, &second).await, Status::Expired);
        assert_eq!(accepted(&app, &second, bob).await, Err(Refused::InvitationOver));
        change!(app, |change| resend(&mut change, &second)).unwrap();
        assert!(opened(&app, &token, bob).await.is_none(), "what was sent before opens nothing");
        assert_eq!(status(&app, &second).await, Status::Pending);
        change!(app, |change| decline(&mut change, &second)).unwrap();
        assert_eq!(status(&app, &second).await, Status::Declined);
        assert_eq!(accepted(&app, &second, bob).await, Err(Refused::InvitationOver));
        let (third, _) = invited(&app, Some(ada), acme, "bob@example.com", "viewer").await.unwrap();
        change!(app, |change| revoke(&mut change, &third)).unwrap();
        assert_eq!(accepted(&app, &third, bob).await, Err(Refused::InvitationOver));
        assert_eq!(change!(app, |change| revoke(&mut change, &third)), Err(Refused::InvitationOver));
        let (fourth, _) = invited(&app, Some(ada), acme, "bob@example.com", "viewer").await.unwrap();
        change!(app, |change| delete(&mut change, acme)).unwrap();
        assert_eq!(status(&app, &fourth).await, Status::Revoked);
        assert_eq!(accepted(&app, &fourth, bob).await, Err(Refused::InvitationOver));
        assert_eq!(memberships(&app.db, bob).await.unwrap(), []);
    }

    async fn it_is_worth_what_its_inviter_may_give_now(store: TestStore) {
        let app = app_with_roles(store).await;
        let (ada, bob, cat) = (person(&app, "ada").await, person(&app, "bob").await, person(&app, "cat").await);
        let acme = make(&app, new("Acme", ada)).await.unwrap().id;
        join(&app, acme, bob, "admin").await;
        let (made, _) = invited(&app, Some(bob), acme, "cat@example.com", "admin").await.unwrap();
        make_role(&app, acme, bob, "member").await.unwrap();
        assert_eq!(accepted(&app, &made, cat).await, Err(Refused::InvitationOver), "he invites nobody any more");
        make_role(&app, acme, bob, "admin").await.unwrap();
        remove(&app, acme, bob).await.unwrap();
        assert_eq!(accepted(&app, &made, cat).await, Err(Refused::InvitationOver), "he is gone");
        let (made, _) = invited(&app, None, acme, "cat@example.com", "owner").await.unwrap();
        accepted(&app, &made, cat).await.unwrap();
        assert_eq!(roles(&app, acme).await.len(), 2, "an operator's stands by itself");
    }

    async fn an_address_that_was_not_proved_or_is_another_ones_now_accepts_nothing(store: TestStore) {
        let app = app_with_roles(store).await;
        let ada = person(&app, "ada").await;
        let acme = make(&app, new("Acme", ada)).await.unwrap().id;
        let new = account::NewAccount {
            email: Some(Email::parse("dan@example.com").unwrap()),
            ..account::NewAccount::of(DEFAULT_SITE)
        };
        let mut change = app.change(Actor::command_line()).await.unwrap();
        let dan = account::create(&mut change, &new, audit::How::Administrator).await.unwrap().id;
        change.commit().await.unwrap();
        let (made, token) = invited(&app, Some(ada), acme, "dan@example.com", "member").await.unwrap();
        assert!(opened(&app, &token, dan).await.is_some());
        assert_eq!(accepted(&app, &made, dan).await, Err(Refused::AddressNotProved));
        let mut change = app.change(Actor::command_line()).await.unwrap();
        account::verify(&mut change, dan, account::Channel::Email, audit::How::Administrator).await.unwrap();
        change.commit().await.unwrap();
        accepted(&app, &made, dan).await.unwrap();
    }

    async fn an_address_is_not_flooded(store: TestStore) {
        let app = app_with_roles(store).await;
        let ada = person(&app, "ada").await;
        let acme = make(&app, new("Acme", ada)).await.unwrap().id;
        for _ in 0..5 {
            invited(&app, Some(ada), acme, "new@example.com", "member").await.unwrap();
        }
        let sixth = invited(&app, Some(ada), acme, "new@example.com", "member").await;
        assert_eq!(sixth.map(drop), Err(Refused::InvitedOften));
        app.clock.advance(Duration::from_hours(25));
        let (made, _) = invited(&app, Some(ada), acme, "new@example.com", "member").await.unwrap();
        for _ in 0..4 {
            app.clock.advance(Duration::from_mins(2));
            change!(app, |change| resend(&mut change, &made)).unwrap();
        }
        app.clock.advance(Duration::from_mins(2));
        assert_eq!(change!(app, |change| resend(&mut change, &made)), Err(Refused::InvitedOften));
        let open = Sought { status: Some(Status::Pending), ..Sought::default() };
        let open = crate::organization::invitation::list(&app.db, acme, &open, app.now(), 100).await.unwrap();
        assert_eq!(open.len(), 1);
    }

    async fn no_invitation_is_left_of_who_goes(store: TestStore) {
        let app = app_with_roles(store).await;
        let (ada, bob) = (person(&app, "ada").await, person(&app, "bob").await);
        let acme = make(&app, new("Acme", ada)).await.unwrap().id;
        join(&app, acme, bob, "admin").await;
        let (to_bob, _) = invited(&app, Some(ada), make(&app, new("Other", ada)).await.unwrap().id, "bob@example.com", "member").await.unwrap();
        let (by_bob, _) = invited(&app, Some(bob), acme, "cat@example.com", "member").await.unwrap();
        let own = account::by_id(&app.db, bob).await.unwrap().unwrap();
        let mut change = app.change(Actor::command_line()).await.unwrap();
        account::set_ban(&mut change, bob, account::Ban::Imposed).await.unwrap();
        crate::organization::invitation::erase(&mut change, &own).await.unwrap();
        change.commit().await.unwrap();
        for gone in [to_bob, by_bob] {
            assert!(by_number(&app.db, gone.organization, gone.number, app.now()).await.unwrap().is_none());
        }
    }

    async fn who_was_thrown_out_does_not_come_back_by_what_was_sent_before(store: TestStore) {
        let app = app_with_roles(store).await;
        let (ada, bob) = (person(&app, "ada").await, person(&app, "bob").await);
        let acme = make(&app, new("Acme", ada)).await.unwrap().id;
        let (made, _) = invited(&app, Some(ada), acme, "bob@example.com", "admin").await.unwrap();
        join(&app, acme, bob, "member").await;
        assert_eq!(status(&app, &made).await, Status::Revoked, "who came in needs none");
        remove(&app, acme, bob).await.unwrap();
        assert_eq!(accepted(&app, &made, bob).await, Err(Refused::InvitationOver));
        assert_eq!(memberships(&app.db, bob).await.unwrap(), []);
    }

    async fn nobody_invites_under_an_address_that_is_not_known_to_be_theirs(store: TestStore) {
        let app = app_with_roles(store).await;
        let new = account::NewAccount {
            email: Some(Email::parse("ceo@example.com").unwrap()),
            ..account::NewAccount::of(DEFAULT_SITE)
        };
        let mut change = app.change(Actor::command_line()).await.unwrap();
        let ceo = account::create(&mut change, &new, audit::How::Administrator).await.unwrap().id;
        change.commit().await.unwrap();
        let acme = make(&app, super::new("Acme", ceo)).await.unwrap().id;
        let sent = invited(&app, Some(ceo), acme, "new@example.com", "member").await;
        assert_eq!(sent.map(drop), Err(Refused::AddressNotProved));
    }

    /// Found by an attacker: the cap on mails kept an address out of every other organization.
    async fn an_address_gets_mail_enough_and_is_shut_out_of_nothing(store: TestStore) {
        let app = TestApp::on(store, With { yaml: "mail: { via: console }\n", ..With::default() }).await;
        let (ada, bob) = (person(&app, "ada").await, person(&app, "bob").await);
        let cat = person(&app, "cat").await;
        let victim = "new@example.com";
        for inviter in [ada, bob] {
            let mut outcomes = Vec::new();
            for number in 0..3 {
                let own = make(&app, new(&format!("Own {number}"), inviter)).await.unwrap().id;
                for _ in 0..5 {
                    outcomes.push(invited(&app, Some(inviter), own, victim, "member").await.map(drop));
                }
            }
            assert!(outcomes[..10].iter().all(Result::is_ok), "{outcomes:?}");
            assert!(outcomes[10..].iter().all(|one| *one == Err(Refused::InvitedOften)), "{outcomes:?}");
        }
        assert_eq!(waiting(&app).await.len(), 20);
        // Whoever else invites, and the operator, notices nothing of all that; no mail goes there today.
        let acme = make(&app, new("Acme", cat)).await.unwrap().id;
        let (made, token) = invited(&app, Some(cat), acme, victim, "member").await.unwrap();
        invited(&app, None, make(&app, new("Other", cat)).await.unwrap().id, victim, "member").await.unwrap();
        let invitee = person(&app, "new").await;
        assert!(opened(&app, &token, invitee).await.is_some());
        app.clock.advance(Duration::from_mins(2));
        change!(app, |change| resend(&mut change, &made)).unwrap();
        assert_eq!(waiting(&app).await.len(), 20);
        let own = opened(&app, &token, invitee).await.expect("what was given out still opens it");
        assert_eq!(own.expires_at, app.now().plus(Duration::from_hours(24 * 7)), "and for as long again");
        app.clock.advance(Duration::from_hours(25));
        change!(app, |change| resend(&mut change, &made)).unwrap();
        assert_eq!(waiting(&app).await.len(), 21, "another day");
        assert!(opened(&app, &token, invitee).await.is_none());
    }

    async fn what_is_over_is_forgotten_in_time_whoever_sent_it(store: TestStore) {
        let app = app_with_roles(store).await;
        let ada = person(&app, "ada").await;
        let acme = make(&app, new("Acme", ada)).await.unwrap().id;
        let (old, _) = invited(&app, Some(ada), acme, "old@example.com", "member").await.unwrap();
        change!(app, |change| delete(&mut change, acme)).unwrap();
        let gone = async |own: &Invitation| {
            by_number(&app.db, own.organization, own.number, app.now()).await.unwrap().is_none()
        };
        app.clock.advance(Duration::from_hours(24 * 37) - Duration::from_secs(1));
        assert_eq!((sweep(&app).await.unwrap(), gone(&old).await), (0, false));
        let other = make(&app, new("Other", ada)).await.unwrap().id;
        let (late, _) = invited(&app, Some(ada), other, "late@example.com", "member").await.unwrap();
        app.clock.advance(Duration::from_secs(2));
        assert_eq!((sweep(&app).await.unwrap(), gone(&old).await, gone(&late).await), (1, true, false));
        assert_eq!(sweep(&app).await.unwrap(), 0);
    }

    async fn what_ends_with_its_role_is_said_of_each_organization(store: TestStore) {
        let app = app_with_roles(store).await;
        let ada = person(&app, "ada").await;
        for name in ["Acme", "Other"] {
            let own = make(&app, new(name, ada)).await.unwrap().id;
            invited(&app, Some(ada), own, "new@example.com", "buyer").await.unwrap();
        }
        change!(app, |change| async {
            crate::organization::invitation::end_all_to(&mut change, &code("buyer")).await.map_err(Refused::from)
        })
        .unwrap();
        let rows = audit::latest(&app.db, 100).await.unwrap();
        assert_eq!(rows.iter().filter(|row| row.code == "invitation_ended").count(), 2);
    }

    async fn an_address_that_nobody_proved_ends_nobodys_invitation(store: TestStore) {
        let app = app_with_roles(store).await;
        let ada = person(&app, "ada").await;
        let acme = make(&app, new("Acme", ada)).await.unwrap().id;
        let (made, _) = invited(&app, Some(ada), acme, "dan@example.com", "member").await.unwrap();
        let new = account::NewAccount {
            email: Some(Email::parse("dan@example.com").unwrap()),
            ..account::NewAccount::of(DEFAULT_SITE)
        };
        let mut change = app.change(Actor::command_line()).await.unwrap();
        let liar = account::create(&mut change, &new, audit::How::Administrator).await.unwrap();
        crate::organization::invitation::erase(&mut change, &liar).await.unwrap();
        change.commit().await.unwrap();
        assert_eq!(status(&app, &made).await, Status::Pending);
    }
}
