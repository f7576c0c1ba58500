//! `portcullis user password`, `verify`, `lock`, `unlock`, `ban`, `unban`, `reset-2fa`: whether and how somebody may log in.
//! Where it is so already, nothing is written and the command says so.

use std::time::Duration;

use super::{LAST_SUPERUSER, Whose, facts};
use crate::account::{self, Account, Channel, MustChange, NewPassword};
use crate::app::Change;
use crate::audit::How;
use crate::base::Timestamp;
use crate::cli::office::Office;
use crate::cli::out::{Failure, Out};
use crate::cli::password::FromStdin;
use crate::crypto::password::policy::Owner;
use crate::factor;
use crate::login;

/// Set a new password; this ends every session of the account
#[derive(clap::Args, Debug)]
pub struct Password {
    #[command(flatten)]
    whose: Whose,
    /// Whoever logs in with it must choose another one before anything else
    #[arg(long)]
    must_change: bool,
    #[command(flatten)]
    from: FromStdin,
}

/// Take an e-mail address or phone number for proved
#[derive(clap::Args, Debug)]
pub struct Verify {
    #[command(flatten)]
    whose: Whose,
    /// The phone number instead of the e-mail address
    #[arg(long)]
    phone: bool,
}

/// Lock an account; this ends its sessions and stops what runs in its name
#[derive(clap::Args, Debug)]
pub struct Lock {
    #[command(flatten)]
    whose: Whose,
    /// For how many minutes; without it, until `user unlock`
    #[arg(long, value_name = "MINUTES", value_parser = clap::value_parser!(u32).range(1..))]
    minutes: Option<u32>,
}

/// Lift a lock, an administrator's or one after too many wrong passwords
#[derive(clap::Args, Debug)]
pub struct Unlock {
    #[command(flatten)]
    whose: Whose,
}

/// Shut an account out for good; this ends its sessions and stops what runs in its name
#[derive(clap::Args, Debug)]
pub struct Ban {
    #[command(flatten)]
    whose: Whose,
}

/// Let a banned account in again
#[derive(clap::Args, Debug)]
pub struct Unban {
    #[command(flatten)]
    whose: Whose,
}

/// Turn the second factor off, for somebody who has lost device and backup codes
#[derive(clap::Args, Debug)]
pub struct ResetSecondFactor {
    #[command(flatten)]
    whose: Whose,
}

impl Password {
    pub async fn run(&self, office: &Office, out: &mut Out) -> Result<(), Failure> {
        let account = office.person(&self.whose.user).await?;
        let email = account.email.as_ref().map(ToString::to_string);
        let username = account.username.as_ref().map(ToString::to_string);
        let owner = Owner { email: email.as_deref(), username: username.as_deref() };
        let hash = office.chosen(self.from, &owner).await?;
        let new = NewPassword {
            was: account.password_hash.as_ref(),
            hash: &hash,
            must_change: if self.must_change { MustChange::AtNextLogin } else { MustChange::No },
            how: How::Administrator,
            history: office.config().accounts.password.history,
        };
        let mut change = office.change().await?;
        if !account::set_password(&mut change, account.id, new).await? {
            return Err(Failure::problem(
                "somebody else changed the password at the same time; look, and try again",
            ));
        }
        change.commit().await?;
        self.whose.told(&account, true, "the password is set, and every session has ended", out)
    }
}

impl Verify {
    pub async fn run(&self, office: &Office, out: &mut Out) -> Result<(), Failure> {
        let account = office.person(&self.whose.user).await?;
        let channel = if self.phone { Channel::Phone } else { Channel::Email };
        let mut change = office.change().await?;
        if !account::verify(&mut change, account.id, channel, How::Administrator).await? {
            let text = "nothing to do: there is none, or it is verified already";
            return self.whose.told(&account, false, text, out);
        }
        change.commit().await?;
        self.whose.told(&account, true, "verified", out)
    }
}

impl Lock {
    pub async fn run(&self, office: &Office, out: &mut Out) -> Result<(), Failure> {
        let account = office.person(&self.whose.user).await?;
        let lasting = self.minutes.map(|minutes| Duration::from_mins(u64::from(minutes)));
        let until = lasting.map(|lasting| office.app.now().plus(lasting));
        let mut change = office.change().await?;
        if !account::lock(&mut change, account.id, until).await? {
            return self
                .whose
                .unchanged(&mut change, &account, "there is no such account any more", out)
                .await;
        }
        change.commit().await?;
        let until = until.map(Timestamp::rfc3339);
        let text = format!("locked until {}", until.as_deref().unwrap_or("`portcullis user unlock`"));
        let mut facts = facts(&account);
        facts["until"] = until.into();
        out.done(self.whose.json, true, facts, text)
    }
}

impl Whose {
    /// Why somebody was not shut out.
    async fn unchanged(
        &self,
        change: &mut Change<'_>,
        account: &Account,
        why: &str,
        out: &mut Out,
    ) -> Result<(), Failure> {
        if account::is_last_superuser(change, account.id).await? {
            return Err(Failure::problem(LAST_SUPERUSER));
        }
        self.told(account, false, format_args!("nothing to do: {why}"), out)
    }
}

impl Unlock {
    pub async fn run(&self, office: &Office, out: &mut Out) -> Result<(), Failure> {
        let account = office.person(&self.whose.user).await?;
        let mut change = office.change().await?;
        if !login::unlock(&mut change, &account).await? {
            return self.whose.told(&account, false, "nothing to do: the account is not locked", out);
        }
        change.commit().await?;
        self.whose.told(&account, true, "unlocked", out)
    }
}

impl Ban {
    pub async fn run(&self, office: &Office, out: &mut Out) -> Result<(), Failure> {
        let account = office.person(&self.whose.user).await?;
        let mut change = office.change().await?;
        if !account::set_ban(&mut change, account.id, account::Ban::Imposed).await? {
            return self.whose.unchanged(&mut change, &account, "the account is banned already", out).await;
        }
        change.commit().await?;
        self.whose.told(&account, true, "banned until `portcullis user unban`", out)
    }
}

impl Unban {
    pub async fn run(&self, office: &Office, out: &mut Out) -> Result<(), Failure> {
        let account = office.person(&self.whose.user).await?;
        let mut change = office.change().await?;
        if !account::set_ban(&mut change, account.id, account::Ban::Lifted).await? {
            return self.whose.told(&account, false, "nothing to do: the account is not banned", out);
        }
        change.commit().await?;
        self.whose.told(&account, true, "unbanned", out)
    }
}

impl ResetSecondFactor {
    pub async fn run(&self, office: &Office, out: &mut Out) -> Result<(), Failure> {
        let account = office.person(&self.whose.user).await?;
        let mut change = office.change().await?;
        if !factor::disable(&mut change, &account).await? {
            return self.whose.told(&account, false, "nothing to do: the account has no second factor", out);
        }
        change.commit().await?;
        self.whose.told(&account, true, "the second factor is off, and its backup codes are void", out)
    }
}
