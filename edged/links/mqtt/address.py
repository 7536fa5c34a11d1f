"""Where a broker is: what a URL says. Pure."""

from __future__ import annotations

import ipaddress
from typing import Final
from urllib.parse import unquote, urlsplit

import msgspec

_PORTS: Final = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443, "unix": 0}
_ENCRYPTED: Final = {"mqtts", "wss"}


class Address(msgspec.Struct, frozen=True):
    """A broker's address."""

    url: str
    """As it may be shown: without a query, which may hold a password."""
    scheme: str
    host: str
    """A name or an IP address; the path of a Unix socket."""
    port: int
    path: str
    """Of the URL. For ws and wss the resource asked for, which is /mqtt where it says none."""

    @classmethod
    def parse(cls, url: str) -> Address:
        """Raises ValueError with what is wrong with the URL; a password has no place in it."""
        parts = urlsplit(url)
        if parts.scheme not in _PORTS:
            raise ValueError(f"{url}: not one of {', '.join(f'{scheme}://' for scheme in _PORTS)}")
        if parts.scheme == "unix":
            return cls(url, "unix", unquote(parts.path), 0, "")
        if "@" in parts.netloc:
            raise ValueError(
                f"{parts.scheme}://{parts.hostname}: user and password have settings of their own"
            )
        if not parts.hostname:
            raise ValueError(f"{url}: names no host")
        path = parts.path
        if parts.scheme in {"ws", "wss"}:
            path = (path if path.strip("/") else "/mqtt") + (f"?{parts.query}" if parts.query else "")
        return cls(
            url.partition("?")[0], parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme], path
        )

    def split(self) -> tuple[str, str]:
        """The URL of the broker and the device, which is the last level of the path; empty where there is none."""
        above, _, device = urlsplit(self.url).path.rstrip("/").rpartition("/")
        broker = self.url.partition("://")[2].partition("/")[0]
        return f"{self.scheme}://{broker}{above}", device

    @property
    def encrypted(self) -> bool:
        """Whether TLS is spoken."""
        return self.scheme in _ENCRYPTED

    @property
    def websocket(self) -> bool:
        """Whether MQTT is wrapped in WebSocket frames."""
        return self.scheme in {"ws", "wss"}

    @property
    def local(self) -> bool:
        """Whether it never leaves this machine."""
        if self.scheme == "unix" or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
