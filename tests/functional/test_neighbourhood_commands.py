"""The commands of a neighbourhood, from an empty network to a redeemed voucher, against a node in a process of its own.

On a network without fees: a regulator adds a supplier, who sets a tariff and installs the meters of two customers; one
pays, gives credit to the neighbour, and redeems a voucher. A stranger is not let in until a regulator adds it.
"""

from pathlib import Path
from typing import Any

import pytest

from contracts.consent_format import consent_hash
from contracts.reading_format import compact_signature
from primitives.hexadecimal import to_checksum_address, to_data
from primitives.secp256k1 import address_of, sign
from tests.functional.test_wallet_on_a_node import Person, running_node

WATT = 10**18
NAMES = ("owner", "supplier", "customer", "neighbour", "stranger")
KEYS = {name: bytes([number]) * 32 for number, name in enumerate((*NAMES, "meter", "second"), 11)}


class Neighbourhood(Person):
    """Everybody's key in a file of its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.folder = folder
        for name, key in KEYS.items():
            path = folder / f"{name}.key"
            path.write_text(key.hex() + "\n")
            path.chmod(0o600)

    def key(self, who: str) -> list[str]:
        return ["--key-file", str(self.folder / f"{who}.key")]

    def does(self, who: str, *arguments: str) -> Any:
        return self.json(*arguments, "--yes", *self.key(who))

    def refused(self, who: str, *arguments: str) -> str:
        done = self.run(*arguments, "--yes", *self.key(who))
        assert (done.exit_code, done.stdout) == (2, ""), done.output
        return done.stderr.splitlines()[-1]


def shown(name: str) -> str:
    return to_checksum_address(address_of(KEYS[name]))


@pytest.mark.slow
def test_a_neighbourhood_is_set_up_and_pays(tmp_path: Path) -> None:
    people = Neighbourhood(tmp_path)
    funds = [text for name in ("customer", "supplier", "stranger") for text in ("--fund", f"{shown(name)}=100")]
    rules = ["--block-time", "1", "--difficulty", "1", "--difficulty-rule", "fixed", "--development"]
    chain_id = people.json("init", "--operator", shown("owner"), *funds, *rules)["chain_id"]
    with running_node(people):
        assert "sender not admitted" in people.refused("stranger", "credit", "deposit", shown("supplier"), "1")
        assert people.does("owner", "registry", "add", "supplier", shown("supplier"))["role"] == 2
        tariff = people.does("supplier", "tariff", "set", "--name", "Household", "--step", "100=0.2", "--step", "0.4")
        assert tariff["tariff"] == 1
        assert people.json("tariff", "cost", "1", "110")["cost_wei"] == str(24 * WATT)
        for meter, owner in (("meter", "customer"), ("second", "neighbour")):
            agreed = sign(consent_hash(chain_id, address_of(KEYS[meter]), address_of(KEYS["supplier"])), KEYS[meter])
            consent = to_data(b"".join(compact_signature(*agreed)))
            home = [
                "install",
                shown(meter),
                consent,
                "--owner",
                shown(owner),
                "--tariff",
                "1",
                "--place",
                f"{owner} lane 1",
            ]
            people.does("supplier", "meter", *home)
        assert people.json("meter", "show", shown("meter"))["tariff"] == 1

        paid = people.does("customer", "credit", "top-up", shown("meter"), "25")
        assert paid["balance_wei"] == str(25 * WATT)
        given = people.does("customer", "credit", "transfer", shown("meter"), shown("second"), "5")
        assert given["amount_wei"] == str(5 * WATT)
        credits = people.json("credit", "balance", shown("meter"), shown("second"))
        assert [one["credit_wei"] for one in credits] == [str(20 * WATT), str(5 * WATT)]
        assert all(one["supply_allowed"] for one in credits)

        people.does("supplier", "credit", "deposit", shown("supplier"), "30")
        (voucher,) = people.json("voucher", "issue", "10", "--meter", shown("second"), *people.key("supplier"))
        assert people.does("neighbour", "voucher", "redeem", voucher["voucher"])["balance_wei"] == str(15 * WATT)
        assert "was redeemed before" in people.refused("neighbour", "voucher", "redeem", voucher["voucher"])
        assert people.json("credit", "account", shown("supplier"))["account_wei"] == str(20 * WATT)

        assert "sender not admitted" in people.refused("stranger", "credit", "top-up", shown("meter"), "1")
        people.does("owner", "registry", "add", "consumer", shown("stranger"))
        assert people.does("stranger", "credit", "top-up", shown("meter"), "1")["balance_wei"] == str(21 * WATT)
