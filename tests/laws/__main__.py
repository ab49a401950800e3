"""`python -m tests.laws --minutes 30 --seed 7`: stories without end; the first that breaks a law is shown, made short."""

import argparse
import logging
import pprint
import random
import sys
import time
from collections import Counter

from .stories import shortened, told

parser = argparse.ArgumentParser(prog="laws", description=__doc__)
parser.add_argument("--minutes", type=float, default=1)
parser.add_argument("--seed", default=None, help="drawn and printed where none is given")
parser.add_argument("--length", type=int, default=40, help="steps of a story")
parser.add_argument("--keep-going", action="store_true", help="show the first story of every law that breaks")
parser.add_argument("--whole", action="store_true", help="show the story as it was drawn")
logging.disable()  # stories set their clocks back, which is told of
asked = parser.parse_args()
seed = asked.seed or str(random.randrange(10**6))
print(f"laws, seed {seed}")
until, number, found = time.monotonic() + 60 * asked.minutes, 0, Counter()
while time.monotonic() < until:
    story, what = told(f"{seed}-{number}", asked.length)
    number += 1
    if what is None:
        continue
    law = what.splitlines()[0]
    found[law] += 1
    if found[law] > 1:
        continue
    print(f"BROKEN by story {story.seed}: {what[:3000]}")
    short = story if asked.whole else shortened(story, what)
    pprint.pprint({name: part for name, part in short.document.items() if name not in {"features", "credits"}}, width=120)
    print(*short.steps, sep="\n", flush=True)
    if not asked.keep_going:
        break
print(f"{number} stories; {dict(found) or 'no law broke'}")
sys.exit(1 if found else 0)
