"""The calibrations of a meter as the wallet knows them: read, and the contract's refusals in words.

What a calibration is and who signs it: contracts/calibration_format.py.
"""

from contracts.addresses import CALIBRATIONS_ADDRESS
from wallet.contract_call import Contract
from wallet.registry import REGISTRY

CALIBRATIONS = Contract(
    name="Calibrations",
    address=CALIBRATIONS_ADDRESS,
    title="the calibrations' contract",
    missing="This network has no contract for calibrations of meters: its genesis file lacks it.",
    refusals={
        "ChannelInvalid": "A channel is a number from 1 to {maximum}, not {channel}.",
        "FactorOutOfRange": (
            "A factor of {ppm} millionths is outside of what the ledger takes, {minimum} to {maximum}: a sensor "
            "that is off by more is the wrong sensor, or set up wrongly."
        ),
        "FactorUnchanged": "The factor is {ppm} millionths already.",
        "MeterNotActive": "The meter {meter} was removed, or replaced by another.",
        "MeterUnknown": "No meter {meter} was ever installed on this network.",
        "OldFactorDiffers": (
            "The calibration was made from a factor of {oldPpm} millionths, but the ledger has {ppmInForce}: calibrate "
            "the meter again."
        ),
        "PersonInvalid": "A person calibrates a meter, not the meter itself: sign with an account of your own.",
        "QuantityInvalid": "What is calibrated is 1 current, 2 voltage or 3 power, not {quantity}.",
        "SequenceInvalid": "The next calibration of the meter {meter} is number {expected}, not {sequence}.",
        "SignatureInvalid": "The signature is of {signer}, not of {expected}.",
        "TimeFell": "The calibration is of {time}, before the last one of the meter {meter} at {lastTime}.",
        "TimeInFuture": "The calibration is of {time}, ahead of the ledger: look at the clocks.",
    },
    passes_on=(REGISTRY,),
)
