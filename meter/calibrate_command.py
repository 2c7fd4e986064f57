"""`wattchain meter calibrate`: make the meter show what a reference instrument shows, and say who did it.

Values come from the running meter, or from the device itself where no meter runs. What is written down and carried to
the ledger: meter/calibration.py, meter/calibration_carrier.py.
"""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import click

from contracts.calibration_format import MAX_CHANNEL, ONE_PPM, Calibration, Quantity
from meter.assembly import meter_address, open_meter_key
from meter.calibration import (
    CalibrationBook,
    calibration_file,
    check_ppm,
    check_time,
    new_factor_ppm,
    ppm_text,
)
from meter.commands import settings_option
from meter.drivers.catalogue import open_section
from meter.drivers.factors import Calibrated, Factors
from meter.drivers.field_map import QUANTITIES
from meter.drivers.measurement import DeviceTrouble
from meter.live_values import ToldValues, read_live
from meter.settings import MeterSettings, load_settings
from meter.signed_calibration import SignedCalibration, sign_calibration
from meter.signer import KeySigner
from primitives.errors import UserError
from primitives.hexadecimal import to_checksum_address
from wallet.command_line import NUMBER, WholeNumber, confirm, json_option, password_file_option, print_result, say
from wallet.commands import keystore_option
from wallet.key_directory import KeyDirectory
from wallet.quantities import format_time
from wallet.signing_key import choose_key, from_option, key_file_option

MAX_SAMPLES = 1000
# A running meter takes a calibration over within five seconds; a slow board tells something every minute.
TAKEN_OVER_WITHIN_S = 15.0
LOOK_INTERVAL_S = 0.2
FRESH_S = 30.0

_QUANTITIES = {"current": Quantity.CURRENT, "voltage": Quantity.VOLTAGE, "power": Quantity.POWER}
_UNITS = {"current": "A", "voltage": "V", "power": "W"}
_PREFIXES = {"": 1000, "m": 1, "k": 1_000_000}
_REFERENCE = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*([mk]?)([AVW]?)")


@dataclass(frozen=True, slots=True)
class Target:
    """What is calibrated."""

    quantity: str
    channel: int

    @property
    def value_name(self) -> str:
        return f"{self.quantity}_{self.channel}_{QUANTITIES[self.quantity].suffix}"

    def shown(self, thousandths: Fraction) -> str:
        return f"{Decimal(round(thousandths)) / 1000:.3f} {_UNITS[self.quantity]}"


@click.command()
@click.argument("quantity", required=False, type=click.Choice(list(_QUANTITIES)))
@settings_option
@click.option("--channel", type=WholeNumber(1, MAX_CHANNEL), default=1, show_default=True, help="Clamp or phase.")
@click.option("--reference", metavar="VALUE", help="What the reference instrument shows: 6.6A, 231.5V, 1.5kW.")
@click.option("--factor", type=NUMBER, metavar="NUMBER", help="Set this factor, without measuring.")
@click.option("--samples", type=WholeNumber(1, MAX_SAMPLES), default=5, show_default=True,
              help="Measurements whose mean is compared.")  # fmt: skip
