"""The battery of a PiSugar board, asked of its own daemon (PiSugar/pisugar-power-manager-rs): one line, one answer."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable
from pathlib import Path

from edged.power.readings import Raw

TIMEOUT_S = 0.5
ANSWER_MAX_BYTES = 4096
QUESTIONS = ("battery", "battery_v", "battery_power_plugged", "battery_charging")


class PiSugar:
    """`battery.*` through the socket at `path`; nothing where no daemon listens."""

    name = "pisugar"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket: socket.socket | None = None

    def read(self, now: float) -> list[Raw]:  # noqa: ARG002 - what every source takes
        """Its answers now; unknown while the daemon is there and does not answer."""
        if not self._path.is_socket():
            self.close()
            return []
        try:
            said = self._ask()
        except OSError as exc:
            self.close()
            note = (exc.strerror or "no answer").lower()
            return [Raw("battery.percent", None, "%", str(self._path), note)]
        return [*self._readings(said)]

    def close(self) -> None:
        """End the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _ask(self) -> dict[str, str]:
        """Every answer by its name. Button events, which the daemon sends to all, are passed over."""
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._socket.settimeout(TIMEOUT_S)
            self._socket.connect(str(self._path))
        self._socket.sendall("".join(f"get {name}\n" for name in QUESTIONS).encode())
        raw, answers = b"", list[str]()
        while len(answers) < len(QUESTIONS) and len(raw) < ANSWER_MAX_BYTES:
            piece = self._socket.recv(ANSWER_MAX_BYTES)
            if not piece:
                raise ConnectionResetError(0, "closed the connection")
            raw += piece
            lines = raw.decode(errors="replace").split("\n")[:-1]
            answers = [line for line in lines if line.startswith(("battery", "Invalid"))]
        pairs = (line.partition(":") for line in answers)
        return {name: answer.strip() for name, _, answer in pairs}

    def _readings(self, said: dict[str, str]) -> Iterable[Raw]:
        source = str(self._path)
        yield Raw("battery.percent", _number(said.get("battery", "")), "%", source)
        if (volts := _number(said.get("battery_v", ""))) is not None:
            yield Raw("battery.voltage", volts, "V", source)
        plugged = said.get("battery_power_plugged", "")
        if plugged not in {"true", "false"}:  # PiSugar 2 knows only whether it charges
            plugged = said.get("battery_charging", "")
        mains = {"true": 1.0, "false": 0.0}.get(plugged)
        yield Raw("battery.mains", mains, "", source)


def _number(text: str) -> float | None:
    with contextlib.suppress(ValueError):
        return float(text)
    return None
