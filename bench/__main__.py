"""Measure what we claim, on this machine.

  ./run bench overhead                            all suites and all gateways; about a quarter of an hour
  ./run bench overhead --quick                    the same figures from few rounds, within two minutes
  ./run bench overhead --only direct,tidegate     without the others, which are installed when first asked for
  ./run bench soak --minutes 10                   mixed load: does anything grow, leak, stall or lack its row?
  ./run bench overhead --quick --json - --plot overhead.png
  ./run bench admission                           what key, limits and budget of a call cost, and what they save
  ./run bench cache --data DIR                    hits and wrong hits of the semantic cache, on labelled questions
  ./run bench cache-speed                         what a look into it costs
  ./run bench case-study [--data DIR]             the guide's case study, replayed: lever by lever
  ./run bench compression --data DIR             tokens left out of prompts, and whether the answer is still there
  ./run bench guards --data DIR                   what guards find, on labelled texts, and what looking costs
  ./run bench judges --data DIR                   which recorded judges may gate, and why others may not
  ./run bench routing --data DIR                  what routing by complexity saves, and what it costs in quality
  ./run bench sealed                              what encryption and the audit log cost
  ./run bench telemetry                           what being seen costs a call, and how long whoever looks waits
  ./run bench resilience                          long days of failing providers, replayed; minutes
  ./run bench experiments                         how often a rollout is decided wrongly, and how soon rightly
  ./run bench console [--postgres]                how long one waits at the screen, with 1,000,000 calls stored
  ./run bench batches                             how fast they are, what they cost others, and what a crash costs them
  ./run bench scale                               two workers and three machines beside one, and without a database
  ./run bench storm                               ten minutes in which everything dies, parts, fills up or jumps
  ./run bench outage                              a provider that is gone for minutes, and comes back

All traffic stays on this machine. It wants a machine that does nothing else: otherwise it says so and gives no verdict.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench import (
    admission,
    batches,
    cache,
    cache_speed,
    case_study,
    compression,
    console,
    experiments,
    guards,
    judges,
    outage,
    overhead,
    report,
    resilience,
    routing,
    scale,
    sealed,
    soak,
    storm,
    telemetry,
)
from bench.procs import Unavailable

BENCHES = {
    "overhead": overhead,
    "admission": admission,
    "resilience": resilience,
    "outage": outage,
    "batches": batches,
    "soak": soak,
    "storm": storm,
    "cache": cache,
    "cache-speed": cache_speed,
    "case-study": case_study,
    "compression": compression,
    "guards": guards,
    "judges": judges,
    "experiments": experiments,
    "routing": routing,
    "console": console,
    "scale": scale,
    "sealed": sealed,
    "telemetry": telemetry,
}


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser("bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = parser.add_subparsers(title="benches", dest="name", required=True, metavar="NAME")
    for name, bench in BENCHES.items():
        what = (bench.__doc__ or "").strip()
        one = names.add_parser(name, help=what.splitlines()[0], description=what)
        one.add_argument("--quick", action="store_true", help="fewer rounds, the same figures, within two minutes")
        one.add_argument("--json", metavar="FILE", help="write everything there; - is standard output")
        one.add_argument("--plot", metavar="FILE.png", type=Path, help="draw it")
        one.add_argument("--data", metavar="DIR", type=Path, help="the folder of the data, for benches that need any")
        one.add_argument("--seeds", metavar="N", type=int, help="how many rounds, each with random numbers of its own")
        bench.add_options(one)
    return parser.parse_args(sys.argv[1:] or ["--help"])


def main() -> int:
    options = parsed()
    bench = BENCHES[options.name]
    try:
        found = bench.run(options)
        report.hand_over(found, bench.said, options.json, options.plot)
    except Unavailable as why:
        print(f"bench: {why}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
