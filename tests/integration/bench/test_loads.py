from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from fcntl import F_GET_SEALS, F_SEAL_SHRINK, fcntl
from pathlib import Path

import pytest

from bench import procfs, wire
from bench.clients import Client, Request, Wrong, crowd, line, pipeline, shared_memory
from bench.harness import Contender, interleave, repeat, summarise
from bench.peers.process import Running, python, running

ECHO = Request(wire.tool_call("echo", {"text": "hi"}), b'"hi"')


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    path = tmp_path / "bare.sock"
    with running(python("bench.peers.bare_line", path), path, tmp_path / "log") as bare:
        yield bare


def test_a_server_is_gone_when_its_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "bare.sock"
    with running(python("bench.peers.bare_line", path), path, tmp_path / "log") as bare:
        pid = bare.pid
    assert not Path(f"/proc/{pid}").exists()


def test_a_server_that_does_not_start_is_reported_with_what_it_said(tmp_path: Path) -> None:
    command = python("bench.peers.no_such_module")
    with (
        pytest.raises(RuntimeError, match="no_such_module"),
        running(command, tmp_path / "x.sock", tmp_path / "log"),
    ):
        pass


def test_a_wrong_answer_never_passes_for_a_fast_one(server: Running) -> None:
    with Client(server.socket, line) as client, pytest.raises(Wrong, match="score"):
        client.call(Request(ECHO.data, b'"score"'))


def test_every_load_gets_an_answer_to_each_request(server: Running) -> None:
    with Client(server.socket, line) as client:
        assert repeat(lambda: client.call(ECHO))(0.02)
        assert crowd([client], [ECHO])(0.02)
        assert len(pipeline(client, [ECHO.data] * 64, ECHO.expect, depth=8)(0.02)) >= 8


def test_a_pipeline_notices_an_answer_unlike_the_others(server: Running) -> None:
    with Client(server.socket, line) as client:
        load = pipeline(client, [ECHO.data] * 8, ECHO.expect, depth=2)
        client.socket.sendall(b"\n")  # one answer more than was asked for
        with pytest.raises(Wrong, match="more answers"):
            load(0.02)


def test_interleaving_attributes_the_servers_cpu_to_its_calls(server: Running) -> None:
    with ExitStack() as keep:
        client = keep.enter_context(Client(server.socket, line))
        contender = Contender("bare", repeat(lambda: client.call(ECHO)), server.pid)
        samples = interleave(
            Contender("nothing", repeat(int)), [contender], seconds=0.02, rounds=1, quiet_s=0
        )
    result = summarise(samples["bare"], 1)
    assert 0 < result.cpu_s < 0.01
    assert result.calls > 0


def test_a_process_has_memory_and_cpu_time_and_sleeps(server: Running) -> None:
    with Client(server.socket, line) as client:
        before = procfs.wakeups(server.pid)
        while procfs.wakeups(server.pid) == before:
            client.call(ECHO)
    assert procfs.cpu_s(server.pid) > 0
    assert procfs.rss_bytes(server.pid) > procfs.private_bytes(server.pid) > 0
    assert procfs.machine_cpu_s() > 0


def test_shared_memory_cannot_shrink_under_its_reader() -> None:
    with shared_memory(b"frame") as (descriptor, memory):
        assert fcntl(descriptor, F_GET_SEALS) & F_SEAL_SHRINK
        with pytest.raises(PermissionError):
            os.ftruncate(descriptor, 1)
        memory[:] = b"other"
        assert os.pread(descriptor, 5, 0) == b"other"
