"""`wattchain meter setup`, step by step: the board, the ledger, the key, the relay, the settings file.

Each step asks what it cannot find out, and shows what it found. Nothing is written before the last step but a new key,
which is never overwritten: a wizard that was left in the middle finds it again.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from meter.pkcs11 import ElementSettings
from meter.qr_code import qr_text
from meter.settings import MeterSettings
from meter.setup.board_step import BoardStep, Given
from meter.setup.person import Person
from meter.setup.relay_step import RelayStep, RelayTest
from meter.setup.sections import Chosen
from meter.setup.settings_text import parse_text, settings_text, write_settings
from meter.signer import make_key_file
from primitives.clock import Clock
from primitives.errors import UserError
from primitives.hexadecimal import to_checksum_address
from wallet.client import InvalidAnswer, NodeUnreachable, RpcClient, RpcError
from wallet.command_line import DEFAULT_NODE, read_password
from wallet.key_directory import read_key_file
from wallet.keystore import decrypt_key, keystore_address

NODE_TIMEOUT_S = 5.0
MAX_CHAIN_ID = 2**53 - 1
SECTION_ORDER = ("meter", "account", "pkcs11", "ledger", "driver", "relay", "mqtt")


@dataclass(frozen=True, slots=True)
class Options:
    """What was said on the command line."""

    settings: Path
    overwrite: bool
    driver: str | None
    ports: tuple[str, ...]
    assignments: tuple[str, ...]
    node: str | None
    chain_id: int | None
    key: Path | None
    password_file: Path | None
    relay: bool | None
    test_relay: bool
    live_count: int
    listen_s: float


@dataclass(slots=True)
class Outcome:
    """For programs, and for the last page."""

    settings: MeterSettings
    address: bytes
    key_is_new: bool
    measurements: list[dict[str, object]] = field(default_factory=list)
    relay: RelayTest | None = None


class Wizard:
    def __init__(self, person: Person, options: Options, clock: Clock) -> None:
        self._person = person
        self._options = options
        self._clock = clock
        self._chosen = Chosen({name: {} for name in SECTION_ORDER})
        self._key_is_new = False

    async def run(self) -> Outcome:
        """Raises UserError; click.Abort where the person has enough."""
        options, person = self._options, self._person
        self._check_file()
        if options.driver is not None:
            self._chosen.set_driver_kind(options.driver)
        for text in options.assignments:
            self._chosen.set_text(text)

        person.heading(1, "What measures the electricity")
        board = BoardStep(person, self._chosen, Given(options.ports, options.listen_s, options.live_count), self._clock)
        await board.run()

        person.heading(2, "The ledger")
        await self._ledger()

        person.heading(3, "The meter's key")
        address = self._key()
        self._show_address(address)

        person.heading(4, "The relay that switches the supply")
        relay = RelayStep(person, self._chosen, self._clock, options.relay, does_test=options.test_relay)
        test = await relay.run()

        person.heading(5, "The settings")
        settings = self._write()
        self._tell_what_next(address)
        return Outcome(settings, address, self._key_is_new, [_as_json(one) for one in board.seen], test)

    def _check_file(self) -> None:
        path = self._options.settings
        if path.exists() and not self._options.overwrite:
            question = f"There are settings at {path} already. Write new ones in their place at the end?"
            if self._person.yes:
                raise UserError(f"there is a file {path} already: name another with --settings, or add --overwrite")
            if not self._person.agrees(question, usual=False, option="--overwrite"):
                raise UserError("Nothing was changed; name another file with --settings")

    async def _ledger(self) -> None:
        chosen, options, person = self._chosen, self._options, self._person
        usual = str(chosen.get("ledger", "node") or DEFAULT_NODE)
        node = options.node or person.answer("   Address of a node", _node_url, usual=usual, option="--node URL")
        chosen.set("ledger", "node", _node_url(node))
        told = await self._ask_node(node)
        chain_id = options.chain_id or chosen.get("ledger", "chain_id") or told.chain_id
        if chain_id is None:
            chain_id = person.answer(
                "   Chain id of the network (`wattchain status` on a node shows it)",
                _parse_chain_id,
                usual=None,
                option="--chain-id NUMBER",
            )
        if told.chain_id not in (None, chain_id):
            raise UserError(f"the node is one of chain {told.chain_id}, not of chain {chain_id}")
        chosen.set("ledger", "chain_id", chain_id)
        if told.is_final and chosen.get("ledger", "confirmations") is None:
            person.tell("   Its blocks are final at once.")
            chosen.set("ledger", "confirmations", 0)

    async def _ask_node(self, url: str) -> "_Told":
        try:
            async with RpcClient(url, NODE_TIMEOUT_S) as node:
                chain_id, number = await node.chain_id(), await node.block_number()
                self._person.tell(f"   The node answers: chain {chain_id}, block {number}.")
                try:
                    page = await node.request("wattchain_status")
                except (RpcError, InvalidAnswer):  # a node of another make
                    return _Told(chain_id)
                return _Told(chain_id, isinstance(page, dict) and page.get("consensus") == "qbft")
        except (NodeUnreachable, RpcError, InvalidAnswer) as error:
            self._person.tell(f"   {error} The meter can be set up without it.")
            return _Told()

    def _key(self) -> bytes:
        chosen, options, person = self._chosen, self._options, self._person
        if chosen.values["pkcs11"]:
            element = ElementSettings(**chosen.values["pkcs11"])  # type: ignore[arg-type]
            element.check()
            person.tell(f"   The key is in the secure element {element.token}; `wattchain meter key test` tries it.")
            return element.address
        named = options.key or cast("Path | None", chosen.get("meter", "key"))
        path = (named or options.settings.parent / "meter.json").absolute()
        chosen.set("meter", "key", path)
        if options.password_file is not None:
            chosen.set("meter", "password_file", options.password_file.absolute())
        if path.exists():
            return self._present_key(path)
        person.tell(
            f"   A new key is made in {path}. Its password protects it on the card; without it nobody can\n"
            "   sign for this meter, and nobody can tell it to you: keep a copy of both.\n"
            "   (One in a secure element is made by `wattchain meter key new` and named by --set pkcs11...)"
        )
        password = person.new_password(options.password_file, "   Password for the new key")
        address = make_key_file(path, password)
        self._key_is_new = True
        return address

    def _present_key(self, path: Path) -> bytes:
        """One that is there already; its password is tried where it is known."""
        text = read_key_file(path)
        address = keystore_address(text)
        if address is None:
            raise UserError(f"the key file {path} does not name its address: import it with `wattchain wallet import`")
        if self._options.password_file is not None:
            decrypt_key(text, read_password(self._options.password_file, ""))
        self._person.tell(f"   There is a key in {path} already; it is used.")
        return address

    def _show_address(self, address: bytes) -> None:
        person, shown = self._person, to_checksum_address(address)
        person.tell("   This is the meter's address:\n")
        person.tell(qr_text(shown))
        person.tell(f"\n   {shown}\n")

    def _write(self) -> MeterSettings:
        options, chosen = self._options, self._chosen
        if chosen.get("meter", "outbox") is None:
            chosen.set("meter", "outbox", options.settings.parent.absolute() / "outbox.sqlite")
        path = options.settings.absolute()
        text = settings_text(chosen.sections(), path.parent)
        settings = parse_text(text, path)
        write_settings(path, text, overwrite=options.overwrite or path.exists())
        self._person.tell(f"   Written to {path}, for your eyes only. Every setting is explained there.")
        return settings

    def _tell_what_next(self, address: bytes) -> None:
        path = shlex.quote(str(self._options.settings.absolute()))
        self._person.tell(
            "\nWhat comes next\n\n"
            "   Ask the supplier for its address. This prints what it needs to register the meter, also to scan:\n"
            f"      wattchain meter key consent 0xSUPPLIER --settings {path}\n"
            "   The supplier registers the meter, with the customer's address and the place:\n"
            f"      wattchain meter install {to_checksum_address(address)} 0xCONSENT --owner 0xCUSTOMER --tariff 1 \\\n"
            '          --place "12 Mill Lane" --from supplier\n'
            "   Have the meter started with this computer:\n"
            f'      sudo "$(command -v wattchain)" install-service meter --settings {path}\n'
            "   or run it here, until Ctrl-C:\n"
            f"      wattchain meter run --settings {path}\n"
            "   How it is doing:\n"
            f"      wattchain meter status --settings {path}"
        )


@dataclass(frozen=True, slots=True)
class _Told:
    """What a node says of its ledger."""

    chain_id: int | None = None
    is_final: bool = False


def _as_json(measurement: object) -> dict[str, object]:
    names: Sequence[str] = ("power_mw", "import_mwh", "export_mwh", "device_id")
    values = {name: getattr(measurement, name) for name in names}
    return {**values, "values": dict(getattr(measurement, "values", ()))}


def _node_url(text: str) -> str:
    if not text.startswith(("http://", "https://")) or " " in text:
        raise UserError(f"{text[:80]!r} is no address of a node: it looks like {DEFAULT_NODE}")
    return text


def _parse_chain_id(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 17 and 1 <= int(text) <= MAX_CHAIN_ID):
        raise UserError("a chain id is a whole number from 1 on")
    return int(text)
