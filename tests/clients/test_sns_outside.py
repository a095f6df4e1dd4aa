"""SNS to people and devices with boto3: e-mail, SMS, platform applications, and the outbox where all of it ends."""

import json
import uuid

import pytest
from sns_support import Outbox, link, queue_of, received, sentence, visit
from support import refused


@pytest.fixture
def sns(server):
    return server.client("sns")


@pytest.fixture
def outbox(server):
    return Outbox(server)


@pytest.fixture
def topic(sns, name):
    return sns.create_topic(Name=name, Attributes={"DisplayName": "Mill News"})["TopicArn"]


@pytest.fixture
def number():
    """A phone number nobody else in this run has."""
    return "+1" + str(uuid.uuid4().int)[:10].replace("0", "7")


def confirmed(sns, outbox, topic, address, eventually, protocol="email"):
    sns.subscribe(TopicArn=topic, Protocol=protocol, Endpoint=address)
    [asked] = eventually(lambda: outbox.sent(address))
    text = asked["text"] if protocol == "email" else json.loads(asked["text"])["SubscribeURL"]
    visit(link(text, "ConfirmSubscription"))
    return asked


def test_an_email_subscription_is_confirmed_by_its_reader(sns, outbox, topic, name, eventually):
    address = f"{name}@example.com"
    assert sns.subscribe(TopicArn=topic, Protocol="email", Endpoint=address)["SubscriptionArn"] == "pending confirmation"
    assert [one["SubscriptionArn"] for one in sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]] == ["PendingConfirmation"]
    [asked] = eventually(lambda: outbox.sent(address))
    assert asked["subject"] == "AWS Notification - Subscription Confirmation" and asked["protocol"] == "email"
    assert topic in asked["text"] and asked["details"]["From"] == '"Mill News" <no-reply@sns.amazonaws.com>'
    sns.publish(TopicArn=topic, Message="too early")
    assert "<SubscriptionArn>" + topic in visit(link(asked["text"], "ConfirmSubscription"))
    sns.publish(TopicArn=topic, Message="the mill turns", Subject="Tide")
    sns.publish(TopicArn=topic, Message="again")
    mails = eventually(lambda: outbox.sent(address)[1:] if len(outbox.sent(address)) == 3 else [])
    assert sorted(one["subject"] for one in mails) == ["AWS Notification Message", "Tide"]
    tide = next(one for one in mails if one["subject"] == "Tide")
    assert tide["text"].startswith("the mill turns\n\n--\nIf you wish to stop receiving notifications from this topic")
    visit(link(tide["text"], "Unsubscribe"))
    gone = eventually(lambda: outbox.sent(address)[3:])
    assert gone[0]["subject"] == "AWS Notification - Unsubscribe Confirmation"
    sns.publish(TopicArn=topic, Message="unheard")
    visit(link(gone[0]["text"], "ConfirmSubscription"))
    sns.publish(TopicArn=topic, Message="heard again")
    back = eventually(lambda: outbox.sent(address)[4:])
    assert [one["text"].split("\n")[0] for one in back] == ["heard again"]


def test_json_emails_carry_signed_documents(sns, outbox, topic, name, eventually):
    address = f"{name}@example.com"
    asked = json.loads(confirmed(sns, outbox, topic, address, eventually, "email-json")["text"])
    assert asked["Type"] == "SubscriptionConfirmation" and asked["TopicArn"] == topic
    sns.publish(TopicArn=topic, MessageStructure="json", Message=json.dumps({"default": "d", "email-json": "for machines"}))
    [mail] = eventually(lambda: outbox.sent(address)[1:])
    document = json.loads(mail["text"])
    assert document["Message"] == "for machines" and document["Signature"] and mail["subject"] == "AWS Notification Message"


@pytest.mark.parametrize("protocol,endpoint,said", [
    ("email", "nobody", "Invalid parameter: Email address"),
    ("email", "a@b.example;c@d.example", "Invalid parameter: Email address"),
    ("email-json", "a b@c.example", "Invalid parameter: Email address"),
    ("sms", "not-a-number", "Invalid SMS endpoint: not-a-number"),
    ("sms", "+15--551234567", "Invalid SMS endpoint: +15--551234567"),
    ("application", "x", "Invalid parameter: Application endpoint arn invalid"),
])
def test_endpoints_that_nobody_has(sns, topic, protocol, endpoint, said):
    with refused("InvalidParameter", 400) as info:
        sns.subscribe(TopicArn=topic, Protocol=protocol, Endpoint=endpoint)
    assert sentence(info) == said


