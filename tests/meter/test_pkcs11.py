"""Signatures of a real PKCS #11 library, SoftHSM2: recoverable, of low s, and again after the token was pulled out."""

import asyncio
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from meter.assembly import build_daemon, open_meter_key, open_paying_key
from meter.bounded_signer import BoundedSigner
from meter.head import Head
from meter.pkcs11 import ElementSettings, ElementSigner, log_in, make_key, open_element, parse_id
from meter.reading import NO_HASH, Reading, ReadingDomain
from meter.settings import parse_settings
from meter.signer import SignerBusy, SignerUnavailable, sign_when_ready
from primitives import secp256k1
from primitives.clock import ManualClock
from primitives.errors import UserError
from primitives.hexadecimal import to_checksum_address
from primitives.keccak import keccak256
from tests.meter.element import PIN, TOKEN, Element, plugged_in
from tests.meter.fake_node import CHAIN_ID, FakeNode

DOMAIN = ReadingDomain(1947, b"\x10" * 20)


@pytest.fixture
def element(tmp_path: Path) -> Iterator[Element]:
    with plugged_in(tmp_path) as element:
        yield element


@pytest.fixture
def settings(element: Element, tmp_path: Path) -> ElementSettings:
    (tmp_path / "pin").write_text(PIN + "\n")
    (tmp_path / "pin").chmod(0o600)
    address = make_key(element.module, TOKEN, "meter", b"\x01", PIN)
    return ElementSettings(element.module, TOKEN, address, "meter", "01", tmp_path / "pin")


def signs(signer: ElementSigner, number: int = 0) -> bool:
    message_hash = keccak256(number.to_bytes(4, "big"))
    return secp256k1.recover_address(message_hash, *signer.sign(message_hash)) == signer.address


def test_every_signature_recovers_the_meter_and_has_low_s(settings: ElementSettings) -> None:
    signer = ElementSigner.open(settings)
    # Half of what the element returns has high s, and half either parity: all four cases in 40.
    assert all(signs(signer, number) for number in range(40))
    reading = Reading(signer.address, 1, 1_700_000_000, 5, 0, 7, 0, NO_HASH)
    DOMAIN.verify(DOMAIN.sign(reading, signer))


