"""Object storage: how s3:// and gs:// addresses are reached, and what is said when they are not.

The S3 client reads both: Google Cloud Storage answers it at https://storage.googleapis.com, public
buckets without credentials. gs:// is for reading data only. Endpoint and credentials come from the
environment: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL or FSSPEC_S3_ENDPOINT_URL with AWS_ACCESS_KEY_ID
and AWS_SECRET_ACCESS_KEY; GS_ENDPOINT_URL with GS_ACCESS_KEY_ID and GS_SECRET_ACCESS_KEY.

The client tries again where that can help (no connection, no answer within LOSDA_S3_TIMEOUT
seconds, an answer that breaks off, a server that asks for patience), TRIES times with growing
pauses. What is then still wrong becomes one line: a ValueError where the input is (credentials,
bucket), a TimeoutError or ConnectionError where the network is.

References:
    | Google (2024), Interoperability with other storage providers,
    | https://cloud.google.com/storage/docs/interoperability
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

__all__ = ["client_address", "explained", "gs_options", "remote_options", "s3_options"]

TIMEOUT = 60.0
TRIES = 5
GOOGLE = "https://storage.googleapis.com"
ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "FSSPEC_S3_ENDPOINT_URL")


def timeout() -> float:
    """Return how long to wait for an answer [s]."""
    text = os.environ.get("LOSDA_S3_TIMEOUT", str(TIMEOUT))
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 3600:
        raise ValueError(f"LOSDA_S3_TIMEOUT: {text!r}; allowed: 0 to 3600 seconds")
    return seconds


def _network() -> dict[str, object]:
    # One try of the inner client: its own retries times those of s3fs would wait for 25 timeouts.
    limits = {"connect_timeout": min(10.0, timeout()), "read_timeout": timeout()}
    return {"config_kwargs": {**limits, "retries": {"max_attempts": 0}}}


def s3_options() -> dict[str, object]:
    """Return the storage options of every S3 access, from the environment."""
    endpoint = next((os.environ[name] for name in ENDPOINTS if os.environ.get(name)), None)
    return {"endpoint_url": endpoint, "use_listings_cache": False, **_network()}


def gs_options() -> dict[str, object]:
    """Return the storage options of every access to Google Cloud Storage."""
    key, secret = (os.environ.get(f"GS_{name}") for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"))
    account = {"key": key, "secret": secret} if key and secret else {"anon": True}
    endpoint = os.environ.get("GS_ENDPOINT_URL") or GOOGLE
    return {"endpoint_url": endpoint, "use_listings_cache": False, **account, **_network()}


def remote_options(address: str) -> dict[str, object]:
    """Return the storage options for an address on S3 or Google Cloud Storage."""
    return gs_options() if address.startswith("gs://") else s3_options()


def client_address(address: str) -> str:
    """Return the address as the S3 client takes it."""
    return "s3://" + address.removeprefix("gs://") if address.startswith("gs://") else address


@contextmanager
def explained(address: object) -> Iterator[None]:
    """Turn what the client raises at an address into one line; a missing file stays one.

    What is raised at a local address stays as it is.

    Raises:
        ValueError: There are no credentials, or they are refused.
        TimeoutError: No answer came in time, at any try.
        ConnectionError: There is no connection.
    """
    try:
        yield
    except PermissionError as error:
        if "://" not in str(address):
            raise
        raise ValueError(f"{address}: {_refused(str(address))} ({_reason(error)})") from None
    except Exception as error:
        found = _explanation(str(address), error)
        if found is None:
            raise
        raise found from None


def _explanation(address: str, error: BaseException) -> Exception | None:
    from botocore import exceptions as boto

    if isinstance(error, (boto.NoCredentialsError, boto.PartialCredentialsError)):
        return ValueError(f"{address}: no credentials; set {_names(address)}")
    if isinstance(error, (boto.ReadTimeoutError, boto.ConnectTimeoutError)):
        return TimeoutError(
            f"{address}: no answer within {timeout():g} s (LOSDA_S3_TIMEOUT), tried {TRIES} times"
        )
    if isinstance(error, (boto.HTTPClientError, boto.ConnectionError)):
        return ConnectionError(f"{address}: no connection, tried {TRIES} times ({_reason(error)})")
    if isinstance(error, boto.BotoCoreError):
        return ValueError(f"{address}: {_reason(error)}")
    return None


def _names(address: str) -> str:
    prefix = "GS" if address.startswith("gs://") else "AWS"
    return f"{prefix}_ACCESS_KEY_ID and {prefix}_SECRET_ACCESS_KEY"


def _refused(address: str) -> str:
    environment: Mapping[str, str] = os.environ
    name = _names(address).split(" ")[0]
    who = (
        f"the credentials of {name}" if environment.get(name) else "a request without credentials"
    )
    return f"{who} were refused; set {_names(address)} to those of an account that may"


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
