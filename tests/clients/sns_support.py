"""What the tests of SNS share: its outbox, queues, and links that anybody may follow."""

import json
import urllib.parse
import urllib.request


class Outbox:
    """What a server keeps of e-mails, SMS and push notifications, and the outside world it plays."""

    def __init__(self, server):
        self.server = server

    def ask(self, method, path):
        request = urllib.request.Request(f"{self.server.endpoint}/_tidemill/sns/{path}", method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def sent(self, to, **more):
        query = urllib.parse.urlencode({"to": to, **more})
        return self.ask("GET", f"outbox?{query}")["messages"]

    def make_unreachable(self, to):
        self.ask("PUT", f"unreachable/{urllib.parse.quote(to, safe='')}")

    def opt_out(self, number):
        self.ask("PUT", f"opted-out/{urllib.parse.quote(number, safe='')}")


def link(text, action):
    """The link in a text that does something."""
    return next(word for word in text.split() if f"Action={action}" in word)


def visit(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


def queue_of(sqs, name, **attributes):
    """A queue's URL and ARN."""
    url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def received(sqs, url, wait=0):
    got = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=wait, MessageAttributeNames=["All"],
                              MessageSystemAttributeNames=["All"]).get("Messages", [])
    for message in got:
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return got


def sentence(info):
    return info.value.response["Error"]["Message"]
