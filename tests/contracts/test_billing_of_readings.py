"""A postpaid meter whole: installed by the registry, its signed readings through Meter into bills, a new key, gas."""

import pytest

from contracts.addresses import BILLING_ADDRESS
from contracts.binding import load_artifact
from contracts.tariff_format import GenesisTariff
from tests.contracts.billing_stage import (
    BILLING,
    DAY_S,
    EL_DAPP,
    FIRST_DAY,
    PERIOD_DAYS,
    AccountState,
    Bill,
    events,
    names,
    only,
)
from tests.contracts.ledgers import Result
from tests.contracts.neighbourhood import OWNER, PAYER, STRANGER, SUPPLIER, Device, Neighbourhood, outcomes
from tests.contracts.tariff_stage import KWH, WATT, tariff_accounts

REGISTRY = load_artifact("Registry")
CENT = WATT // 100
SINGLE_LIMIT, BATCH_LIMIT = 90_000, 45_000


class PostpaidStreet(Neighbourhood):
    def __init__(self, *devices: Device) -> None:
        super().__init__(others=tariff_accounts([GenesisTariff(SUPPLIER, "house", EL_DAPP)]))
        self.ledger.time_s = FIRST_DAY * DAY_S
        for device in devices:
            arguments = (device.address, OWNER, BILLING_ADDRESS, 1, bytes(32), device.import_wh, device.export_wh)
            assert self.registry(SUPPLIER, "installMeter", *arguments).success

    def measure(self, device: Device, import_wh: int, export_wh: int = 0) -> Result:
        device.time_s = self.ledger.time_s
        return self.submit(device.measure(import_wh=import_wh, export_wh=export_wh))

    def account_of(self, device: Device) -> AccountState:
        return AccountState(*self._ask_billing("accountOf", device.address))

    def bill_of(self, device: Device, number: int) -> Bill:
        return Bill(*self._ask_billing("billOf", device.address, number))

    def is_on(self, device: Device) -> bool:
        return bool(self._ask_billing("supplyAllowed", device.address, self.ledger.time_s))

    def _ask_billing(self, function: str, *arguments: object) -> object:
        (value,) = self._ask(BILLING_ADDRESS, BILLING, function, arguments)
        return value


def test_signed_readings_become_a_bill_that_is_paid() -> None:
    home = Device("postpaid home", import_wh=5 * KWH)
    street = PostpaidStreet(home)
    street.ledger.time_s += DAY_S
    for energy_kwh in (90, 120, 290, 100):
        street.ledger.time_s += 900
        assert names(street.measure(home, energy_kwh * KWH)) == ["Charged"]
    expected = (100 * 296 + 200 * 556 + 200 * 916 + 100 * 1_061) * CENT
    assert street.account_of(home).energy_wei == expected
    street.ledger.time_s += PERIOD_DAYS * DAY_S
    assert names(street.measure(home, KWH)) == ["BillIssued", "Charged"]
    assert street.bill_of(home, 1).open_wei == expected
    data = BILLING.abi.encode_call("pay", [home.address, 1])
    paid = street.ledger.transact(PAYER, BILLING_ADDRESS, data, expected)
    assert only(paid, "Paid")["openWei"] == 0
    assert street.ledger.balance(BILLING_ADDRESS) == expected
    assert street.is_on(home)


def test_a_change_of_the_key_takes_the_account_along() -> None:
    home, changed = Device("postpaid home"), Device("the same with another key")
    street = PostpaidStreet(home)
    street.ledger.time_s += DAY_S
    street.measure(home, 99 * KWH)
    arguments = (home.address, changed.address, home.import_wh + KWH, 0, home.import_wh + KWH, 0)
    swapped = street.registry(SUPPLIER, "swapMeter", *arguments)
    assert swapped.success, REGISTRY.abi.revert_reason(swapped.output)
    assert [event.name for event in events(swapped)] == ["Charged", "AccountMoved"]
    account = street.account_of(changed)
    assert (account.account, account.imported_wh, account.active) == (home.address, 100 * KWH, True)
    assert not street.account_of(home).active
    changed.import_wh = home.import_wh + KWH
    street.ledger.time_s += 900
    street.measure(changed, KWH)
    assert street.account_of(changed).energy_wei == (100 * 296 + 556) * CENT


@pytest.mark.parametrize("count", [1, 50])
def test_a_reading_stays_within_its_gas(count: int) -> None:
    homes = [Device(f"postpaid {number}", import_wh=5_000) for number in range(count)]
    street = PostpaidStreet(*homes)
    street.ledger.time_s += DAY_S

    def gas_each() -> int:
        street.ledger.time_s += 900
        for home in homes:
            home.time_s = street.ledger.time_s
        signed = [home.measure(import_wh=1_234, power_w=2_000) for home in homes]
        if count == 1:
            result = street.submit(signed[0])
            assert result.success
        else:
            result = street.submit_batch(signed)
            assert {int(outcome) for outcome in outcomes(result)} == {0}
        return -(-result.gas_used // count)

    gas_each()
    ordinary = gas_each()
    street.ledger.time_s += PERIOD_DAYS * DAY_S
    closing = gas_each()
    assert ordinary <= (SINGLE_LIMIT if count == 1 else BATCH_LIMIT)
    assert street.account_of(homes[0]).bill_count == 1
    assert closing < 300_000


def test_nobody_but_the_registry_moves_an_account() -> None:
    home = Device("postpaid home")
    street = PostpaidStreet(home)
    data = BILLING.abi.encode_call("onSwap", [home.address, STRANGER])
    assert not street.ledger.transact(SUPPLIER, BILLING_ADDRESS, data).success
