"""Data protection policies, links under `--auth enforce`, and the sentences of wrong settings, with boto3."""

import json
import urllib.error
import urllib.request

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from conftest import Server
from sns_support import Outbox, link, queue_of, received, sentence, visit
from support import refused

MANAGED = "arn:aws:dataprotection::aws:data-identifier/"


@pytest.fixture
def sns(server):
    return server.client("sns")


@pytest.fixture
def sqs(server):
    return server.client("sqs")


def statement(direction, operation, *identifiers, principal="*"):
    return {"Sid": "s", "DataDirection": direction, "Principal": [principal], "DataIdentifier": [one if "arn:" in one or one == "Order" else MANAGED + one for one in identifiers], "Operation": operation}


def policy(*statements, **more):
    return json.dumps({"Name": "policy", "Description": "d", "Version": "2021-06-01", "Statement": list(statements), **more})


@pytest.fixture
def topic(sns, sqs, name):
    """A topic and the queue that gets its messages raw."""
    arn = sns.create_topic(Name=name)["TopicArn"]
    url, queue = queue_of(sqs, name)
    sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue, Attributes={"RawMessageDelivery": "true"})
    return arn, url


def test_sensitive_messages_are_denied(sns, sqs, topic):
    arn, url = topic
    assert sns.get_data_protection_policy(ResourceArn=arn).get("DataProtectionPolicy", "") == ""
    text = policy(statement("Inbound", {"Deny": {}}, "CreditCardNumber", "Ssn-US"))
    sns.put_data_protection_policy(ResourceArn=arn, DataProtectionPolicy=text)
    assert sns.get_data_protection_policy(ResourceArn=arn)["DataProtectionPolicy"] == text
    with refused("AuthorizationError", 403):
        sns.publish(TopicArn=arn, Message="my card is 4111 1111 1111 1111")
    entries = [{"Id": "bad", "Message": "ssn 078-05-1120"}, {"Id": "good", "Message": "my card is 4111 1111 1111 1112"}]
    answer = sns.publish_batch(TopicArn=arn, PublishBatchRequestEntries=entries)
    assert [(one["Id"], one["Code"], one["SenderFault"]) for one in answer["Failed"]] == [("bad", "AuthorizationError", True)]
    assert [one["Body"] for one in received(sqs, url)] == ["my card is 4111 1111 1111 1112"]
    sns.put_data_protection_policy(ResourceArn=arn, DataProtectionPolicy="")
    sns.publish(TopicArn=arn, Message="ssn 078-05-1120")
    assert len(received(sqs, url)) == 1


def test_sensitive_data_is_masked(sns, sqs, topic):
    arn, url = topic
    mask = {"Deidentify": {"MaskConfig": {"MaskWithCharacter": "#"}}}
    sns.put_data_protection_policy(ResourceArn=arn, DataProtectionPolicy=policy(
        statement("Inbound", mask, "EmailAddress"), statement("Outbound", {"Deidentify": {"RedactConfig": {}}}, "IpAddress", "Order"),
        Configuration={"CustomDataIdentifier": [{"Name": "Order", "Regex": "ORD-[0-9]+"}]}))
    sns.publish(TopicArn=arn, Message="a@b.example from 10.0.0.1 wants ORD-12")
    assert [one["Body"] for one in received(sqs, url)] == ["########### from  wants "]


def test_nothing_leaves_that_must_not(sns, sqs, topic):
    arn, url = topic
    sns.put_data_protection_policy(ResourceArn=arn, DataProtectionPolicy=policy(statement("Outbound", {"Deny": {}}, "PhoneNumber-US")))
    sns.publish(TopicArn=arn, Message="call 415-555-2671")
    sns.publish(TopicArn=arn, Message="do not call")
    assert [one["Body"] for one in received(sqs, url)] == ["do not call"]


def test_statements_are_for_their_principals(sns, sqs, topic):
    arn, url = topic
    other = statement("Inbound", {"Deny": {}}, "EmailAddress", principal="arn:aws:iam::111111111111:role/other")
    sns.put_data_protection_policy(ResourceArn=arn, DataProtectionPolicy=policy(other))
    sns.publish(TopicArn=arn, Message="a@b.example")
    assert len(received(sqs, url)) == 1


