"""
The gate: admission of pods and reception of alerts, in a process of its own.

It holds no watch, so that nothing here ends when the operator's process does. It is never in the way: whatever
goes wrong, a pod starts, and an alert that could not be written down is answered so that it comes again.
"""
