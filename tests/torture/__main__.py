"""`make torture`: work and faults for some minutes, judged; exit 0 valid, 1 an anomaly."""

import argparse
import random
import sys
from pathlib import Path

from . import campaign
from .checker import Anomaly

parser = argparse.ArgumentParser(prog="torture", description=__doc__)
parser.add_argument("--minutes", type=float, default=1)
parser.add_argument("--storage", choices=("sqlite", "postgres"), default="sqlite")
parser.add_argument("--seed", default=None, help="drawn and printed where none is given")
parser.add_argument("--canary", default=None, help="a known bug to put into the storage")
parser.add_argument("--judge", type=Path, default=None, help="judge the histories of a round again")
told = parser.parse_args()
if told.judge:
    try:
        print(campaign.judged(told.judge))
    except Anomaly as anomaly:
        campaign.report(anomaly, told.judge, "given")
        sys.exit(1)
    sys.exit(0)
campaign.signals_end_it()
sys.exit(campaign.run(told.minutes, told.storage, told.seed or str(random.randrange(10**6)), told.canary))
