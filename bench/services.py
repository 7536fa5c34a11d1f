"""Every server of the comparison behind one face: start it, connect to it, ask it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

import pybase64

from bench import wire
from bench.clients import Client, Request, http, line, shared_memory
from bench.daemon import Home
from bench.job import HEIGHT, WIDTH, Pictures
from bench.peers.process import python, running

JPEG, RAW, MAPPING = "jpeg", "raw", "mapping"
FRAME = {"layout": "rgb", "width": WIDTH, "height": HEIGHT}


class Service(Protocol):
    """A running server that finds faces."""

    name: str
    pid: int

    def caller(self, kind: str, keep: ExitStack) -> tuple[Client, Request]:
        """A new connection and the request that carries the picture as `kind`; `keep` closes both."""


class Command(NamedTuple):
    """How a service is started, and on which socket it then listens."""

    name: str
    command: list[str]
    socket: Path
    connect: Callable[[int, Path], Service]


def edged(home: Home, pictures: Pictures) -> Command:
    return Command("edged", home.run(), home.socket, lambda pid, path: Edged(pid, path, pictures))


def fastapi(home: Path, model: Path, pictures: Pictures, *, standard: bool) -> Command:
    """`standard`: as in `over_uvicorn`."""
    requests = {
        JPEG: wire.http_post("/jpeg", pictures.jpeg, Content_Type="image/jpeg"),
        RAW: wire.http_post(
            f"/raw?height={HEIGHT}&width={WIDTH}",
            pictures.rgb.tobytes(),
            Content_Type="application/octet-stream",
        ),
    }
    return over_uvicorn("FastAPI", "bench.peers.fastapi_app", home, model, requests, standard=standard)


def sdk(home: Path, model: Path, pictures: Pictures, *, standard: bool) -> Command:
    """`standard`: as in `over_uvicorn`."""
    requests = {
        JPEG: wire.http_tool_call("face_in_jpeg", {"data": base64(pictures.jpeg)}),
        RAW: wire.http_tool_call(
            "face_in_frame", {"data": base64(pictures.rgb.tobytes()), "height": HEIGHT, "width": WIDTH}
        ),
    }
    return over_uvicorn("MCP SDK", "bench.peers.sdk_server", home, model, requests, standard=standard)


def over_uvicorn(
    stack: str, module: str, home: Path, model: Path, requests: dict[str, bytes], *, standard: bool
) -> Command:
    """`standard` is uvicorn[standard], uvloop and httptools; else what plain uvicorn has, asyncio and h11."""
    flavour, loop, http_parser = ("[standard]", "uvloop", "httptools") if standard else ("", "asyncio", "h11")
    name = f"{stack}, uvicorn{flavour}"
    path = home / f"{module}{flavour}.sock"
    command = python(module, path, model, "--loop", loop, "--http", http_parser)
    return Command(name, command, path, lambda pid, socket: OverHttp(name, pid, socket, requests))


@contextmanager
def started(service: Command) -> Iterator[Service]:
    """The service, running and able to answer; ended on the way out."""
    log = service.socket.with_suffix(".log")
    with running(service.command, service.socket, log) as server, ExitStack() as keep:
        face = service.connect(server.pid, server.socket)
        client, request = face.caller(JPEG, keep)
        client.call(request)
        yield face


class OverHttp:
    """A service that answers HTTP on its Unix socket."""

    def __init__(self, name: str, pid: int, socket: Path, requests: dict[str, bytes]) -> None:
        self.name, self.pid, self._socket = name, pid, socket
        self._requests = {kind: Request(data, b'"score"') for kind, data in requests.items()}

    def caller(self, kind: str, keep: ExitStack) -> tuple[Client, Request]:
        """As `Service.caller`."""
        return keep.enter_context(Client(self._socket, http)), self._requests[kind]


class Edged:
    """The daemon, asked as any MCP client would ask it."""

    name = "edged"

    def __init__(self, pid: int, socket: Path, pictures: Pictures) -> None:
        self.pid, self._socket, self._frame = pid, socket, pictures.rgb.tobytes()
        self._requests = {
            JPEG: _infer({"data": base64(pictures.jpeg)}),
            RAW: _infer({"data": base64(self._frame), **FRAME}),
            MAPPING: _infer({"mapping": "m1", "offset": 0, **FRAME}),
        }

    def caller(self, kind: str, keep: ExitStack) -> tuple[Client, Request]:
        """As `Service.caller`; a mapping is registered on the new connection."""
        client = keep.enter_context(Client(self._socket, line))
        if kind == MAPPING:
            descriptor, _ = keep.enter_context(shared_memory(self._frame))
            register = wire.request("edged/mapping/register", {"bytes": len(self._frame)})
            client.pass_memory(Request(register, b'"handle":"m1"'), descriptor)
        return client, self._requests[kind]


def base64(content: bytes) -> str:
    return pybase64.b64encode(content).decode()


def _infer(image: dict[str, object]) -> Request:
    return Request(wire.tool_call("infer_face", {"image": image}), b'"score"')
