//! `portcullis user delete` and `export`: what people may ask for of what is kept of them.
//! A deletion waits as one does that its person asked for, unless it is to happen now.

use super::{LAST_SUPERUSER, Whose, facts};
use crate::audit::How;
use crate::base::{Slug, Timestamp};
use crate::cli::office::Office;
use crate::cli::out::{Failure, Out};
use crate::privacy::{self, NotErased, Refused};

/// Delete an account and everything that is kept of its person
#[derive(clap::Args, Debug)]
pub struct Delete {
    #[command(flatten)]
    whose: Whose,
    /// At once and for good, instead of after `accounts.deletion.grace`
    #[arg(long, conflicts_with = "cancel")]
    now: bool,
    /// Call off a deletion that waits
    #[arg(long)]
    cancel: bool,
}

/// Print everything that is kept of a person, as JSON
#[derive(clap::Args, Debug)]
pub struct Export {
    #[command(flatten)]
    whose: Whose,
}

impl Delete {
    pub async fn run(&self, office: &Office, out: &mut Out) -> Result<(), Failure> {
        let account = office.person(&self.whose.user).await?;
        let mut change = office.change().await?;
        if self.cancel {
            if privacy::cancel(&mut change, &account).await? == 0 {
                let text = "nothing to do: no deletion of this account waits";
                return self.whose.told(&account, false, text, out);
            }
            change.commit().await?;
            return self.whose.told(&account, true, "called off: the account stays", out);
        }
        if self.now {
            privacy::erase_now(&mut change, &account, How::Administrator).await.map_err(not_erased)?;
            change.commit().await?;
            let text = "deleted, with everything that was kept of this person";
            return self.whose.told(&account, true, text, out);
        }
        let deletion = privacy::schedule(&mut change, &account).await.map_err(refused)?;
        change.commit().await?;
        let due_at = deletion.due_at.map(Timestamp::rfc3339).unwrap_or_default();
        let text = format!("will be deleted after {due_at}; `--cancel` calls it off");
        let mut facts = facts(&account);
        facts["due_at"] = due_at.into();
        out.done(self.whose.json, true, facts, text)
    }
}

impl Export {
    pub async fn run(&self, office: &Office, out: &mut Out) -> Result<(), Failure> {
        let account = office.person(&self.whose.user).await?;
        let mut change = office.change().await?;
        let all = privacy::export(&mut change, &account, u32::MAX).await?;
        change.commit().await?;
        out.json(&all)
    }
}

fn refused(refused: Refused) -> Failure {
    match refused {
        Refused::SoleOwner(slugs) => sole_owner(&slugs),
        Refused::LastSuperuser => Failure::problem(LAST_SUPERUSER),
        Refused::Gone => Failure::problem("the account is gone"),
        Refused::Store(cause) => cause.into(),
    }
}

fn not_erased(not: NotErased) -> Failure {
    match not {
        NotErased::SoleOwner(slugs) => sole_owner(&slugs),
        NotErased::LastSuperuser => Failure::problem(LAST_SUPERUSER),
        NotErased::Gone => Failure::problem("the account is gone"),
        NotErased::Store(cause) => cause.into(),
    }
}

fn sole_owner(slugs: &[Slug]) -> Failure {
    let slugs: Vec<String> = slugs.iter().map(ToString::to_string).collect();
    Failure::problem(format!(
        "others belong to organizations that only this person owns: {}; make somebody else owner first",
        slugs.join(", ")
    ))
}
