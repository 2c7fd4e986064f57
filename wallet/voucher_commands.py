"""`wattchain voucher`: long vouchers, signed off-line and redeemed on the ledger (contracts/voucher_format.py)."""

import io
import secrets
import sys
import time
from collections.abc import Sequence

import click
import segno

from contracts.voucher_format import NO_ADDRESS, SignedVoucher, issue_voucher, voucher_from_text, voucher_typed_data
from primitives.errors import InvalidSignature, UserError
from primitives.hexadecimal import to_checksum_address
from primitives.secp256k1 import private_key_is_valid, recover_address
from wallet.amounts import format_amount, parse_amount
from wallet.client import RpcClient
from wallet.command_line import (
    LazyCommand,
    LazyGroup,
    WholeNumber,
    json_option,
    node_option,
    print_result,
)
from wallet.contract_call import ContractCall, ContractEvent, ask_one
from wallet.contract_commands import (
    Outcome,
    Plan,
    Sending,
    ask_node,
    parse_account,
    send_planned,
    sending_options,
)
from wallet.credit import EXHAUSTION
from wallet.credit_commands import topped_up
from wallet.paper_signing import PaperSigning, paper_signing_options
from wallet.quantities import format_time, parse_duration_s, parse_time_s
from wallet.registry import find_meter

MAX_COUNT = 1_000
"""Vouchers that are made at a time: a few pages to print."""
DEFAULT_LIFETIME = "365d"
MAX_TEXT = 2_000
"""Characters that are read of a voucher, which has some 330 with its dashes."""
GROUPS_A_ROW = 12
"""Of five letters, so that a row fits a narrow terminal and a receipt printer."""
_STATUS_WORDS = ("open", "redeemed", "revoked")


MORE_COMMANDS = {
    "short": LazyCommand("wallet.short_code_commands:short", "Short codes for meters with a keypad."),
}


@click.group(cls=LazyGroup, lazy_commands=MORE_COMMANDS)
def voucher() -> None:
    """Credit on paper: codes that a supplier signs and customers redeem.

    A voucher is a text, shown as a QR code as well, that is worth an amount once. Its supplier makes it without the
    ledger; whoever redeems it puts the amount on a meter, out of the supplier's account. A voucher without a meter is
    worth its amount to whoever has it, so keep it like money.
    """


@voucher.command()
@click.argument("amount")
@click.option("--meter", metavar="ACCOUNT", help="Only for this meter; without it, for whoever has the voucher.")
@click.option("--expires", default=DEFAULT_LIFETIME, show_default=True, metavar="WHEN",
              help="A time such as 2027-06-30, or how long from now, such as 90d.")  # fmt: skip
@click.option("--count", default=1, show_default=True, type=WholeNumber(1, MAX_COUNT), help="How many.")
@click.option("--serial", type=WholeNumber(0, 2**64 - 1 - MAX_COUNT), metavar="NUMBER",
              help="Number of the first one, which you give only once; without it, one by the clock.")  # fmt: skip
@click.option("--chain-id", type=WholeNumber(1, 2**53 - 1), metavar="NUMBER",
              help="The network it is for; without it the node is asked.")  # fmt: skip
@click.option("--qr/--no-qr", default=True, help="Show a QR code beside the text.")
@paper_signing_options
def issue(
    amount: str,
    meter: str | None,
    expires: str,
    count: int,
    serial: int | None,
    chain_id: int | None,
    qr: bool,
    signing: PaperSigning,
) -> None:
    """As a supplier: make vouchers over AMOUNT, in WATT.

    Nothing is sent: the voucher is signed with your key, and your account in the contract pays when it is redeemed
    (`wattchain credit account`, `deposit`). With --chain-id it is made without any connection.

      wattchain voucher issue 25 --meter 0x... --expires 90d --from supplier
    """
    wei = parse_amount(amount)
    key = signing.key()
    named = None if meter is None else parse_account(meter, signing.keys)
    expiry_s = _expiry_s(expires)
    chain = ask_node(signing.node, lambda client: client.chain_id()) if chain_id is None else chain_id
    # By the clock, so that two computers of a supplier do not give the same number; a batch counts on from there.
    first = time.time_ns() // 1_000_000 if serial is None else serial
    private_key = key.unlock(signing.password_file)
    made = []
    for number in range(first, first + count):
        bearer_key = _new_key() if named is None else None
        made.append(issue_voucher(private_key, wei, number, expiry_s, chain, meter=named, holder_key=bearer_key))
    text = "\n\n".join([_printed(one, qr) for one in made])
    print_result([_voucher_json(one) for one in made], text, signing.as_json)


@voucher.command()
@click.argument("code", metavar="VOUCHER...", nargs=-1, required=True)
@node_option
@json_option
def show(code: Sequence[str], node: str, as_json: bool) -> None:
    """Show what a VOUCHER is worth, and whether it was redeemed.

    VOUCHER is its text; - reads it from a pipe.
    """
    found = voucher_from_text(_read_code(code))

    async def ask(client: RpcClient) -> int:
        _check_chain(found, await client.chain_id())
        return int(await ask_one(client, EXHAUSTION, "voucherStatus", [found.voucher.supplier, found.voucher.serial]))

    status = _STATUS_WORDS[ask_node(node, ask)]
    signed = "by its supplier" if _is_signed(found) else "BY NOBODY THAT COUNTS: it is worth nothing"
    text = "\n".join(
        [*[f"{label:<8}{line}" for label, line in _lines(found)], f"Signed  {signed}", f"Status  {status}"]
    )
    print_result({**_voucher_json(found), "status": status, "signed": _is_signed(found)}, text, as_json)