def test_what_is_not_there_is_refused(sns, topic):
    with refused("NotImplemented", 501):
        sns.subscribe(TopicArn=topic, Protocol="firehose", Endpoint="arn:aws:firehose:us-east-1:000000000000:deliverystream/d")
    with refused("NotImplemented", 501):
        sns.set_sms_attributes(attributes={"UsageReportS3Bucket": "b"})


def test_tokens_that_confirm_nothing(sns, topic):
    for token, said in [("randomtoken", "Invalid token"), ("ab" * 128, "Invalid parameter: Token")]:
        with refused("InvalidParameter", 400) as info:
            sns.confirm_subscription(TopicArn=topic, Token=token)
        assert sentence(info) == said


def test_a_message_is_sent_to_a_phone(sns, outbox, topic, number, eventually):
    sns.set_sms_attributes(attributes={"DefaultSMSType": "Transactional"})
    value = {"AWS.SNS.SMS.SenderID": {"DataType": "String", "StringValue": "Mill"}}
    sent = sns.publish(PhoneNumber=number, Message="high water at nine", MessageAttributes=value)
    assert sent["MessageId"]
    [sms] = eventually(lambda: outbox.sent(number))
    assert sms["text"] == "high water at nine" and sms["details"] == {"SMSType": "Transactional", "SenderID": "Mill"}
    assert sns.get_sms_attributes(attributes=["DefaultSMSType"])["attributes"] == {"DefaultSMSType": "Transactional"}
    assert sns.get_sms_attributes()["attributes"]["MonthlySpendLimit"] == "1"
    assert sns.subscribe(TopicArn=topic, Protocol="sms", Endpoint=number)["SubscriptionArn"].startswith(topic)
    sns.publish(TopicArn=topic, MessageStructure="json", Message=json.dumps({"default": "long", "sms": "short"}))
    [_, sms] = eventually(lambda: outbox.sent(number) if len(outbox.sent(number)) == 2 else [])
    assert sms["text"] == "Mill News> short"
    for bad, said in [({"PhoneNumber": "nine", "Message": "x"}, "Invalid parameter: PhoneNumber Reason: nine is not valid to publish to"),
                      ({"PhoneNumber": number, "Message": "x" * 1601}, "Invalid parameter: Message too long")]:
        with refused("InvalidParameter", 400) as info:
            sns.publish(**bad)
        assert sentence(info) == said
    for bad, said in [({"Colour": "red"}, "Colour is not a valid attribute"), ({"DefaultSMSType": "Fast"}, "DefaultSMSType is invalid")]:
        with refused("InvalidParameter", 400) as info:
            sns.set_sms_attributes(attributes=bad)
        assert sentence(info) == said
    assert sns.list_origination_numbers()["PhoneNumbers"] == []


def test_who_said_stop_gets_nothing(sns, outbox, number, eventually):
    assert sns.check_if_phone_number_is_opted_out(phoneNumber=number)["isOptedOut"] is False
    outbox.opt_out(number)
    assert sns.check_if_phone_number_is_opted_out(phoneNumber=number)["isOptedOut"] is True
    listed = [one for page in sns.get_paginator("list_phone_numbers_opted_out").paginate() for one in page["phoneNumbers"]]
    assert number in listed
    sns.publish(PhoneNumber=number, Message="unwanted")
    sns.opt_in_phone_number(phoneNumber=number)
    sns.publish(PhoneNumber=number, Message="wanted")
    assert [one["text"] for one in eventually(lambda: outbox.sent(number))][-1] == "wanted"
    with refused("InvalidParameter", 400) as info:
        sns.check_if_phone_number_is_opted_out(phoneNumber="+abc")
    assert sentence(info) == "Invalid parameter: PhoneNumber Reason: input incorrectly formatted"


def test_a_sandbox_number_repeats_its_code(sns, outbox, number, eventually):
    assert sns.get_sms_sandbox_account_status()["IsInSandbox"] is False
    sns.create_sms_sandbox_phone_number(PhoneNumber=number)
    status = lambda: {one["PhoneNumber"]: one["Status"] for one in sns.list_sms_sandbox_phone_numbers()["PhoneNumbers"]}.get(number)
    assert status() == "Pending"
    [sms] = eventually(lambda: outbox.sent(number))
    code = sms["text"].split()[0]
    with refused("VerificationException", 400):
        sns.verify_sms_sandbox_phone_number(PhoneNumber=number, OneTimePassword="000000" if code != "000000" else "111111")
    sns.verify_sms_sandbox_phone_number(PhoneNumber=number, OneTimePassword=code)
    assert status() == "Verified"
    with refused("UserError", 400):
        sns.create_sms_sandbox_phone_number(PhoneNumber=number)
    sns.delete_sms_sandbox_phone_number(PhoneNumber=number)
    assert status() is None
    with refused("ResourceNotFound", 404):
        sns.delete_sms_sandbox_phone_number(PhoneNumber=number)


