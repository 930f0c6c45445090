"""Make docker/.env with new passwords, mode 0600; what is there is never changed.

python docker/passwords.py
"""

import os
import secrets
import sys
from pathlib import Path

NAMES = (
    *("PREFECT_PASSWORD", "POSTGRES_PASSWORD"),
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
)


def main() -> int:
    """Write the file; 2 if it is there."""
    path = Path(__file__).resolve().with_name(".env")
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        sys.stderr.write(f"{path} is there; allowed: remove it first, with the volumes\n")
        return 2
    with os.fdopen(descriptor, "w") as file:
        file.write("".join(f"{name}={secrets.token_urlsafe(24)}\n" for name in NAMES))
    sys.stdout.write(f"{path}: the Prefect page asks for losda:PREFECT_PASSWORD\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
