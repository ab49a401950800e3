"""`python -m tests.laws --minutes 30 --seed 7`: stories without end; the first that breaks a law is shown, made short.

With `--crowd` each story is of several customers, on memory, SQLite and PostgreSQL, blocking and awaited.
"""

import argparse
import logging
import pprint
import random
import sys
import time
from collections import Counter
from contextlib import ExitStack

from entitlements.testing.serving import postgres_server

from . import crowds, stories

parser = argparse.ArgumentParser(prog="laws", description=__doc__.partition("\n")[0])
parser.add_argument("--minutes", type=float, default=1)
parser.add_argument("--seed", default=None, help="drawn and printed where none is given")
parser.add_argument("--length", type=int, default=40, help="steps of a story")
parser.add_argument("--keep-going", action="store_true", help="show the first story of every law that breaks")
parser.add_argument("--crowd", action="store_true", help="stories of several customers, on every kind of storage")
parser.add_argument("--whole", action="store_true", help="show the story as it was drawn")
logging.disable()  # stories set their clocks back, which is told of
asked = parser.parse_args()
seed = asked.seed or str(random.randrange(10**6))
print(f"laws, seed {seed}")
closing = ExitStack()
if asked.crowd:
    addresses = closing.enter_context(crowds.emptied(closing.enter_context(postgres_server())))
until, number, found = time.monotonic() + 60 * asked.minutes, 0, Counter()
while time.monotonic() < until:
    name = f"{seed}-{number}"
    story, what = crowds.told(name, asked.length, addresses) if asked.crowd else stories.told(name, asked.length)
    number += 1
    if what is None:
        continue
    law = what.splitlines()[0]
    found[law] += 1
    if found[law] > 1:
        continue
    print(f"BROKEN by story {story.seed}: {what[:3000]}")
    short = story
    if not asked.whole:
        short = crowds.shortened(story, what, addresses) if asked.crowd else stories.shortened(story, what)
    pprint.pprint({name: part for name, part in short.document.items() if name not in {"features", "credits"}}, width=120)
    print(*short.steps, sep="\n", flush=True)
    if not asked.keep_going:
        break
closing.close()
print(f"{number} stories; {dict(found) or 'no law broke'}")
sys.exit(1 if found else 0)
