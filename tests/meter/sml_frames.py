"""SML frames made here with right checksums, in the layout of BSI TR-03109-1: transport, messages, list entries."""

from collections.abc import Sequence
from dataclasses import dataclass

SERVER_ID = bytes.fromhex("0a014c475a000300b1a7")
ESCAPE = b"\x1b\x1b\x1b\x1b"
WH, WATT, VOLT, AMPERE = 30, 27, 35, 33
IMPORT, EXPORT, POWER = b"\x01\x00\x01\x08\x00\xff", b"\x01\x00\x02\x08\x00\xff", b"\x01\x00\x10\x07\x00\xff"
VOLTAGE_1, CURRENT_3 = b"\x01\x00\x20\x07\x00\xff", b"\x01\x00\x47\x07\x00\xff"
NOTHING = b"\x01"


@dataclass(frozen=True)
class Entry:
    code: bytes
    unit: int | None
    exponent: int | None
    value: int | bytes
    width: int = 8
    is_signed: bool = True


def frame(entries: Sequence[Entry], server_id: bytes = SERVER_ID) -> bytes:
    return transport(messages(entries, server_id))


def messages(entries: Sequence[Entry], server_id: bytes = SERVER_ID) -> bytes:
    opened = b"\x76" + NOTHING * 2 + octets(b"\x00\x9b\xf2\x94") + octets(server_id) + NOTHING * 2
    listed = b"\x77" + NOTHING + octets(server_id) + octets(b"\x01\x00\x62\x0a\xff\xff")
    listed += b"\x72\x62\x01\x65\x01\x8a\x4d\x15" + list_head(len(entries))
    listed += b"".join(entry_bytes(entry) for entry in entries) + NOTHING * 2
    return message(1, 0x0101, opened) + message(2, 0x0701, listed) + message(3, 0x0201, b"\x71\x01")


def message(number: int, choice: int, body: bytes) -> bytes:
    head = b"\x76" + octets(b"\x01\xd3\xd7" + bytes([number])) + b"\x62\x00\x62\x00\x72\x63" + choice.to_bytes(2, "big")
    return head + body + b"\x63" + crc(head + body).to_bytes(2, "little") + b"\x00"


def transport(content: bytes) -> bytes:
    fill = -len(content) % 4
    sent = ESCAPE + b"\x01" * 4 + content.replace(ESCAPE, ESCAPE * 2) + b"\0" * fill + ESCAPE + b"\x1a" + bytes([fill])
    return sent + crc(sent).to_bytes(2, "little")


def entry_bytes(entry: Entry) -> bytes:
    status = b"\x65\x00\x01\x01\x82" if entry.code == IMPORT else NOTHING
    unit = NOTHING if entry.unit is None else bytes([0x62, entry.unit])
    exponent = NOTHING if entry.exponent is None else b"\x52" + entry.exponent.to_bytes(1, "big", signed=True)
    if isinstance(entry.value, bytes):
        value = octets(entry.value)
    else:
        kind = 0x50 if entry.is_signed else 0x60
        value = bytes([kind + entry.width + 1]) + entry.value.to_bytes(entry.width, "big", signed=entry.is_signed)
    return b"\x77" + octets(entry.code) + status + NOTHING + unit + exponent + value + NOTHING


def octets(data: bytes) -> bytes:
    size = len(data) + 1
    return bytes([size]) + data if size < 16 else bytes([0x80 | (size + 1) >> 4, (size + 1) & 15]) + data


def list_head(count: int) -> bytes:
    return bytes([0x70 | count]) if count < 16 else bytes([0xF0 | count >> 4, count & 15])


def crc(data: bytes) -> int:
    """CRC-16/X-25."""
    remainder = 0xFFFF
    for byte in data:
        remainder ^= byte
        for _ in range(8):
            remainder = remainder >> 1 ^ (0x8408 if remainder & 1 else 0)
    return remainder ^ 0xFFFF