def test_signs_again_after_it_was_pulled_out(
    settings: ElementSettings, element: Element, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meter.pkcs11.RETRY_S", 0.0)
    signer = ElementSigner.open(settings)
    assert signs(signer)
    element.pull_out()
    with pytest.raises(SignerUnavailable, match="element wattchain is not there"):
        signs(signer)
    with pytest.raises(SignerUnavailable, match="element wattchain is not there"):
        signs(signer)
    element.put_back()
    assert signs(signer)


def test_starts_without_its_element(
    settings: ElementSettings, element: Element, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    element.pull_out()
    signer = ElementSigner.open(settings)
    assert "is not there; tokens that are: none; readings are signed as soon as it is" in caplog.text
    element.put_back()
    with pytest.raises(SignerUnavailable, match="is not there"):  # looked for only every few seconds
        signs(signer)
    monkeypatch.setattr("meter.pkcs11.RETRY_S", 0.0)
    assert signs(signer)


def test_a_wrong_pin_is_not_tried_twice(settings: ElementSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.pin_file is not None
    settings.pin_file.write_text("9999")
    with pytest.raises(UserError, match="not the PIN of the element wattchain"):
        ElementSigner.open(settings)
    settings.pin_file.write_text(PIN)
    with pytest.raises(UserError, match="wattchain meter key test"):  # a restarted service must not lock the element
        ElementSigner.open(settings)
    monkeypatch.setattr("meter.pkcs11.read_secret", lambda *_: PIN)
    assert signs(ElementSigner.open(settings, asks=True))
    assert signs(ElementSigner.open(settings))


def test_another_key_than_the_settings_say(settings: ElementSettings) -> None:
    with pytest.raises(UserError, match=r"is that of 0x.*, the settings say"):
        ElementSigner.open(replace(settings, address=b"\x01" * 20))


def test_key_is_found_by_id_or_label_and_must_be_one(settings: ElementSettings, element: Element) -> None:
    assert signs(ElementSigner.open(replace(settings, key_label="")))
    assert signs(ElementSigner.open(replace(settings, key_id="")))
    with pytest.raises(UserError, match="no private key of the label and id"):
        ElementSigner.open(replace(settings, key_label="another"))
    make_key(element.module, TOKEN, "meter", b"\x02", PIN)
    with pytest.raises(UserError, match="2 times a private key"):
        ElementSigner.open(replace(settings, key_id=""))
    signer = ElementSigner.open(settings)
    assert signs(signer)
    signer.close()
    with pytest.raises(UserError, match="has a key of that label and id already"):
        make_key(element.module, TOKEN, "meter", b"\x02", PIN)


def test_two_tokens_of_one_label(settings: ElementSettings, element: Element) -> None:
    element.add_token(TOKEN)
    with pytest.raises(UserError, match="2 tokens are labelled wattchain"):
        ElementSigner.open(settings)


def test_the_key_cannot_be_taken_out(settings: ElementSettings) -> None:
    import pkcs11

    library = pkcs11.lib(str(settings.module))
    with log_in(library.get_token(token_label=TOKEN), PIN, even_after_a_wrong_pin=False) as session:
        key = session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY)
        with pytest.raises(pkcs11.AttributeSensitive):
            key[pkcs11.Attribute.VALUE]
        assert not key[pkcs11.Attribute.EXTRACTABLE]


def test_a_key_on_another_curve_is_refused(settings: ElementSettings) -> None:
    import pkcs11
    from pkcs11.util.ec import encode_named_curve_parameters

    library = pkcs11.lib(str(settings.module))
    with log_in(library.get_token(token_label=TOKEN), PIN, even_after_a_wrong_pin=False, rw=True) as session:
        curve = {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}
        parameters = session.create_domain_parameters(pkcs11.KeyType.EC, curve, local=True)
        parameters.generate_keypair(store=True, label="p256")
    with pytest.raises(UserError, match="on P-256, the ledger needs secp256k1"):
        ElementSigner.open(replace(settings, key_label="p256", key_id=""))


class HeldKey:
    """The element's key, which signs when it is let: a wrapper where a slow bus would be."""

    def __init__(self, key: Any) -> None:
        self._key = key
        self.is_let = threading.Event()

    def sign(self, message_hash: bytes, **options: object) -> bytes:
        assert self.is_let.wait(30)
        return bytes(self._key.sign(message_hash, **options))


def held_key(signer: BoundedSigner) -> HeldKey:
    element: Any = signer._opening.result()
    element._key = held = HeldKey(element._key)
    return held


def test_an_element_in_a_thread_of_its_own(settings: ElementSettings) -> None:
    signer = open_element(settings, 10.0)
    message_hash = keccak256(b"1")
    assert secp256k1.recover_address(message_hash, *signer.sign(message_hash)) == signer.address
    held = held_key(signer)
    signer._patience_s = 0.01
    message_hash = keccak256(b"2")
    with pytest.raises(SignerBusy, match="the element wattchain has not answered yet"):
        signer.sign(message_hash)
    held.is_let.set()
    signed = asyncio.run(sign_when_ready(signer, message_hash))
    assert secp256k1.recover_address(message_hash, *signed) == signer.address


def test_a_wrong_pin_is_told_by_the_thread_too(settings: ElementSettings) -> None:
    assert settings.pin_file is not None
    settings.pin_file.write_text("9999")
    with pytest.raises(UserError, match="not the PIN of the element wattchain"):
        open_element(settings, 10.0)


def test_nonsense_from_the_element_is_no_signature(settings: ElementSettings) -> None:
    class Broken:
        def sign(self, message_hash: bytes, **_: object) -> bytes:
            return bytes(64)

    signer = ElementSigner.open(settings)
    signer._key = Broken()
    with pytest.raises(SignerUnavailable, match="not its key's"):
        signer.sign(bytes(32))


def test_a_library_that_is_none(settings: ElementSettings, tmp_path: Path) -> None:
    (tmp_path / "text.so").write_text("no library")
    for path in (tmp_path / "missing.so", tmp_path / "text.so"):
        with pytest.raises(UserError, match=r"PKCS #11 library .* cannot be used"):
            ElementSigner.open(replace(settings, module=path))


@pytest.mark.parametrize("text", ["0", "xy", "01" * 33, "0x01"])
def test_ids_that_are_none(text: str) -> None:
    with pytest.raises(UserError, match="in hexadecimal"):
        parse_id(text)


def test_settings_must_name_a_key() -> None:
    with pytest.raises(UserError, match="must name the key"):
        ElementSettings(Path("a.so"), "token", bytes(20)).check()


@dataclass
class Home:
    """A whole meter on a played file of 100 Wh an hour, readings and transactions signed by the element."""

    settings: ElementSettings
    folder: Path

    def __post_init__(self) -> None:
        self.node = FakeNode(meter=self.settings.address, credit_wei=10**24)
        self.node.block_time_s = 600
        self.clock = ManualClock(self.node.blocks[-1].time_s)
        self.node.clock = self.clock
        (self.folder / "profile.csv").write_text("non_shiftable_load\n" + "0.1\n" * 100)
        document: dict[str, object] = {
            "meter": {"outbox": "outbox.sqlite", "runtime_folder": "run"},
            "pkcs11": {
                "module": str(self.settings.module),
                "token": TOKEN,
                "key_id": "01",
                "address": to_checksum_address(self.settings.address),
                "pin_file": "pin",
            },
            "ledger": {"chain_id": CHAIN_ID, "confirmations": 1},
            "driver": {"file": "profile.csv"},
        }
        meter_settings = parse_settings(document, self.folder / "meter.toml")
        self.signer = open_meter_key(meter_settings)
        payer = open_paying_key(meter_settings, self.signer)
        self.daemon = build_daemon(meter_settings, self.node, self.clock, self.signer, payer)

    async def pass_hours(self, hours: int) -> None:
        for _ in range(hours * 6):
            self.clock.advance_s(600)
            for _ in range(80):
                await asyncio.sleep(0)
            self.node.mine()

    async def stop(self, task: "asyncio.Future[None]") -> Head:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        head = self.daemon.outbox.head()
        assert head is not None
        self.daemon.outbox.close()
        return head


async def test_meter_whose_element_is_pulled_out_goes_on_measuring(
    settings: ElementSettings,
    element: Element,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Energy used meanwhile is in a later reading."""
    monkeypatch.setattr("meter.pkcs11.RETRY_S", 0.0)
    home = Home(settings, tmp_path)
    task = asyncio.ensure_future(home.daemon.run())
    await home.pass_hours(3)
    element.pull_out()
    await home.pass_hours(3)
    signed = home.daemon.outbox.head()
    element.put_back()
    await home.pass_hours(4)
    later = await home.stop(task)
    assert "NO READING WAS SIGNED: the element wattchain is not there" in caplog.text
    assert signed is not None
    assert signed.registers.import_wh <= 400 < 800 <= later.registers.import_wh
    assert home.node.charged_wh(settings.address) >= later.registers.import_wh - 100


async def test_meter_whose_element_hangs_goes_on_measuring(
    settings: ElementSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The event loop is held up for a moment only, however long the library does not come back."""
    monkeypatch.setattr("meter.signer.LOOK_S", 0.001)
    home = Home(settings, tmp_path)
    assert isinstance(home.signer, BoundedSigner)
    task = asyncio.ensure_future(home.daemon.run())
    await home.pass_hours(3)
    home.signer._patience_s = 0.02
    held = held_key(home.signer)
    begin_s = time.monotonic()
    await home.pass_hours(3)
    assert time.monotonic() - begin_s < 10
    signed = home.daemon.outbox.head()
    held.is_let.set()
    home.signer._patience_s = 10.0
    await home.pass_hours(4)
    later = await home.stop(task)
    assert "NO READING WAS SIGNED: the element wattchain has not answered yet" in caplog.text
    assert signed is not None
    assert signed.registers.import_wh <= 400 < 800 <= later.registers.import_wh
    sequences = home.node.accepted_sequences()
    assert sequences == list(range(1, len(sequences) + 1))
