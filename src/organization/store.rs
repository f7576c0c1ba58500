//! The tables of organizations and memberships.
//!
//! Law: whatever changes who belongs to an organization holds that organization's row first, so
//! that changes of one organization come one after the other. Only active rows count for anything.

use super::{Member, Organization};
use crate::base::{Id, Number, Slug, Timestamp};
use crate::policy::Code;
use crate::principal::Membership;
use crate::store::{Error, FromRow, Source, Stmt, Tx, sql};

#[derive(FromRow)]
struct OrganizationRow {
    id: Id,
    number: Number,
    site_id: Id,
    slug: Slug,
    name: String,
    description: String,
    parent_id: Option<Id>,
    depth: i64,
    is_active: bool,
    created_at: Timestamp,
    plan: String,
    status: String,
    max_members: i64,
}

impl From<OrganizationRow> for Organization {
    fn from(row: OrganizationRow) -> Self {
        Self {
            id: row.id,
            number: row.number,
            site: row.site_id,
            slug: row.slug,
            name: row.name,
            description: row.description,
            parent: row.parent_id,
            depth: u32::try_from(row.depth).unwrap_or(u32::MAX),
            is_active: row.is_active,
            created_at: row.created_at,
            plan: row.plan.into(),
            status: row.status.into(),
            max_members: u32::try_from(row.max_members).unwrap_or(u32::MAX),
        }
    }
}

fn organizations() -> Stmt {
    sql("SELECT id, number, site_id, slug, name, description, parent_id, depth, is_active, created_at, \
         plan, status, max_members FROM organization")
}

/// The active organization of this slug.
pub(super) async fn by_slug(
    mut src: impl Source,
    site: Id,
    slug: &Slug,
) -> Result<Option<Organization>, Error> {
    let rows = organizations().push("WHERE site_id = ? AND slug = ? AND is_active = ?");
    let row = src.optional::<OrganizationRow>(rows.bind(site).bind(slug).bind(true)).await?;
    Ok(row.map(Organization::from))
}

/// The organization of this id, active or not.
pub(super) async fn by_id(mut src: impl Source, id: Id) -> Result<Option<Organization>, Error> {
    let row = src.optional::<OrganizationRow>(organizations().push("WHERE id = ?").bind(id)).await?;
    Ok(row.map(Organization::from))
}

/// Every active organization of a site, roots first.
pub(super) async fn list(mut src: impl Source, site: Id) -> Result<Vec<Organization>, Error> {
    let rows = organizations().push("WHERE site_id = ? AND is_active = ? ORDER BY depth, slug, id");
    let rows = src.all::<OrganizationRow>(rows.bind(site).bind(true)).await?;
    Ok(rows.into_iter().map(Organization::from).collect())
}

/// The active organizations directly below any of these.
pub(super) async fn children(mut src: impl Source, parents: &[Id]) -> Result<Vec<Id>, Error> {
    let rows = sql("SELECT id FROM organization WHERE parent_id IN").list(parents.iter().copied());
    let rows = rows.push("AND is_active = ? ORDER BY id").bind(true);
    Ok(src.all::<(Id,)>(rows).await?.into_iter().map(|(id,)| id).collect())
}

/// Those of these slugs that a site has, whether active or not: they stay taken.
pub(super) async fn slugs_of(mut src: impl Source, site: Id, slugs: &[String]) -> Result<Vec<String>, Error> {
    let rows = sql("SELECT slug FROM organization WHERE site_id = ? AND slug IN").bind(site);
    let rows = src.all::<(String,)>(rows.list(slugs.iter().map(String::as_str))).await?;
    Ok(rows.into_iter().map(|(slug,)| slug).collect())
}