@voucher.command()
@click.argument("code", metavar="VOUCHER...", nargs=-1, required=True)
@click.option("--meter", metavar="ACCOUNT", help="For which meter, where the voucher does not say it.")
@sending_options
def redeem(code: Sequence[str], meter: str | None, sending: Sending) -> None:
    """Put the amount of a VOUCHER on a meter.

    VOUCHER is its text; - reads it from a pipe. Anybody may redeem it; the amount goes to the meter.
    """
    found = voucher_from_text(_read_code(code))
    given = None if meter is None else parse_account(meter, sending.keys)

    async def plan(client: RpcClient, _sender: bytes) -> Plan:
        _check_chain(found, await client.chain_id())
        target = given or await _meter_or_successor(client, found)
        call = ContractCall(EXHAUSTION, "redeem", found.redemption(target))
        lines = [*_lines(found), ("For", to_checksum_address(target))]

        def outcome(events: Sequence[ContractEvent]) -> Outcome:
            return topped_up(events, target)

        return Plan(call, lines, outcome, "Redeem this voucher?", {"serial": found.voucher.serial})

    send_planned(sending, plan)


@voucher.command()
@click.argument("serials", metavar="NUMBER...", nargs=-1, required=True, type=WholeNumber(0, 2**64 - 1))
@sending_options
def revoke(serials: Sequence[int], sending: Sending) -> None:
    """As a supplier: make vouchers with these serial NUMBERs worthless.

    Those that were redeemed before stay redeemed.
    """
    call = ContractCall(EXHAUSTION, "revokeVouchers", (list(serials),))

    def outcome(events: Sequence[ContractEvent]) -> Outcome:
        done = [event.values["serial"] for event in events if event.name == "VoucherRevoked"]
        late = [serial for serial in serials if serial not in done]
        text = f"Revoked: {_numbers(done)}."
        if late:
            text += f" Redeemed or revoked before, and so as they were: {_numbers(late)}."
        return Outcome({"revoked": done}, text)

    async def plan(_client: RpcClient, _sender: bytes) -> Plan:
        return Plan(call, [("Revoke", _numbers(serials))], outcome, "Revoke these vouchers?", {"revoked": None})

    send_planned(sending, plan)


def _expiry_s(text: str) -> int:
    if "-" in text or text.startswith("@"):
        return parse_time_s(text)
    return int(time.time()) + parse_duration_s(text)


def _read_code(parts: Sequence[str]) -> str:
    """Typed in one piece or in several, or read from a pipe."""
    return sys.stdin.read(MAX_TEXT + 1) if list(parts) == ["-"] else "".join(parts)


def _check_chain(one: SignedVoucher, chain_id: int) -> None:
    if one.chain_id != chain_id:
        raise UserError(f"The voucher is for the network {one.chain_id}; this node's network is {chain_id}.")


async def _meter_or_successor(client: RpcClient, one: SignedVoucher) -> bytes:
    """The meter that the voucher names, or the one that has taken its place."""
    meter = _meter_of(one)
    if meter is None:
        raise UserError("The voucher is for any meter of its supplier: say with --meter for which.")
    record = await find_meter(client, meter)
    return meter if record is None or record.successor is None else record.successor


def _meter_of(one: SignedVoucher) -> bytes | None:
    """The meter that it names; None for a bearer's voucher."""
    return None if one.voucher.meter == NO_ADDRESS else one.voucher.meter


def _is_signed(one: SignedVoucher) -> bool:
    """Whether the signature is the supplier's."""
    r, vs = (int.from_bytes(half, "big") for half in one.signature)
    signed_hash = voucher_typed_data(one.chain_id).hash(one.voucher.fields())
    try:
        return recover_address(signed_hash, vs >> 255, r, vs & (2**255 - 1)) == one.voucher.supplier
    except InvalidSignature:
        return False


def _new_key() -> bytes:
    while not private_key_is_valid(key := secrets.token_bytes(32)):
        pass
    return key


def _lines(one: SignedVoucher) -> list[tuple[str, str]]:
    voucher, meter = one.voucher, _meter_of(one)
    return [
        ("Amount", format_amount(voucher.amount_wei)),
        ("Of", to_checksum_address(voucher.supplier)),
        ("Meter", "whichever its bearer says" if meter is None else to_checksum_address(meter)),
        ("Serial", str(voucher.serial)),
        ("Until", format_time(voucher.expiry_s)),
    ]


def _printed(one: SignedVoucher, with_qr: bool) -> str:
    code = one.to_text()
    lines = [f"{label:<8}{line}" for label, line in _lines(one)]
    groups = code.split("-")
    rows = ["-".join(groups[start : start + GROUPS_A_ROW]) for start in range(0, len(groups), GROUPS_A_ROW)]
    return "\n".join([*lines, "", *rows, *(["", _qr_text(code.replace("-", ""))] if with_qr else [])])


def _qr_text(code: str) -> str:
    drawn = io.StringIO()
    segno.make_qr(code).terminal(drawn, compact=True)
    return drawn.getvalue().rstrip("\n")


def _voucher_json(one: SignedVoucher) -> dict[str, object]:
    voucher, meter = one.voucher, _meter_of(one)
    return {
        "voucher": one.to_text(),
        "chain_id": one.chain_id,
        "supplier": to_checksum_address(voucher.supplier),
        "meter": meter and to_checksum_address(meter),
        "amount_wei": str(voucher.amount_wei),
        "serial": voucher.serial,
        "expires": voucher.expiry_s,
    }


def _numbers(serials: Sequence[int]) -> str:
    return ", ".join([str(serial) for serial in serials]) or "none"
