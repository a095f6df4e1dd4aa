"""A clock that can be turned."""

import subprocess

from conftest import BINARY


def test_advancing_outlives_a_restart(private_server):
    tidemill = lambda *arguments: subprocess.run([BINARY, "--endpoint", private_server.endpoint, *arguments], capture_output=True, text=True, timeout=20, check=True).stdout
    assert "2h 00m" in tidemill("clock", "advance", "2h")
    private_server.stop()
    private_server.start()
    assert "2h 00m" in tidemill("clock", "show")
