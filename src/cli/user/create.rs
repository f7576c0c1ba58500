//! `portcullis user create`: an account that exists from the next request on.
//! The password obeys the same policy as everybody's.

use serde_json::json;

use crate::account::{self, Account, NewAccount, Taken, WriteError};
use crate::audit::How;
use crate::base::{Email, Phone, Secret};
use crate::cli::office::Office;
use crate::cli::out::{AsJson, Failure, Out};
use crate::cli::password::FromStdin;
use crate::crypto::password::policy::Owner;
use crate::store::DEFAULT_SITE;

/// Create an account
///
/// Prints {"id", "email"} as JSON.
#[derive(clap::Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each flag of the command line stands for itself")]
pub struct Create {
    /// E-mail address to log in with
    #[arg(value_parser = Email::parse)]
    email: Email,
    /// Phone number with country code, such as +33612345678
    #[arg(long, value_parser = Phone::parse)]
    phone: Option<Phone>,
    /// First name
    #[arg(long, default_value = "", hide_default_value = true)]
    first_name: String,
    /// Last name
    #[arg(long, default_value = "", hide_default_value = true)]
    last_name: String,
    /// Holds every permission
    #[arg(long)]
    superuser: bool,
    /// Counts as staff where a route asks for it
    #[arg(long)]
    staff: bool,
    /// Take e-mail address and phone number for proved
    #[arg(long)]
    verified: bool,
    /// Whoever logs in with the password must choose another one before anything else
    #[arg(long)]
    must_change: bool,
    /// Without a password: for people who log in with codes by text message
    #[arg(long, conflicts_with_all = ["password_stdin", "must_change"])]
    no_password: bool,
    #[command(flatten)]
    password: FromStdin,
    #[command(flatten)]
    json: AsJson,
}

impl Create {
    pub async fn run(&self, office: &Office, out: &mut Out) -> Result<(), Failure> {
        let owner = Owner { email: Some(self.email.as_str()), username: None };
        let password_hash =
            if self.no_password { None } else { Some(office.chosen(self.password, &owner).await?) };
        let new = NewAccount {
            email: Some(self.email.clone()),
            phone: self.phone.clone(),
            password_hash,
            must_change_password: self.must_change,
            first_name: self.first_name.clone(),
            last_name: self.last_name.clone(),
            is_staff: self.staff,
            is_superuser: self.superuser,
            is_verified: self.verified,
            ..NewAccount::of(DEFAULT_SITE)
        };
        let made = write(office, &new).await?;
        self.json.anyway();
        out.json(&json!({"id": made.id.to_string(), "email": self.email.as_str()}))
    }
}

/// Makes the first account of a new store, which may do everything.
pub async fn superuser(office: &Office, email: Email, password: Secret<String>) -> Result<Account, Failure> {
    let owner = Owner { email: Some(email.as_str()), username: None };
    let password_hash = Some(office.hashed(password, &owner).await?);
    let new = NewAccount {
        email: Some(email),
        password_hash,
        is_staff: true,
        is_superuser: true,
        is_verified: true,
        ..NewAccount::of(DEFAULT_SITE)
    };
    write(office, &new).await
}

async fn write(office: &Office, new: &NewAccount) -> Result<Account, Failure> {
    let mut change = office.change().await?;
    let made = account::create(&mut change, new, How::Administrator).await.map_err(refused)?;
    change.commit().await?;
    Ok(made)
}

fn refused(error: WriteError) -> Failure {
    match error {
        WriteError::Taken(Taken::Email) => Failure::problem("this e-mail address has an account already"),
        WriteError::Taken(Taken::Phone) => Failure::problem("this phone number has an account already"),
        WriteError::Taken(Taken::Username) => Failure::problem("this user name has an account already"),
        WriteError::Store(error) => error.into(),
    }
}
