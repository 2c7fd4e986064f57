"""The thesis's pay-as-you-go channel (5.5) on a whole node that runs as a process of its own.

A consumer opens, pays ten times by text without a transaction, the producer verifies each and closes with the last.
"""

from pathlib import Path

import pytest

from tests.functional.test_wallet_on_a_node import WATT, Person, running_node


@pytest.mark.slow
def test_ten_payments_with_two_transactions(tmp_path: Path) -> None:
    consumer, producer = Person(tmp_path), Person(tmp_path)
    producer.environment = consumer.environment | {"WATTCHAIN_KEYSTORE": str(tmp_path / "others-keys")}
    addresses = {}
    for name, person in (("home", consumer), ("roof", producer)):
        password = ["--password-file", str(person.password_file)]
        addresses[name] = person.json("wallet", "new", "--name", name, "--light", *password)["address"]
        person.environment = person.environment | {"WATTCHAIN_CHANNELS": str(tmp_path / f"{name}.db")}
    funded = [f"--fund={addresses['home']}=100", f"--fund={addresses['roof']}=1"]
    network = ["--operator", addresses["home"], *funded, "--fees", "eip1559", "--development"]
    consumer.json("init", *network, "--block-time", "1", "--difficulty", "1", "--difficulty-rule", "fixed")
    with running_node(consumer):
        producer.environment["WATTCHAIN_NODE"] = consumer.environment["WATTCHAIN_NODE"]
        send = ["--yes", "--password-file", str(consumer.password_file)]
        opened = consumer.json("channel", "open", addresses["roof"], "10", "--for", "2h", *send)
        number = str(opened["channel"])
        fees = int(opened["fee_wei"])
        for purchase in range(1, 11):
            paid = consumer.json("channel", "pay", number, "0.25", "--password-file", str(consumer.password_file))
            worth = producer.json("channel", "verify", paid["payment"])
            assert (worth["worth_wei"], worth["total_wei"]) == (str(WATT // 4), str(purchase * WATT // 4))
        assert consumer.balance_wei("home") == 90 * WATT - fees  # nothing of it was sent
        (standing,) = producer.json("channel", "list")
        assert (standing["channel"], standing["received_wei"]) == (opened["channel"], str(25 * WATT // 10))
        refused = consumer.run("channel", "close", number, *send)
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert "until then only the producer can close it" in refused.stderr
        closed = producer.json("channel", "close", number, *send)
        assert (closed["total_wei"], closed["returned_wei"]) == (str(25 * WATT // 10), str(75 * WATT // 10))
        assert consumer.balance_wei("home") == 100 * WATT - 25 * WATT // 10 - fees
        assert producer.balance_wei("roof") == WATT + 25 * WATT // 10 - int(closed["fee_wei"])
        assert producer.json("channel", "list") == []
