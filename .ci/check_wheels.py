"""Ask pip whether every dependency, those of the tests included, resolves to wheels alone, for both machines and all
Python versions.

Nothing is installed: pip resolves as if for the other machine (`--dry-run`) and refuses to fall back to sources. It
would judge markers such as `python_version < "3.13"` by the machine it runs on, so they are judged here.
"""

import configparser
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from packaging.requirements import Requirement

PYTHON_VERSIONS = ("3.11", "3.12", "3.13")
MACHINES = ("x86_64", "aarch64")
# Raspberry Pi OS 12 and Debian 12 have glibc 2.36; wheels may ask for that or older.
GLIBC_MINORS = range(17, 37)
# dsmr-parser needs Tailer, one file of plain Python that is published as a source archive only. pip makes a wheel of it
# anywhere without a compiler, but it may not while it resolves for another machine: what else it needs is asked for.
SOURCE_ONLY = {"dsmr-parser": ("dlms-cosem", "serialx", "attrs", "asn1crypto", "python-dateutil")}


def main() -> int:
    root = Path(__file__).resolve().parent.parent
    settings = configparser.ConfigParser()
    settings.read(root / "setup.cfg")
    extras = settings["options.extras_require"]
    requirements = [*_read(settings["options"]["install_requires"], extras), *_read(extras["test"], extras)]
    failed = 0
    for machine in MACHINES:
        for version in PYTHON_VERSIONS:
            wanted = [one for one in requirements if _applies(one, machine, version)]
            names = [name for one in wanted for name in SOURCE_ONLY.get(one.name, (_without_marker(one),))]
            failed += not _resolves(names, machine, version, root / "constraints.txt")
    return 1 if failed else 0


def _read(lines: str, extras: Mapping[str, str]) -> Iterator[Requirement]:
    """The requirements in these lines; where the package names extras of its own, those of the extras."""
    for requirement in (Requirement(line) for line in lines.splitlines() if line):
        if requirement.name != "wattchain":
            yield requirement
        for extra in requirement.extras if requirement.name == "wattchain" else ():
            yield from _read(extras[extra], extras)


def _applies(requirement: Requirement, machine: str, version: str) -> bool:
    environment = {"platform_machine": machine, "python_version": version, "python_full_version": f"{version}.0"}
    return requirement.marker is None or requirement.marker.evaluate(environment)


def _without_marker(requirement: Requirement) -> str:
    return f"{requirement.name}{requirement.specifier}"


def _resolves(requirements: list[str], machine: str, version: str, constraints: Path) -> bool:
    platforms = [f"--platform=manylinux_2_{minor}_{machine}" for minor in GLIBC_MINORS]
    platforms.append(f"--platform=manylinux2014_{machine}")
    with tempfile.TemporaryDirectory() as target:
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--disable-pip-version-check",
                   "--ignore-installed", "--only-binary=:all:", f"--python-version={version}", f"--target={target}",
                   "-c", str(constraints), *platforms, *requirements]  # fmt: skip
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    print(f"wheels for {machine}, Python {version}: {'all found' if result.returncode == 0 else 'MISSING'}")
    if result.returncode:
        print(result.stderr.strip())
    return result.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
