"""``python -m onguard_sidecar.analyst``."""

import asyncio
import logging
import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy: each thread costs memory, and we use one

from onguard_sidecar.analyst.service import main
from onguard_sidecar.analyst.settings import Settings

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
asyncio.run(main(Settings.from_env(os.environ)))
