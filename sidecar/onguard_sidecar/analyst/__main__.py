"""``python -m onguard_sidecar.analyst``."""

import sys

from onguard_sidecar.analyst.entry import start

sys.exit(start(sys.argv[1:]))
