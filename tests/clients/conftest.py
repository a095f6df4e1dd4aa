"""Starts the binary and hands out real clients. Every server is this run's own and ends with it."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import uuid

import boto3
import pytest
from botocore.config import Config

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("TIDEMILL_BIN", str(ROOT / "target" / "release" / "tidemill"))
TRUST = json.dumps({
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
})


class Server:
    """A running platform on a port of its own."""

    def __init__(self, data, *options, listen="127.0.0.1:0"):
        self.data, self.options, self.listen = str(data), options, listen
        self.process = self.endpoint = None

    def start(self):
        command = [BINARY, "serve", "--listen", self.listen, "--data", self.data, *self.options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        assert "Ready." in line, f"the platform did not start: {line!r}"
        self.endpoint = line.split()[-1]
        # A restart listens where the first start did, as clients expect.
        self.listen = self.endpoint.removeprefix("http://")
        return self

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)

    def client(self, service, key="test", secret="test"):
        retries = Config(retries={"max_attempts": 0}, connect_timeout=5, read_timeout=30)
        return boto3.client(service, endpoint_url=self.endpoint, region_name="us-east-1",
                            aws_access_key_id=key, aws_secret_access_key=secret, config=retries)

    def cli(self, *arguments):
        """The AWS CLI against this server; gives its output as text."""
        environment = {**os.environ, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
                       "AWS_DEFAULT_REGION": "us-east-1", "AWS_PAGER": "", "AWS_ENDPOINT_URL": self.endpoint}
        aws = pathlib.Path(sys.executable).with_name("aws")
        command = [str(aws) if aws.exists() else shutil.which("aws"), "--endpoint-url", self.endpoint, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("data") / "store").start()
    yield server
    server.stop()


@pytest.fixture
def private_server(tmp_path):
    server = Server(tmp_path / "store").start()
    yield server
    server.stop()


@pytest.fixture
def name():
    """A name nobody else in this run has."""
    return "t" + uuid.uuid4().hex[:12]


@pytest.fixture
def eventually():
    """Asks again until the answer is there, for a bounded time."""

    def ask(question, seconds=20):
        until = time.monotonic() + seconds
        while True:
            answer = question()
            if answer:
                return answer
            assert time.monotonic() < until, "it did not happen in time"
            time.sleep(0.01)

    return ask