@click.option("--list", "is_list", is_flag=True, help="Show the calibrations up to now, and change nothing.")
@from_option
@key_file_option
@keystore_option
@password_file_option
@click.option("--yes", is_flag=True, help="Do not ask whether to go on.")
@json_option
def calibrate(
    quantity: str | None,
    settings_path: Path,
    channel: int,
    reference: str | None,
    factor: Decimal | None,
    samples: int,
    is_list: bool,
    sender: str | None,
    key_file: Path | None,
    keys: KeyDirectory,
    password_file: Path | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Make the meter show what a reference instrument shows: CURRENT, VOLTAGE or POWER of a clamp.

    Put a steady load on, of 10 A or more, and read both. The new factor is the old one, times what is real, divided by
    what was measured. It is signed by the meter and by you (--from), holds from the next measurement on, also in a
    meter that runs, and goes to the ledger when one is in reach. Current and voltage first: power follows them.

    \b
      wattchain meter calibrate current --channel 2 --from anna
      wattchain meter calibrate voltage --reference 231.5V --from anna --yes --json
    """
    settings = load_settings(settings_path)
    path, chain_id = calibration_file(settings.meter.outbox), settings.ledger.chain_id
    if is_list:
        with CalibrationBook(path, chain_id, meter_address(settings)) as book:
            print_result([_as_json(one) for one in book.records()], _list_text(book), as_json)
        return
    if reference is not None and factor is not None:
        raise UserError("Give either --reference, to measure, or --factor, to set the factor; not both.")
    _require_calibrated(settings)
    person = choose_key(keys, sender, key_file, password_file)
    with CalibrationBook(path, chain_id, meter_address(settings)) as book:
        time_s = settings.clock.make().time_s()
        check_time(time_s, book.last()[1], _meter_now_s(settings, time_s))
        target = Target(quantity or _ask_quantity(), channel)
        old_ppm = book.factors().ppm(target.quantity, channel)
        if factor is None:
            new_ppm = _measured_ppm(settings, book.factors(), target, old_ppm, reference, samples)
        else:
            new_ppm = _given_ppm(factor)
        say(f"Factor of {target.quantity} {channel}: {ppm_text(old_ppm)} before, {ppm_text(new_ppm)} from now on.")
        confirm(f"Sign this as {person.name} and put it in force?", yes)
        time_s = settings.clock.make().time_s()
        change = Calibration(
            book.meter,
            person.address,
            book.last()[0] + 1,
            time_s,
            _QUANTITIES[target.quantity],
            channel,
            old_ppm,
            new_ppm,
        )
        signer = KeySigner(person.unlock(password_file))
        signed = sign_calibration(change, chain_id, open_meter_key(settings), signer)
        book.add(signed, _meter_now_s(settings, time_s))
    text = f"{_text(signed)}\nIt is in force with the next measurement; the running meter carries it to the ledger."
    print_result(_as_json(signed), text, as_json)


def parse_reference(text: str, quantity: str) -> Fraction:
    """Thousandths of A, V or W. Raises UserError."""
    found = _REFERENCE.fullmatch(text.strip())
    unit = _UNITS[quantity]
    if found is None or found[3] not in ("", unit) or (found[2] and not found[3]):
        raise UserError(f"{text[:40]!r} is no {quantity}: write a number in {unit}, such as 6.6{unit} or 0.5k{unit}")
    return Fraction(found[1]) * _PREFIXES[found[2]]


def _meter_now_s(settings: MeterSettings, time_s: int) -> float:
    """By the clock of the running meter; by the computer's, given, where none runs or tells its time."""
    told = read_live(settings.meter.outbox, settings.meter.runtime_folder)
    if told is None or told.time_s is None or told.age_s >= FRESH_S:
        return time_s
    return told.time_s + told.age_s


def _require_calibrated(settings: MeterSettings) -> None:
    """Raises UserError where the driver has nothing to calibrate."""
    device = open_section(settings.driver, settings.clock.make())
    if not isinstance(device, Calibrated):
        raise UserError(
            f'driver.kind = "{settings.driver.kind}" is not calibrated here: it has a register of its own, or is no '
            "measuring device. Boards with clamps are: rpict, sct013"
        )


def _ask_quantity() -> str:
    say("What does your reference instrument show? Calibrate current and voltage first: power follows them.")
    return str(click.prompt("Calibrate", type=click.Choice(list(_QUANTITIES)), default="current", err=True))


def _given_ppm(factor: Decimal) -> int:
    if not factor.is_finite() or abs(factor) > 100:
        raise UserError(f"a factor is a number such as 1.03125, not {factor}")
    ppm = round(Fraction(factor) * ONE_PPM)
    check_ppm(ppm)
    return ppm


def _measured_ppm(
    settings: MeterSettings, factors: Factors, target: Target, old_ppm: int, reference: str | None, samples: int
) -> int:
    """The new factor, by the mean of some measurements and the reference's value, which is asked where not given."""
    real = None if reference is None else parse_reference(reference, target.quantity)
    values = asyncio.run(_measure(settings, factors, target, samples))
    measured = Fraction(sum(values), len(values))
    say(f"The meter shows {target.shown(measured)}, the mean of {len(values)} measurements.")
    if real is None:
        unit = _UNITS[target.quantity]
        answer = click.prompt(f"What does the reference instrument show, in {unit}?", err=True)
        real = parse_reference(str(answer), target.quantity)
    return new_factor_ppm(old_ppm, real, measured)


async def _measure(settings: MeterSettings, factors: Factors, target: Target, samples: int) -> list[int]:
    """Values in thousandths, of the running meter or of the device. Raises UserError."""
    told = read_live(settings.meter.outbox, settings.meter.runtime_folder)
    if told is not None and told.age_s < FRESH_S:
        return await _of_running_meter(settings, told, factors, target, samples)
    device = open_section(settings.driver, settings.clock.make())
    device.calibrate(factors)
    values: list[int] = []
    try:
        while len(values) < samples:
            measurement = await device.read()
            if measurement is None:
                raise UserError("the device has nothing more to tell")
            values.append(_value(measurement.values, target))
            say(f"  {target.shown(Fraction(values[-1]))}")
    except DeviceTrouble as error:
        raise UserError(
            f"{error}. No running meter was found either: one that runs tells its values in the folder in memory that "
            "meter.runtime_folder names (a service has one); or stop it meanwhile"
        ) from error
    finally:
        await device.close()
    return values


async def _of_running_meter(
    settings: MeterSettings, told: ToldValues, factors: Factors, target: Target, samples: int
) -> list[int]:
    """Only measurements with the factors of the file: an earlier calibration must have been taken over."""
    values: list[int] = []
    last_s, quiet_s = told.taken_s, 0.0
    while len(values) < samples:
        told = read_live(settings.meter.outbox, settings.meter.runtime_folder) or told
        if told.taken_s != last_s and frozenset(told.factors.rows) == frozenset(factors.rows):
            last_s, quiet_s = told.taken_s, 0.0
            values.append(_value(told.values, target))
            say(f"  {target.shown(Fraction(values[-1]))}")
        elif quiet_s > max(TAKEN_OVER_WITHIN_S, FRESH_S):
            raise UserError(
                "the running meter tells nothing new, or has not taken over the last calibration: look at its log "
                "(`wattchain meter status`), or stop it and calibrate then"
            )
        await asyncio.sleep(LOOK_INTERVAL_S)
        quiet_s += LOOK_INTERVAL_S
    return values


def _value(values: Sequence[tuple[str, int]], target: Target) -> int:
    for name, value in values:
        if name == target.value_name:
            return value
    told = ", ".join(name for name, _ in values) or "nothing"
    raise UserError(f"the device does not tell {target.quantity} {target.channel}; it tells {told}")


def _as_json(signed: SignedCalibration) -> dict[str, object]:
    calibration = signed.calibration
    return {
        "sequence": calibration.sequence,
        "time_s": calibration.time_s,
        "meter": to_checksum_address(calibration.meter),
        "person": to_checksum_address(calibration.person),
        "quantity": calibration.quantity.name.lower(),
        "channel": calibration.channel,
        "old_ppm": calibration.old_ppm,
        "new_ppm": calibration.new_ppm,
    }


def _text(signed: SignedCalibration) -> str:
    one = signed.calibration
    return (
        f"Calibration {one.sequence} of {format_time(one.time_s)} by {to_checksum_address(one.person)}: "
        f"{one.quantity.name.lower()} {one.channel} from {ppm_text(one.old_ppm)} to {ppm_text(one.new_ppm)}."
    )


def _list_text(book: CalibrationBook) -> str:
    return "\n".join(_text(one) for one in book.records()) or "This meter was never calibrated here."
