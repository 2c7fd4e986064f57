"""Every refusal of the calibrations' contract is a sentence."""

from tests.wallet.refusal_checks import check_refusals
from wallet.calibrations import CALIBRATIONS


def test_every_refusal_has_a_sentence() -> None:
    check_refusals(CALIBRATIONS)
