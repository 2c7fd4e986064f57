"""`wattchain bench mining` from beginning to end: calibrate, measure each number of peers, one after another."""

import os
from pathlib import Path

from node.bench.calibration import Calibration, calibrate
from node.bench.intervals import exponential_precision
from node.bench.plan import PAPER_REFERENCE_PEERS, MiningPlan, calibrated_difficulty
from node.bench.report import Results
from node.bench.run import run_peers
from node.bench.screen import Screen
from primitives.errors import UserError

BUSY_SHARE = 0.6
"""Of all cores: where mining alone takes more, nodes wait for one another and the machine is measured instead."""
SHORTFALL = 0.9
"""Of the set hash rate: a machine that reaches less is told so."""
UNDISTURBED_PERCENT = 80
"""Of a core: what an unthrottled miner gets on a machine that does little else; mining has the lowest priority."""
QBFT_DIFFICULTY = 1


async def measure(plan: MiningPlan, folder: Path, screen: Screen) -> Results:
    """Run everything, with the nodes' files below the folder. Raises UserError."""
    screen.say(announcement(plan))
    calibration: Calibration | None = None
    difficulty = QBFT_DIFFICULTY
    if plan.is_mined:
        screen.show("calibrating", 0, 1)
        calibration = await calibrate(plan.hash_rate)
        difficulty = calibrated_difficulty(plan, calibration.hash_rate)
        for line in calibration_lines(plan, calibration, difficulty):
            screen.say(line)
    runs = []
    for peers in plan.peers:
        name = "1 peer" if peers == 1 else f"{peers} peers"

        def show(phase: str, done: int, total: int, name: str = name) -> None:
            screen.show(f"{name}: {phase}", done, total)

        run = await run_peers(plan, peers, difficulty, folder / f"{peers}-peers", show)
        seconds = run.chain.block_time(plan.is_mined).mean * plan.scale
        screen.say(f"{name}: {seconds:.2f} s a block, {run.chain.stale} stale")
        runs.append(run)
    return Results(plan, calibration, tuple(runs))


def announcement(plan: MiningPlan) -> str:
    """What is going to be done, how long it takes and how exact it will be."""
    networks = ", ".join(map(str, plan.peers))
    text = f"Measures {plan.blocks} blocks for each number of peers ({networks}); takes about {duration(plan)}"
    if plan.scale == 1:
        text += " (a tenth with --scale 10)"
    if plan.is_mined:
        text += f". Means of {plan.blocks} blocks are exact to {exponential_precision(plan.blocks):.0%}"
    return text + "."


def duration(plan: MiningPlan) -> str:
    """As in "6 minutes"."""
    minutes = plan.duration_s() / 60
    return f"{minutes:.0f} minutes" if minutes >= 2 else f"{60 * minutes:.0f} seconds"


def calibration_lines(plan: MiningPlan, calibration: Calibration, difficulty: int) -> list[str]:
    """What was found, and what to beware of on this machine."""
    lines = [
        f"A peer tries {calibration.hash_rate:,.0f} hashes a second with {calibration.cpu_percent:.1f} % of a core; "
        f"with the difficulty {difficulty:,} {PAPER_REFERENCE_PEERS} peers make a block every {plan.reference_s:g} s."
    ]
    if plan.hash_rate and calibration.hash_rate < SHORTFALL * plan.hash_rate:
        lines.append(f"This machine does not reach the {plan.hash_rate:,} hashes a second that were asked for.")
    cores = os.cpu_count() or 1
    most = max(plan.peers)
    if plan.hash_rate and most * calibration.cpu_percent > 100 * cores * BUSY_SHARE:
        lines.append(
            f"{most} peers take most of this machine's {cores} cores with mining alone: nodes will wait for one "
            "another. A lower --hash-rate avoids that."
        )
    if not plan.hash_rate and cores >= PAPER_REFERENCE_PEERS and calibration.cpu_percent < UNDISTURBED_PERCENT:
        lines.append(
            f"The miners got {calibration.cpu_percent:.0f} % of a core each: something else uses this machine, and "
            "what unthrottled miners reach will change with it."
        )
    if not plan.hash_rate and most > cores:
        lines.append(f"Unthrottled, {most} peers share {cores} cores: more peers do not mean more hashes.")
    return lines


def prepare_output(folder: Path) -> None:
    """Make the folder of the results, before anything is measured. Raises UserError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"The folder {folder} cannot be made: {error.strerror}.") from error
    if not os.access(folder, os.W_OK):
        raise UserError(f"The folder {folder} cannot be written to.")
