"""Who calls the gateway in the conformance run, each made by the command line and logged in as anyone logs in.

Law: what makes a caller can be done again at any time, because the run ends sessions, accounts and tokens.
"""

import base64
import hashlib
import hmac
import itertools
import json
import os
import random
import struct
import subprocess
import time
import urllib.error
import urllib.request

PROGRAM = os.environ["PORTCULLIS_PROGRAM"]
CONFIG = os.environ["PORTCULLIS_CONFIG"]
URL = os.environ["PORTCULLIS_URL"]
API = "/api/v1/auth"
PASSWORD = "Correct-horse-9-battery"
# What an agent may be given: the configuration of the run defines it.
DELEGATED = "reports.read"
# Where an agent's request waits for a person, and how many do: each is decided about once.
HELD = "/held"
WAITING = 8
COUNT = itertools.count()


def elsewhere():
    """An address that hardly anybody called from yet: the gateway of the run trusts who sends it as a proxy."""
    return f"10.{random.randrange(256)}.{random.randrange(256)}.{random.randrange(1, 255)}"


def command(*words, given=""):
    """What a command of the gateway prints, as JSON where it is."""
    done = subprocess.run(
        [PROGRAM, "--config", CONFIG, *words], input=given, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def send(path, body, headers=None):
    """Sends JSON to a path of the gateway; its answer."""
    request = urllib.request.Request(URL + path, json.dumps(body).encode(), method="POST")
    sent = {"Content-Type": "application/json", "X-Forwarded-For": elsewhere(), **(headers or {})}
    for name, value in sent.items():
        request.add_header(name, value)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as refused:
        raise RuntimeError(f"{path}: {refused.code} {refused.read().decode()}") from refused


def post(path, body, headers=None):
    """Calls the API; its answer."""
    return send(API + path, body, headers)


def account(*flags):
    """A new account, and its address."""
    email = f"caller-{os.getpid()}-{next(COUNT)}@example.com"
    command("user", "create", email, "--verified", "--password-stdin", *flags, given=PASSWORD + "\n")
    return email


class Place:
    """The organization of whoever calls now: the calls may end it, so everybody gets one of their own."""

    slug = "none"


def found(email):
    Place.slug = f"acme-{os.getpid()}-{next(COUNT)}"
    command("org", "create", Place.slug, "--owner", email)


def log_in(email, **more):
    token = post("/login/email/", {"email": email, "password": PASSWORD, **more})["access_token"]
    return {"Authorization": f"Bearer {token}"}


def person():
    """Somebody with a right of the configuration's and none of the gateway's own, who owns an organization."""
    email = account()
    command("user", "grant", email, "--permission", DELEGATED)
    found(email)
    return log_in(email)


def administrator():
    """Somebody with the role `admin` and a look at the trail: some rights of the gateway's own, and not all."""
    email = account()
    command("user", "grant", email, "--role", "admin", "--permission", "security.view")
    found(email)
    return log_in(email)


def org_admin():
    """Somebody who administrates an organization that is another one's, and has no right beyond it."""
    found(account())
    email = account()
    command("org", "add", Place.slug, email, "--role", "admin")
    return log_in(email)


def totp(secret):
    """RFC 6238, with SHA-1, six digits and thirty seconds."""
    counter = struct.pack(">Q", int(time.time()) // 30)
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    digest = hmac.new(key, counter, hashlib.sha1).digest()
    at = digest[-1] & 15
    number = struct.unpack(">I", digest[at : at + 4])[0] & 0x7FFFFFFF
    return f"{number % 1_000_000:06}"


def superuser():
    """Somebody who may do everything, and has proved a second factor."""
    email = account("--superuser")
    found(email)
    restricted = log_in(email)
    secret = post("/2fa/setup/", {}, restricted)["secret"]
    done = post("/2fa/confirm/", {"code": totp(secret)}, restricted)
    return {"Authorization": f"Bearer {done['access_token']}"}


def restricted():
    """The same before the second factor is set up: a token of the scope `2fa_setup_only`."""
    return log_in(account("--superuser"))


def choosing():
    """Somebody who must choose a password of their own first: a token of the scope `password_change_only`."""
    return log_in(account("--must-change"))


def agent():
    """An agent of a person."""
    token = post("/ai/tokens/", {"permissions": [DELEGATED]}, person())["token"]
    return {"Authorization": f"AgentBearer {token}"}


def api_key():
    """A program with the API key of a person."""
    return {"X-API-Key": post("/api-keys/", {"name": "nightly", "password": PASSWORD}, person())["key"]}


def nobody():
    return {}


def held(credential):
    """Requests of an agent that wait for who delegated it; what each is named by."""
    token = post("/ai/tokens/", {"permissions": [DELEGATED]}, credential)["token"]
    agent = {"Authorization": f"AgentBearer {token}"}
    return [send(HELD, {"number": number}, agent)["confirmation_token"] for number in range(WAITING)]


def furnish(credential):
    """Makes one of everything that the caller may make; what it is called, by the list that it is then in."""
    made, number = {}, next(COUNT)
    acme = {"X-Org-Slug": Place.slug}
    for path, body, headers in [
        ("/api-keys/", {"name": "nightly", "password": PASSWORD}, {}),
        ("/ai/tokens/", {"permissions": [DELEGATED]}, {}),
        ("/applications/", {"name": f"Made {number}"}, {}),
        ("/permissions/", {"code": f"made.n{number}", "name": "Made"}, {}),
        ("/roles/", {"code": f"made{number}", "name": "Made", "permission_codes": [f"made.n{number}"]}, {}),
        ("/groups/", {"code": f"made{number}", "name": f"Made {number}"}, {}),
        ("/org-roles/", {"code": f"made{number}", "name": f"Made {number}", "permissions": []}, {}),
        ("/organizations/invitations/", {"email": f"new-{number}@example.com", "role_code": "member"}, acme),
        ("/admin/users/", {"email": f"made-{number}@example.com", "password": PASSWORD}, {}),
    ]:
        answer = post(path, body, {**credential, **headers})
        told = [answer, *(value for value in answer.values() if isinstance(value, dict))]
        ids = [str(one[key]) for one in told for key in ("id", "token") if key in one]
        made.setdefault(path.strip("/").split("/")[-1], []).extend(ids)
    made["pending-actions"] = held(credential)
    post("/request-account-deletion/", {"password": PASSWORD}, log_in(account()))
    return made


CALLERS = {
    "nobody": nobody,
    "person": person,
    "administrator": administrator,
    "org-admin": org_admin,
    "superuser": superuser,
    "2fa-setup-only": restricted,
    "password-change-only": choosing,
    "agent": agent,
    "api-key": api_key,
}
