"""A device with keys as its owner has one: made by the command line, run as the real daemon, looked at from outside."""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from edged.cli import state
from edged.cli.resources import document
from edged.config import load
from edged.keys import enrolling
from edged.keys.opening import Keyplace
from edged.keys.vault import COMMIT, Purpose, Vault
from tests.rig.daemon import START_S, Daemon, spawn, write_config
from tests.rig.keyring import Noted, board
from tests.rig.pki import DAY_S, Authority, FleetKey
from tests.rig.swtpm import Swtpm

ROOT = Path(__file__).parents[2]
PROMPT_S = 1
"""Between a record and its checkpoint, the least there is."""


class Console:
    """The command line on one device."""

    def __init__(self, home: Path, tcti: str = "device:/dev/none", mode: str = "preferred") -> None:
        self.home = home
        self.settings = (
            f'[keys]\ntpm = "{mode}"\ntcti = "{tcti}"\nboard_root = "{board(home / "board")}"\nwait_s = 0\n'
            f"timeout_s = 2.0\n[audit]\ncheckpoint_interval_s = {PROMPT_S}\n"
        )
        write_config(home, self.settings)

    @property
    def state(self) -> Path:
        return self.home / "state"

    def run(self, *arguments: str) -> Any:
        """The answer of a command that must do."""
        done = self.tried(*arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def tried(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command, whatever becomes of it."""
        command = [
            sys.executable,
            "-m",
            "edged",
            *arguments,
            "--config",
            str(self.home / "edged.toml"),
            "--json",
        ]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    def file(self, name: str, data: bytes) -> str:
        (self.home / name).write_bytes(data)
        return str(self.home / name)

    def enrol(self, recovery: FleetKey) -> None:
        """With a fleet of its own, for TLS too."""
        authority, now_s = Authority(), state.now_s()
        self.run(
            "enrol", "begin", "--device", "cam-7", "--anchor", self.file("fleet.pem", FleetKey().pem), "--broker-ca",
            self.file("ca.pem", authority.pem), "--recovery-key", self.file("recovery.pub", recovery.pem),
            "--into", str(self.home),
        )  # fmt: skip
        request = (self.home / "device.csr").read_bytes()
        chain = authority.issue(request, from_s=now_s - DAY_S, until_s=now_s + DAY_S)
        self.run("enrol", "finish", self.file("device.pem", chain))

    def refused(self) -> tuple[int, list[str]]:
        """How `edged run` ends where it cannot start: exit code, and what it said."""
        process = spawn(self.home)
        try:
            code = process.wait(timeout=START_S)
        finally:
            process.kill()
        return code, (self.home / "log").read_text().splitlines()

    @contextlib.contextmanager
    def vault(self) -> Iterator[Vault]:
        """The keys themselves, while the daemon does not run."""
        opened = Keyplace(
            self.state / "keys", load(self.home / "edged.toml").keys, Noted(), environ={}
        ).open()
        try:
            yield opened
        finally:
            opened.close()


@contextlib.contextmanager
def device(home: Path, tpm: Swtpm, mode: str = "required") -> Iterator[tuple[Console, Daemon]]:
    """With keys in a TPM, running."""
    console = Console(home, tpm.tcti, mode)
    console.run("keys", "init")
    with started(console) as daemon:
        yield console, daemon


@contextlib.contextmanager
def started(console: Console) -> Iterator[Daemon]:
    """The daemon on what the console made; it must end with exit code 0."""
    daemon = Daemon(console.home, spawn(console.home))
    try:
        daemon.wait()
        yield daemon
        assert daemon.stop() == 0, daemon.log
    finally:
        if daemon.process.poll() is None:
            daemon.kill()


def vouched(daemon: Daemon, least: int = 1) -> dict[str, Any]:
    """`edged://audit` once checkpoints are anchored that cover at least so many records, or there can be none."""
    until = time.monotonic() + START_S
    while True:
        with daemon.client() as client:
            shown = document(client, "edged://audit")["status"]
        if shown["failing"] or (shown["covered"] >= least and shown["anchor"] != "behind"):
            return dict(shown)
        assert time.monotonic() < until, shown
        time.sleep(0.05)


class Shown(NamedTuple):
    """What a running process shows to who may read its files."""

    files: bytes
    log: bytes
    process: bytes
    limits: str


def shown(console: Console, daemon: Daemon) -> Shown:
    """Of a daemon that runs."""
    proc = Path(f"/proc/{daemon.process.pid}")
    seen = b"".join((proc / name).read_bytes() for name in ("cmdline", "environ", "comm", "status", "maps"))
    files = b"".join(path.read_bytes() for path in sorted(console.home.rglob("*")) if path.is_file())
    return Shown(files, daemon.log.encode(), seen, (proc / "limits").read_text())


def secrets(vault: Vault) -> dict[str, bytes]:
    """Everything that must not be seen, from the keys themselves."""
    found = {"authority": vault.backend.unseal(vault.keystore.authority)}
    for epoch, root in vault.roots().items():
        found[f"root {epoch}"] = root.reveal()
        for purpose in (*Purpose, COMMIT):
            found[f"{purpose} {epoch}"] = root.derive(purpose, epoch).reveal()
    pem = enrolling.material(vault).key
    found["TLS key"] = base64.b64decode(b"".join(pem.splitlines()[1:-1]))[36:68]  # PKCS8, the scalar
    return found


def hits(raw: bytes, wanted: dict[str, bytes]) -> set[str]:
    """Which secrets are in there, as they are, in hexadecimal, or in base64."""
    return {name for name, secret in wanted.items() for form in forms(secret) if form in raw}


def forms(secret: bytes) -> list[bytes]:
    """How bytes are written down."""
    return [secret, secret.hex().encode(), base64.b64encode(secret)[:-4]]
