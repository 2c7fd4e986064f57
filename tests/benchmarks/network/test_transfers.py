"""The transfers of a load: any first part of them can run."""

from benchmarks.network.transfers import sender_addresses, signed_transfers


def test_senders_take_turns_and_use_their_nonces_in_order() -> None:
    transfers = list(signed_transfers(7, 3, 8))
    addresses = sender_addresses(3)
    assert [transfer.sender for transfer in transfers] == [addresses[number % 3] for number in range(8)]
    assert [transfer.nonce for transfer in transfers] == [0, 0, 0, 1, 1, 1, 2, 2]
    assert {transfer.chain_id for transfer in transfers} == {7}
    assert all(transfer.to in addresses and transfer.to != transfer.sender for transfer in transfers)


def test_the_same_numbers_make_the_same_transfers_and_recipients_can_be_named() -> None:
    assert list(signed_transfers(7, 3, 8))[:4] == list(signed_transfers(7, 3, 4))
    recipients = [b"\x01" * 20, b"\x02" * 20]
    assert {transfer.to for transfer in signed_transfers(7, 3, 5, recipients)} == set(recipients)
