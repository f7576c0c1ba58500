"""What schemathesis adds to its requests: who calls, from where, and names of things that there are.

Law: a credential that opens nothing any more is replaced by a new one of the same kind, so that a run that logs itself
out goes on as who it was. What is meant to be wrong stays wrong.
"""

import atexit
import collections
import json
import os
import random
from pathlib import Path

import schemathesis

import people

CALLER = people.CALLERS[os.environ["PORTCULLIS_CALLER"]]
# Whether there is anything that the caller may make.
IS_RICH = os.environ["PORTCULLIS_CALLER"] == "superuser"
# What answers named, by the list that it is from: the ids of `…/users/` are asked for as `…/users/{id}/`.
FOUND = collections.defaultdict(list)
ENOUGH = 200
# What made-up text never hits, for the fields of these names.
KNOWN = {
    "role_code": ["member", "admin", "viewer"],
    "permissions": [["reports.read"]],
    "permission_codes": [["reports.read"]],
    "permission": ["reports.read"],
    "password": [people.PASSWORD],
    "current_password": [people.PASSWORD],
    "email": [f"someone-{number}@example.com" for number in range(9)],
    "name": ["Something", "Something else"],
    "reason": ["Because"],
    "code": ["made.more", "made"],
    "confirmation": ["REGENERATE"],
    "parent_id": [None],
}
# Which endpoints answered how.
ANSWERS = collections.defaultdict(collections.Counter)


class Held:
    """What the caller shows now."""

    credential = None
    made = 0


@schemathesis.auth(refresh_interval=None)
class Credential:
    def get(self, case, context):
        if Held.credential is None:
            Held.credential, Held.made = CALLER(), Held.made + 1
            if IS_RICH:
                for name, ids in people.furnish(Held.credential).items():
                    FOUND[name].extend(ids)
        return Held.credential or None

    def set(self, case, data, context):
        case.headers.update(data)


def is_over(response):
    """Whether the caller's own credential was what was refused."""
    shown = {name.lower(): value for name, value in response.request.headers.items()}
    if not Held.credential or any(shown.get(name.lower()) != value for name, value in Held.credential.items()):
        return False
    code = response.json().get("code") if response.status_code in (401, 403) else None
    return code in ("UNAUTHORIZED", "TOKEN_INVALID", "TOKEN_EXPIRED") or str(code).startswith("AGENT_TOKEN_")


def lists(path):
    """The list that a path names, and the ones that its parameters are from: `/users/{id}/roles/` is (roles, [users])."""
    pieces = [piece for piece in path.split("/") if piece]
    return [(pieces[at - 1], piece[1:-1]) for at, piece in enumerate(pieces) if at and piece.startswith("{")]


@schemathesis.hook
def before_call(context, case, kwargs):
    # Most calls come from somewhere else: limits count by address. A few share one, and reach the limits.
    case.headers["X-Forwarded-For"] = "10.0.0.1" if random.random() < 0.05 else people.elsewhere()
    if case.meta is not None and case.meta.generation.mode.value != "positive":
        return
    if "X-Org-Slug" in case.headers and random.random() < 0.8:
        case.headers["X-Org-Slug"] = people.Place.slug
    for name, parameter in lists(case.operation.path):
        if FOUND[name] and random.random() < 0.8:
            case.path_parameters[parameter] = random.choice(FOUND[name])
    if isinstance(case.body, dict):
        for name in case.body:
            known = KNOWN.get(name) or FOUND.get(name.removesuffix("_id") + "s")
            if known and random.random() < 0.6:
                case.body[name] = random.choice(known)


@schemathesis.hook
def after_call(context, case, response):
    ANSWERS[case.operation.label][response.status_code] += 1
    is_json = "json" in (response.headers.get("content-type") or [""])[0]
    if is_json and is_over(response):
        Held.credential = None
    if not 200 <= response.status_code < 300 or not is_json:
        return
    told = response.json()
    rows = next((told[key] for key in ("results", "items", "users", "data") if isinstance(told, dict) and key in told), told)
    pieces = [piece for piece in case.operation.path.split("/") if piece]
    if pieces[-1].startswith("{"):
        return
    for row in rows if isinstance(rows, list) else [rows]:
        for key in ("id", "token", "slug"):
            value = row.get(key) if isinstance(row, dict) else None
            if isinstance(value, str | int) and len(FOUND[pieces[-1]]) < ENOUGH:
                FOUND[pieces[-1]].append(str(value))


@atexit.register
def tell():
    # Judged by who started this run: an exit code cannot be changed any more.
    answers = {label: dict(counts) for label, counts in ANSWERS.items()}
    Path(os.environ["PORTCULLIS_COUNTS"]).write_text(json.dumps({"credentials": Held.made, "answers": answers}))
    total = collections.Counter()
    print(f"Credentials: {Held.made}")
    for counts in ANSWERS.values():
        total.update(counts)
    print("Answers: " + ", ".join(f"{status}: {count}" for status, count in sorted(total.items())))
    never = sorted(label for label, counts in ANSWERS.items() if not any(200 <= status < 300 for status in counts))
    if IS_RICH:
        print(f"Never answered 2xx ({len(never)} of {len(ANSWERS)}):", *never, sep="\n    ")