@pytest.fixture
def application(sns, name):
    return sns.create_platform_application(Name=name, Platform="GCM", Attributes={"PlatformCredential": "key"})["PlatformApplicationArn"]


def test_applications_keep_their_secrets(sns, application, name):
    assert application == f"arn:aws:sns:us-east-1:000000000000:app/GCM/{name}"
    assert sns.get_platform_application_attributes(PlatformApplicationArn=application)["Attributes"] == {"Enabled": "true"}
    listed = [one for page in sns.get_paginator("list_platform_applications").paginate() for one in page["PlatformApplications"]]
    assert {"PlatformApplicationArn": application, "Attributes": {"Enabled": "true"}} in listed
    for bad, said in [
        ({"Name": "a b", "Platform": "GCM", "Attributes": {"PlatformCredential": "k"}}, "Invalid parameter: a b Reason: must contain only characters 'a'-'z', 'A'-'Z', '0'-'9', '_', '-', and '.'"),
        ({"Name": "a", "Platform": "PIGEON", "Attributes": {"PlatformCredential": "k"}}, "Invalid parameter: Platform Reason: PIGEON is not supported"),
        ({"Name": "a", "Platform": "APNS", "Attributes": {"PlatformPrincipal": "k"}}, "Invalid parameter: Attributes Reason: PlatformPrincipal attribute provided without PlatformCredential"),
        ({"Name": "a", "Platform": "GCM", "Attributes": {"PlatformCredential": "k", "Colour": "red"}}, "Invalid parameter: Attributes Reason: Invalid attribute name: Colour"),
    ]:
        with refused("InvalidParameter", 400) as info:
            sns.create_platform_application(**bad)
        assert sentence(info) == said
    sns.delete_platform_application(PlatformApplicationArn=application)
    sns.delete_platform_application(PlatformApplicationArn=application)
    with refused("NotFound", 404) as info:
        sns.get_platform_application_attributes(PlatformApplicationArn=application)
    assert sentence(info) == "PlatformApplication does not exist"


def test_a_token_is_one_endpoint(sns, application):
    made = lambda **more: sns.create_platform_endpoint(PlatformApplicationArn=application, Token="t1", **more)["EndpointArn"]
    arn = made()
    assert made(Attributes={"Enabled": "true"}) == arn
    with refused("InvalidParameter", 400) as info:
        made(CustomUserData="other")
    assert sentence(info) == f"Invalid parameter: Token Reason: Endpoint {arn} already exists with the same Token, but different attributes."
    assert sns.get_endpoint_attributes(EndpointArn=arn)["Attributes"] == {"Enabled": "true", "Token": "t1"}
    sns.set_endpoint_attributes(EndpointArn=arn, Attributes={"CustomUserData": "ann", "Token": "t2"})
    attributes = {"Enabled": "true", "Token": "t2", "CustomUserData": "ann"}
    assert sns.list_endpoints_by_platform_application(PlatformApplicationArn=application)["Endpoints"] == [{"EndpointArn": arn, "Attributes": attributes}]
    assert made() != arn
    sns.delete_endpoint(EndpointArn=arn)
    sns.delete_endpoint(EndpointArn=arn)
    with refused("NotFound", 404) as info:
        sns.get_endpoint_attributes(EndpointArn=arn)
    assert sentence(info) == "Endpoint does not exist"
    for wrong in ({"Colour": "red"}, {"Enabled": "maybe"}, {"CustomUserData": "x" * 2049}):
        with refused("InvalidParameter", 400):
            sns.create_platform_endpoint(PlatformApplicationArn=application, Token="t3", Attributes=wrong)


def test_endpoints_come_in_pages(sns, application):
    arns = {sns.create_platform_endpoint(PlatformApplicationArn=application, Token=f"t{n}")["EndpointArn"] for n in range(103)}
    pages = list(sns.get_paginator("list_endpoints_by_platform_application").paginate(PlatformApplicationArn=application))
    assert [len(page["Endpoints"]) for page in pages] == [100, 3]
    assert {one["EndpointArn"] for page in pages for one in page["Endpoints"]} == arns


