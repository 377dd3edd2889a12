"""A real PostgreSQL on this machine, on loopback, for as long as a block runs."""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path


def missing():
    """Why it cannot be started here; nothing where it can."""
    if not _tool("initdb"):
        return "no PostgreSQL: apt-get install postgresql"
    if os.getuid() == 0 and subprocess.run(["id", "postgres"], capture_output=True).returncode:
        return "PostgreSQL does not run as root, and there is no user postgres"
    return None


@contextlib.contextmanager
def database():
    """The URL of an empty database; the server is stopped and its files are removed at the end."""
    owner = "postgres" if os.getuid() == 0 else getpass.getuser()
    user = {"user": owner, "group": owner, "extra_groups": []} if os.getuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix="postgresql") as place, socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        sock.close()
        if user:
            shutil.chown(place, owner)
        quiet = {"check": True, "capture_output": True, "cwd": place, **user}
        data = str(Path(place) / "data")
        subprocess.run([_tool("initdb"), "-D", data, "-U", "test", "--auth=trust", "--no-sync"], **quiet)
        options = f"-p {port} -c listen_addresses=127.0.0.1 -k {place} -F"
        log = str(Path(place) / "log")
        subprocess.run([_tool("pg_ctl"), "-D", data, "-w", "-l", log, "-o", options, "start"], **quiet)
        try:
            yield f"postgresql://test@127.0.0.1:{port}/postgres"
        finally:
            subprocess.run([_tool("pg_ctl"), "-D", data, "-m", "immediate", "stop"], **quiet)


def _tool(name):
    places = [shutil.which(name), *sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)]
    return next(filter(None, places), None)
