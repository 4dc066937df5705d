"""Bytes of one inference payload -> a Batch, or why it can't be read. Pure: no clock, no socket, no environment."""
