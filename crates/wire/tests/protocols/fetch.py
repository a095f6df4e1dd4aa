"""Fetches botocore's source distribution with pip and unpacks it: fetch.py VERSION FOLDER."""

import fcntl
import pathlib
import subprocess
import sys
import tarfile

version, folder = sys.argv[1], pathlib.Path(sys.argv[2])
folder.mkdir(parents=True, exist_ok=True)
target = folder / f"botocore-{version}"
# Two tests may ask at once.
with open(folder / "lock", "w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    if not target.exists():
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        subprocess.run([*pip, "--dest", str(folder), f"botocore=={version}"], check=True)
        with tarfile.open(folder / f"botocore-{version}.tar.gz") as archive:
            parts = [m for m in archive.getmembers() if "/data/" not in m.name]
            archive.extractall(folder / "unpacking", members=parts, filter="data")
        (folder / "unpacking" / f"botocore-{version}").rename(target)
