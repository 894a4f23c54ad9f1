"""The former place of ``Server`` (then ``Peer``), kept for scripts that import it from here."""

from lmflow.models.transport.responses import Server as Peer

__all__ = ["Peer"]
