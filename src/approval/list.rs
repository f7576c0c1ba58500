//! Lists of approvals: for people, of what they may see, and for operators.
//!
//! Law: the store filters and pages; who may look at what is shared is judged for each. Whoever may see
//! little is not shown less of it because others' stands before.

pub(super) mod store;

use std::collections::{BTreeSet, HashMap};

use super::rule::capacity_of;
use super::{Approval, State, may_decide};
use crate::app::App;
use crate::base::{Id, Number};
use crate::organization;
use crate::policy::Approver;
use crate::policy::approver::Capacity;
use crate::principal::Principal;
use crate::store::Error;
use store::Reader;

/// How many one list shows at most.
pub const LISTED_MAX: u32 = 1000;
/// How many it shows where nobody says.
const LISTED: u32 = 100;
/// How many are read at a time.
const PAGE: u32 = 500;
/// How many of those that are shared are looked at for one list: nobody makes the gateway read for long.
const LOOKED_AT: u32 = 20_000;
/// In how many organizations a person's approvals are looked for by name.
const PLACES: usize = 500;

/// Which approvals a list shows. What is absent does not matter.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// As it stands at this moment.
    pub state: Option<State>,
    pub agent_token: Option<Id>,
    pub agent: Option<String>,
    pub route: Option<String>,
    pub trace: Option<String>,
    /// Only those with a lesser number: what follows after the last one of a list.
    pub before: Option<Number>,
    /// At most [`LISTED_MAX`]; 100 if absent.
    pub limit: Option<u32>,
}

impl Filter {
    fn limit(&self) -> u32 {
        self.limit.unwrap_or(LISTED).min(LISTED_MAX)
    }
}

/// The approvals that this person may see, the newest first: those of the person's own agents, and
/// those that the person may decide about.
pub async fn list_for(app: &App, person: &Principal, filter: &Filter) -> Result<Vec<Approval>, Error> {
    look(app, person, filter, Wanted::Seen).await
}

/// What waits for this person's decision, the newest first.
pub async fn open_for(app: &App, person: &Principal, limit: u32) -> Result<Vec<Approval>, Error> {
    let pending = Filter { state: Some(State::Pending), limit: Some(limit), ..Filter::default() };
    look(app, person, &pending, Wanted::Decided).await
}

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// What the person may see.
    Seen,
    /// What the person decides about, which their own need not be.
    Decided,
}

async fn look(
    app: &App,
    person: &Principal,
    filter: &Filter,
    wanted: Wanted,
) -> Result<Vec<Approval>, Error> {
    let account = &person.account;
    let most = usize::try_from(filter.limit()).unwrap_or(usize::MAX);
    let (mut listed, mut looked_at) = (Vec::new(), 0);
    let mut filter = filter.clone();
    let reader = reader(app, person).await?;
    // What the person is in an organization is the same for all of its approvals.
    let mut known: Known = HashMap::new();
    while listed.len() < most && looked_at < LOOKED_AT {
        let page = store::listed(&app.db, account.site, Some(&reader), &filter, PAGE, app.now()).await?;
        let is_last = page.len() < PAGE as usize;
        filter.before = page.last().map(|last| last.number);
        looked_at += PAGE;
        for approval in page {
            let is_own = approval.account == account.id;
            if (is_own && wanted == Wanted::Seen) || decides(app, &approval, person, &mut known).await? {
                listed.push(approval);
            }
        }
        if is_last {
            break;
        }
    }
    listed.truncate(most);
    Ok(listed)
}

/// What the store is asked for, for this person: where others' approvals fill a store, they do not stand
/// before those that are the person's.
pub(super) async fn reader(app: &App, person: &Principal) -> Result<Reader, Error> {
    let own: Vec<Id> = person.memberships.iter().map(|one| one.organization).collect();
    let organizations = if app.config().organizations.inherit_roles {
        organization::with_below(&app.db, own, PLACES).await?
    } else {
        (own.len() <= PLACES).then_some(own)
    };
    let there = person.memberships.iter().map(|one| Approver::OrgRole(one.role.clone()));
    let roles = person.rights.roles().into_iter().map(Approver::Role);
    let words = roles.chain(there).filter_map(|approver| serde_json::to_string(&approver).ok());
    let words: BTreeSet<String> = words.collect();
    Ok(Reader { account: person.account.id, organizations, words: words.into_iter().collect() })
}

/// What a person is in each organization, to their own and to others'.
type Known = HashMap<(Option<Id>, bool), Capacity>;

/// Whether a person decides about it.
async fn decides(
    app: &App,
    approval: &Approval,
    person: &Principal,
    known: &mut Known,
) -> Result<bool, Error> {
    let key = (approval.organization, approval.account == person.account.id);
    if let Some(capacity) = known.get(&key) {
        return Ok(approval.rules.approvers.admit(capacity));
    }
    let capacity = capacity_of(app, approval, person).await?;
    let decides = approval.rules.approvers.admit(&capacity);
    known.insert(key, capacity);
    Ok(decides)
}

/// Whether this person may look at it: as the human behind the agent, or as one who decides.
pub async fn may_see(app: &App, approval: &Approval, person: &Principal) -> Result<bool, Error> {
    if approval.account == person.account.id && approval.site == person.account.site {
        return Ok(true);
    }
    may_decide(app, approval, person).await
}

/// Every approval of a site, the newest first: for operators.
pub async fn list(app: &App, site: Id, filter: &Filter) -> Result<Vec<Approval>, Error> {
    store::listed(&app.db, site, None, filter, filter.limit(), app.now()).await
}