def test_findings_are_written_down(server, sns, topic, name, eventually):
    arn, _ = topic
    logs = server.client("logs")
    groups = [f"/aws/vendedlogs/{name}{kind}" for kind in ("found", "none")]
    audit = {"Audit": {"SampleRate": "99", "FindingsDestination": {"CloudWatchLogs": {"LogGroup": groups[0]}},
                       "NoFindingsDestination": {"CloudWatchLogs": {"LogGroup": groups[1]}}}}
    sns.put_data_protection_policy(ResourceArn=arn, DataProtectionPolicy=policy(statement("Inbound", audit, "EmailAddress", "AwsSecretKey")))
    # Of a hundred messages one is not looked at.
    for _ in range(5):
        sns.publish(TopicArn=arn, Message="a@b.example, secret wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
        sns.publish(TopicArn=arn, Message="nothing here")
    for group, found in zip(groups, ([("EmailAddress", 1), ("AwsSecretKey", 1)], [])):
        eventually(lambda: logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"])
        lines = eventually(lambda: logs.filter_log_events(logGroupName=group)["events"])
        line = json.loads(lines[0]["message"])
        assert [(one["name"].removeprefix(MANAGED), one["count"]) for one in line["dataIdentifiers"]] == found and line["resourceArn"] == arn


@pytest.mark.parametrize("document,code", [
    ("x", "InvalidParameter"),
    (policy(), "InvalidParameter"),
    (policy(statement("Sideways", {"Deny": {}}, "EmailAddress")), "InvalidParameter"),
    (policy(statement("Outbound", {"Audit": {}}, "EmailAddress")), "InvalidParameter"),
    (policy(statement("Inbound", {"Deny": {}}, "Name")), "NotImplemented"),
    (policy(statement("Inbound", {"Audit": {"SampleRate": "1", "FindingsDestination": {"Firehose": {"DeliveryStream": "d"}}}}, "EmailAddress")), "NotImplemented"),
])
def test_policies_that_are_not_honoured(sns, name, document, code):
    topic = sns.create_topic(Name=name)["TopicArn"]
    with refused(code):
        sns.put_data_protection_policy(ResourceArn=topic, DataProtectionPolicy=document)
    with refused(code):
        sns.create_topic(Name=name + "new", DataProtectionPolicy=document)
    assert sns.get_data_protection_policy(ResourceArn=topic).get("DataProtectionPolicy", "") == ""


def test_the_direction_has_amazons_sentence(sns, name):
    topic = sns.create_topic(Name=name)["TopicArn"]
    with refused("InvalidParameter", 400) as info:
        sns.put_data_protection_policy(ResourceArn=topic, DataProtectionPolicy=policy(statement("Sideways", {"Deny": {}}, "EmailAddress")))
    assert sentence(info) == "Invalid parameter: DataProtectionPolicy Reason: Statement DataDirection must be either Inbound or Outbound"


@pytest.mark.parametrize("attribute,value,said", [
    ("RawMessageDelivery", "maybe", "RawMessageDelivery: Invalid value [maybe]. Must be true or false."),
    ("FilterPolicyScope", "Sky", "FilterPolicyScope: Invalid value [Sky]. Please use either MessageBody or MessageAttributes"),
    ("RedrivePolicy", '{"deadLetterTargetArn": "x"}', "RedrivePolicy: deadLetterTargetArn is an invalid arn"),
    ("RedrivePolicy", '{"maxReceiveCount": 3}', "RedrivePolicy: invalid JSON. Attribute maxReceiveCount is unknown."),
])
def test_wrong_settings_have_amazons_sentences(sns, name, attribute, value, said):
    topic = sns.create_topic(Name=name)["TopicArn"]
    queue = "arn:aws:sqs:us-east-1:000000000000:q"
    with refused("InvalidParameter", 400) as info:
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue, Attributes={attribute: value})
    assert sentence(info) == "Invalid parameter: Attributes Reason: " + said
    subscription = sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue)["SubscriptionArn"]
    with refused("InvalidParameter", 400) as info:
        sns.set_subscription_attributes(SubscriptionArn=subscription, AttributeName=attribute, AttributeValue=value)
    assert sentence(info) == "Invalid parameter: " + said


def test_a_fifo_subscription_has_a_fifo_dead_letter_queue(sns, name):
    topic = sns.create_topic(Name=name + ".fifo", Attributes={"FifoTopic": "true"})["TopicArn"]
    with refused("InvalidParameter", 400) as info:
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint="arn:aws:sqs:us-east-1:000000000000:q.fifo",
                      Attributes={"RedrivePolicy": '{"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:d"}'})
    assert sentence(info) == "Invalid parameter: Attributes Reason: RedrivePolicy: must use a FIFO queue as DLQ for a FIFO Subscription to a FIFO Topic."


