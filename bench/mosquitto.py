"""Debian's mosquitto on loopback, without Nagle's algorithm, with the ACL that edged asks for."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.peers.process import POLL_S, START_S, spawn, stop

ACL = """\
pattern read $mcp-server/%u/#
pattern readwrite $mcp-server/presence/%u/#
pattern write $mcp-server/capability/%u/#
pattern readwrite $mcp-rpc/+/%u/#
pattern read $mcp-client/presence/+
pattern read $mcp-server/presence/#
pattern write $mcp-server/+/edged/#
pattern readwrite $mcp-rpc/%u/#
pattern write $mcp-client/presence/%u
"""


@contextmanager
def mosquitto(home: Path) -> Iterator[int]:
    """Run one; its port."""
    program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    if program is None:
        raise RuntimeError("mosquitto is not installed: apt-get install mosquitto")
    home.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    (home / "acl").write_text(ACL)
    (home / "acl").chmod(0o600)
    config = home / "mosquitto.conf"
    config.write_text(
        f"user root\npersistence false\nlog_type error\nset_tcp_nodelay true\nallow_anonymous true\n"
        f"acl_file {home / 'acl'}\nlistener {port} 127.0.0.1\n"
    )
    process = spawn([program, "-c", str(config)], home / "log")
    try:
        end = time.monotonic() + START_S
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"mosquitto does not listen: {(home / 'log').read_text()}")
            time.sleep(POLL_S)
        yield port
    finally:
        stop(process)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
