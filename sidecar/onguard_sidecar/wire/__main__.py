"""``python -m onguard_sidecar.wire [drain]``."""

import os
import sys

from onguard_sidecar.wire.server import main

raise SystemExit(main(sys.argv[1:], os.environ))
