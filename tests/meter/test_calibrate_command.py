"""`wattchain meter calibrate` as a person meets it: live values of a board, a reference, a factor, two signatures."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import pytest
import serial
from click.testing import CliRunner, Result

import meter.calibrate_command as calibrate_command
import meter.live_values as live_values
from contracts.calibration_format import ONE_PPM
from contracts.reading_format import StatusFlag
from meter.calibrate_command import parse_reference
from meter.calibration import CalibrationBook, calibration_file
from meter.commands import meter
from meter.drivers.driver import Registers, Sample
from meter.drivers.factors import Factors
from meter.drivers.measurement import Measurement
from meter.live import Observation
from meter.live_values import LiveValues
from primitives.errors import UserError
from primitives.hexadecimal import to_checksum_address
from primitives.secp256k1 import address_of
from tests.meter.fake_node import METER, METER_KEY, OTHER_KEY
from tests.meter.serial_pair import SerialPair
from wallet.keystore import ScryptCost, encrypt_key

LINE = "11 1402.65 -0.31 0.00 6400.0 38.2 0.0 231.87"
CHEAP = ScryptCost(2, 8, 1)
PERSON = to_checksum_address(address_of(OTHER_KEY))


@pytest.fixture(scope="module")
def key_files() -> tuple[str, str]:
    return encrypt_key(METER_KEY, "secret", CHEAP), encrypt_key(OTHER_KEY, "hidden", CHEAP)


@pytest.fixture
def folder(tmp_path: Path, key_files: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RUNTIME_DIRECTORY", "")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "")
    (tmp_path / "meter.toml").write_text(
        f"""
