"""HTTP endpoints that misbehave: they are tried as often as their delivery policy says, end in their dead-letter queue,
and hold up nobody else."""

import json
import socket
import struct
import threading
import time

import pytest

PLAIN = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Rude:
    """A server that answers the confirmation of a subscription and misbehaves from then on."""

    def __init__(self, kind):
        self.kind, self.attempts, self.token, self.ends = kind, 0, None, False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/hook"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while not self.ends:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.talk, args=(connection,), daemon=True).start()

    def talk(self, connection):
        with connection:
            try:
                body = self.request(connection)
                if body is None:
                    return
                if body.get("Type") == "SubscriptionConfirmation":
                    connection.sendall(PLAIN)
                    self.token = body["Token"]
                    return
                self.attempts += 1
                getattr(self, self.kind)(connection)
            except OSError:
                pass

    @staticmethod
    def request(connection):
        read = b""
        while b"\r\n\r\n" not in read:
            more = connection.recv(65536)
            if not more:
                return None
            read += more
        head, _, body = read.partition(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
        while len(body) < length:
            body += connection.recv(65536)
        return json.loads(body)

    def well(self, connection):
        connection.sendall(PLAIN)

    def hangs(self, connection):
        while not self.ends:
            time.sleep(0.1)

    def trickles(self, connection):
        for byte in b"HTTP/1.1 200 OK\r\nx-slow: " + b"a" * 10_000:
            connection.sendall(bytes([byte]))
            time.sleep(0.3)
            if self.ends:
                return

    def resets(self, connection):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def closes(self, connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-le")

    def fails(self, connection):
        connection.sendall(b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 4\r\n\r\noops")

    def redirects(self, connection):
        # To itself: who follows would count for ever.
        connection.sendall(f"HTTP/1.1 302 Found\r\nlocation: {self.url}\r\ncontent-length: 0\r\n\r\n".encode())

    def talks_for_ever(self, connection):
        connection.sendall(b"HTTP/1.1 500 Internal Server Error\r\ntransfer-encoding: chunked\r\n\r\n")
        while not self.ends:
            connection.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")

    def lies(self, connection):
        connection.sendall(b"\x16\x03\x01 this is no HTTP\r\n\r\n")

    def close(self):
        self.ends = True
        self.listener.close()


QUICK = ["resets", "closes", "fails", "redirects", "talks_for_ever", "lies"]
SLOW = ["hangs", "trickles"]


@pytest.fixture
def endpoints():
    made = {kind: Rude(kind) for kind in ["well", *QUICK, *SLOW]}
    yield made
    for one in made.values():
        one.close()


def resident(server):
    with open(f"/proc/{server.process.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) // 1024


def test_rude_endpoints_end_in_dead_letters_and_hold_up_nobody(private_server, name, endpoints, eventually):
    sns, sqs = private_server.client("sns"), private_server.client("sqs")
    topic = sns.create_topic(Name=name)["TopicArn"]
    lost = {}
    for kind, endpoint in endpoints.items():
        url = sqs.create_queue(QueueName=f"{name}-{kind}")["QueueUrl"]
        lost[kind] = url
        retries = 0 if kind in SLOW else 1
        policy = {"healthyRetryPolicy": {"numRetries": retries, "minDelayTarget": 1, "maxDelayTarget": 1}}
        sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=endpoint.url, ReturnSubscriptionArn=True, Attributes={
            "DeliveryPolicy": json.dumps(policy), "RedrivePolicy": json.dumps({"deadLetterTargetArn": f"arn:aws:sqs:us-east-1:000000000000:{name}-{kind}"})})
    for endpoint in endpoints.values():
        eventually(lambda: endpoint.token)
        sns.confirm_subscription(TopicArn=topic, Token=endpoint.token)
    before = resident(private_server)
    for number in range(3):
        sns.publish(TopicArn=topic, Message=str(number))
    began = time.monotonic()
    eventually(lambda: endpoints["well"].attempts == 3, seconds=10)
    assert time.monotonic() - began < 10, "a healthy endpoint waited for the others"
    letters = lambda kind: int(sqs.get_queue_attributes(QueueUrl=lost[kind], AttributeNames=["ApproximateNumberOfMessages"])["Attributes"]["ApproximateNumberOfMessages"])
    for kind in QUICK:
        eventually(lambda: letters(kind) == 3, seconds=30)
    attempts = {kind: endpoints[kind].attempts for kind in QUICK}
    # A redirect is an answer; the others are tried once more.
    assert {kind: count for kind, count in attempts.items() if kind != "redirects"} == dict.fromkeys(set(QUICK) - {"redirects"}, 6)
    assert attempts["redirects"] in (3, 6), "redirects are not followed"
    for kind in SLOW:
        eventually(lambda: letters(kind) == 3, seconds=60)
        assert endpoints[kind].attempts == 3
    assert letters("well") == 0 and endpoints["well"].attempts == 3
    assert resident(private_server) - before < 60, "an endpoint's answer took the platform's memory"
