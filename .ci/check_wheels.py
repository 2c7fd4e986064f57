"""Ask pip whether every run-time dependency resolves to wheels alone, for both machines and all Python versions.

Nothing is installed: pip resolves as if for the other machine (`--dry-run`) and refuses to fall back to sources.
"""

import configparser
import subprocess
import sys
import tempfile
from pathlib import Path

PYTHON_VERSIONS = ("3.11", "3.12", "3.13")
MACHINES = ("x86_64", "aarch64")
# Raspberry Pi OS 12 and Debian 12 have glibc 2.36; wheels may ask for that or older.
GLIBC_MINORS = range(17, 37)


def main() -> int:
    root = Path(__file__).resolve().parent.parent
    settings = configparser.ConfigParser()
    settings.read(root / "setup.cfg")
    requirements = settings["options"]["install_requires"].split()
    failed = 0
    for machine in MACHINES:
        for version in PYTHON_VERSIONS:
            failed += not _resolves(requirements, machine, version, root / "constraints.txt")
    return 1 if failed else 0


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
