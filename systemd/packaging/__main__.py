"""python -m systemd.packaging [--compiler] [--into FOLDER]: build the package and print its path."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from systemd.packaging import package, venv

CHECKOUT = Path(__file__).parents[1]


def main() -> int:
    """Stage, then pack; anything missing on this machine is an exit with the reason."""
    options = argparse.ArgumentParser(
        prog="./dev deb", description="build the Debian package of this checkout"
    )
    options.add_argument("--compiler", action="store_true", help="with numba, to rebuild kernels (+180 MB)")
    options.add_argument("--into", type=Path, default=CHECKOUT / "build", help="folder of the package")
    chosen = options.parse_args()
    chosen.into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="edged-deb-", dir=chosen.into) as folder:
        stage = Path(folder) / "stage"
        venv.fill(CHECKOUT, stage, with_compiler=chosen.compiler)
        package.lay_out(CHECKOUT, stage)
        print(package.pack(CHECKOUT, stage, chosen.into))
    return 0


if __name__ == "__main__":
    sys.exit(main())
