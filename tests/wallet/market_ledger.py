"""A ledger in memory with a market, and neighbours with meters of their own."""

from contracts.addresses import METER_ADDRESS
from contracts.market import MarketRules
from contracts.reading_format import READING_FIELDS, compact_signature, reading_typed_data
from primitives.secp256k1 import sign
from tests.contracts.market_stage import market_alloc, trader_devices
from tests.contracts.neighbourhood import METER, key_of
from tests.gateway.memory_ledger import CHAIN_ID
from tests.wallet.command_stage import ContractLedger

TYPED_DATA = reading_typed_data(CHAIN_ID)


class MarketLedger(ContractLedger):
    """With all roles of the market's own tests."""

    def __init__(self, rules: MarketRules) -> None:
        self.devices = trader_devices()
        super().__init__(market_alloc(rules, self.devices))

    async def measure(self, trader: bytes, import_wh: int = 0, export_wh: int = 0) -> None:
        """The trader's meter has measured so much more, and its reading is on the ledger."""
        device = self.devices[trader]
        device.time_s = self.clock.time_s()
        fields, _, _ = device.measure(import_wh, export_wh)
        reading = {name: value for (name, _), value in zip(READING_FIELDS, fields, strict=True)}
        signature = compact_signature(*sign(TYPED_DATA.hash(reading), key_of(device.name)))
        data = METER.abi.encode_call("submit", [(fields, *signature)])
        await self.transact(key_of("stranger"), METER_ADDRESS, data)