@pytest.mark.parametrize("attribute,said", [
    (".a", "Invalid message attribute name starting with character '.' was found."),
    ("a.", "Invalid message attribute name ending with character '.' was found."),
    ("a..b", "Message attribute name can not have successive '.' character."),
    ("a@", "Invalid non-alphanumeric character '#x40' was found in the message attribute name. Can only include alphanumeric characters, hyphens, underscores, or dots."),
    ("AWS.x", "Message attribute name can not start with 'AWS.' or 'Amazon.' prefix."),
])
def test_names_of_attributes_have_amazons_sentences(sns, name, attribute, said):
    topic = sns.create_topic(Name=name)["TopicArn"]
    with refused("ParameterValueInvalid", 400) as info:
        sns.publish(TopicArn=topic, Message="m", MessageAttributes={attribute: {"DataType": "String", "StringValue": "v"}})
    assert sentence(info) == said


def test_subscriptions_of_a_topic_come_in_pages(sns, name):
    topic = sns.create_topic(Name=name)["TopicArn"]
    for n in range(120):
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=f"arn:aws:sqs:us-east-1:000000000000:q{n}")
    pages = list(sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic))
    assert [len(page["Subscriptions"]) for page in pages] == [100, 20]
    assert len({one["Endpoint"] for page in pages for one in page["Subscriptions"]}) == 120


def test_links_need_no_signature(tmp_path, name, eventually):
    data = tmp_path / "store"
    open_server = Server(data).start()
    try:
        key = open_server.client("iam").create_access_key(UserName=open_server.client("iam").create_user(UserName="ann")["User"]["UserName"])["AccessKey"]
    finally:
        open_server.stop()
    server = Server(data, "--auth", "enforce").start()
    try:
        mine = {"key": key["AccessKeyId"], "secret": key["SecretAccessKey"]}
        sns, iam = server.client("sns", **mine), Signed(server, mine)
        topic = sns.create_topic(Name=name)["TopicArn"]
        for address in ("open@example.com", "owned@example.com"):
            sns.subscribe(TopicArn=topic, Protocol="email", Endpoint=address)
        [asked] = eventually(lambda: iam.sent("open@example.com"))
        visit(link(asked["text"], "ConfirmSubscription"))
        [asked] = eventually(lambda: iam.sent("owned@example.com"))
        token = link(asked["text"], "ConfirmSubscription").split("Token=")[1]
        owned = sns.confirm_subscription(TopicArn=topic, Token=token, AuthenticateOnUnsubscribe="true")["SubscriptionArn"]
        assert sns.get_subscription_attributes(SubscriptionArn=owned)["Attributes"]["ConfirmationWasAuthenticated"] == "true"
        listed = {one["Endpoint"]: one["SubscriptionArn"] for one in sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]}
        attributes = sns.get_subscription_attributes(SubscriptionArn=listed["open@example.com"])["Attributes"]
        assert attributes["ConfirmationWasAuthenticated"] == "false" and attributes["PendingConfirmation"] == "false"
        unsubscribe = f"{server.endpoint}/?Action=Unsubscribe&SubscriptionArn="
        visit(unsubscribe + listed["open@example.com"])
        with pytest.raises(urllib.error.HTTPError) as raised:
            visit(unsubscribe + owned)
        assert raised.value.code == 403 and "AuthorizationError" in raised.value.read().decode()
        with pytest.raises(urllib.error.HTTPError) as raised:
            visit(f"{server.endpoint}/?Action=Publish&TopicArn={topic}&Message=forged")
        assert raised.value.code == 403
        assert [one["SubscriptionArn"] for one in sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]] == [owned]
        sns.unsubscribe(SubscriptionArn=owned)
        assert sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"] == []
    finally:
        server.stop()


class Signed(Outbox):
    """The outbox, asked with a signature."""

    def __init__(self, server, key):
        super().__init__(server)
        self.key = key

    def ask(self, method, path):
        request = AWSRequest(method=method, url=f"{self.server.endpoint}/_tidemill/sns/{path}")
        SigV4Auth(Credentials(self.key["key"], self.key["secret"]), "tidemill", "us-east-1").add_auth(request)
        signed = urllib.request.Request(request.url, method=method, headers=dict(request.headers.items()))
        with urllib.request.urlopen(signed, timeout=10) as answer:
            return json.load(answer)
