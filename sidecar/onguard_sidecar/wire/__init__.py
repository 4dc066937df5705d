"""The data path: bytes pass untouched, copies are framed, counted and handed over."""
