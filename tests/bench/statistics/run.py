"""``python -m tests.bench.statistics.run [--short] [--only PHASE ...]``."""

import sys

from tests.bench.statistics import cli

sys.exit(cli.main(sys.argv[1:]))
