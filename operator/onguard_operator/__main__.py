"""Run the operator: ``python -m onguard_operator``."""

import kopf

from onguard_operator import handlers

kopf.configure(verbose=False)
kopf.run(standalone=True, clusterwide=True, registry=kopf.get_default_registry(), liveness_endpoint=None)

__all__ = ["handlers"]
