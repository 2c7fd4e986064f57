"""The options that say what a new network is like, shared by `wattchain init` and `wattchain network new`."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from chain.config import (
    ASERT,
    DEFAULT_BLOCK_TIME_S,
    DEFAULT_EMPTY_BLOCK_PERIOD_S,
    DEVELOPMENT,
    EIP1559,
    FIXED,
    MAX_CHAIN_ID,
    MAX_PERIOD_S,
    POW,
    PRODUCTION,
    QBFT,
    ZERO,
)
from contracts.roles import Role
from node.new_network import DEFAULT_DIFFICULTY, NetworkPlan, random_chain_id
from primitives.clock import SystemClock
from primitives.errors import Invalid, UserError
from primitives.hexadecimal import parse_address
from wallet.amounts import parse_amount
from wallet.command_line import WholeNumber

MAX_PRICE_DIGITS = 78
"""Those of 2^256; what is in range is decided by the contract's genesis."""
DEFAULT_QBFT_BLOCK_TIME_S = 2
"""Validators agree within a second on a local network; a payment is final when its block is there."""

_ZONE = re.compile(r"([+-])([0-9]{2}):([0-5][0-9])")

Number = TypeVar("Number", bound=int)
Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class NetworkOptions:
    """As given on the command line; None where not."""

    consensus: str
    operator: str | None = None
    suppliers: tuple[str, ...] = ()
    funds: tuple[str, ...] = ()
    regulators: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    time_zone: str | None = None
    chain_id: int | None = None
    block_time: int | None = None
    empty_block_period: int | None = None
    difficulty_rule: str | None = None
    difficulty: int | None = None
    fees: str = ZERO
    development: bool = False

    @property
    def is_qbft(self) -> bool:
        return self.consensus == QBFT

    def check(self) -> None:
        """Raises UserError for options that do not go together."""
        begins_with = (self.suppliers, self.funds, self.regulators, self.members, self.time_zone)
        if self.operator is None and any(begins_with):
            raise UserError(
                "--supplier, --fund, --regulator, --member and --time-zone say what a new network begins with: "
                "name its --operator as well"
            )
        if self.is_qbft and (self.difficulty is not None or self.difficulty_rule is not None):
            raise UserError("--difficulty is for mining; with --consensus qbft the validators take turns instead")
        if not self.is_qbft and self.empty_block_period is not None:
            raise UserError(
                "--empty-block-period is for --consensus qbft; a miner has its own in its settings, [mining]"
            )

    def plan(self, validators: tuple[bytes, ...]) -> NetworkPlan:
        """The network that they describe. Raises UserError, Invalid."""
        if self.operator is None:
            raise UserError("name the address that owns the registry: --operator (`wattchain wallet new` makes one)")
        default_block_time = DEFAULT_QBFT_BLOCK_TIME_S if self.is_qbft else DEFAULT_BLOCK_TIME_S
        suppliers = _pairs(self.suppliers, "--supplier", _whole_number)
        zone_s = 0 if self.time_zone is None else parse_zone(self.time_zone)
        return NetworkPlan(
            operator=address_option(self.operator, "--operator"),
            chain_id=self.chain_id or random_chain_id(),
            suppliers=suppliers,
            regulators=tuple(address_option(one, "--regulator") for one in self.regulators),
            members=_pairs(self.members, "--member", _member_role),
            zones_s=dict.fromkeys(suppliers, zone_s),
            funds=_pairs(self.funds, "--fund", parse_amount),
            difficulty=self.difficulty or DEFAULT_DIFFICULTY,
            difficulty_rule=self.difficulty_rule or ASERT,
            block_time_s=self.block_time or default_block_time,
            fee_rule=self.fees,
            network=DEVELOPMENT if self.development else PRODUCTION,
            timestamp_s=SystemClock().time_s(),
            consensus=self.consensus,
            validators=validators if self.is_qbft else (),
            empty_block_period_s=self.empty_block_period or DEFAULT_EMPTY_BLOCK_PERIOD_S,
        )


def network_options(default_consensus: str, prefix: str = "") -> Callable[[Command], Command]:
    """Adds the options to a command, which gets their values as keyword arguments for NetworkOptions."""
    settings: Mapping[str, Mapping[str, Any]] = {"--consensus": {"default": default_consensus}}

    def add(command: Command) -> Command:
        for one in reversed((*_PEOPLE, *_CHAIN)):
            given = {**one.settings, **settings.get(one.name, {})}
            command = click.option(one.name, *one.parameter, help=prefix + one.help, **given)(command)
        return command

    return add


