"""Puts real libraries into functions: JavaScript bundled with esbuild, Python packages as they were installed."""

import functools
import io
import os
import pathlib
import subprocess
import sysconfig
import zipfile

import pytest
from conftest import ROOT

SOURCES = pathlib.Path(__file__).parent
# `cargo xtask test` installs here what nodejs/package.json names.
MODULES = ROOT / "target" / "clients-nodejs" / "node_modules"
PACKAGES = pathlib.Path(sysconfig.get_path("purelib"))

needs_modules = pytest.mark.skipif(not MODULES.is_dir(), reason="nodejs/package.json is not installed: see `cargo xtask test`")


@functools.cache
def bundled(source):
    """One CommonJS script with all it needs, from a file below `nodejs/`."""
    command = [MODULES / ".bin" / "esbuild", SOURCES / "nodejs" / source, "--bundle", "--platform=node", "--target=node16",
               "--format=cjs", "--log-level=error"]
    done = subprocess.run(command, check=True, capture_output=True, env={**os.environ, "NODE_PATH": str(MODULES)}, timeout=60)
    return done.stdout


def archive(files):
    """A zip of path → content."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        for path, content in files.items():
            packed.writestr(path, content)
    return buffer.getvalue()


def python_packages(*names):
    """Path → content of installed packages, as `pip install --target` would lay them out."""
    found = {}
    for name in names:
        files = [PACKAGES / name] if name.endswith(".py") else (PACKAGES / name).rglob("*")
        for path in files:
            if path.is_file() and "__pycache__" not in path.parts:
                found[str(path.relative_to(PACKAGES))] = path.read_bytes()
    assert found, f"{names} are not installed: see requirements.txt"
    return found
