"""What `wattchain market` shows: adverts, trades and accounts as text and as JSON, and what came of a transaction."""

from collections.abc import Sequence

from contracts.market import PRICE_STEP_S
from primitives.hexadecimal import to_checksum_address
from wallet.amounts import format_amount
from wallet.contract_call import ContractEvent, the_event
from wallet.contract_commands import Outcome
from wallet.market import Advert, Offers, Standing, Trade, percent
from wallet.quantities import format_energy, format_price, format_time


def meter_outcome(events: Sequence[ContractEvent], sender: bytes) -> Outcome:
    chosen = the_event(events, "MeterChosen", participant=sender).values["meter"]
    return Outcome({"meter": to_checksum_address(chosen)}, f"You trade with the meter {to_checksum_address(chosen)}.")


def advert_outcome(events: Sequence[ContractEvent], sender: bytes) -> Outcome:
    values = the_event(events, "EnergyAdvertised", producer=sender).values
    text = f"Offered until {format_time(values['until'])}. The advert is named by its time: {_name(values['time'])}."
    return Outcome({"advert_time": values["time"], "until": values["until"]}, text)


def sale_outcome(events: Sequence[ContractEvent], sender: bytes) -> Outcome:
    values = the_event(events, "EnergySold", consumer=sender).values
    paid = values["shareWei"] + values["taxWei"]
    text = (
        f"Bought, as trade {values['trade']}, for {format_amount(paid)}. It is to come until "
        f"{format_time(values['deliverUntil'])}."
    )
    result = {
        "trade": values["trade"],
        "share_wei": str(values["shareWei"]),
        "tax_wei": str(values["taxWei"]),
        "deliver_until": values["deliverUntil"],
    }
    return Outcome(result, text)


def return_outcome(events: Sequence[ContractEvent]) -> Outcome:
    values = the_event(events, "EnergyReturned").values
    energy, deposit = values["energyWh"], values["depositWei"]
    text = f"{format_energy(energy)} are yours again, and {format_amount(deposit)} of deposit are on your account."
    return Outcome({"energy_wh": energy, "deposit_wei": str(deposit)}, text)


def returns_outcome(events: Sequence[ContractEvent]) -> Outcome:
    returned = [event.values["energyWh"] for event in events if event.name == "EnergyReturned"]
    text = f"{format_energy(sum(returned))} of {len(returned)} adverts went back." if returned else "Nothing was over."
    return Outcome({"adverts": len(returned), "energy_wh": sum(returned)}, text)


def delivery_outcome(events: Sequence[ContractEvent]) -> Outcome:
    """Of a delivery, of an end, or of both."""
    delivered = [event.values for event in events if event.name == "EnergyDelivered"]
    settled = [event.values for event in events if event.name == "TradeSettled"]
    if not delivered:
        the_event(events, "TradeSettled")
    came = sum(values["energyWh"] for values in delivered)
    paid = sum(values["shareWei"] for values in delivered)
    refund = sum(values["refundWei"] for values in settled)
    penalty = sum(values["penaltyWei"] for values in settled)
    text = f"{format_energy(came)} came; the producer has {format_amount(paid)} for it."
    if settled:
        text += " The trade is settled."
        if refund:
            text += f" {format_amount(refund)} went back to the buyer, and {format_amount(penalty)} of penalty."
    result = {
        "delivered_wh": came,
        "paid_wei": str(paid),
        "refund_wei": str(refund),
        "penalty_wei": str(penalty),
        "settled": bool(settled),
    }
    return Outcome(result, text)


def offers_text(offers: Offers) -> str:
    lines = [_offer_text(one, offers.time_s) for one in offers.adverts] or ["Nothing is offered."]
    lines.append(f"The store holds {format_energy(offers.stored_wh)} of {format_energy(offers.most_wh)}.")
    return "\n".join(lines)


def _offer_text(advert: Advert, time_s: int) -> str:
    rise = ""
    if time_s - advert.time_s < 2 * PRICE_STEP_S:
        next_s = advert.time_s + (1 + (time_s - advert.time_s) // PRICE_STEP_S) * PRICE_STEP_S
        rise = f", {format_price(advert.price_at(next_s))} from {format_time(next_s)}"
    tax = f", and {percent(advert.tax_bps)} tax" if advert.tax_bps else ""
    return (
        f"{format_energy(advert.unsold_wh)} at {format_price(advert.price_at(time_s))}{tax}{rise}\n"
        f"  by {to_checksum_address(advert.producer)}\n"
        f"  advert {_name(advert.time_s)}, until {format_time(advert.until_s)}"
    )


def offers_json(offers: Offers) -> dict[str, object]:
    adverts = [
        {
            "producer": to_checksum_address(one.producer),
            "advert_time": one.time_s,
            "until": one.until_s,
            "unsold_wh": one.unsold_wh,
            "energy_wh": one.energy_wh,
            "first_price_wei_per_wh": str(one.first_price_wei_per_wh),
            "price_wei_per_wh": str(one.price_at(offers.time_s)),
            "tax_bps": one.tax_bps,
        }
        for one in offers.adverts
    ]
    return {
        "block": offers.block_number,
        "time": offers.time_s,
        "adverts": adverts,
        "stored_wh": offers.stored_wh,
        "most_wh": offers.most_wh,
    }


def trade_text(trade: Trade) -> str:
    came = f"{format_energy(trade.delivered_wh)} of {format_energy(trade.energy_wh)} came"
    lines = [f"Trade {trade.number}: {came}, at {format_price(trade.price_wei_per_wh)}"]
    lines += [f"  from {to_checksum_address(trade.advert.producer)}", f"  to   {to_checksum_address(trade.consumer)}"]
    if trade.is_open:
        shown = f"{format_energy(trade.exported_wh or 0)} sent, {format_energy(trade.imported_wh or 0)} taken"
        lines.append(f"  to come until {format_time(trade.deliver_until_s)}; the meters show for it: {shown}")
    else:
        lines.append("  settled")
    return "\n".join(lines)


def trade_json(trade: Trade) -> dict[str, object]:
    return {
        "trade": trade.number,
        "producer": to_checksum_address(trade.advert.producer),
        "consumer": to_checksum_address(trade.consumer),
        "advert_time": trade.advert.time_s,
        "energy_wh": trade.energy_wh,
        "delivered_wh": trade.delivered_wh,
        "price_wei_per_wh": str(trade.price_wei_per_wh),
        "deliver_until": trade.deliver_until_s,
        "open": trade.is_open,
        "exported_wh": trade.exported_wh,
        "imported_wh": trade.imported_wh,
    }


def standing_text(standing: Standing) -> str:
    meter_text = to_checksum_address(standing.meter) if any(standing.meter) else "none chosen"
    lines = [f"{format_amount(standing.account_wei)} to take with `wattchain market payout`", f"Meter {meter_text}"]
    if standing.advertised_wh:
        lines.append(
            f"Advertised {format_energy(standing.advertised_wh)}: {format_energy(standing.delivered_wh)} delivered, "
            f"{format_energy(standing.returned_wh)} returned, {format_energy(standing.missing_wh)} sold but not sent"
        )
    return "\n".join(lines)


def standing_json(standing: Standing) -> dict[str, object]:
    return {
        "account_wei": str(standing.account_wei),
        "meter": to_checksum_address(standing.meter) if any(standing.meter) else None,
        "advertised_wh": standing.advertised_wh,
        "delivered_wh": standing.delivered_wh,
        "returned_wh": standing.returned_wh,
        "missing_wh": standing.missing_wh,
    }


def _name(time_s: int) -> str:
    return f"@{time_s}"
