//! What the role of a gateway may do, on PostgreSQL: everything that it needs, and nothing to the audit rows but
//! to add and to read them.
//!
//! Law: what is granted is checked in the same transaction by asking the database, so that a right which came by
//! another way (a group, a column, everybody's) is found and nothing is granted that does not hold. What lies
//! beside the trail about a person may be removed once the account is erased, and never before.

use std::fmt;

use super::{Db, Dialect, Error, Source as _, sql};

const NAME_MAX: usize = 63;

/// Why a role was granted nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotGranted {
    /// Only PostgreSQL is known to keep a role from rows.
    NotPostgres,
    /// No name that can be written.
    Name,
    /// There is no such role.
    Unknown,
    /// It owns the tables, may do everything that their owner may, or can give itself roles: no grant binds it.
    Owner,
    /// There are no tables yet.
    NoTables,
    /// It may change audit rows by a right that was not taken from it here.
    StillMay,
    Store(Error),
}

impl fmt::Display for NotGranted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotPostgres => "only PostgreSQL has roles that this command knows: nothing was granted",
            Self::Name => "a role has a name of letters, digits, `_` and `-`, at most 63",
            Self::Unknown => "there is no such role: make it with CREATE ROLE … LOGIN first",
            Self::Owner => {
                "this role owns the tables, or may do what their owner may, or make roles (CREATEROLE), so nothing binds it: make another one for gateways"
            }
            Self::NoTables => "there are no tables yet in this role's schema",
            Self::StillMay => {
                "this role could change audit rows all the same, by a role that it belongs to: nothing was granted"
            }
            Self::Store(cause) => return cause.fmt(f),
        })
    }
}

impl std::error::Error for NotGranted {}

impl From<Error> for NotGranted {
    fn from(cause: Error) -> Self {
        Self::Store(cause)
    }
}

/// Lets `role` serve as a gateway. Called by the owner of the tables, and again whenever there are new ones.
///
/// # Errors
/// [`NotGranted`]; nothing has changed then.
pub async fn to_gateway(db: &Db, role: &str) -> Result<(), NotGranted> {
    if db.dialect() != Dialect::Postgres {
        return Err(NotGranted::NotPostgres);
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if role.is_empty() || role.len() > NAME_MAX || !role.chars().all(is_plain) {
        return Err(NotGranted::Name);
    }
    let mut tx = db.begin().await?;
    let known: Option<(bool,)> = tx
        .optional(
            sql("SELECT r.rolsuper OR r.rolcreaterole OR pg_has_role(r.oid, c.relowner, 'MEMBER') FROM pg_roles r, pg_class c \
                 WHERE r.rolname = ? AND c.oid = to_regclass('audit')")
            .bind(role),
        )
        .await?;
    let tables: Vec<(String, String)> = tx
        .all(sql("SELECT n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                  WHERE c.relkind IN ('r', 'p') AND c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('audit')) \
                  AND c.relowner = (SELECT relowner FROM pg_class WHERE oid = to_regclass('audit')) ORDER BY c.relname"))
        .await?;
    let Some((schema, _)) = tables.first() else { return Err(NotGranted::NoTables) };
    match known {
        None => return Err(NotGranted::Unknown),
        Some((true,)) => return Err(NotGranted::Owner),
        Some((false,)) => {}
    }
    let schema = quoted(schema);
    let names: Vec<String> = tables.iter().map(|(_, table)| format!("{schema}.{}", quoted(table))).collect();
    tx.raw(statements(&schema, &names.join(", "), &quoted(role))).await?;
    // Of whatever it can become, too: what is not inherited is reached by SET ROLE.
    let still = sql("SELECT bool_or(has_table_privilege(m.oid, t.oid, p.name) OR (p.name = 'UPDATE' \
                     AND has_any_column_privilege(m.oid, t.oid, 'UPDATE'))) FROM pg_roles r \
                     JOIN pg_roles m ON pg_has_role(r.oid, m.oid, 'MEMBER'), pg_class t, \
                     (VALUES ('UPDATE'), ('DELETE'), ('TRUNCATE'), ('TRIGGER')) AS p(name) WHERE r.rolname = ? AND \
                     (t.oid = to_regclass('audit') OR (t.oid = to_regclass('audit_personal') AND p.name <> 'DELETE'))");
    let (still_may,): (bool,) = tx.one(still.bind(role)).await?;
    if still_may {
        return Err(NotGranted::StillMay);
    }
    tx.commit().await?;
    Ok(())
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The guard knows who asks by who owns the table, and looks for accounts in this schema and nowhere else: a
/// role can make a table of its own that is called the same.
fn statements(schema: &str, tables: &str, role: &str) -> String {
    format!(
        "GRANT USAGE ON SCHEMA {schema} TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON {tables} TO {role};
REVOKE ALL ON {schema}.audit, {schema}.audit_personal, {schema}.schema_step FROM PUBLIC, {role};
GRANT SELECT ON {schema}.schema_step TO {role};
GRANT SELECT, INSERT ON {schema}.audit TO {role};
GRANT SELECT, INSERT, DELETE ON {schema}.audit_personal TO {role};
CREATE OR REPLACE FUNCTION {schema}.audit_personal_guard() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, {schema}, pg_temp AS $guard$
BEGIN
    IF pg_has_role(current_user, (SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'MEMBER') THEN
        RETURN OLD;
    END IF;
    IF EXISTS (SELECT 1 FROM {schema}.account WHERE id = OLD.account_id AND deleted_at IS NOT NULL) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'permission denied: what lies beside the audit trail leaves with its person'
        USING ERRCODE = 'insufficient_privilege';
END
$guard$;
DROP TRIGGER IF EXISTS audit_personal_guard ON {schema}.audit_personal;
CREATE TRIGGER audit_personal_guard BEFORE DELETE ON {schema}.audit_personal
FOR EACH ROW EXECUTE FUNCTION {schema}.audit_personal_guard();"
    )
}
