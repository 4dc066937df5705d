"""``python -m onguard_sidecar.wire [drain]``."""

import os
import sys

from onguard_sidecar.core_dumps import forbid_core_dumps
from onguard_sidecar.wire.server import main

forbid_core_dumps()
raise SystemExit(main(sys.argv[1:], os.environ))
