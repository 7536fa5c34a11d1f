"""A log of changes, and the disk as it could be after a power cut at any point of it; see the package's docstring."""

from __future__ import annotations

import enum
import os
import random
import stat
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

SECTOR: Final = 512
_HEAD: Final = struct.Struct("<IIQQQQ")  # struct entry of shim.c


class Unsupported(Exception):
    """The program did something below the root that the log cannot show."""


class What(enum.IntEnum):
    """`enum kind` of shim.c."""

    NOTE = 0
    CREATE = 1
    WRITE = 2
    TRUNCATE = 3
    SYNC = 4
    SYNC_FAILED = 5
    SYNC_ALL = 6
    RENAME = 7
    LINK = 8
    UNLINK = 9
    MODE = 10
    UNSUPPORTED = 11


class Entry(NamedTuple):
    """One change; what `a` to `c` mean is said where they are used."""

    what: What
    names: tuple[str, ...]
    a: int
    b: int
    c: int
    data: bytes


class _State(enum.Enum):
    PENDING = 0
    SYNCED = 1
    DOUBTFUL = 2
    """Its fsync failed: no later one settles it."""


@dataclass
class _Change:
    """A write at `at`, or where `data` is None a truncation to `at`."""

    at: int
    data: bytes | None
    state: _State = _State.PENDING


@dataclass(eq=False)
class _Node:
    """A file, directory or symbolic link, whatever its names."""

    mode: int
    data: bytearray = field(default_factory=bytearray)
    """A file's settled content; a symbolic link's target."""
    changes: list[_Change] = field(default_factory=list)
    names: dict[str, _Node] = field(default_factory=dict)
    """A directory's settled entries."""
    now: dict[str, _Node] = field(default_factory=dict)
    """Its entries as the program sees them."""
    moves: list[_Move] = field(default_factory=list)
    """What has happened to its names and is not settled."""


class _Move(NamedTuple):
    """`name` of a directory becomes `node` (None: is removed), which leaves `source` if it is still there."""

    order: int
    name: str
    node: _Node | None
    source: tuple[_Node, str] | None = None


Names = dict[int, dict[str, _Node]]
"""Entries of each directory, by the id of its node: one view of the disk."""


