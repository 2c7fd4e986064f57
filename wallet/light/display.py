"""What the light client's commands print: a proved block, and the nodes that were asked, as JSON and in words."""

from chain.header import Header
from primitives.hexadecimal import to_checksum_address, to_data
from wallet.amounts import format_amount, to_decimal
from wallet.command_line import as_sentence
from wallet.light.client import LightClient, NodeReport, Proof, Verdict
from wallet.light.credit import MeterCredit
from wallet.light.proofs import ProvedAccount

_BLAME = {
    Verdict.LIES: "lies and is left out",
    Verdict.OTHER_CHAIN: "is of no use",
    Verdict.DEEP_FORK: "is not followed",
    Verdict.REFUSES: "cannot be used",
    Verdict.CLOCK: "is ahead of this computer",
    Verdict.BEHIND: "is behind",
    Verdict.UNREACHABLE: "does not answer",
    Verdict.SLOW: "is slow",
}


def block_fields(header: Header) -> dict[str, object]:
    return {"number": header.number, "hash": to_data(header.hash), "time_s": header.timestamp_s}


def head_fields(client: LightClient) -> dict[str, object]:
    """The newest proved block, and what of it a person must know."""
    record, seals = client.record, client.seals()
    return {
        "block": block_fields(record.head),
        "age_s": client.age_s(),
        "stale": client.is_stale(),
        "total_difficulty": str(record.proved.total_difficulty),
        "seals": None if seals is None else {"given": seals[0], "validators": seals[1]},
    }


def proof_fields(client: LightClient, proof: Proof) -> dict[str, object]:
    """Where a proved answer comes from."""
    return {
        "block": block_fields(proof.header),
        "age_s": client.age_s_of(proof.header),
        "stale": client.is_stale(),
        "confirmations": proof.confirmations,
        "final": proof.is_final,
        "proved_by": proof.proved_by,
        "nodes": node_fields(client),
    }


def node_fields(client: LightClient) -> list[dict[str, object]]:
    return [
        {"url": report.name, "verdict": report.verdict.value, "remark": report.remark}
        for report in client.reports.values()
    ]


def head_text(client: LightClient) -> str:
    head, seals = client.record.head, client.seals()
    if seals is not None:
        proof = f"sealed by {seals[0]} of {seals[1]} validators"
    elif head.number == 0:
        proof = "the first block, as the genesis file has it"
    else:
        proof = f"total difficulty {client.record.proved.total_difficulty}"
    return f"Block {head.number}  {to_data(head.hash)}  {duration_text(client.age_s())} old, {proof}"


def proof_text(client: LightClient, proof: Proof) -> str:
    """One line below a result."""
    finality = "final" if proof.is_final else f"{proof.confirmations} confirmation" + "s" * (proof.confirmations != 1)
    age = duration_text(client.age_s_of(proof.header))
    return f"Proved after block {proof.header.number}, {age} old, {finality}; by {proof.proved_by}."


def warnings(client: LightClient) -> list[str]:
    """What speaks against relying on a result, a sentence each."""
    remarks = [report_text(report) for report in client.reports.values() if report.remark]
    if client.is_stale():
        remarks.append(
            f"the newest proved block is {duration_text(client.age_s())} old: the network stands still, or the nodes "
            "that were asked withhold what is new."
        )
    return [f"Warning: {remark}" for remark in remarks]


def report_text(report: NodeReport) -> str:
    if report.verdict is Verdict.UNREACHABLE:
        return as_sentence(report.remark)  # which names the node
    return as_sentence(f"the node {report.name} {_BLAME[report.verdict]}: {report.remark}")


def shown(address: bytes) -> str:
    return to_checksum_address(address)


def account_fields(account: ProvedAccount) -> dict[str, object]:
    return {
        "address": shown(account.address),
        "exists": account.exists,
        "wei": str(account.balance),
        "watt": to_decimal(account.balance),
        "nonce": account.nonce,
        "code_hash": to_data(account.code_hash),
        "storage_root": to_data(account.storage_root),
    }


_SUPPLY = {
    True: "allowed",
    False: "not allowed",
    None: "not by credit; whether by emergency credit or a friendly hour, a node tells",
}


def credit_fields(meter: bytes, credit: MeterCredit) -> dict[str, object]:
    return {
        "meter": shown(meter),
        "status": credit.status.name.lower(),
        "credit_wei": str(credit.credit_wei),
        "overdrawn_wei": str(credit.overdrawn_wei),
        "debt_wei": str(credit.debt_wei),
        "period_wh": credit.energy_wh,
        "low_credit_wei": str(credit.low_credit_wei),
        "supplier": shown(credit.supplier),
        "owner": shown(credit.owner),
        "prepaid": credit.is_prepaid,
        "supply_allowed": credit.supply_allowed,
    }


def credit_text(meter: bytes, credit: MeterCredit) -> str:
    if credit.status.value == 0:
        return f"Meter    {shown(meter)} is not registered on this ledger."
    lines = [
        f"Meter    {shown(meter)}, {credit.status.name.lower()}",
        f"Credit   {format_amount(credit.credit_wei)}",
        f"Energy   {credit.energy_wh} Wh in the billing period",
        f"Supply   {_SUPPLY[credit.supply_allowed]}",
    ]
    if credit.debt_wei:
        lines.append(f"Debt     {format_amount(credit.debt_wei)}, from friendly hours")
    if credit.overdrawn_wei:
        lines[1] = f"Overdrawn  {format_amount(credit.overdrawn_wei)}"
    elif credit.credit_wei < credit.low_credit_wei:
        lines[1] += f", which is below the owner's threshold of {format_amount(credit.low_credit_wei)}"
    if not credit.is_prepaid:
        lines.append("Its readings are not charged to this credit.")
    return "\n".join(lines)


def duration_text(duration_s: int) -> str:
    """ "4 s", "12 min", "3 h" or "5 days"."""
    for unit_s, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if duration_s >= 2 * unit_s:
            return f"{duration_s // unit_s} {unit}"
    return f"{duration_s} s"
