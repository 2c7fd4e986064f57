"""Thousands of seeded runs: `python -m tests.chain.qbft --seeds 10000`; a failing seed prints what repeats it."""

import argparse
import sys
import time

from tests.chain.qbft.scenario import Result, run
from tests.chain.qbft.variants import VARIANTS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1_000, help="how many seeds to run")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--size", type=int, help="number of validators (default: what the seed says)")
    parser.add_argument("--variant", choices=sorted(VARIANTS), default="whole", help="what is taken away")
    arguments = parser.parse_args()
    size = f" --size {arguments.size}" if arguments.size else ""
    began_s, results, failed = time.monotonic(), list[Result](), 0
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        try:
            results.append(run(seed, arguments.size, VARIANTS[arguments.variant]))
        except Exception as error:  # noqa: BLE001 - whatever a seed brings to light, the others are run too
            failed += 1
            print(f"seed {seed}: {error!r}")
            print(f"  python -m tests.chain.qbft --first {seed} --seeds 1 --variant {arguments.variant}{size}")
    print(f"{len(results)} seeds passed, {failed} failed, in {time.monotonic() - began_s:.1f} s")
    if results:
        worst = max(results, key=lambda result: result.recovery_ms / result.bound_ms)
        print(
            f"{sum(result.height for result in results)} blocks, {sum(result.packets for result in results)} packets; "
            f"slowest recovery {worst.recovery_ms} ms of {worst.bound_ms} ms allowed"
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