[meter]
key = "meter.json"
password_file = "password"
outbox = "outbox.sqlite"
[ledger]
chain_id = 1947
node = "http://127.0.0.1:9"
[driver]
kind = "rpict"
port = "{tmp_path / "ttyBoard"}"
silence_s = 5
"""
    )
    (tmp_path / "keys").mkdir()
    for path, content in (
        ("meter.json", key_files[0]),
        ("keys/anna.json", key_files[1]),
        ("password", "secret\n"),
        ("person", "hidden\n"),
    ):
        (tmp_path / path).write_text(content)
        (tmp_path / path).chmod(0o600)
    return tmp_path


@contextmanager
def board(folder: Path, line: str = LINE) -> Iterator[None]:
    """A board that sends the same line again and again."""
    with SerialPair(folder) as pair, sending(lambda: pair.send_now(f"{line}\r\n".encode())):
        yield


@contextmanager
def sending(send: Callable[[], None], interval_s: float = 0.01) -> Iterator[None]:
    stop = threading.Event()

    def play() -> None:
        while not stop.wait(interval_s):
            send()

    thread = threading.Thread(target=play)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def run(folder: Path, *arguments: str, typed: str | None = None) -> Result:
    common = ["--settings", str(folder / "meter.toml"), "--keystore", str(folder / "keys")]
    common += ["--password-file", str(folder / "person")]
    return CliRunner().invoke(meter, ["calibrate", *arguments, *common], input=typed)


def factors(folder: Path) -> Factors:
    with CalibrationBook(calibration_file(folder / "outbox.sqlite"), 1947, METER) as book:
        return book.factors()


def test_by_options(folder: Path) -> None:
    with board(folder):
        result = run(folder, "current", "--reference", "6.6A", "--yes", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    time_s = told.pop("time_s")
    assert time_s > 1_700_000_000
    assert told == {
        "sequence": 1,
        "meter": to_checksum_address(METER),
        "person": PERSON,
        "quantity": "current",
        "channel": 1,
        "old_ppm": ONE_PPM,
        "new_ppm": 1_031_250,
    }
    assert "The meter shows 6.400 A, the mean of 5 measurements." in result.stderr
    assert "Factor of current 1: 1.000000 before, 1.031250 from now on." in result.stderr
    assert factors(folder).ppm("current", 1) == 1_031_250


def test_the_next_calibration_begins_with_the_last_factor(folder: Path) -> None:
    """What is shown is calibrated already, and power follows current and voltage."""
    with board(folder):
        assert run(folder, "current", "--reference", "6600mA", "--yes").exit_code == 0
        assert run(folder, "voltage", "--reference", "231.87V", "--yes").exit_code == 2
        again = run(folder, "current", "--reference", "6.6", "--yes")
        power = run(folder, "power", "--samples", "1", "--reference", "1.5kW", "--yes", "--json")
    assert again.exit_code == 2
    assert "The factor is 1.031250 already; nothing was changed" in again.stderr
    assert json.loads(power.stdout)["new_ppm"] == round(1_500_000 / Fraction(1402650) / Fraction("1.03125") * ONE_PPM)
    listed = run(folder, "--list")
    assert listed.stdout.count(f"by {PERSON}") == 2
    assert "current 1 from 1.000000 to 1.031250." in listed.stdout
    assert [row["quantity"] for row in json.loads(run(folder, "--list", "--json").stdout)] == ["current", "power"]


def test_guided(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrate_command, "confirm", lambda question, yes: None)
    with board(folder):
        result = run(folder, "--samples", "2", typed="voltage\n230.0\n")
    assert result.exit_code == 0, result.output
    assert "What does your reference instrument show?" in result.stderr
    assert "What does the reference instrument show, in V?" in result.stderr
    assert f"by {PERSON}: voltage 1 from 1.000000 to 0.991935." in result.stdout
    assert "the running meter carries it to the ledger" in result.stdout


def test_a_factor_without_measuring(folder: Path) -> None:
    """No board is needed: such as the one that stands on its certificate."""
    result = run(folder, "current", "--channel", "2", "--factor", "1.0125", "--yes", "--json")
    assert json.loads(result.stdout)["new_ppm"] == 1_012_500
    assert factors(folder).ppm("current", 2) == 1_012_500


def test_without_yes_nothing_happens(folder: Path) -> None:
    result = run(folder, "current", "--factor", "1.0125", typed="")
    assert result.exit_code == 2
    assert "add --yes if you are sure" in result.stderr
    assert factors(folder) == Factors()


def test_values_of_the_running_meter(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its port is taken. Values with other factors than the file's are not looked at: it has not read the file yet."""
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(folder))
    monkeypatch.setattr(live_values, "MIN_INTERVAL_S", 0)
    monkeypatch.setattr(calibrate_command, "LOOK_INTERVAL_S", 0.01)
    assert run(folder, "current", "--factor", "1.1", "--yes").exit_code == 0
    in_force = [Factors()]
    path = live_values.live_file(folder / "outbox.sqlite")
    writer = LiveValues(path, lambda: in_force[0])
    count = 0

    def observe() -> None:
        nonlocal count
        count += 1
        if count == 20:
            in_force[0] = factors(folder)
        value = 6400 if in_force[0] == Factors() else 7040
        sample = Sample(Registers(int(time.time())), 0, StatusFlag(0), b"")
        writer.observe(Observation(sample, Measurement(0, None, values=(("current_1_ma", value),))))

    observe()
    with sending(observe):
        result = run(folder, "current", "--samples", "3", "--reference", "6.4A", "--yes", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["new_ppm"] == ONE_PPM
    assert "The meter shows 7.040 A" in result.stderr


def test_nothing_is_dated_ahead_of_the_running_meters_clock(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The computer's clock stands a year ahead; the meter believes the ledger and its last reading."""
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(folder))
    writer = LiveValues(live_values.live_file(folder / "outbox.sqlite"))
    sample = Sample(Registers(int(time.time()) - 31_536_000), 0, StatusFlag(0), b"")
    writer.observe(Observation(sample, Measurement(0, 5)))
    result = run(folder, "current", "--factor", "1.02", "--yes")
    assert result.exit_code == 2
    assert "The calibration would be dated" in result.stderr
    assert "set the clock right, then begin again" in result.stderr
    assert factors(folder) == Factors()


def test_a_running_meter_that_does_not_take_over(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(folder))
    for name in ("TAKEN_OVER_WITHIN_S", "LOOK_INTERVAL_S"):
        monkeypatch.setattr(calibrate_command, name, 0.01)
    sample = Sample(Registers(int(time.time())), 0, StatusFlag(0), b"")
    LiveValues(live_values.live_file(folder / "outbox.sqlite")).observe(Observation(sample, Measurement(0, 5)))
    monkeypatch.setattr(calibrate_command, "FRESH_S", 0.5)
    result = run(folder, "current", "--reference", "6.4A", "--yes")
    assert result.exit_code == 2
    assert "The running meter tells nothing new" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "line", "message"),
    [
        (("current", "--reference", "6.6V"), LINE, "'6.6V' is no current: write a number in A"),
        (
            ("current", "--channel", "9", "--reference", "6.6"),
            LINE,
            "the device does not tell current 9; it tells power",
        ),
        (
            ("current", "--channel", "3", "--reference", "6.6"),
            LINE,
            "The meter measures nothing there: switch a load on",
        ),
        (("voltage", "--reference", "1"), LINE, "The factor would be 0.004313, outside of 0.100000 to 10.000000"),
        (("current", "--reference", "6.6"), "11 1 2 3 4", "is not what the settings say of the board"),
        (("current", "--factor", "1", "--reference", "1"), LINE, "Give either --reference"),
        (("current", "--factor", "11"), LINE, "The factor would be 11.000000"),
        (("current", "--factor", "nan"), LINE, "'nan' is no number such as"),
        (("current", "--factor", "1e999999"), LINE, "A factor is a number"),
    ],
)
def test_mistakes(folder: Path, arguments: tuple[str, ...], line: str, message: str) -> None:
    with board(folder, line):
        result = run(folder, *arguments, "--yes")
    assert result.exit_code == 2
    assert message.lower() in result.stderr.lower()
    assert factors(folder) == Factors()


