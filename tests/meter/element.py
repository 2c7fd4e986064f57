"""A secure element for tests: SoftHSM2 with a folder of tokens of its own, which can be pulled out and put back."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MODULES = [
    Path("/usr/lib/softhsm/libsofthsm2.so"),
    Path("/usr/lib64/pkcs11/libsofthsm2.so"),
    Path("/usr/local/lib/softhsm/libsofthsm2.so"),
]
TOKEN, PIN = "wattchain", "1234"


class Element:
    """One token. A program that has the library loaded sees what happened at the next beginning of the library."""

    def __init__(self, folder: Path, module: Path) -> None:
        self.module = module
        self._tokens, self._away = folder / "tokens", folder / "pulled-out"
        self._tokens.mkdir()
        self.add_token(TOKEN)

    def add_token(self, label: str) -> None:
        command = ["softhsm2-util", "--init-token", "--free", "--label", label, "--so-pin", "12345678", "--pin", PIN]
        subprocess.run(command, check=True, capture_output=True)

    def pull_out(self) -> None:
        self._tokens.rename(self._away)
        self._tokens.mkdir()

    def put_back(self) -> None:
        self._tokens.rmdir()
        self._away.rename(self._tokens)


@contextmanager
def plugged_in(folder: Path) -> Iterator[Element]:
    """Skips the test, with the reason, where SoftHSM2 or python-pkcs11 is missing."""
    pkcs11 = pytest.importorskip("pkcs11", reason="python-pkcs11 is missing: pip install 'wattchain[pkcs11]'")
    module = next((path for path in MODULES if path.exists()), None)
    if module is None or shutil.which("softhsm2-util") is None:
        pytest.skip("SoftHSM2 is missing: sudo apt-get install softhsm2")
    settings = folder / "softhsm2.conf"
    settings.write_text(f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\nlog.level = ERROR\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(settings))
        patch.delenv("CREDENTIALS_DIRECTORY", raising=False)
        try:
            yield Element(folder, module)
        finally:
            # The next test's folder is read when the library begins anew.
            library = pkcs11.lib(str(module))
            if library.initialized:
                library.finalize()
