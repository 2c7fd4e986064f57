"""A meter's credit by proofs says what the contracts say themselves."""

from pathlib import Path

import pytest

from chain.genesis import parse_genesis
from contracts.addresses import EXHAUSTION_ADDRESS, METER_ADDRESS, REGISTRY_ADDRESS
from contracts.genesis import GenesisMeter, genesis_alloc
from contracts.reading_format import MeterStatus, reading_typed_data
from primitives.errors import UserError
from primitives.secp256k1 import sign
from tests.chain.ledger_world import ADDRESSES, CHAIN_ID, FUNDS_WEI, KEYS, START_S, World, signed, world_genesis
from tests.contracts.neighbourhood import EXHAUSTION, METER, REGISTRY, Device, key_of
from tests.wallet.light.light_world import Home, LightNode
from wallet.light.credit import MeterCredit, read_credit, wanted_slots

OWNER, SUPPLIER, PAYER = ADDRESSES[0], ADDRESSES[1], ADDRESSES[2]
RATE_WEI_PER_WH = 10**14
HOUSE, EMPTY, STRANGER = Device("house"), Device("empty"), Device("stranger")


class Street:
    """A ledger with the contracts and two meters, a node over it, and a light client."""

    def __init__(self, folder: Path, **changes: object) -> None:
        meters = [
            GenesisMeter(HOUSE.address, OWNER, SUPPLIER, 0, 0, credit_wei=5 * 10**17, low_credit_wei=10**17),
            GenesisMeter(EMPTY.address, OWNER, SUPPLIER),
        ]
        alloc = genesis_alloc(SUPPLIER, [SUPPLIER], {SUPPLIER: RATE_WEI_PER_WH}, meters)
        for address in ADDRESSES:
            alloc["0x" + address.hex()] = {"balance": hex(FUNDS_WEI)}
        genesis = parse_genesis(
            {
                "config": {"chainId": CHAIN_ID, "wattchain": {"blockRewardWei": "7"}},
                "difficulty": "0x1",
                "gasLimit": "0x1c9c380",
                "timestamp": hex(START_S),
                "alloc": {**alloc, **changes},
            }
        )
        self.world = World.open(folder / "ledger", genesis)
        self.node = LightNode(self.world.ledger, self.world.clock)
        self.home = Home(folder / "light", genesis, self.world.clock)

    def act(self, sender: int, contract: bytes, data: bytes, value: int = 0) -> None:
        """One transaction in a block of its own."""
        nonce = self.world.nonces.get(ADDRESSES[sender], 0)
        self.world.nonces[ADDRESSES[sender]] = nonce + 1
        transaction = signed(KEYS[sender], nonce=nonce, to=contract, value=value, data=data, gas_limit=1_000_000)
        self.world.ledger.import_block(self.world.build([transaction]))

    def read(self, device: Device, import_wh: int) -> None:
        """A reading on the ledger."""
        device.time_s = self.world.ledger.head().timestamp_s
        device.sequence += 1
        device.import_wh += import_wh
        typed_data, fields = reading_typed_data(CHAIN_ID), device.fields()
        device.previous_hash = typed_data.struct_hash(fields)
        y_parity, r, s = sign(typed_data.hash(fields), key_of(device.name))
        compact = (s | y_parity << 255).to_bytes(32, "big")
        reading = (tuple(fields.values()), r.to_bytes(32, "big"), compact)
        self.act(3, METER_ADDRESS, METER.abi.encode_call("submit", [reading]))

    async def by_proof(self, device: Device) -> MeterCredit:
        proof = await self.home.client(self.node).prove(wanted_slots(device.address))
        return read_credit(device.address, proof.accounts)

    async def by_contract(self, device: Device) -> tuple[object, ...]:
        """(credit, overdrawn, debt, energy, threshold, supply allowed) as the contract answers calls."""
        (account,) = await self.ask("accountOf", device.address)
        assert isinstance(account, tuple)
        credit, overdrawn, debt, _, low_credit, energy, _ = account
        (allowed,) = await self.ask("supplyAllowed", device.address, self.world.ledger.head().timestamp_s)
        return credit, overdrawn, debt, energy, low_credit, allowed

    async def ask(self, function: str, *arguments: object) -> tuple[object, ...]:
        data = EXHAUSTION.abi.encode_call(function, arguments)
        call = {"to": "0x" + EXHAUSTION_ADDRESS.hex(), "data": "0x" + data.hex()}
        output = bytes.fromhex(str(await self.node.request("eth_call", call, "latest"))[2:])
        return EXHAUSTION.abi.decode_result(function, output)


async def test_credit_by_proofs_is_what_the_contracts_answer(tmp_path: Path) -> None:
    street = Street(tmp_path)
    house = Device("house")

    async def agree() -> MeterCredit:
        found = await street.by_proof(house)
        told = (found.credit_wei, found.overdrawn_wei, found.debt_wei, found.energy_wh, found.low_credit_wei)
        # The supplier has no terms, so without credit there is no supply.
        assert (*told, bool(found.supply_allowed)) == await street.by_contract(house)
        return found

    with street.world.ledger:
        begun = await agree()
        assert (begun.status, begun.owner, begun.supplier, begun.is_prepaid) == (
            MeterStatus.ACTIVE,
            OWNER,
            SUPPLIER,
            True,
        )
        assert (begun.credit_wei, begun.supply_allowed) == (5 * 10**17, True)
        street.read(house, 1_234)
        used = await agree()
        assert (used.credit_wei, used.energy_wh) == (5 * 10**17 - 1_234 * RATE_WEI_PER_WH, 1_234)
        street.read(house, 10_000)
        assert (await agree()).overdrawn_wei == 6_234 * RATE_WEI_PER_WH
        assert (await agree()).supply_allowed is None
        street.act(2, EXHAUSTION_ADDRESS, EXHAUSTION.abi.encode_call("topUp", [house.address]), 10**18)
        assert (await agree()).supply_allowed
        street.act(1, REGISTRY_ADDRESS, REGISTRY.abi.encode_call("removeMeter", [house.address]))
        removed = await agree()
        assert (removed.status, removed.supply_allowed) == (MeterStatus.REMOVED, False)

        empty, stranger = await street.by_proof(EMPTY), await street.by_proof(STRANGER)
        assert (empty.status, empty.credit_wei, empty.supply_allowed) == (MeterStatus.ACTIVE, 0, None)
        assert (stranger.status, stranger.is_prepaid, stranger.owner) == (MeterStatus.UNKNOWN, False, bytes(20))


async def test_contracts_that_are_others_are_not_read(tmp_path: Path) -> None:
    other = Street(tmp_path / "other", **{"0x" + EXHAUSTION_ADDRESS.hex(): {"nonce": "0x1", "code": "0x00"}})
    with other.world.ledger, pytest.raises(UserError, match="is not the Exhaustion that this installation knows"):
        await other.by_proof(HOUSE)
    home = tmp_path / "none"
    with (world := World.open(home)).ledger:
        node = LightNode(world.ledger, world.clock)
        client = Home(home / "light", world_genesis(), world.clock).client(node)
        proof = await client.prove(wanted_slots(HOUSE.address))
        with pytest.raises(UserError, match="This ledger has no contract Exhaustion"):
            read_credit(HOUSE.address, proof.accounts)