def test_no_board(folder: Path) -> None:
    result = run(folder, "current", "--reference", "6.6A", "--yes")
    assert result.exit_code == 2
    assert "There is no serial port" in result.stderr


def test_a_board_that_the_meter_has_and_tells_nowhere(folder: Path) -> None:
    """As where `meter run` was started by hand: no service, and no folder in memory."""
    with board(folder), serial.Serial(str(folder / "ttyBoard"), exclusive=True):
        result = run(folder, "current", "--reference", "1A", "--yes")
    assert result.exit_code == 2
    assert "another program uses the serial port" in result.stderr.lower()
    assert "meter.runtime_folder names (a service has one); or stop it meanwhile" in " ".join(result.stderr.split())


def test_a_driver_that_is_not_calibrated(folder: Path) -> None:
    text = (folder / "meter.toml").read_text()
    text = text[: text.index("[driver]")] + '[driver]\nfile = "load.csv"\n'
    (folder / "meter.toml").write_text(text)
    (folder / "load.csv").write_text("non_shiftable_load\n0.5\n")
    result = run(folder, "current", "--factor", "1.1", "--yes")
    assert 'driver.kind = "replay" is not calibrated here' in result.stderr


def test_references() -> None:
    assert parse_reference("6.6A", "current") == parse_reference(" 6600 mA ", "current") == 6600
    assert parse_reference("231.87", "voltage") == 231_870
    assert parse_reference("1.5kW", "power") == 1_500_000
    for text in ("", "-1", "1e3", "6.6k", "6.6 m", "inf", "6,6", "1" * 50, "6.6AA"):
        with pytest.raises(UserError, match="is no current"):
            parse_reference(text, "current")
