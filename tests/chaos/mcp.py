"""Malformed JSON-RPC against a living server: `python -m tests.chaos.mcp --seed N --runs N`.

Each run is one line that a broken or hostile peer might send, among well-formed requests. An oracle that shares no
code with the server reads the line with the standard library and says what is due: one answer by id, one error
without an id, or nothing. The connection and the server must live through all of it.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from tests.rig.daemon import running
from tests.rig.desk import MODERN
from tests.rig.talk import Talk, request

LINE_MAX = 16 * 1024 * 1024
BLOCK = 25
NO_ID = None
Answers = Counter[int | str | None]
HELLO = {"protocolVersion": "2025-03-26", "capabilities": {}, "clientInfo": {"name": "chaos", "version": "0"}}
RUBBISH: list[Any] = [
    None,
    True,
    0,
    -1,
    1.5,
    1e300,
    "",
    "x",
    "\n\u0000é",
    [],
    {},
    [[]],
    {"a": {}},
    2**63,
    2**70,
    "9" * 300,
]


@contextmanager
def daemon() -> Iterator[Path]:
    """The real one, on private paths; gives its socket. It must end in good order."""
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as device:
        yield device.socket


def due(line: bytes, *, batches: bool) -> Answers:
    """What a line has to be answered with, by the rules of JSON-RPC and MCP alone."""
    if not line.strip(b" \t\r"):
        return Counter()
    try:
        if len(line) > LINE_MAX:
            raise ValueError("too long")  # noqa: TRY301 - one kind of unreadable
        value = json.loads(line.decode(), parse_constant=_refuse)
        json.dumps(value, ensure_ascii=False).encode()  # lone surrogates are no text
    except (ValueError, RecursionError):
        return Counter([NO_ID])
    if isinstance(value, list):
        if not batches or not 0 < len(value) <= 64:
            return Counter([NO_ID])
        return sum((_due_for(element) for element in value), Answers())
    return _due_for(value)


def _due_for(value: Any) -> Answers:
    if not isinstance(value, dict):
        return Counter([NO_ID])
    if "method" not in value and ("result" in value or "error" in value):
        return Counter()
    if "id" not in value:
        return Counter([] if _is_notification(value) else [NO_ID])
    given = value["id"]
    readable = isinstance(given, str) or (type(given) is int and -(2**63) <= given < 2**64)
    return Counter([given if readable else NO_ID])


def _is_notification(value: dict[str, Any]) -> bool:
    method, params = value.get("method"), value.get("params", {})
    return value.get("jsonrpc") == "2.0" and isinstance(method, str) and isinstance(params, dict)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


class Fuzzer:
    """Lines of every kind of wrong, from one seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self.last_id = 0
        self.kinds: list[tuple[int, Callable[[], bytes]]] = [
            (20, self.valid),
            (30, self.mutated),
            (10, self.truncated),
            (15, self.mistyped),
            (5, self.repeated_keys),
            (5, self.invalid_utf8),
            (4, self.deep),
            (4, self.batch),
            (4, self.rubbish),
            (2, self.large),
        ]

    def line(self) -> bytes:
        """One line, without a newline in it."""
        if self.random.random() < 1 / 3000:
            return self.huge()
        weights, makers = zip(*self.kinds, strict=True)
        (make,) = self.random.choices(makers, weights)
        line: bytes = make()
        return line.replace(b"\n", b" ")

    def message(self) -> dict[str, Any]:
        """A well-formed request with an id of its own."""
        self.last_id += 1
        request_id = self.random.choice([self.last_id, f"id-{self.last_id}"])
        call: dict[str, Any] = {"name": "echo", "arguments": {"text": "hello"}}
        choices: list[tuple[str, dict[str, Any]]] = [
            ("tools/list", {}),
            ("tools/call", call),
            ("server/discover", {}),
            ("nonsense", {"a": [1, {"b": None}]}),
        ]
        method, params = self.random.choice(choices)
        params = {**params, "_meta": dict(MODERN)} if self.random.random() < 0.8 else params
        return {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}

    def valid(self) -> bytes:
        message = self.message()
        if self.random.random() < 0.2:
            del message["id"]
        return json.dumps(message, ensure_ascii=self.random.random() < 0.5).encode()

    def mutated(self) -> bytes:
        text = bytearray(json.dumps(self.message()).encode())
        for _ in range(self.random.randint(1, 4)):
            at = self.random.randrange(len(text) + 1)
            match self.random.randrange(4):
                case 0:
                    text[at:at] = self.random.choice(
                        [b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b"0", b"\x00"]
                    )
                case 1:
                    del text[at : at + self.random.randint(1, 8)]
                case 2:
                    text[at : at + 1] = self.random.randbytes(1)
                case _:
                    text[at:at] = text[at : at + self.random.randint(1, 30)]
        return bytes(text)

    def truncated(self) -> bytes:
        text = json.dumps(self.message()).encode()
        return text[: self.random.randrange(len(text))]

    def mistyped(self) -> bytes:
        message = self.message()
        inside = self.random.choice([message, message["params"], message["params"].get("_meta", message)])
        key = self.random.choice([*inside, "id", "jsonrpc", "method", "params", "extra"])
        if self.random.random() < 0.2:
            inside.pop(key, None)
        else:
            inside[key] = self.random.choice(RUBBISH)
        return json.dumps(message).encode()

    def repeated_keys(self) -> bytes:
        message = json.dumps(self.message())[:-1]
        key = self.random.choice(["id", "method", "params", "jsonrpc"])
        return f"{message}, {json.dumps(key)}: {json.dumps(self.random.choice(RUBBISH))}}}".encode()

    def invalid_utf8(self) -> bytes:
        text = json.dumps(self.message()).encode()
        at = self.random.randrange(len(text))
        return (
            text[:at]
            + self.random.choice([b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\x80", b"\xf5"])
            + text[at:]
        )

    def deep(self) -> bytes:
        message = self.message()
        depth = self.random.choice([60, 63, 64, 65, 100, 200, 100_000])
        opening, closing = self.random.choice([("[", "]"), ('{"a":', "}")])
        nested = opening * depth + "0" + closing * (depth if self.random.random() < 0.8 else depth - 1)
        return (json.dumps(message)[:-1] + f', "extra": {nested}}}').encode()

    def batch(self) -> bytes:
        elements = [
            self.message() if self.random.random() < 0.8 else self.random.choice(RUBBISH) for _ in range(5)
        ]
        return json.dumps(elements[: self.random.randrange(6)]).encode()

    def rubbish(self) -> bytes:
        if self.random.random() < 0.5:
            return self.random.randbytes(self.random.randrange(200))
        return json.dumps(self.random.choice(RUBBISH)).encode()

    def large(self) -> bytes:
        message = self.message()
        message["params"]["arguments"] = {"text": self.random.choice(["A", "?", "\\", "é"]) * 300_000}
        text = json.dumps(message, ensure_ascii=False).encode()
        return text if self.random.random() < 0.5 else text[: self.random.randrange(len(text))]

    def huge(self) -> bytes:
        text = json.dumps(self.message()).encode()
        return text[:-1] + b', "extra": "' + b"x" * LINE_MAX + b'"}'


class Prober:
    """Sends lines on one connection and compares what comes with what is due."""

    def __init__(self, path: Path, sender: ThreadPoolExecutor, *, batches: bool) -> None:
        self.talk = Talk(path)
        self.batches = batches
        self.sender = sender
        self.sent = 0
        if batches:
            self.talk.send(
                json.dumps({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": HELLO}).encode()
            )
            self.talk.until(0)

    def probe(self, lines: list[bytes]) -> str | None:
        """Send lines and a request that ends them; say what was wrong with the answers."""
        self.sent += 1
        end = f"end-{self.sent}"
        expected = sum((due(line, batches=self.batches) for line in lines), Answers())
        sending = self.sender.submit(self.talk.send, *lines, request("tools/list", {}, end))
        try:
            answers = self._answers(end)
            sending.result()
        except (OSError, ValueError, AssertionError) as exc:
            return f"the connection died: {exc!r}"
        missing, extra = expected - answers, answers - expected
        return f"missing {dict(missing)}, extra {dict(extra)}" if missing or extra else None

    def _answers(self, end: str) -> Answers:
        answers = Answers()
        for message in self.talk.until(end)[:-1]:
            for answer in message if isinstance(message, list) else [message]:
                assert ("error" in answer) or ("result" in answer), answer
                assert "result" not in answer or "id" in answer, answer
                answers[answer.get("id", NO_ID)] += 1
        return answers


def fuzz(path: Path, seed: int, runs: int) -> list[str]:
    """Send so many lines to the server at `path`; give what went wrong, each with the lines it takes."""
    fuzzer = Fuzzer(seed)
    failures = []
    with ThreadPoolExecutor(1) as sender:
        probers = [Prober(path, sender, batches=batches) for batches in (False, True)]
        for start in range(0, runs, BLOCK):
            lines = [fuzzer.line() for _ in range(min(BLOCK, runs - start))]
            index = fuzzer.random.randrange(2)
            if problem := probers[index].probe(lines):
                failures.append(f"{problem}\n" + "\n".join(repr(line[:400]) for line in lines))
                probers[index].talk.close()
                probers[index] = Prober(path, sender, batches=bool(index))
        failures += [problem for prober in probers if (problem := prober.probe([]))]
        for prober in probers:
            failures += _reuse_an_id(prober.talk)
            prober.talk.close()
    return failures


def _reuse_an_id(talk: Talk) -> list[str]:
    """An id in flight is refused for others, and free once its request is cancelled."""
    wanted = {"notifications": {"toolsListChanged": True}}
    cancel = b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"held"}}'
    held = request("subscriptions/listen", wanted, "held")
    talk.send(held, request("tools/list", {}, "held"), cancel, request("tools/list", {}, "held"))
    granted, refused, answered = talk.take(), talk.take(), talk.take()
    right = (
        granted["method"] == "notifications/subscriptions/acknowledged"
        and refused["error"]["code"] == -32600
        and "result" in answered
    )
    return [] if right else [f"an id in flight was used twice: {granted} {refused} {answered}"]


def main(arguments: list[str]) -> int:
    """Run and report; 1 where anything went wrong."""
    parser = argparse.ArgumentParser(prog="chaos mcp", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=10_000, help="malformed lines to send")
    parser.add_argument("--socket", type=Path, help="of a running server, instead of one of our own")
    given = parser.parse_args(arguments)
    if given.socket:
        failures = fuzz(given.socket, given.seed, given.runs)
    else:
        with daemon() as path:
            failures = fuzz(path, given.seed, given.runs)
    for failure in failures:
        sys.stdout.write(failure + "\n")
    sys.stdout.write(f"mcp: {given.runs} runs, {len(failures)} failures\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
