"""A process that holds keys and does what a daemon does with them, until its standard input ends.

python -m tests.rig.keyholder STATE TPM_MODE TCTI BOARD
"""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

from edged.cli.state import Logged
from edged.keys import enrolling, enrolment
from edged.keys.config import KeysConfig
from edged.keys.keyring import Keyring
from edged.keys.sealedfiles import SealedFiles
from edged.keys.vault import Purpose
from tests.rig.pki import NOW_S, Authority, FleetKey

PASSWORD = b"the broker's password 4f1c"
READING = b"a reading nobody else may see 77aa"
WEIGHTS = b"private weights 0123456789abcdef" * 10_000


async def hold(state: Path, config: KeysConfig) -> None:
    """Make keys, enrol, seal, rotate, sign, and wait."""
    keys = Keyring(config, state, Logged())
    await keys.open()
    vault, authority = keys.vault, Authority()
    made = enrolling.begin(
        vault,
        device="cam-7",
        anchors=[enrolment.anchor(FleetKey().public)],
        broker_ca=authority.pem,
        device_ca=authority.pem,
        tls="tpm-sealed",
        now_s=NOW_S,
    )
    enrolling.finish(vault, authority.issue(made.request), NOW_S)
    files = SealedFiles(vault, state)
    files.write("password", Purpose.SECRETS, [PASSWORD])
    files.write("weights", Purpose.MODELS, [WEIGHTS])
    (state / "reading").write_bytes(keys.sealer(Purpose.SPOOL).seal("7", READING))
    await keys.rotate()
    await keys.commit({"config": vault.seal(Purpose.CONFIG, "config", PASSWORD)}, revision=1)
    await keys.sign("status", b"all well")
    print("holding", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
    folder, mode, tcti, root = sys.argv[1:]
    asyncio.run(hold(Path(folder), KeysConfig(tpm=mode, tcti=tcti, board_root=root)))  # type: ignore[arg-type] # one of three
