"""Keystore vectors (ethereum/tests KeyStoreTests): the password opens the file, a wrong one does not."""

import json
from collections.abc import Iterator
from pathlib import Path

from primitives.errors import InvalidKeystore
from tests.conformance.vectors import Case, Mismatch, expect_equal, from_hex
from wallet.keystore import decrypt_key


def read(file: Path) -> Iterator[Case]:
    for name, content in json.loads(file.read_text()).items():
        yield Case(name, content)


def check(case: Case) -> None:
    text = json.dumps(case.content["json"])
    expect_equal("the private key", decrypt_key(text, case.content["password"]), from_hex(case.content["priv"]))
    try:
        decrypt_key(text, case.content["password"] + "x")
    except InvalidKeystore:
        return
    raise Mismatch("a wrong password was accepted")
