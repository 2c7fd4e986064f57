"""What a meter asks the ledger besides its readings: account and tariff, its supplier's terms and clock, its policy.

Answers are those of one block. What comes back is checked by the ABI codec, and a tariff by the rules of its contract:
a node may lie, but not crash the meter. Where a contract is missing (an older ledger) there is simply no such term.
"""

from dataclasses import dataclass, replace
from typing import Any, cast

from contracts.addresses import POLICY_ADDRESS
from contracts.binding import load_artifact
from contracts.policy import MAX_OFF_TIMES, MeterPolicy, PolicyValues, decode_policy
from contracts.reading_format import MAX_ZONE_S, MIN_ZONE_S, MeterStatus
from contracts.tariff_charge import DAY_S, FIRST_WEEKDAY, TariffPosition
from contracts.tariff_format import TariffVersion
from meter.drivers.driver import Registers
from meter.ledger import MeterLedger
from primitives.contract_abi import ContractAbi
from primitives.errors import Invalid, InvalidAbi, UserError
from wallet.client import InvalidAnswer

NO_POLICY = MeterPolicy(0, 0, PolicyValues())


@dataclass(frozen=True, slots=True)
class SupplyTerms:
    """What a supplier allows once the credit is used up (contracts/src/SupplyTerms.sol); all zero: nothing."""

    emergency_wei: int = 0
    debt_limit_wei: int = 0
    from_minute: int = 0
    until_minute: int = 0
    weekdays: int = 0
    whole_days: int = 0
    recovery_percent: int = 0

    def is_friendly(self, local_s: int) -> bool:
        """Whether supply is not cut at a second of local time, but for holidays, which only the ledger knows."""
        if self.debt_limit_wei == 0:
            return False
        weekday = (local_s // DAY_S + FIRST_WEEKDAY) % 7
        if self.whole_days >> weekday & 1:
            return True
        minute = local_s % DAY_S // 60
        begins_today = bool(self.weekdays >> weekday & 1)
        if self.from_minute < self.until_minute:
            return begins_today and self.from_minute <= minute < self.until_minute
        began_yesterday = bool(self.weekdays >> (weekday + 6) % 7 & 1)
        return (begins_today and minute >= self.from_minute) or (began_yesterday and minute < self.until_minute)


@dataclass(frozen=True, slots=True)
class DatedVersion:
    """A version of a tariff, and the Unix time from which it holds."""

    from_s: int
    version: TariffVersion


@dataclass(frozen=True, slots=True)
class AccountTerms:
    """What changes rarely: by whom and how a prepaid meter is charged."""

    supplier: bytes
    zone_s: int
    terms: SupplyTerms
    versions: tuple[DatedVersion, ...]
    """The one that holds and the one that is announced, by time; none where nothing costs anything yet."""
    installed_s: int = 0
    """Unix time: before its first reading, days are due from then on."""


@dataclass(frozen=True, slots=True)
class KnownAccount:
    """A prepaid meter's account after a block, with all that is needed to carry it on without a ledger."""

    block_number: int
    sequence: int
    """The last reading that is charged."""
    registers: Registers
    balance_wei: int
    """Credit; overdrawn where negative."""
    debt_wei: int
    position: TariffPosition
    account: AccountTerms


class LedgerTerms:
    """Questions to the contracts around a Meter, found through it."""

    def __init__(self, ledger: MeterLedger, policy_contract: bytes = POLICY_ADDRESS) -> None:
        self.node = ledger.node
        self._ledger = ledger
        self._policy_contract = policy_contract
        self._meter = load_artifact("Meter").abi
        self._registry = load_artifact("Registry").abi
        self._exhaustion = load_artifact("Exhaustion").abi
        self._tariffs = load_artifact("Tariffs").abi
        self._policy = load_artifact("Policy").abi
        self._registry_address: bytes | None = None
        self._tariffs_address: bytes | None = None

    async def account_terms(self, meter: bytes, time_s: int, block: int) -> AccountTerms | None:
        """None where the meter is not an active prepaid one. Raises one of NodeTrouble."""
        record = await self._record(meter, block)
        if record.status != MeterStatus.ACTIVE or record.sink != self._ledger.exhaustion_contract:
            return None
        exhaustion = self._ledger.exhaustion_contract
        (terms,) = await self._ask(exhaustion, self._exhaustion, "termsOf", (record.supplier,), block)
        zone_s = await self._zone(record.supplier, time_s, block)
        versions = await self._versions(record.tariff, time_s, block)
        return AccountTerms(record.supplier, zone_s, SupplyTerms(*terms), versions, record.installed_s)

    async def known_account(self, meter: bytes, terms: AccountTerms, block: int) -> KnownAccount:
        """The account of a meter with these terms. Raises one of NodeTrouble."""
        exhaustion = self._ledger.exhaustion_contract
        (seen,) = await self._ask(exhaustion, self._exhaustion, "accountOf", (meter,), block)
        credit_wei, overdrawn_wei, debt_wei, _, _, period_wh, period_end_day = seen
        last = await self._ledger.last_reading(meter, block)
        # Each charged reading charges its day as well; the contract does not tell the day, but the reading does.
        charged_day = (last.registers.time_s + terms.zone_s - 1) // DAY_S if last.sequence else 0
        position = TariffPosition(period_wh, period_end_day, max(0, charged_day))
        registers = replace(last.registers, time_s=max(last.registers.time_s, terms.installed_s))
        return KnownAccount(block, last.sequence, registers, credit_wei - overdrawn_wei, debt_wei, position, terms)

    async def zone_s(self, meter: bytes, time_s: int, block: int) -> int:
        """Seconds by which the local time of a meter's supplier is ahead of UTC; 0 where it has none."""
        supplier = (await self._record(meter, block)).supplier
        return await self._zone(supplier, time_s, block) if any(supplier) else 0

    async def policy_version(self, meter: bytes, block: int) -> int:
        """The version of a meter's policy; 0 where there is none, or no Policy contract on this ledger."""
        try:
            (version,) = await self._ask(self._policy_contract, self._policy, "versionOf", (meter,), block)
        except NoSuchContract:
            return 0
        return int(version)

    async def policy(self, meter: bytes, block: int) -> MeterPolicy:
        """The values of a meter's policy. Raises one of NodeTrouble."""
        policy = decode_policy(await self._ask(self._policy_contract, self._policy, "policyOf", (meter,), block))
        if len(policy.values.off_times) > MAX_OFF_TIMES:
            raise InvalidAnswer(f"the node says that a policy has {len(policy.values.off_times)} off-times")
        return policy

    async def _zone(self, supplier: bytes, time_s: int, block: int) -> int:
        (zone_s,) = await self._ask(self._ledger.meter_contract, self._meter, "zoneOf", (supplier, time_s), block)
        if not MIN_ZONE_S <= zone_s <= MAX_ZONE_S:
            raise InvalidAnswer(f"the node says that local time is {zone_s} s ahead of UTC")
        return int(zone_s)

    async def _record(self, meter: bytes, block: int) -> "_Record":
        if self._registry_address is None:
            answer = await self._ask(self._ledger.meter_contract, self._meter, "registry", (), block)
            self._registry_address = answer[0]
        (record,) = await self._ask(self._registry_address, self._registry, "meterOf", (meter,), block)
        return _Record(record[1], record[2], record[3], record[4], record[6])

    async def _versions(self, tariff: int, time_s: int, block: int) -> tuple[DatedVersion, ...]:
        if tariff == 0:
            return ()
        if self._tariffs_address is None:
            exhaustion = self._ledger.exhaustion_contract
            self._tariffs_address = (await self._ask(exhaustion, self._exhaustion, "tariffs", (), block))[0]
        found: list[DatedVersion] = []
        for function, arguments in (("versionOf", (tariff, time_s)), ("latestVersion", (tariff,))):
            from_s, values = await self._ask(self._tariffs_address, self._tariffs, function, arguments, block)
            if values[7] and from_s not in [one.from_s for one in found]:
                found.append(DatedVersion(from_s, _checked(values)))
        return tuple(found)

    async def _ask(
        self, contract: bytes, abi: ContractAbi, function: str, arguments: tuple[object, ...], block: int
    ) -> tuple[Any, ...]:
        asked = abi.function(function)
        data = await self._ledger.node.call(contract, asked.encode_call(arguments), block)
        if not data:
            raise NoSuchContract(f"there is no contract with {function} at 0x{contract.hex()}")
        try:
            return cast(tuple[Any, ...], asked.decode_result(data))
        except InvalidAbi as error:
            raise InvalidAnswer(f"the node's answer to {function} makes no sense: {error}") from error


class NoSuchContract(InvalidAnswer):
    """The ledger has no such contract; older ones have not."""


@dataclass(frozen=True, slots=True)
class _Record:
    supplier: bytes
    status: int
    sink: bytes
    tariff: int
    installed_s: int


def _checked(values: tuple[Any, ...]) -> TariffVersion:
    try:
        version = TariffVersion.from_result(values)
        version.check()
    except (Invalid, UserError, ValueError, IndexError) as error:
        raise InvalidAnswer(f"the node's answer about a tariff makes no sense: {error}") from error
    return version