@dataclass(frozen=True, slots=True)
class _Option:
    """A row of the tables below: one of the options of a new network."""

    name: str
    help: str
    settings: Mapping[str, Any]
    """As click takes them."""
    parameter: tuple[str, ...] = ()
    """The member of NetworkOptions, where it is not called as the option."""


def _many(name: str, parameter: str, metavar: str, text: str) -> _Option:
    return _Option(name, f"{text} May be repeated.", {"multiple": True, "metavar": metavar}, (parameter,))


def _period(name: str, text: str) -> _Option:
    return _Option(name, text, {"type": WholeNumber(1, MAX_PERIOD_S), "metavar": "SECONDS"})


def _choice(name: str, choices: Sequence[str], text: str, default: str | None = None) -> _Option:
    shown = {} if default is None else {"default": default, "show_default": True}
    return _Option(name, text, {"type": click.Choice(choices), **shown})


_OPERATOR = "the address that owns the registry; its first regulator too, unless others are named."
_LOCAL_TIME = "the suppliers' local time, by which hours and days are counted: +05:30 in India. [default: +00:00]"
_FUND = "WATT that an address has from the start, such as 0x...=100."
_PEOPLE = (
    _Option("--operator", _OPERATOR, {"metavar": "ADDRESS"}),
    _many("--regulator", "regulators", "ADDRESS", "an address that admits suppliers, producers and consumers."),
    _many("--supplier", "suppliers", "ADDRESS=RATE", "a supplier and its price in wei per Wh."),
    _many("--member", "members", "ADDRESS=ROLE", "a producer, consumer or relay, such as 0x...=producer."),
    _Option("--time-zone", _LOCAL_TIME, {"metavar": "OFFSET"}),
    _many("--fund", "funds", "ADDRESS=AMOUNT", _FUND),
)
_WHO = "who makes blocks: validators that vote (qbft), or whoever mines (pow)."
_TIME = f"time from block to block. [default: {DEFAULT_QBFT_BLOCK_TIME_S} with qbft, {DEFAULT_BLOCK_TIME_S} with pow]"
_EMPTY = f"with qbft, the same where nothing is waiting. [default: {DEFAULT_EMPTY_BLOCK_PERIOD_S}]"
_RULE = f"with pow, let the difficulty follow the mining power, or keep it. [default: {ASERT}]"
_HASHES = f"with pow, that of its first blocks, in hashes. [default: {DEFAULT_DIFFICULTY}]"
_CHAIN = (
    _Option("--chain-id", "its number; random if not given.", {"type": WholeNumber(1, MAX_CHAIN_ID)}),
    _choice("--consensus", (QBFT, POW), _WHO, default=QBFT),
    _period("--block-time", _TIME),
    _period("--empty-block-period", _EMPTY),
    _choice("--difficulty-rule", (ASERT, FIXED), _RULE),
    _Option("--difficulty", _HASHES, {"type": WholeNumber(1)}),
    _choice("--fees", (ZERO, EIP1559), "none, for a closed network, or Ethereum's.", default=ZERO),
    _Option("--development", "for trying things out; its clock may run faster than time.", {"is_flag": True}),
)


def address_option(text: str, option: str) -> bytes:
    """The address given with an option. Raises UserError."""
    try:
        return parse_address(text)
    except Invalid as error:
        raise UserError(f"{option}: {error}") from error


def parse_zone(text: str) -> int:
    """Seconds east of UTC of an offset such as +05:30. Raises UserError."""
    found = _ZONE.fullmatch(text)
    if found is None:
        raise UserError(f"A time zone is an offset from UTC such as +05:30 or -08:00, not {text[:20]}")
    offset_s = (int(found[2]) * 60 + int(found[3])) * 60
    return -offset_s if found[1] == "-" else offset_s


def _member_role(text: str) -> Role:
    roles = {role.name.lower(): role for role in (Role.PRODUCER, Role.CONSUMER, Role.RELAY)}
    if text not in roles:
        raise UserError(f"--member takes an address and a role, {', '.join(roles)}; got {text[:20]}")
    return roles[text]


def _pairs(texts: tuple[str, ...], option: str, parse_number: Callable[[str], Number]) -> dict[bytes, Number]:
    pairs: dict[bytes, Number] = {}
    for text in texts:
        name, separator, number = text.partition("=")
        if not separator:
            raise UserError(f"{option} takes an address and a value with = between them, such as 0x...=100; got {text}")
        address = address_option(name, option)
        if address in pairs:
            raise UserError(f"{option} names the address {name} twice")
        pairs[address] = parse_number(number)
    return pairs


def _whole_number(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > MAX_PRICE_DIGITS:
        raise UserError(f"A price is a whole number of wei per Wh, not {text[:MAX_PRICE_DIGITS]}")
    return int(text)