def test_a_notification_reaches_a_device(sns, outbox, application, topic, name, eventually):
    token = name + "token"
    arn = sns.create_platform_endpoint(PlatformApplicationArn=application, Token=token)["EndpointArn"]
    payload = json.dumps({"notification": {"title": "Tide"}})
    sns.publish(TargetArn=arn, MessageStructure="json", Message=json.dumps({"GCM": payload, "APNS": "{}"}))
    sns.subscribe(TopicArn=topic, Protocol="application", Endpoint=arn)
    sns.publish(TopicArn=topic, Message="to all")
    pushed = eventually(lambda: outbox.sent(token) if len(outbox.sent(token)) == 2 else [])
    assert sorted(one["text"] for one in pushed) == sorted([payload, "to all"])
    assert {one["details"]["Platform"] for one in pushed} == {"GCM"} and pushed[0]["details"]["EndpointArn"] == arn
    for message, said in [('{"APNS": "{}"}', "Invalid parameter: JSON must contain an entry for 'default' or 'GCM'."),
                          ('{"GCM": "x"}', "Invalid parameter: Message Reason: Invalid notification for protocol GCM: Notification is malformed")]:
        with refused("InvalidParameter", 400) as info:
            sns.publish(TargetArn=arn, MessageStructure="json", Message=message)
        assert sentence(info) == said
    sns.set_endpoint_attributes(EndpointArn=arn, Attributes={"Enabled": "false"})
    with refused("EndpointDisabled", 400) as info:
        sns.publish(TargetArn=arn, Message="x")
    assert sentence(info) == "Endpoint is disabled"
    sns.set_endpoint_attributes(EndpointArn=arn, Attributes={"Enabled": "true"})
    sns.set_platform_application_attributes(PlatformApplicationArn=application, Attributes={"Enabled": "false"})
    with refused("PlatformApplicationDisabled", 400):
        sns.publish(TargetArn=arn, Message="x")
    with refused("InvalidParameter", 400) as info:
        sns.publish(TargetArn=arn + "0", Message="x")
    assert sentence(info) == "Invalid parameter: TargetArn Reason: No endpoint found for the target arn specified"


def test_an_application_is_told_of_its_devices(server, sns, outbox, topic, application, name, eventually):
    sqs, token = server.client("sqs"), name + "token"
    url, queue = queue_of(sqs, name)
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue, Attributes={"RawMessageDelivery": "true"})
    events = {f"Event{kind}": topic for kind in ("EndpointCreated", "EndpointUpdated", "EndpointDeleted", "DeliveryFailure")}
    sns.set_platform_application_attributes(PlatformApplicationArn=application, Attributes=events)
    told = []

    def kinds():
        told.extend(json.loads(one["Body"]) for one in received(sqs, url, wait=1))
        return {one["EventType"]: one for one in told}

    arn = sns.create_platform_endpoint(PlatformApplicationArn=application, Token=token)["EndpointArn"]
    assert eventually(lambda: kinds().get("EndpointCreated"))["EndpointArn"] == arn
    outbox.make_unreachable(token)
    sent = sns.publish(TargetArn=arn, Message="x")
    failure = eventually(lambda: kinds().get("DeliveryFailure"))
    assert failure["MessageId"] == sent["MessageId"] and failure["FailureType"] == "InvalidPlatformToken"
    assert failure["Resource"] == application and failure["DeliveryAttempts"] == 1
    assert eventually(lambda: kinds().get("EndpointUpdated"))["EndpointArn"] == arn
    assert sns.get_endpoint_attributes(EndpointArn=arn)["Attributes"]["Enabled"] == "false"
    sns.delete_endpoint(EndpointArn=arn)
    assert eventually(lambda: kinds().get("EndpointDeleted"))["EndpointArn"] == arn


def test_undeliverable_mail_is_a_dead_letter(server, sns, outbox, topic, name, eventually):
    sqs, address = server.client("sqs"), f"{name}@example.com"
    url, queue = queue_of(sqs, name)
    confirmed(sns, outbox, topic, address, eventually)
    [listed] = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    sns.set_subscription_attributes(SubscriptionArn=listed["SubscriptionArn"], AttributeName="RedrivePolicy", AttributeValue=json.dumps({"deadLetterTargetArn": queue}))
    outbox.make_unreachable(address)
    sns.publish(TopicArn=topic, Message="returned")
    [message] = eventually(lambda: received(sqs, url, wait=5))
    assert message["Body"].startswith("returned")


def test_the_outbox_outlives_a_kill(private_server, eventually):
    sns, outbox, number = private_server.client("sns"), Outbox(private_server), "+4915112345678"
    for n in range(20):
        sns.publish(PhoneNumber=number, Message=str(n))
    private_server.kill()
    private_server.start()
    texts = eventually(lambda: [one["text"] for one in outbox.sent(number)] if len(outbox.sent(number)) == 20 else [])
    assert sorted(texts, key=int) == [str(n) for n in range(20)]
    assert len(outbox.sent(number, limit=3)) == 3
    outbox.ask("DELETE", "outbox")
    assert outbox.sent(number) == []
