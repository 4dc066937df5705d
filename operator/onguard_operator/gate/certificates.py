"""The webhook's certificate: the mounted files, taken up again when they change."""

import logging
import ssl
from pathlib import Path
from typing import Final

from cryptography import x509

FILE_CERTIFICATE: Final = "tls.crt"
FILE_KEY: Final = "tls.key"
RELOAD_S: Final = 10.0
_log = logging.getLogger(__name__)


class Certificate:
    """
    A TLS context whose certificate can be replaced while it serves.

    Open connections keep the old certificate; each new handshake takes the one that was loaded last.
    """

    def __init__(self, folder: Path) -> None:
        self._files = (folder / FILE_CERTIFICATE, folder / FILE_KEY)
        self._loaded = b""
        self.expires_at_s = 0.0
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2

    def load(self) -> bool:
        """
        Take up the files if they changed; say whether a new certificate is in force.

        Raises:
            OSError: if the files can't be read (also ``ssl.SSLError``: certificate and key do not fit).
            ValueError: if the certificate can't be parsed.
        """
        certificate, key = (path.read_bytes() for path in self._files)
        if certificate + key == self._loaded:
            return False
        expires_at_s = x509.load_pem_x509_certificate(certificate).not_valid_after_utc.timestamp()
        self.context.load_cert_chain(*self._files)
        self._loaded, self.expires_at_s = certificate + key, expires_at_s
        return True

    def reload(self) -> None:
        """Take up the files if they changed; keep the old certificate if they can't be used."""
        try:
            if self.load():
                _log.info("a new webhook certificate is in force")
        except (OSError, ValueError) as error:
            _log.warning("the new webhook certificate can't be used, the old one stays: %s", error)