/// Inserts an organization unless its slug is taken; whether it was inserted.
pub(super) async fn insert(tx: &mut Tx, organization: &Organization, by: Id) -> Result<bool, Error> {
    let insert = sql("INSERT INTO organization (id, number, site_id, slug, name, description, parent_id, \
                      depth, is_active, created_at, updated_at, plan, status, created_by) \
                      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
    .bind(organization.id)
    .bind(organization.number)
    .bind(organization.site)
    .bind(&organization.slug)
    .bind(organization.name.as_str())
    .bind(organization.description.as_str())
    .bind(organization.parent)
    .bind(organization.depth)
    .bind(organization.is_active)
    .bind(organization.created_at)
    .bind(organization.created_at)
    .bind(&*organization.plan)
    .bind(&*organization.status)
    .bind(by);
    tx.execute(insert.upsert(&["site_id", "slug"], &[])).await?;
    let stands = sql("SELECT id FROM organization WHERE site_id = ? AND slug = ?");
    let (id,): (Id,) = tx.one(stands.bind(organization.site).bind(&organization.slug)).await?;
    Ok(id == organization.id)
}

/// Takes the row of an active organization until the transaction ends; whether there is one.
pub(super) async fn hold(tx: &mut Tx, id: Id, now: Timestamp) -> Result<bool, Error> {
    let update = sql("UPDATE organization SET updated_at = ? WHERE id = ? AND is_active = ?");
    Ok(tx.execute(update.bind(now).bind(id).bind(true)).await? == 1)
}

#[derive(FromRow)]
struct MembershipRow {
    organization_id: Id,
    number: Number,
    slug: Slug,
    role_code: Code,
}

/// The active memberships of an account in active organizations.
pub(super) async fn memberships(mut src: impl Source, account: Id) -> Result<Vec<Membership>, Error> {
    let rows = sql("SELECT m.organization_id, o.number, o.slug, m.role_code FROM membership m \
                    JOIN organization o ON o.id = m.organization_id \
                    WHERE m.account_id = ? AND m.status = 'active' AND o.is_active = ? \
                    ORDER BY o.slug, o.id");
    let rows = src.all::<MembershipRow>(rows.bind(account).bind(true)).await?;
    let memberships = rows.into_iter().map(|row| Membership {
        organization: row.organization_id,
        number: row.number,
        slug: row.slug,
        role: row.role_code,
    });
    Ok(memberships.collect())
}

#[derive(FromRow)]
struct MemberRow {
    id: Id,
    number: Number,
    account_id: Id,
    role_code: Code,
    created_at: Timestamp,
}

/// The active members of an organization, in the order in which they came.
pub(super) async fn members(mut src: impl Source, organization: Id) -> Result<Vec<Member>, Error> {
    let rows = sql("SELECT id, number, account_id, role_code, created_at FROM membership \
                    WHERE organization_id = ? AND status = 'active' ORDER BY created_at, id");
    let rows = src.all::<MemberRow>(rows.bind(organization)).await?;
    let members = rows.into_iter().map(|row| Member {
        id: row.id,
        number: row.number,
        account: row.account_id,
        role: row.role_code,
        since: row.created_at,
    });
    Ok(members.collect())
}

/// What an account is in an organization now.
pub(super) async fn role_of(
    mut src: impl Source,
    organization: Id,
    account: Id,
) -> Result<Option<Code>, Error> {
    let row = sql("SELECT role_code FROM membership \
                   WHERE organization_id = ? AND account_id = ? AND status = 'active'");
    let row = src.optional::<(Code,)>(row.bind(organization).bind(account)).await?;
    Ok(row.map(|(role,)| role))
}

/// The accounts but this one that have a role in an organization, so many as are worth looking at.
pub(super) async fn others_with(
    mut src: impl Source,
    organization: Id,
    account: Id,
    role: &Code,
) -> Result<Vec<Id>, Error> {
    let rows = sql("SELECT account_id FROM membership WHERE organization_id = ? AND account_id <> ? \
                    AND role_code = ? AND status = 'active' ORDER BY account_id LIMIT 1000");
    let rows = src.all::<(Id,)>(rows.bind(organization).bind(account).bind(role)).await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Inserts a membership unless the account has one; whether it was inserted.
pub(super) async fn add_member(
    tx: &mut Tx,
    organization: Id,
    member: &Member,
    invited_by: Option<Id>,
) -> Result<bool, Error> {
    let insert = sql("INSERT INTO membership (id, number, organization_id, account_id, role_code, status, \
                      created_at, updated_at, invited_by) VALUES (?, ?, ?, ?, ?, 'active', ?, ?, ?)")
    .bind(member.id)
    .bind(member.number)
    .bind(organization)
    .bind(member.account)
    .bind(&member.role)
    .bind(member.since)
    .bind(member.since)
    .bind(invited_by);
    tx.execute(insert.upsert(&["organization_id", "account_id"], &[])).await?;
    let stands = sql("SELECT id FROM membership WHERE organization_id = ? AND account_id = ?");
    let (id,): (Id,) = tx.one(stands.bind(organization).bind(member.account)).await?;
    Ok(id == member.id)
}

/// Removes a membership; whether there was one.
pub(super) async fn remove_member(tx: &mut Tx, organization: Id, account: Id) -> Result<bool, Error> {
    let delete = sql("DELETE FROM membership WHERE organization_id = ? AND account_id = ?");
    Ok(tx.execute(delete.bind(organization).bind(account)).await? == 1)
}

/// Makes an active member something else; whether it was anything but that.
pub(super) async fn set_role(
    tx: &mut Tx,
    organization: Id,
    account: Id,
    role: &Code,
    now: Timestamp,
) -> Result<bool, Error> {
    let update = sql("UPDATE membership SET role_code = ?, updated_at = ? WHERE organization_id = ? \
                      AND account_id = ? AND status = 'active' AND role_code <> ?");
    let update = update.bind(role).bind(now).bind(organization).bind(account).bind(role);
    Ok(tx.execute(update).await? == 1)
}

/// The organizations that an account belongs to in any way, active or not, by id.
pub(super) async fn of_member(mut src: impl Source, account: Id) -> Result<Vec<Id>, Error> {
    let rows = sql("SELECT organization_id FROM membership WHERE account_id = ? ORDER BY organization_id");
    Ok(src.all::<(Id,)>(rows.bind(account)).await?.into_iter().map(|(id,)| id).collect())
}

/// Whether nobody but this account belongs to an organization, and none stands below it.
pub(super) async fn is_alone(mut src: impl Source, organization: Id, account: Id) -> Result<bool, Error> {
    let others = sql("SELECT COUNT(*) FROM membership WHERE organization_id = ? AND account_id <> ?");
    let (others,): (i64,) = src.one(others.bind(organization).bind(account)).await?;
    Ok(others == 0 && children(&mut src, &[organization]).await?.is_empty())
}

/// The active organizations that have this account as their only owner, and others in or below them.
pub(super) async fn orphans(mut src: impl Source, account: Id, owner: &Code) -> Result<Vec<Slug>, Error> {
    let rows = sql("SELECT o.slug FROM membership m JOIN organization o ON o.id = m.organization_id \
                    WHERE m.account_id = ? AND m.role_code = ? AND m.status = 'active' AND o.is_active = ?")
    .bind(account)
    .bind(owner)
    .bind(true)
    .push("AND NOT EXISTS (SELECT 1 FROM membership n WHERE n.organization_id = o.id")
    .push("AND n.account_id <> m.account_id AND n.role_code = ? AND n.status = 'active')")
    .bind(owner)
    .push("AND (EXISTS (SELECT 1 FROM membership n WHERE n.organization_id = o.id")
    .push("AND n.account_id <> m.account_id)")
    .push("OR EXISTS (SELECT 1 FROM organization c WHERE c.parent_id = o.id AND c.is_active = ?))")
    .bind(true)
    .push("ORDER BY o.slug, o.id");
    Ok(src.all::<(Slug,)>(rows).await?.into_iter().map(|(slug,)| slug).collect())
}

/// Whether anybody anywhere has this role.
pub(super) async fn is_anyone(mut src: impl Source, role: &Code) -> Result<bool, Error> {
    let one = sql("SELECT account_id FROM membership WHERE role_code = ? LIMIT 1").bind(role);
    Ok(src.optional::<(Id,)>(one).await?.is_some())
}

/// Forgets what an organization was called that was somebody's alone who is gone: it may be their name.
pub(super) async fn forget_name(tx: &mut Tx, id: Id) -> Result<(), Error> {
    let update = sql("UPDATE organization SET name = '-', description = '' WHERE id = ?");
    tx.execute(update.bind(id)).await.map(drop)
}

/// Switches an organization off.
pub(super) async fn switch_off(tx: &mut Tx, id: Id, now: Timestamp) -> Result<(), Error> {
    let update = sql("UPDATE organization SET is_active = ?, updated_at = ? WHERE id = ?");
    tx.execute(update.bind(false).bind(now).bind(id)).await.map(drop)
}

/// How many belong to an organization.
pub(super) async fn count_members(mut src: impl Source, organization: Id) -> Result<i64, Error> {
    let count = sql("SELECT COUNT(*) FROM membership WHERE organization_id = ? AND status = 'active'");
    let (count,): (i64,) = src.one(count.bind(organization)).await?;
    Ok(count)
}

/// How many belong to each of these organizations; those that nobody belongs to are left out.
pub(super) async fn count_members_of(mut src: impl Source, ids: &[Id]) -> Result<Vec<(Id, i64)>, Error> {
    let count = sql("SELECT organization_id, COUNT(*) FROM membership WHERE status = 'active'");
    let count = count.push("AND organization_id IN").list(ids.iter().copied());
    src.all(count.push("GROUP BY organization_id")).await
}

/// How many active organizations an account owns.
pub(super) async fn count_owned(mut src: impl Source, account: Id, owner: &Code) -> Result<i64, Error> {
    let count = sql("SELECT COUNT(*) FROM membership m JOIN organization o ON o.id = m.organization_id \
                     WHERE m.account_id = ? AND m.role_code = ? AND m.status = 'active' AND o.is_active = ?");
    let (count,): (i64,) = src.one(count.bind(account).bind(owner).bind(true)).await?;
    Ok(count)
}

/// How many organizations an account has made since then, active or not.
pub(super) async fn count_made(mut src: impl Source, account: Id, since: Timestamp) -> Result<i64, Error> {
    let count = sql("SELECT COUNT(*) FROM organization WHERE created_by = ? AND created_at > ?");
    let (count,): (i64,) = src.one(count.bind(account).bind(since)).await?;
    Ok(count)
}

/// The organizations that an account is an active member of, active or not, with its role in each.
pub(super) async fn of_account(
    mut src: impl Source,
    account: Id,
) -> Result<Vec<(Organization, Code)>, Error> {
    let held = sql("SELECT organization_id, role_code FROM membership WHERE account_id = ? \
                    AND status = 'active' ORDER BY organization_id");
    let held: Vec<(Id, Code)> = src.all(held.bind(account)).await?;
    let mut all = Vec::new();
    for page in held.chunks(500) {
        let rows = organizations().push("WHERE id IN").list(page.iter().map(|(id, _)| *id));
        for row in src.all::<OrganizationRow>(rows.push("ORDER BY id")).await? {
            let organization = Organization::from(row);
            let role = page.iter().find(|(id, _)| *id == organization.id).map(|(_, role)| role.clone());
            all.extend(role.map(|role| (organization, role)));
        }
    }
    Ok(all)
}

/// The organizations of these ids.
pub(super) async fn by_ids(mut src: impl Source, ids: &[Id]) -> Result<Vec<Organization>, Error> {
    let rows = organizations().push("WHERE id IN").list(ids.iter().copied()).push("ORDER BY id");
    Ok(src.all::<OrganizationRow>(rows).await?.into_iter().map(Organization::from).collect())
}

/// The organization of a site that has this number.
pub(super) async fn by_number(
    mut src: impl Source,
    site: Id,
    number: Number,
) -> Result<Option<Organization>, Error> {
    let row = organizations().push("WHERE site_id = ? AND number = ?").bind(site).bind(number);
    Ok(src.optional::<OrganizationRow>(row).await?.map(Organization::from))
}

/// The active organizations directly below any of these, so many at most.
pub(super) async fn below(
    mut src: impl Source,
    parents: &[Id],
    most: u32,
) -> Result<Vec<Organization>, Error> {
    let rows = organizations().push("WHERE parent_id IN").list(parents.iter().copied());
    let rows = rows.push("AND is_active = ? ORDER BY slug, id LIMIT ?").bind(true).bind(most);
    Ok(src.all::<OrganizationRow>(rows).await?.into_iter().map(Organization::from).collect())
}

/// What only those who look at an organization closely are told.
#[derive(FromRow)]
pub(super) struct Details {
    pub id: Id,
    pub metadata: Option<String>,
    pub created_by: Option<Id>,
    pub updated_at: Timestamp,
}

pub(super) async fn details(mut src: impl Source, ids: &[Id]) -> Result<Vec<Details>, Error> {
    let rows = sql("SELECT id, metadata, created_by, updated_at FROM organization WHERE id IN");
    src.all(rows.list(ids.iter().copied())).await
}

/// Somebody who belongs to an organization, with all that is kept of it.
#[derive(FromRow)]
pub(super) struct Belongs {
    pub number: Number,
    pub account_id: Id,
    pub role_code: Code,
    pub invited_by: Option<Id>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// Which members are looked for.
pub(super) struct Sought {
    pub account: Option<Id>,
    pub role: Option<Code>,
    pub before: Option<i64>,
}

/// Active members, the latest first, so many at most.
pub(super) async fn belonging(
    mut src: impl Source,
    organization: Id,
    sought: &Sought,
    limit: u32,
) -> Result<Vec<Belongs>, Error> {
    let rows =
        sql("SELECT number, account_id, role_code, invited_by, created_at, updated_at FROM membership \
                    WHERE organization_id = ? AND status = 'active'");
    let rows = rows.bind(organization).and_if(sought.account, "account_id = ?");
    let rows = rows.and_if(sought.role.as_ref(), "role_code = ?").and_if(sought.before, "number < ?");
    src.all(rows.push("ORDER BY number DESC LIMIT ?").bind(limit)).await
}
