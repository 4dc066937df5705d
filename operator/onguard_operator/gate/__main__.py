"""Entry point: ``python3 -m onguard_operator.gate``."""

import asyncio
import logging
import os

from onguard_operator.gate import server, settings

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
asyncio.run(server.run(settings.from_env(os.environ)))
