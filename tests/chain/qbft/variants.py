"""Protocols with a part missing. Only what the ledger sees is watched in them: two final blocks at one height."""

from tests.chain.qbft.byzantine import ForgetfulMachine
from tests.chain.qbft.scenario import Variant

WHOLE = Variant()
VOLATILE_VOTES = Variant("volatile-votes", keeps_votes=False, watch_votes=False)
NO_LOCK = Variant("no-lock", machine_class=ForgetfulMachine, watch_votes=False)

VARIANTS = {variant.name: variant for variant in (WHOLE, VOLATILE_VOTES, NO_LOCK)}
