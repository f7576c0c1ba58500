"""Calls every endpoint of the API's own document on a real gateway, as each kind of caller, with schemathesis.

Law: no answer is a 5xx, none has a status, type or shape that the document does not tell, and no endpoint forgets to ask
who calls; and whoever may call something is let in: a gateway that refused everybody would be as its document says, too.
Each caller gets a gateway and a store of its own, because the calls change what they find.
"""

import argparse
import json
import os
import signal
import socketserver
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import verdict

HERE = Path(__file__).parent
CALLERS = [
    "nobody",
    "person",
    "administrator",
    "org-admin",
    "superuser",
    "2fa-setup-only",
    "password-change-only",
    "agent",
    "api-key",
]
# Made-up calls for each endpoint and phase.
EXAMPLES = 20
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "use_after_free",
    "ignored_auth",
]
CONFIGURATION = """\
preset: development
listen: {{ public: "127.0.0.1:0", admin: "127.0.0.1:0", trusted_proxies: ["127.0.0.1/32"] }}
store: "sqlite://{folder}/gateway.db"
keys: {{ seal_file: "{folder}/seal.key" }}
sessions: {{ max: 50, devices: 50 }}
accounts: {{ staff_second_factor: required }}
applications: {{ required: nowhere }}
api: {{ profiles: [ {{ use: auth-system, prefix: /compat }} ] }}
login:
  otp: {{ log_in: true }}
  magic_link: {{ targets: ["https://app.example.com/enter"] }}
  passkeys: {{ rp_id: example.com, origins: ["https://app.example.com"] }}
mail: {{ via: smtp, host: 127.0.0.1, port: {mail}, tls: none, from: gateway@example.com }}
permissions: [ {{ code: reports.read }} ]
upstreams: {{ nowhere: {{ servers: ["127.0.0.1:9"] }} }}
routes:
  - {{ name: reports, match: {{ path: /reports }}, upstream: nowhere, allow: {{ permission: reports.read }}, agents: {{ permission: reports.read }} }}
  - {{ name: held, match: {{ path: /held }}, upstream: nowhere, allow: {{ permission: reports.read }}, agents: {{ permission: reports.read, hold: always }} }}
"""


class Mail(socketserver.StreamRequestHandler):
    """Takes letters and throws them away."""

    def handle(self):
        self.say("220 mail")
        while line := self.rfile.readline():
            word = line[:4].upper()
            if word == b"QUIT":
                return self.say("221 bye")
            self.say("354 go on" if word == b"DATA" else "250 ok")
            if word == b"DATA":
                while self.rfile.readline().strip() != b".":
                    pass
                self.say("250 taken")

    def say(self, text):
        self.wfile.write(f"{text}\r\n".encode())


class Gateway:
    """A running gateway with a new store."""

    def __init__(self, program, folder, mail):
        self.config = folder / "portcullis.yaml"
        self.config.write_text(CONFIGURATION.format(folder=folder, mail=mail))
        self.program = program
        self.command("migrate")
        self.log = (folder / "gateway.log").open("wb")
        self.process = subprocess.Popen(
            [program, "--config", str(self.config), "run"], stdout=subprocess.PIPE, stderr=self.log, text=True
        )
        self.url = None
        for line in self.process.stdout:
            if line.startswith("ready public="):
                self.url = "http://" + line.split()[1].removeprefix("public=")
                break
        if not self.url:
            raise SystemExit(f"the gateway did not start: {(folder / 'gateway.log').read_text()}")
        # What else it prints is read, so that it never waits.
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def command(self, *words):
        done = subprocess.run([self.program, "--config", str(self.config), *words], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(words)}: {done.stderr}")
        return done.stdout

    def end(self):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


def check(caller, options, mail):
    """One caller against a gateway of its own; whether everything was as the document says."""
    with tempfile.TemporaryDirectory(prefix="portcullis-conformance-") as name:
        folder = Path(name)
        gateway = Gateway(options.program, folder, mail)
        document = folder / "openapi.json"
        document.write_text(gateway.command("openapi"))
        environment = {
            **os.environ,
            "PYTHONPATH": str(HERE),
            "PYTHONDONTWRITEBYTECODE": "1",
            "SCHEMATHESIS_HOOKS": "hooks",
            "PORTCULLIS_PROGRAM": options.program,
            "PORTCULLIS_CONFIG": str(gateway.config),
            "PORTCULLIS_URL": gateway.url,
            "PORTCULLIS_CALLER": caller,
            "PORTCULLIS_COUNTS": str(folder / "counts.json"),
        }
        run = [str(Path(sys.executable).with_name("schemathesis")), "run", str(document), "--url", gateway.url]
        run += ["--checks", ",".join(CHECKS), "--max-examples", str(options.examples), "--workers", "1"]
        run += ["--continue-on-failure", "--generation-database", "none", "--request-timeout", "30", "--no-color"]
        run += ["--warnings", "off", "--suppress-health-check", "all"]
        if options.seed is not None:
            run += ["--seed", str(options.seed)]
        run += options.more
        print(f"== as {caller}", flush=True)
        try:
            passed = subprocess.run(run, env=environment, cwd=folder, check=False).returncode == 0
        finally:
            is_up = gateway.process.poll() is None
            gateway.end()
            if options.keep:
                log = Path(options.keep) / f"{caller}.log"
                log.write_bytes((folder / "gateway.log").read_bytes())
        # What the gateway says went wrong explains a 5xx; without one it is a failure of its own.
        errors = [line for line in (folder / "gateway.log").read_text(errors="replace").splitlines() if " ERROR " in line]
        print(*errors[:20], sep="\n", end="\n" if errors else "")
        if not is_up:
            print("the gateway ended by itself")
        counts = folder / "counts.json"
        # Where part of the API is called, or hardly called, nobody can say how much of it should have been reached.
        is_part = bool(options.more) or options.examples < EXAMPLES
        wrong = verdict.of(caller, json.loads(counts.read_text()) if counts.exists() else None, is_part)
        print(*wrong, sep="\n", end="\n" if wrong else "")
        return passed and is_up and not errors and not wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default="target/debug/portcullis", help="the gateway's program")
    parser.add_argument("--examples", type=int, default=EXAMPLES, help="made-up calls for each endpoint and phase")
    parser.add_argument("--caller", action="append", choices=CALLERS, help="only this one; may be said again")
    parser.add_argument("--seed", type=int, help="the one that a run printed, to have the same calls again")
    parser.add_argument("--keep", help="a folder for the gateways' logs")
    parser.add_argument("more", nargs="*", help="further options of `schemathesis run`, after --")
    options = parser.parse_args()
    if not verdict.tried():
        raise SystemExit("what judges the run finds nothing")
    # Whoever ends this run ends its gateways, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    options.program = str(Path(options.program).resolve())
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mail) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        failed = [who for who in options.caller or CALLERS if not check(who, options, server.server_address[1])]
        server.shutdown()
    if failed:
        raise SystemExit(f"not as the document says, as: {', '.join(failed)}")
    print("Every answer was as the document says.")


if __name__ == "__main__":
    main()
