"""The operator and the gate: two processes, one image."""
