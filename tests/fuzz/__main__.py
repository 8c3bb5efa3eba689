"""`python -m tests.fuzz`: 100,000 inputs from a fixed seed, and what became of them."""

from __future__ import annotations

import argparse
import logging
import sys
import time

from tests.fuzz.campaign import Campaign


def main() -> int:
    """Prints counts; a failed property ends the run with a traceback and the smallest input that was found."""
    options = argparse.ArgumentParser(prog="python -m tests.fuzz")
    options.add_argument("--inputs", type=int, default=100_000)
    options.add_argument("--seed", type=int, default=1)
    chosen = options.parse_args()
    logging.disable(logging.CRITICAL)
    campaign = Campaign(chosen.inputs, chosen.seed)
    began = time.perf_counter()
    tally = campaign.run()
    took_s = time.perf_counter() - began
    for outcome, count in sorted(tally.outcomes.items()):
        print(f"{count:8}  {outcome}")
    for part, count in tally.inputs.items():
        print(f"{count:8}  inputs to {part} in {campaign.took_s[part]:.1f} s")
    print(f"{tally.inputs.total():8}  inputs in {took_s:.1f} s, seed {chosen.seed}: no failure")
    return 0


if __name__ == "__main__":
    sys.exit(main())
