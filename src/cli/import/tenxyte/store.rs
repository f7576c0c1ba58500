//! The SQL that reads Tenxyte's tables.
//!
//! Law: nothing is written there. Keys come as text, because their types differ between installations.

use crate::store::{Db, Error, FromRow, Source as _, sql};

/// Somebody, with what every version of the table has.
#[derive(FromRow)]
#[expect(clippy::struct_excessive_bools, reason = "each flag is a column of the table")]
pub(super) struct User {
    pub whose: String,
    pub email: Option<String>,
    pub phone_country_code: Option<String>,
    pub phone_number: Option<String>,
    pub password: String,
    pub first_name: String,
    pub last_name: String,
    pub is_email_verified: bool,
    pub is_phone_verified: bool,
    pub is_2fa_enabled: bool,
    pub is_active: bool,
    pub is_banned: bool,
    pub is_deleted: bool,
    pub is_staff: bool,
    pub is_superuser: bool,
    /// `forever` or `running`; empty where there is none.
    pub lock_state: String,
}

/// What newer versions have beside it.
#[derive(FromRow)]
pub(super) struct Profile {
    pub whose: String,
    pub username: Option<String>,
    pub bio: Option<String>,
    pub timezone: Option<String>,
    pub language: Option<String>,
    pub must_change_password: bool,
}

/// A right that somebody holds.
#[derive(FromRow)]
pub(super) struct Held {
    pub whose: String,
    pub code: String,
}

#[derive(FromRow)]
pub(super) struct Organization {
    pub whose: String,
    pub parent: Option<String>,
    pub slug: String,
    pub name: String,
    pub description: String,
    pub is_active: bool,
}

#[derive(FromRow)]
pub(super) struct Member {
    pub organization: String,
    pub whose: String,
    pub role: String,
    pub status: String,
}

pub(super) async fn users(mut db: &Db) -> Result<Vec<User>, Error> {
    let stmt = sql(
        "SELECT TRIM(CAST(id AS CHAR(40))) AS whose, email, phone_country_code, phone_number, password, \
         first_name, last_name, is_email_verified, is_phone_verified, is_2fa_enabled, is_active, is_banned, \
         is_deleted, is_staff, is_superuser, CASE WHEN is_locked = ? AND locked_until IS NULL THEN 'forever' \
         WHEN is_locked = ? AND locked_until > CURRENT_TIMESTAMP THEN 'running' ELSE '' END AS lock_state \
         FROM users ORDER BY id",
    );
    db.all(stmt.bind(true).bind(true)).await
}

pub(super) async fn profiles(mut db: &Db) -> Result<Vec<Profile>, Error> {
    let stmt = sql("SELECT TRIM(CAST(id AS CHAR(40))) AS whose, username, bio, timezone, language, \
                    must_change_password FROM users");
    db.all(stmt).await
}

pub(super) async fn roles(mut db: &Db) -> Result<Vec<Held>, Error> {
    let stmt = sql(
        "SELECT TRIM(CAST(held.user_id AS CHAR(40))) AS whose, roles.code AS code FROM users_roles held \
                    JOIN roles ON roles.id = held.role_id ORDER BY held.user_id, roles.code",
    );
    db.all(stmt).await
}

pub(super) async fn permissions(mut db: &Db) -> Result<Vec<Held>, Error> {
    let stmt = sql("SELECT TRIM(CAST(held.user_id AS CHAR(40))) AS whose, permissions.code AS code \
                    FROM users_direct_permissions held JOIN permissions ON permissions.id = held.permission_id \
                    ORDER BY held.user_id, permissions.code");
    db.all(stmt).await
}

pub(super) async fn organizations(mut db: &Db) -> Result<Vec<Organization>, Error> {
    let stmt = sql(
        "SELECT TRIM(CAST(id AS CHAR(40))) AS whose, TRIM(CAST(parent_id AS CHAR(40))) AS parent, slug, \
                    name, description, is_active FROM organizations ORDER BY id",
    );
    db.all(stmt).await
}

pub(super) async fn members(mut db: &Db) -> Result<Vec<Member>, Error> {
    let stmt = sql("SELECT TRIM(CAST(own.organization_id AS CHAR(40))) AS organization, \
                    TRIM(CAST(own.user_id AS CHAR(40))) AS whose, roles.code AS role, own.status AS status \
                    FROM organization_memberships own JOIN organization_roles roles ON roles.id = own.role_id \
                    ORDER BY own.organization_id, own.user_id");
    db.all(stmt).await
}
