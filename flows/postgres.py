"""A PostgreSQL server on loopback, for `losda up`: its files, its process, whether it answers.

It refuses to run as root; then it is the user `postgres`, or `nobody`, who owns the files.
"""

import asyncio
import os
import pwd
import shutil
import subprocess
from pathlib import Path
from signal import SIGINT

from flows.supervisor import Service, plain_environment

__all__ = ["DATABASE", "find_postgres", "postgres"]

HOST = "127.0.0.1"
DATABASE = "postgres"
"""The database that every new server has."""


def postgres(folder: Path, port: int, user: str, password: str) -> Service:
    """Return the server, its files made if there are none.

    Args:
        folder: Its files.
        port: Where it listens.
        user: The database's user.
        password: Of that user.

    Raises:
        OSError: The files could not be made.
    """
    owner = _owner()
    if not (folder / "PG_VERSION").exists():
        _make(folder, owner, user, password)
    flags = ("-h", HOST, "-p", str(port), "-c", "unix_socket_directories=")
    command = (find_postgres("postgres"), "-D", str(folder), *flags)

    def is_ready() -> bool:
        return _answers(port, user, password)

    return Service("postgres", command, plain_environment(), is_ready, SIGINT, owner)


def find_postgres(name: str) -> str:
    """Return the path of a PostgreSQL program: on the PATH, or where Debian has it.

    Raises:
        ValueError: It is not there.
    """
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = shutil.which(name) or (str(debian[-1]) if debian else None)
    if found is None:
        raise ValueError(
            f"no PostgreSQL: {name} is not on the PATH; allowed: install postgresql, "
            "or --database sqlite"
        )
    return found


def _make(folder: Path, owner: str | None, user: str, password: str) -> None:
    folder.mkdir(exist_ok=True, mode=0o700)
    file = folder.with_name("postgres.password")
    file.touch(0o600)
    file.write_text(password)
    if owner is not None:
        shutil.chown(folder, owner)
        shutil.chown(file, owner)
    command = (
        *(find_postgres("initdb"), "-D", str(folder), "--username", user),
        *("--auth", "scram-sha-256", "--pwfile", str(file)),
        *("--encoding", "UTF8", "--locale", "C", "--no-instructions"),
    )
    try:
        made = subprocess.run(
            command,
            check=False,
            user=owner,
            env=plain_environment(),
            cwd="/",
            capture_output=True,
            text=True,
        )
    finally:
        file.unlink()
    if made.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        lines = (made.stderr.strip() or made.stdout.strip()).splitlines()
        raise OSError(f"initdb could not make {folder}: {lines[-1] if lines else ''}")


def _answers(port: int, user: str, password: str) -> bool:
    import asyncpg

    async def connect() -> None:
        connection = await asyncpg.connect(
            host=HOST, port=port, user=user, password=password, database=DATABASE, timeout=5
        )
        await connection.close()

    try:
        asyncio.run(connect())
    except (OSError, TimeoutError, asyncpg.PostgresError):
        return False
    return True


def _owner() -> str | None:
    """Return who the database runs as: PostgreSQL refuses root."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise OSError("PostgreSQL refuses to run as root, and there is no user postgres or nobody")
