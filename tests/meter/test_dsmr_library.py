"""What a meter at a P1 port leaves on the disk: each way in an interpreter of its own."""

import subprocess
import sys

import pytest

pytest.importorskip("dsmr_parser", reason='needs dsmr-parser: pip install "wattchain[dsmr]"')

PLAIN = """
import sys
from meter.drivers.dsmr_library import load_library
from tests.meter.p1_telegrams import NETHERLANDS_5, telegram
library = load_library()
parsers = library.parsers
value = parsers.CosemParser(parsers.ValueParser(str))
rows = [{"obis_reference": r"^1-0:1.8.1.+?\\r\\n", "value_parser": value, "value_name": "x"}]
parser = parsers.TelegramParser({"objects": rows, "checksum_support": True})
buffer = library.buffers.TelegramBuffer()
buffer.append(telegram(NETHERLANDS_5).decode())
(text,) = buffer.get_all()
assert parser.parse(text, throw_ex=True).x.value == "001842.137"
big = [name for name in ("dlms_cosem", "cryptography", "serialx", "asn1crypto") if name in sys.modules]
assert big == [], big
"""
OTHERS = """
from cryptography.hazmat.primitives.ciphers import Cipher
import serialx, dlms_cosem
assert Cipher.__module__.startswith("cryptography") and serialx.__file__ and dlms_cosem.__file__
"""


@pytest.mark.parametrize("program", [PLAIN, PLAIN + OTHERS, OTHERS + PLAIN.replace("assert big", "big")])
def test_what_is_loaded(program: str) -> None:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
