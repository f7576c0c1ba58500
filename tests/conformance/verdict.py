"""Whether a caller of the conformance run was let in where they should be.

Law: that everything is refused is never taken for a good run. A credential is made anew where the calls ended it, which
a few of them do; where most calls need a new one, none was good.
"""

# Of ten endpoints that were called, how many answered 2xx at least once: a floor, not what is usual. All others have
# one that answers at least: some are for everybody.
REACHED_OF_TEN = {"person": 1, "administrator": 1, "org-admin": 1, "superuser": 4}
# Calls for each credential at least, once there were enough to tell.
CALLS_EACH = 2
ENOUGH = 20
# What must have answered 2xx, by method and path.
API = "/api/v1/auth"
REACHED = {
    "person": ["GET /me/", "GET /organizations/list/", "GET /api-keys/", "GET /ai/tokens/"],
    "administrator": [
        "GET /me/",
        "GET /admin/users/",
        "GET /admin/users/{id}/",
        "GET /roles/",
        "GET /permissions/",
        "GET /admin/audit-logs/",
        "GET /admin/login-attempts/",
        "GET /admin/refresh-tokens/",
    ],
    "org-admin": ["GET /me/", "GET /organizations/detail/", "GET /organizations/members/"],
    "superuser": [
        "GET /me/",
        "GET /admin/users/",
        "GET /applications/",
        "GET /roles/",
        "GET /permissions/",
        "GET /admin/audit-logs/",
        "GET /dashboard/stats/",
        "GET /ai/pending-actions/{token}/",
    ],
    "2fa-setup-only": ["POST /2fa/setup/"],
    "password-change-only": ["POST /logout/all/"],
}


def of(caller, counts, is_part=False):
    """What is wrong with these counts, each a sentence; those of a part of the API are not measured against all of it."""
    if not counts or not counts["answers"]:
        return ["nothing was called"]
    answers, made = counts["answers"], counts["credentials"]
    calls = sum(sum(statuses.values()) for statuses in answers.values())
    # JSON has texts for keys.
    reached = [label for label, statuses in answers.items() if any(200 <= int(status) < 300 for status in statuses)]
    wrong = []
    if made > ENOUGH and calls < made * CALLS_EACH:
        wrong.append(f"{made} credentials for {calls} calls: what is made opens nothing")
    if is_part:
        return wrong
    if len(reached) * 10 < len(answers) * REACHED_OF_TEN.get(caller, 0) or not reached:
        wrong.append(f"only {len(reached)} of {len(answers)} endpoints ever answered 2xx")
    must = [wanted.replace(" ", f" {API}") for wanted in REACHED.get(caller, [])]
    missing = [wanted for wanted in must if wanted not in reached]
    return wrong + [f"never answered 2xx: {wanted}" for wanted in missing]


def tried():
    """Whether it can find anything: before a run, because a verdict that is always good looks like a good gateway."""
    everything = {label.replace(" ", f" {API}"): {"200": 3, "400": 9} for label in REACHED["superuser"]}
    refused = {label: {"403": 12} for label in everything}
    one_less = {label: counts for label, counts in everything.items() if not label.endswith("/me/")}
    mostly_refused = {**everything, **{f"GET /more/{number}/": {"403": 1} for number in range(20)}}
    return (
        of("superuser", {"credentials": 1, "answers": everything}) == []
        and len(of("superuser", {"credentials": 1, "answers": refused})) == 1 + len(REACHED["superuser"])
        and of("superuser", {"credentials": 1, "answers": one_less}) == [f"never answered 2xx: GET {API}/me/"]
        and len(of("superuser", {"credentials": 1, "answers": mostly_refused})) == 1
        and len(of("superuser", {"credentials": 70, "answers": everything})) == 1
        and of("agent", {"credentials": 1, "answers": {"GET /more/": {"401": 4}}}) != []
        and of("nobody", None) != []
    )
