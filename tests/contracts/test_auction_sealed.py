"""Sealed orders of the auction: what they show, when and by whom they are revealed, and what it costs not to."""

from contracts.auction import AuctionRules, OrderState, Side, commitment_of
from contracts.market import MarketRules
from tests.contracts.auction_stage import (
    BUYER,
    BUYER_2,
    BUYER_3,
    END,
    SALT,
    SELLER,
    SLOT,
    STRANGER,
    TREASURY,
    AuctionStage,
    reason,
)
from tests.contracts.ledgers import CHAIN_ID

PRICE = 2 * 10**14
BOOK_UNTIL = SLOT - 900
SEALED = AuctionRules(is_sealed=True)
TAX = MarketRules(tax_bps=1_000)
WATT = 10**18


def shown(*values: object) -> str:
    return ", ".join(["0x" + one.hex() if isinstance(one, bytes) else str(int(str(one))) for one in values])


def sealed_stage() -> AuctionStage:
    stage = AuctionStage(SEALED, TAX)
    assert stage.seal(BUYER, Side.BID, 1_000, PRICE, WATT).success
    assert stage.seal(SELLER, Side.ASK, 600, PRICE // 2, WATT).success
    return stage


def test_sealed_orders_show_nothing_until_the_bidding_is_over() -> None:
    stage = sealed_stage()
    sealed = stage.orders(Side.BID)[1]
    assert (sealed.price, sealed.energy_wh, sealed.state) == (0, 0, OrderState.SEALED)
    until = BOOK_UNTIL - 900
    assert stage.view("timesOf", SLOT) == (until, BOOK_UNTIL, SLOT, END)
    terms = (SLOT, 1_000, PRICE, SALT)
    stage.ledger.time_s = until - 1
    assert stage.refused(BUYER, "reveal", *terms) == f"RevealTooSoon({SLOT}, {until})"
    stage.ledger.time_s = until
    late = stage.seal(BUYER_2, Side.BID, 1_000, PRICE, WATT)
    assert reason(late) == f"OrdersOver({SLOT}, {until})"
    placed, revealed = stage.ok(BUYER, "reveal", *terms)
    held = 1_000 * PRICE * 11 // 10
    assert placed.name == "OrderPlaced"
    assert placed.arguments["heldWei"] == held
    assert revealed.arguments == {"slot": SLOT, "account": BUYER, "refundWei": WATT - held}
    assert stage.account(BUYER) == WATT - held
    assert stage.refused(BUYER, "reveal", *terms) == f"NothingSealed({SLOT}, {shown(BUYER)})"
    stage.ledger.time_s = BOOK_UNTIL
    ask_terms = (SLOT, 600, PRICE // 2, SALT)
    assert stage.refused(SELLER, "reveal", *ask_terms) == f"RevealOver({SLOT}, {BOOK_UNTIL})"
    stage.ledger.time_s = BOOK_UNTIL - 1
    stage.ok(SELLER, "reveal", *ask_terms)
    assert stage.clear().energy_wh == 600


def test_a_seal_holds_its_sender_to_its_terms() -> None:
    stage = sealed_stage()
    copied = commitment_of(CHAIN_ID, SLOT, BUYER, Side.BID, 1_000, PRICE, SALT)
    assert stage.view("commitmentOf", SLOT, BUYER, Side.BID, 1_000, PRICE, SALT) == copied
    stage.ok(BUYER_2, "sealOrder", SLOT, Side.BID, stage.meters[BUYER_2], copied, value=WATT)
    assert stage.seal(BUYER_3, Side.BID, 10**6, PRICE, WATT).success
    stage.ledger.time_s = BOOK_UNTIL - 900
    for terms in ((1_001, PRICE, SALT), (1_000, PRICE + 1, SALT), (1_000, PRICE, bytes(32))):
        given = commitment_of(CHAIN_ID, SLOT, BUYER, Side.BID, *terms)
        assert stage.refused(BUYER, "reveal", SLOT, *terms) == f"CommitmentDiffers({shown_id(given, copied, BUYER)})"
    assert "CommitmentDiffers" in stage.refused(BUYER_2, "reveal", SLOT, 1_000, PRICE, SALT)  # a copy is worth nothing
    needed = 10**6 * PRICE * 11 // 10
    assert stage.refused(BUYER_3, "reveal", SLOT, 10**6, PRICE, SALT) == f"PaymentInvalid({WATT}, {needed})"


def shown_id(given: bytes, committed: bytes, account: bytes) -> str:
    return f"{SLOT}, {shown(account)}, 0x{given.hex()}, 0x{committed.hex()}"


def test_sealing_has_its_limits() -> None:
    stage = AuctionStage(SEALED)
    meter = stage.meters[BUYER]
    least, most = 10**16, 2**128 - 1

    def refused(value: int, commitment: bytes = SALT) -> str:
        return stage.refused(BUYER, "sealOrder", SLOT, Side.BID, meter, commitment, value=value)

    assert refused(least - 1) == f"DepositInvalid({least - 1}, {least}, {most})"
    assert refused(WATT, bytes(32)) == "CommitmentZero()"
    assert stage.refused(BUYER, "placeOrder", SLOT, Side.BID, meter, 1, PRICE, value=PRICE) == f"SlotIsSealed({SLOT})"
    unsealed = AuctionStage()
    assert reason(unsealed.seal(BUYER, Side.BID, 1, PRICE, WATT)) == f"SlotIsOpen({SLOT})"


def test_who_never_reveals_is_left_out_and_loses_a_tenth_to_the_treasury() -> None:
    stage = sealed_stage()
    stage.ledger.time_s = BOOK_UNTIL - 900
    stage.ok(SELLER, "reveal", SLOT, 600, PRICE // 2, SALT)
    assert stage.refused(STRANGER, "release", SLOT, Side.BID, [1]) == f"NothingToRelease({SLOT}, 0, 1)"
    stage.ledger.time_s = BOOK_UNTIL
    assert stage.refused(STRANGER, "clear", SLOT, [1], [1], 0, 0) == "ClearingIncomplete(0, 1, 0)"
    assert stage.clear().asks == (1,)
    (told,) = stage.ok(STRANGER, "release", SLOT, Side.BID, [1])
    assert told.arguments["forfeitWei"] == WATT // 10
    assert (stage.account(BUYER), stage.account(TREASURY)) == (WATT - WATT // 10, WATT // 10)
    stage.release_all()
    assert stage.account(SELLER) == WATT
    assert stage.balance() == 2 * WATT


def test_nothing_is_kept_where_nobody_could_be_paid() -> None:
    stage = AuctionStage(SEALED, treasury=bytes(20))
    stage.seal(BUYER, Side.BID, 1_000, PRICE, WATT)
    stage.ledger.time_s = BOOK_UNTIL
    stage.ok(STRANGER, "release", SLOT, Side.BID, [1])
    assert stage.account(BUYER) == WATT == stage.balance()