@dataclass(frozen=True)
class Image:
    """What is on the disk after a cut: relative paths to (mode, content), directories before what is in them."""

    entries: dict[str, tuple[int, bytes]]

    def write(self, folder: Path) -> Path:
        """Make `folder` (new, or empty) hold the image; returns it."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, (mode, data) in self.entries.items():
            path = folder / name
            if stat.S_ISDIR(mode):
                path.mkdir()
            elif stat.S_ISLNK(mode):
                path.symlink_to(os.fsdecode(data))
                continue
            else:
                path.write_bytes(data)
            path.chmod(stat.S_IMODE(mode))
        return folder


class Snapshot(NamedTuple):
    """What is below a directory: numbers and modes of everything, content of files, by path ('.' is the root)."""

    entries: dict[str, tuple[int, int, bytes]]

    @classmethod
    def of(cls, root: Path) -> Snapshot:
        """Of what is there now."""
        found: dict[str, tuple[int, int, bytes]] = {}
        for path in [root, *sorted(root.rglob("*"))]:
            info = path.lstat()
            data = b""
            if stat.S_ISREG(info.st_mode):
                data = path.read_bytes()
            elif stat.S_ISLNK(info.st_mode):
                data = os.fsencode(path.readlink())
            found[str(path.relative_to(root))] = (info.st_ino, info.st_mode, data)
        return cls(found)


class Log:
    """What a program did below a directory. Its length is the number of entries; `cut` takes 0 up to it."""

    def __init__(
        self, before: Snapshot, raw: bytes, *, returncode: int | None = None, output: str = ""
    ) -> None:
        self._before = before
        self.entries: Sequence[Entry] = list(_entries(raw))
        self.returncode = returncode
        """Of the program; negative where a signal ended it; None while it runs."""
        self.output = output
        """What it wrote to standard output and error, where that was taken."""

    def __len__(self) -> int:
        return len(self.entries)

    def notes(self, at: int | None = None) -> list[str]:
        """What the program had noted before `at` (default: all of it)."""
        return [e.data.decode() for e in self.entries[:at] if e.what is What.NOTE]

    def cut(self, at: int | None = None, seed: int = 0) -> Image:
        """The disk after a power cut once the first `at` entries had happened (default: all)."""
        at = len(self.entries) if at is None else at
        disk = _Disk(self._before)
        for order, entry in enumerate(self.entries[:at]):
            disk.apply(order, entry)
        return disk.image(_Dice(seed, at))

    def whole(self) -> Image:
        """The directory as the program left it, as if the power had stayed."""
        return self.cut(None, seed=1)


def _entries(raw: bytes) -> Iterator[Entry]:
    """Up to an entry that was not written in full: its change was told to nobody."""
    at = 0
    while at + _HEAD.size <= len(raw):
        what, names, a, b, c, size = _HEAD.unpack_from(raw, at)
        start = at + _HEAD.size
        at = start + names + size
        if at > len(raw):
            return
        words = os.fsdecode(raw[start : start + names]).split("\0")[:-1]
        if what == What.UNSUPPORTED:
            raise Unsupported(words[0])
        yield Entry(What(what), tuple(words), a, b, c, raw[start + names : at])


class _Dice:
    """Chooses what survives; seed 0 nothing, seed 1 everything."""

    def __init__(self, seed: int, at: int) -> None:
        self._random = random.Random(f"{seed} {at}")  # noqa: S311 - repeatable, not secret
        self._keeps = {0: 0.0, 1: 1.0}.get(seed, self._random.choice((0.05, 0.3, 0.5, 0.7, 0.95)))
        self.in_one_order = self._random.random() < 0.5
        """Whether names of all directories survive up to one moment, as in a journal."""

    def keeps(self) -> bool:
        return self._random.random() < self._keeps

    def prefix(self, of: int) -> int:
        """How many of `of` in a row survive."""
        kept = 0
        while kept < of and self.keeps():
            kept += 1
        return kept

    def survives(self, change: _Change) -> Iterator[_Change]:
        """What is left of one write or truncation."""
        if change.data is None or self._keeps in (0.0, 1.0):
            if self.keeps():
                yield change
            return
        fate = self._random.choice(("whole", "torn", "prefix", "zeros"))
        if not self.keeps():
            if fate == "zeros":
                yield _Change(change.at, bytes(len(change.data)))
        elif fate in ("torn", "prefix"):
            parts = list(_sectors(change.at, change.data))
            kept = self.prefix(len(parts))
            yield from parts[:kept] if fate == "prefix" else [part for part in parts if self.keeps()]
        else:
            yield change


def _sectors(at: int, data: bytes) -> Iterator[_Change]:
    start = 0
    while start < len(data):
        end = min(len(data), start + SECTOR - (at + start) % SECTOR)
        yield _Change(at + start, data[start:end])
        start = end


class _Disk:
    """What is settled, and what is not."""

    def __init__(self, before: Snapshot) -> None:
        self._nodes: dict[int, _Node] = {}
        paths: dict[str, _Node] = {}
        for path, (number, mode, data) in before.entries.items():
            node = self._nodes.setdefault(number, _Node(mode, bytearray(data)))
            paths[path] = node
            if path != ".":
                folder = paths[str(Path(path).parent)]
                folder.names[Path(path).name] = folder.now[Path(path).name] = node
        self._root = paths["."]

    def apply(self, order: int, entry: Entry) -> None:
        """One more entry has happened."""
        match entry.what:
            case What.CREATE | What.LINK | What.UNLINK | What.RENAME:
                self._name(order, entry)
            case What.WRITE:  # a: node, b: offset
                self._at(entry.a).changes.append(_Change(entry.b, entry.data))
            case What.TRUNCATE:  # a: node, b: size
                self._at(entry.a).changes.append(_Change(entry.b, None))
            case What.MODE:  # a: node, b: permissions
                node = self._at(entry.a)
                node.mode = stat.S_IFMT(node.mode) | stat.S_IMODE(entry.b)
            case What.SYNC:
                _settle(self._at(entry.a))
            case What.SYNC_FAILED:
                _doubt(self._at(entry.a))
            case What.SYNC_ALL:
                for node in self._nodes.values():
                    _settle(node)
            case _:
                pass

    def _name(self, order: int, entry: Entry) -> None:
        match entry.what:
            case What.CREATE:  # a: directory, b: the new node, c: its mode
                node = self._nodes[entry.b] = _Node(entry.c, bytearray(entry.data))
                self._move(self._at(entry.a), _Move(order, entry.names[0], node))
            case What.LINK:  # a: node, b: directory
                self._move(self._at(entry.b), _Move(order, entry.names[0], self._at(entry.a)))
            case What.UNLINK:  # a: directory
                self._move(self._at(entry.a), _Move(order, entry.names[0], None))
            case _:  # RENAME; a: old directory, b: new directory
                source = self._at(entry.a)
                node = source.now[entry.names[0]]
                self._move(self._at(entry.b), _Move(order, entry.names[1], node, (source, entry.names[0])))

    def image(self, dice: _Dice) -> Image:
        """The disk with some of what is not settled."""
        directories = self._directories()
        names: Names = {id(each): dict(each.names) for each in directories}
        if dice.in_one_order:
            moves = sorted(
                ((m.order, each, m) for each in directories for m in each.moves), key=lambda m: m[0]
            )
            for _, each, move in moves[: dice.prefix(len(moves))]:
                _carry_out(names, each, move)
        else:
            for each in directories:
                for move in each.moves[: dice.prefix(len(each.moves))]:
                    _carry_out(names, each, move)
        return Image(dict(_walk(names, self._root, "", dice, {})))

    def _directories(self) -> list[_Node]:
        """Every directory there has been, in a repeatable order, even those whose number was used again."""
        found = [self._root]
        known = {id(self._root)}
        for each in found:
            reached = [*each.names.values(), *each.now.values(), *(m.node for m in each.moves if m.node)]
            for node in reached:
                if stat.S_ISDIR(node.mode) and id(node) not in known:
                    known.add(id(node))
                    found.append(node)
        return found

    def _at(self, number: int) -> _Node:
        if number not in self._nodes:
            raise Unsupported(f"a change of a file that nothing recorded has made: inode {number}")
        return self._nodes[number]

    def _move(self, directory: _Node, move: _Move) -> None:
        directory.moves.append(move)
        if move.source:
            move.source[0].now.pop(move.source[1])
        if move.node is None:
            directory.now.pop(move.name)
        else:
            directory.now[move.name] = move.node


def _settle(node: _Node) -> None:
    """An fsync of it."""
    names: Names = {}
    for move in node.moves:
        for each in (node, move.source[0] if move.source else node):
            names[id(each)] = each.names
        _carry_out(names, node, move)
    node.moves.clear()
    for change in node.changes:
        if change.state is _State.PENDING:
            change.state = _State.SYNCED
    while node.changes and node.changes[0].state is _State.SYNCED:
        _write(node.data, node.changes.pop(0))


def _doubt(node: _Node) -> None:
    """An fsync of it that failed."""
    for change in node.changes:
        if change.state is _State.PENDING:
            change.state = _State.DOUBTFUL


def _carry_out(names: Names, directory: _Node, move: _Move) -> None:
    """One change of a name, in a view of the disk."""
    if move.source:
        source, old = move.source
        if names[id(source)].get(old) is move.node:
            del names[id(source)][old]
    if move.node is None:
        names[id(directory)].pop(move.name, None)
    else:
        names[id(directory)][move.name] = move.node


def _write(content: bytearray, change: _Change) -> None:
    if change.data is None:
        del content[change.at :]
        content.extend(bytes(change.at - len(content)))
        return
    content.extend(bytes(max(0, change.at - len(content))))
    content[change.at : change.at + len(change.data)] = change.data


def _content(node: _Node, dice: _Dice, made: dict[int, bytes]) -> bytes:
    """What is left of a file; the same under each of its names."""
    if id(node) not in made:
        content = bytearray(node.data)
        for change in node.changes:
            for left in [change] if change.state is _State.SYNCED else dice.survives(change):
                _write(content, left)
        made[id(node)] = bytes(content)
    return made[id(node)]


def _walk(
    names: Names, directory: _Node, path: str, dice: _Dice, made: dict[int, bytes]
) -> Iterator[tuple[str, tuple[int, bytes]]]:
    for name, node in sorted(names[id(directory)].items()):
        if stat.S_ISDIR(node.mode):
            yield path + name, (node.mode, b"")
            yield from _walk(names, node, f"{path}{name}/", dice, made)
        elif stat.S_ISREG(node.mode) or stat.S_ISLNK(node.mode):
            yield path + name, (node.mode, _content(node, dice, made))
