"""Ports of loopback that nobody listens on."""

import socket

__all__ = ["HOST", "free_ports", "is_free"]

HOST = "127.0.0.1"
WEED_TWIN = 10_000
"""SeaweedFS opens a twin this far above each port."""


def free_ports(names: tuple[str, ...]) -> dict[str, int]:
    """Return a free port for each name, with its twin free too."""
    found: dict[str, int] = {}
    for name in names:
        while name not in found:
            with socket.socket() as probe:
                probe.bind((HOST, 0))
                port = 20_000 + probe.getsockname()[1] % 12_000
            if port not in found.values() and is_free(port) and is_free(port + WEED_TWIN):
                found[name] = port
    return found


def is_free(port: int) -> bool:
    """Return whether nobody listens on a port."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) != 0
