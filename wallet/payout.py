"""Taking money off the account that a contract keeps for somebody: the same command `payout` wherever there is one."""

from collections.abc import Callable, Sequence
from typing import Any

import click

from primitives.errors import UserError
from primitives.hexadecimal import to_checksum_address
from wallet.amounts import format_amount, parse_amount
from wallet.client import RpcClient
from wallet.contract_call import Contract, ContractCall, ContractEvent, ask_one, require_contract, the_event
from wallet.contract_commands import Outcome, Plan, Sending, parse_account, send_planned, sending_options

ALL = "all"


def payout_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the argument AMOUNT and the options --to and of Sending."""
    decorated: Callable[..., Any] = sending_options(command)
    decorated = click.option("--to", metavar="ACCOUNT", help="Who gets it; without this, you do.")(decorated)
    return click.argument("amount", default=ALL)(decorated)


def send_payout(contract: Contract, account_function: str, amount: str, to: str | None, sending: Sending) -> None:
    """Pay an amount, or all, of what `account_function` of the contract says that the sender has there.

    Raises UserError, Invalid.
    """
    stated_wei = None if amount == ALL else parse_amount(amount)
    receiver = None if to is None else parse_account(to, sending.keys)

    async def plan(client: RpcClient, sender: bytes) -> Plan:
        await require_contract(client, contract)
        there_wei = int(await ask_one(client, contract, account_function, [sender]))
        if there_wei == 0:
            raise UserError(f"{to_checksum_address(sender)} has nothing to take from {contract.title}.")
        wei = there_wei if stated_wei is None else stated_wei
        name = to_checksum_address(receiver or sender)

        def outcome(events: Sequence[ContractEvent]) -> Outcome:
            paid_wei = int(the_event(events, "Withdrawn").values["amountWei"])
            return Outcome({"amount_wei": str(paid_wei)}, f"{format_amount(paid_wei)} paid to {name}.")

        return Plan(
            call=ContractCall(contract, "withdraw", (receiver or sender, wei)),
            lines=[
                ("Pay", f"{format_amount(wei)} of the {format_amount(there_wei)} on the account"),
                ("To", name),
            ],
            outcome=outcome,
            question="Pay this out?",
            result={"amount_wei": str(wei), "to": name},
        )

    send_planned(sending, plan)
