"""What `wattchain agent` shows: plan, status and comparison, as text and as JSON."""

from collections.abc import Sequence

from contracts.roles import Role
from meter.agent.action import Action, Decision, Prove, Seal, forecast_text
from meter.agent.backtest import Backtest, Errors
from meter.agent.forecast import Forecast, TooLittleHistory, forecast
from meter.agent.history import DAY_HOURS, DAY_S, HOUR_S, Direction
from meter.agent.journal import Sent, Told
from meter.agent.limits import Budget, Limits
from meter.agent.situation import Situation
from primitives.hexadecimal import to_checksum_address, to_data
from wallet.amounts import format_amount
from wallet.quantities import counted, format_day, format_energy, format_time
from wallet.registry import ROLE_WORDS

DIRECTION_WORDS = {Direction.TAKEN: "taken", Direction.GIVEN: "given"}


def tomorrow(situation: Situation, limits: Limits) -> dict[Direction, tuple[Forecast, list[Forecast]]]:
    """The next local day and its hours, of both directions; empty where the history is too short."""
    begin_s = situation.day_begin_s + DAY_S
    found = {}
    try:
        for direction in Direction:
            whole, *hours = [
                forecast(situation.history, direction, from_s, until_s, limits.least_days)
                for from_s, until_s in [
                    (begin_s, begin_s + DAY_S),
                    *[(begin_s + hour * HOUR_S, begin_s + (hour + 1) * HOUR_S) for hour in range(DAY_HOURS)],
                ]
            ]
            found[direction] = whole, hours
    except TooLittleHistory:
        return {}
    return found


def plan_text(situation: Situation, limits: Limits, decisions: Sequence[Decision]) -> str:
    told = tomorrow(situation, limits)
    lines = [f"As {ROLE_WORDS[situation.role]}, at {format_time(situation.time_s, situation.zone_s)}."]
    if not told:
        have = counted(situation.history.day_count, "day")
        lines.append(f"No forecast: the ledger has {have} of the meter; agent.least_days wants {limits.least_days}.")
    for direction, (whole, hours) in told.items():
        lines.append(f"{format_day(situation.day + 1)}, {DIRECTION_WORDS[direction]}: {forecast_text(whole)}.")
        lines += [
            f"  {number:02}:00  {format_energy(one.likely_wh):>11}  ({format_energy(one.low_wh)} to "
            f"{format_energy(one.high_wh)})"
            for number, one in enumerate(hours)
            if one.high_wh
        ]
    lines.append("It would now:")
    lines += [f"  {'DO' if one.action else '--'}  {one.text}" for one in decisions] or ["  have nothing to do."]
    return "\n".join(lines)


def plan_json(situation: Situation, limits: Limits, decisions: Sequence[Decision]) -> dict[str, object]:
    told = tomorrow(situation, limits)
    return {
        "account": to_checksum_address(situation.account),
        "role": situation.role.name.lower(),
        "time": situation.time_s,
        "forecast": {
            DIRECTION_WORDS[direction]: {
                "date": format_day(situation.day + 1),
                "day": _forecast_json(whole),
                "hours": [_forecast_json(one) for one in hours],
            }
            for direction, (whole, hours) in told.items()
        },
        "decisions": [_decision_json(one) for one in decisions],
    }


def status_text(
    account: bytes,
    dry_run: bool,
    situation: Situation | None,
    budget: Budget | None,
    trouble: str,
    decisions: Sequence[Told],
    sent: Sequence[Sent],
) -> str:
    role = "" if situation is None else f", {ROLE_WORDS[situation.role]}"
    lines = [f"Account  {to_checksum_address(account)}{role}{', on trial: nothing is sent' if dry_run else ''}"]
    if situation is None or budget is None:
        lines.append(f"Ledger   not to be asked: {trouble}")
    else:
        left = f"{format_energy(budget.energy_wh)} and {format_amount(budget.spend_wei)}"
        lines.append(f"Left     {left} of the limits of 24 hours")
        for name, view in (("Market ", situation.market), ("Auction", situation.auction)):
            if view is not None:
                lines.append(f"{name}  {format_amount(view.account_wei)} on the account there")
    lines += [f"Sent     {format_time(one.time_s)}  {one.text}: {one.state}{_note(one)}" for one in sent]
    lines += [f"Decided  {format_time(one.time_s)}  {one.text}" for one in decisions]
    return "\n".join(lines)


def status_json(
    account: bytes,
    dry_run: bool,
    situation: Situation | None,
    budget: Budget | None,
    trouble: str,
    decisions: Sequence[Told],
    sent: Sequence[Sent],
) -> dict[str, object]:
    there = situation is not None and budget is not None
    return {
        "account": to_checksum_address(account),
        "dry_run": dry_run,
        "role": (situation.role if situation is not None else Role.NONE).name.lower() if there else None,
        "trouble": trouble or None,
        "energy_left_wh": budget.energy_wh if budget is not None else None,
        "spend_left_wei": str(budget.spend_wei) if budget is not None else None,
        "decisions": [{"time": one.time_s, "code": one.code, "text": one.text} for one in decisions],
        "sent": [
            {
                "time": one.time_s,
                "text": one.text,
                "transaction": to_data(one.hash),
                "spend_wei": str(one.spend_wei),
                "state": one.state,
                "note": one.note or None,
            }
            for one in sent
        ],
    }


def backtest_text(found: Backtest) -> str:
    lines = [
        f"Energy {DIRECTION_WORDS[found.direction]}: {counted(found.days, 'day')}, {format_energy(found.energy_wh)}. "
        f"Less than the lower end came on {_share(found.below_low, found.days)} of the days, more than the upper end "
        f"on {_share(found.above_high, found.days)}."
    ]
    rows = (("forecast", found.ours), ("as yesterday", found.yesterday), ("as a week ago", found.week_ago))
    lines += [
        f"  {name:<14} {_percent(one.by_hour_permille):>8} off by the hour{_percent(one.by_day_permille):>9} by the day"
        for name, one in rows
    ]
    return "\n".join(lines)


def backtest_json(found: Backtest) -> dict[str, object]:
    def errors(one: Errors) -> dict[str, int]:
        return {"by_hour_permille": one.by_hour_permille, "by_day_permille": one.by_day_permille}

    return {
        "direction": DIRECTION_WORDS[found.direction],
        "days": found.days,
        "energy_wh": found.energy_wh,
        "forecast": errors(found.ours),
        "yesterday": errors(found.yesterday),
        "week_ago": errors(found.week_ago),
        "days_below_low": found.below_low,
        "days_above_high": found.above_high,
    }


def _forecast_json(one: Forecast) -> dict[str, int]:
    return {"low_wh": one.low_wh, "likely_wh": one.likely_wh, "high_wh": one.high_wh, "days": one.days}


def _decision_json(one: Decision) -> dict[str, object]:
    return {"code": one.code, "text": one.text, "action": None if one.action is None else _action_json(one.action)}


def _action_json(action: Action) -> dict[str, object]:
    call = action.call
    if isinstance(call, Prove):
        function, value_wei = "proveRegisters", 0
    elif isinstance(call, Seal):
        function, value_wei = "sealOrder", call.deposit_wei
    else:
        function, value_wei = call.function, call.value_wei
    return {"function": function, "value_wei": str(value_wei)}


def _note(one: Sent) -> str:
    return f" ({one.note})" if one.note else ""


def _percent(permille: int) -> str:
    return f"{permille // 10}.{permille % 10} %"


def _share(part: int, whole: int) -> str:
    return _percent(part * 1_000 // max(whole, 1))
