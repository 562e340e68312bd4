"""Network addresses as they may be shown."""

from urllib.parse import urlsplit, urlunsplit


def without_secrets(url: str) -> str:
    """Return a stream's address without user, password and query, fit for logs and messages."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
