"""The sidecar: the wire passes and copies traffic, the analyst counts the copies."""
