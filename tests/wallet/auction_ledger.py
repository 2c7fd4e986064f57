"""A ledger in memory with an auction, and neighbours with meters of their own."""

from contracts.addresses import MARKET_ADDRESS, METER_ADDRESS
from contracts.auction import AuctionRules
from contracts.market import MarketRules
from contracts.reading_format import READING_FIELDS, compact_signature, reading_typed_data
from primitives.secp256k1 import sign
from tests.contracts.auction_stage import MARKET, AuctionStage
from tests.contracts.neighbourhood import METER, key_of
from tests.gateway.memory_ledger import CHAIN_ID
from tests.wallet.command_stage import ContractLedger

TYPED_DATA = reading_typed_data(CHAIN_ID)


class AuctionLedger(ContractLedger):
    """With all roles of the auction's own tests; the chain has another number than there, so meters sign for it."""

    def __init__(self, rules: AuctionRules | None = None, trade: MarketRules | None = None) -> None:
        stage = AuctionStage()
        self.devices = stage.devices
        self._last_hash: dict[bytes, bytes] = {}
        super().__init__(stage.alloc(rules, trade))

    async def measure(self, trader: bytes, time_s: int, import_wh: int = 0, export_wh: int = 0) -> None:
        """The trader's meter has measured so much more, and its reading is on the ledger."""
        device = self.devices[trader]
        device.time_s = time_s
        fields, _, _ = device.measure(import_wh, export_wh)
        reading = {name: value for (name, _), value in zip(READING_FIELDS, fields, strict=True)}
        reading["previousHash"] = self._last_hash.get(trader, bytes(32))
        self._last_hash[trader] = TYPED_DATA.struct_hash(reading)
        signature = compact_signature(*sign(TYPED_DATA.hash(reading), key_of(device.name)))
        data = METER.abi.encode_call("submit", [(tuple(reading.values()), *signature)])
        await self.transact(key_of("stranger"), METER_ADDRESS, data)

    async def choose_meter(self, trader: bytes, name: str) -> None:
        data = MARKET.abi.encode_call("chooseMeter", [self.devices[trader].address])
        await self.transact(key_of(name), MARKET_ADDRESS, data)
