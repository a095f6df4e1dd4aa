"""Function URLs: their API, and functions behind an HTTP address."""

import base64
import datetime
import http.client
import json
import urllib.parse

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest

from conftest import Server
from support import function, refused, zipped

ECHO = zipped(app__py="def handler(event, context):\n    return event\n")
PAGE = zipped(app__py="""
def handler(event, context):
    way = event['rawPath']
    if way == '/page':
        return {'statusCode': 201, 'headers': {'Content-Type': 'text/html', 'X-One': 1}, 'cookies': ['a=1', 'b=2'], 'body': '<p>'}
    if way == '/binary':
        return {'statusCode': 200, 'headers': {'content-type': 'image/png'}, 'body': 'AAEC/w==', 'isBase64Encoded': True}
    if way == '/text':
        return 'Hello'
    if way == '/bad':
        return {'statusCode': 'soon'}
    raise ValueError('no')
""")


def ask(server, url, method="GET", path="/", body=None, headers=None):
    """A request to an address whose name need not resolve: it goes to the server by its own address."""
    host, port = server.endpoint.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    connection.request(method, path, body=body, headers={"Host": urllib.parse.urlparse(url).netloc, **(headers or {})})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer, content


def signed(url, method="GET", path="/", key="test", secret="test", service="lambda"):
    request = botocore.awsrequest.AWSRequest(method, url.rstrip("/") + path)
    botocore.auth.SigV4Auth(botocore.credentials.Credentials(key, secret), service, "us-east-1").add_auth(request)
    return dict(request.headers)


def make(server, name, code, auth="NONE", **more):
    function(server, name, code)
    return server.client("lambda").create_function_url_config(FunctionName=name, AuthType=auth, **more)


def test_the_configuration_is_kept(server, name):
    functions = server.client("lambda")
    made = make(server, name, ECHO, Cors={"AllowOrigins": ["https://a.com"], "MaxAge": 5})
    assert made["AuthType"] == "NONE" and made["InvokeMode"] == "BUFFERED" and made["FunctionArn"].endswith(f":function:{name}")
    label = urllib.parse.urlparse(made["FunctionUrl"]).hostname.split(".")[0]
    assert len(label) == 32 and ".lambda-url.us-east-1." in made["FunctionUrl"] and made["FunctionUrl"].endswith("/")
    with refused("ResourceConflictException", 409):
        functions.create_function_url_config(FunctionName=name, AuthType="NONE")
    changed = functions.update_function_url_config(FunctionName=name, AuthType="AWS_IAM", Cors={})
    assert changed["AuthType"] == "AWS_IAM" and "Cors" not in changed
    got = functions.get_function_url_config(FunctionName=name)
    assert got["FunctionUrl"] == made["FunctionUrl"] and got["AuthType"] == "AWS_IAM"
    functions.publish_version(FunctionName=name)
    functions.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    functions.create_function_url_config(FunctionName=name, Qualifier="live", AuthType="NONE")
    listed = functions.list_function_url_configs(FunctionName=name)["FunctionUrlConfigs"]
    assert [config["FunctionArn"].rsplit(":", 1)[1] for config in listed] == [name, "live"]
    functions.delete_function_url_config(FunctionName=name)
    with refused("ResourceNotFoundException", 404):
        functions.get_function_url_config(FunctionName=name)
    for ask_for in (lambda: functions.create_function_url_config(FunctionName=name, Qualifier="nobody", AuthType="NONE"),
                    lambda: functions.create_function_url_config(FunctionName=f"{name}-none", AuthType="NONE"),
                    lambda: functions.list_function_url_configs(FunctionName=f"{name}-none")):
        with refused("ResourceNotFoundException", 404) as info:
            ask_for()
        assert info.value.response["Error"]["Message"] == "Function does not exist"
    for ask_for in (functions.get_function_url_config, functions.update_function_url_config, functions.delete_function_url_config):
        for missing in ({"FunctionName": name}, {"FunctionName": f"{name}-none"}, {"FunctionName": name, "Qualifier": "nobody"}):
            with refused("ResourceNotFoundException", 404) as info:
                ask_for(**missing)
            assert info.value.response["Error"]["Message"] == "The resource you requested does not exist."
    for qualifier in ("$LATEST", "1"):
        with refused("ValidationException", 400) as info:
            functions.create_function_url_config(FunctionName=name, Qualifier=qualifier, AuthType="NONE")
        assert info.value.response["Error"]["Message"].startswith(f"1 validation error detected: Value '{qualifier}' at 'qualifier' failed")
    assert ask(server, made["FunctionUrl"])[0].status == 403


def test_a_function_sees_the_request(server, name):
    url = make(server, name, ECHO)["FunctionUrl"]
    answer, body = ask(server, url, "POST", "/a/b%20c?x=1&x=2&y=%C3%A4", b'{"n": 1}',
                       {"Content-Type": "application/json", "Cookie": "a=1; b=2", "X-Test": "yes", "User-Agent": "tests"})
    assert answer.status == 200 and answer.headers["content-type"] == "application/json" and answer.headers["x-amzn-requestid"]
    event = json.loads(body)
    assert event["version"] == "2.0" and event["rawPath"] == "/a/b%20c" and event["rawQueryString"] == "x=1&x=2&y=%C3%A4"
    assert event["queryStringParameters"] == {"x": "1,2", "y": "ä"} and event["cookies"] == ["a=1", "b=2"]
    assert event["headers"]["x-test"] == "yes" and event["body"] == '{"n": 1}' and event["isBase64Encoded"] is False
    context = event["requestContext"]
    assert context["http"]["method"] == "POST" and context["http"]["userAgent"] == "tests" and context["http"]["sourceIp"] == "127.0.0.1"
    assert context["accountId"] == "anonymous" and context["domainName"].startswith(context["apiId"]) and context["stage"] == "$default"
    event = json.loads(ask(server, url, "PUT", "/", b"\x00\xff", {"Content-Type": "image/png"})[1])
    assert event["isBase64Encoded"] is True and base64.b64decode(event["body"]) == b"\x00\xff"
    event = json.loads(ask(server, url)[1])
    assert "body" not in event and "queryStringParameters" not in event and "cookies" not in event


def test_an_event_has_the_members_of_format_two(server, name):
    url = make(server, name, ECHO)["FunctionUrl"]
    label = urllib.parse.urlparse(url).hostname.split(".")[0]
    answer, body = ask(server, url, "POST", "/a//b?c", b"text", {"Content-Type": "text/plain", "Cookie": "a=1", "Connection": "close", "TE": "trailers", "Upgrade": "h2c"})
    event = json.loads(body)
    assert list(event) == ["version", "routeKey", "rawPath", "rawQueryString", "cookies", "headers", "queryStringParameters", "requestContext", "body", "isBase64Encoded"]
    assert (event["routeKey"], event["rawPath"], event["queryStringParameters"]) == ("$default", "/a//b", {"c": ""})
    assert {"connection", "te", "upgrade", "cookie"}.isdisjoint(event["headers"]), "those are of the connection"
    host, port = urllib.parse.urlparse(url).netloc.split(":")
    assert event["headers"] == {"host": f"{host}:{port}", "accept-encoding": "identity", "content-length": "4", "content-type": "text/plain", "x-forwarded-for": "127.0.0.1",
                                "x-forwarded-port": port, "x-forwarded-proto": "http", "x-amzn-trace-id": answer.headers["x-amzn-trace-id"]}
    context = event["requestContext"]
    assert list(context) == ["accountId", "apiId", "domainName", "domainPrefix", "http", "requestId", "routeKey", "stage", "time", "timeEpoch"]
    assert (context["apiId"], context["domainPrefix"], context["domainName"], context["requestId"]) == (label, label, host, answer.headers["x-amzn-requestid"])
    assert list(context["http"]) == ["method", "path", "protocol", "sourceIp", "userAgent"] and context["http"]["protocol"] == "HTTP/1.1"
    at = datetime.datetime.strptime(context["time"], "%d/%b/%Y:%H:%M:%S %z").timestamp()
    assert at == context["timeEpoch"] // 1000
    for method in ("PUT", "PATCH", "DELETE", "OPTIONS"):
        assert json.loads(ask(server, url, method)[1])["requestContext"]["http"]["method"] == method
    answer, body = ask(server, url, "HEAD")
    assert (answer.status, body) == (200, b"") and int(answer.headers["content-length"]) > 100
    for kind, encoded in [("application/json", False), ("application/xml", False), ("application/vnd.api+json", False), ("text/csv; charset=utf-8", False),
                          ("application/x-www-form-urlencoded", True), ("application/octet-stream", True)]:
        assert json.loads(ask(server, url, "POST", "/", b"{}", {"Content-Type": kind})[1])["isBase64Encoded"] is encoded, kind


def test_an_event_is_no_larger_than_an_invocation_takes(server, name):
    url = make(server, name, zipped(app__py="def handler(event, context):\n    return len(event['body'])\n"))["FunctionUrl"]
    assert ask(server, url, "POST", "/", b"x" * 6_000_000, {"Content-Type": "text/plain"})[1] == b"6000000"
    for body in (b"x" * 6_291_457, b'"' * 4_000_000):
        answer, said = ask(server, url, "POST", "/", body, {"Content-Type": "text/plain"})
        assert answer.status == 413 and json.loads(said)["Message"].startswith("Request must be smaller than 6291456 bytes")


def test_answers_become_http(server, name):
    url = make(server, name, PAGE)["FunctionUrl"]
    answer, body = ask(server, url, path="/page")
    assert answer.status == 201 and answer.headers["content-type"] == "text/html" and answer.headers["x-one"] == "1" and body == b"<p>"
    assert answer.headers.get_all("set-cookie") == ["a=1", "b=2"]
    answer, body = ask(server, url, path="/binary")
    assert answer.headers["content-type"] == "image/png" and body == b"\x00\x01\x02\xff"
    answer, body = ask(server, url, path="/text")
    assert answer.status == 200 and body == b'"Hello"'
    assert ask(server, url, path="/bad")[0].status == 502
    answer, body = ask(server, url, path="/raise")
    assert answer.status == 502 and body == b"Internal Server Error"


# Answers what it is sent.
MIRROR = zipped(app__py="import json\ndef handler(event, context):\n    return json.loads(event['body'])\n")


@pytest.mark.parametrize("answered, status, seen", [
    (None, 200, b"null"),
    ({}, 200, b"{}"),
    ([1], 200, b"[1]"),
    ({"body": "x"}, 200, b'{"body": "x"}'),
    ({"statusCode": 200}, 200, b""),
    ({"statusCode": "418", "body": "x"}, 418, b"x"),
    ({"statusCode": 204}, 204, b""),
    ({"statusCode": 200, "body": None, "headers": None, "cookies": None}, 200, b""),
    ({"statusCode": 200, "body": {"a": 1}}, 200, b'{"a":1}'),
    ({"statusCode": 200, "body": "eA==", "isBase64Encoded": True}, 200, b"x"),
    ({"statusCode": 200, "body": "!", "isBase64Encoded": True}, 502, b"Internal Server Error"),
    ({"statusCode": None, "body": "x"}, 502, b"Internal Server Error"),
    ({"statusCode": 99}, 502, b"Internal Server Error"),
    ({"statusCode": 600}, 502, b"Internal Server Error"),
    ({"statusCode": 200, "headers": {"a b": "c"}}, 502, b"Internal Server Error"),
    ({"statusCode": 200, "headers": {"a": ["b"]}}, 502, b"Internal Server Error"),
    ({"statusCode": 200, "cookies": [1]}, 502, b"Internal Server Error"),
])
def test_every_form_of_an_answer(mirror, answered, status, seen):
    answer, body = ask(*mirror, "POST", "/", json.dumps(answered).encode(), {"Content-Type": "application/json"})
    assert (answer.status, body, answer.headers["content-type"]) == (status, seen, "application/json")


@pytest.fixture(scope="module")
def mirror(server):
    return server, make(server, "mirror-of-answers", MIRROR)["FunctionUrl"]


def test_headers_that_are_not_the_functions_are_remapped(mirror):
    answered = {"statusCode": 401, "headers": {"WWW-Authenticate": "Basic", "Content-Length": "99", "Date": "never", "X-Own": "1"}, "body": "no"}
    answer, body = ask(*mirror, "POST", "/", json.dumps(answered).encode(), {"Content-Type": "application/json"})
    assert (answer.status, body, answer.headers["x-own"], answer.headers["content-length"]) == (401, b"no", "1", "2")
    remapped = {name: answer.headers[f"x-amzn-remapped-{name}"] for name in ("www-authenticate", "content-length", "date")}
    assert remapped == {"www-authenticate": "Basic", "content-length": "99", "date": "never"} and "www-authenticate" not in answer.headers


def test_addresses_of_aws_lead_here_too(server, name):
    made = make(server, name, ECHO)
    label = urllib.parse.urlparse(made["FunctionUrl"]).hostname.split(".")[0]
    answer, body = ask(server, f"https://{label}.lambda-url.us-east-1.on.aws/")
    assert answer.status == 200 and json.loads(body)["requestContext"]["domainPrefix"] == label
    assert ask(server, "http://nobody.lambda-url.us-east-1.on.aws/")[0].status == 403


def test_signatures_are_wanted_where_the_address_says_so(server, name):
    url = make(server, name, ECHO, "AWS_IAM")["FunctionUrl"]
    answer, body = ask(server, url)
    assert answer.status == 403 and json.loads(body) == {"Message": "Forbidden"}
    answer, body = ask(server, url, path="/x", headers=signed(url, path="/x"))
    assert answer.status == 200
    caller = json.loads(body)["requestContext"]["authorizer"]["iam"]
    assert caller["accountId"] == "000000000000" and caller["userArn"] == "arn:aws:iam::000000000000:root"


def test_throttled_functions_answer_429(server, name):
    url = make(server, name, ECHO)["FunctionUrl"]
    server.client("lambda").put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    answer, _ = ask(server, url)
    assert answer.status == 429 and answer.headers["x-amzn-errortype"] == "TooManyRequestsException"


def test_an_alias_has_an_address_of_its_own(server, name):
    functions = server.client("lambda")
    function(server, name, zipped(app__py="def handler(event, context):\n    return 'one'\n"))
    functions.publish_version(FunctionName=name)
    functions.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    url = functions.create_function_url_config(FunctionName=name, Qualifier="live", AuthType="NONE")["FunctionUrl"]
    functions.update_function_code(FunctionName=name, ZipFile=zipped(app__py="def handler(event, context):\n    return 'two'\n"))
    assert ask(server, url)[1] == b'"one"'


def test_addresses_survive_a_kill(private_server, name):
    url = make(private_server, name, ECHO)["FunctionUrl"]
    private_server.kill()
    private_server.start()
    assert ask(private_server, url)[0].status == 200


@pytest.mark.parametrize("cors, origin, allowed", [
    ({"AllowOrigins": ["*"]}, "https://a.com", {"allow-origin": "*"}),
    ({"AllowOrigins": ["*"], "AllowCredentials": True}, "https://a.com", {"allow-origin": "https://a.com", "allow-credentials": "true"}),
    ({"AllowOrigins": ["https://a.com", "https://b.com"], "AllowMethods": ["*"], "MaxAge": 0}, "https://b.com",
     {"allow-origin": "https://b.com", "allow-methods": "*", "max-age": "0"}),
    ({"AllowOrigins": ["https://a.com"], "AllowHeaders": ["x-one", "x-two"], "ExposeHeaders": ["x-three"]}, "https://a.com",
     {"allow-origin": "https://a.com", "allow-headers": "x-one,x-two", "expose-headers": "x-three"}),
    ({"AllowOrigins": ["https://a.com"], "AllowMethods": ["GET"]}, "https://b.com", {}),
    ({"AllowMethods": ["GET"]}, "https://a.com", {}),
])
def test_preflights_are_answered_as_configured(server, name, cors, origin, allowed):
    """Even where requests must be signed: browsers do not sign preflights."""
    url = make(server, name, ECHO, "AWS_IAM", Cors=cors)["FunctionUrl"]
    answer, body = ask(server, url, "OPTIONS", headers={"Origin": origin, "Access-Control-Request-Method": "GET"})
    said = {key.lower().removeprefix("access-control-"): value for key, value in answer.headers.items() if key.lower().startswith("access-control-")}
    assert (answer.status, body, said) == (200, b"", allowed)
    assert ask(server, url, "OPTIONS")[0].status == 403, "no preflight: it is for the function"
    answer, _ = ask(server, url, headers={"Origin": origin, **signed(url)})
    assert answer.headers.get("access-control-allow-origin") == allowed.get("allow-origin")


def test_a_functions_own_cors_headers_stand_where_none_are_configured(server, name):
    code = "def handler(event, context):\n    return {'statusCode': 200, 'headers': {'Access-Control-Allow-Origin': 'https://own.com'}}\n"
    url = make(server, name, zipped(app__py=code))["FunctionUrl"]
    preflight = {"Origin": "https://a.com", "Access-Control-Request-Method": "GET"}
    assert ask(server, url, "OPTIONS", headers=preflight)[0].headers["access-control-allow-origin"] == "https://own.com"
    server.client("lambda").update_function_url_config(FunctionName=name, Cors={"AllowOrigins": ["https://a.com"]})
    assert ask(server, url, headers=preflight)[0].headers["access-control-allow-origin"] == "https://a.com"


def test_where_signatures_are_enforced_policies_and_cors_decide(tmp_path, name):
    open_server = Server(tmp_path / "store").start()
    try:
        iam = open_server.client("iam")
        iam.create_user(UserName="ann")
        key = iam.create_access_key(UserName="ann")["AccessKey"]
        cors = {"AllowOrigins": ["https://a.com"], "AllowMethods": ["GET", "POST"], "AllowHeaders": ["x-one"],
                "ExposeHeaders": ["x-two"], "AllowCredentials": True, "MaxAge": 60}
        url = make(open_server, name, ECHO, Cors=cors)["FunctionUrl"]
        closed = make(open_server, name + "-2", ECHO, "AWS_IAM")["FunctionUrl"]
    finally:
        open_server.stop()
    server = Server(tmp_path / "store", "--auth", "enforce").start()
    try:
        mine = {"key": key["AccessKeyId"], "secret": key["SecretAccessKey"]}
        functions = server.client("lambda", **mine)
        answer, body = ask(server, url)
        assert answer.status == 403 and answer.headers["x-amzn-errortype"] == "AccessDeniedException" and json.loads(body) == {
            "Message": "Forbidden. For troubleshooting Function URL authorization issues, see: https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"}
        functions.add_permission(FunctionName=name, StatementId="all", Action="lambda:InvokeFunctionUrl", Principal="*", FunctionUrlAuthType="NONE")
        assert ask(server, url)[0].status == 403, "the function itself has to be allowed too"
        functions.add_permission(FunctionName=name, StatementId="invoke", Action="lambda:InvokeFunction", Principal="*", InvokedViaFunctionUrl=True)
        answer, _ = ask(server, url, headers={"Origin": "https://a.com"})
        assert answer.status == 200 and answer.headers["access-control-allow-origin"] == "https://a.com"
        assert answer.headers["access-control-allow-credentials"] == "true" and answer.headers["access-control-expose-headers"] == "x-two"
        answer, _ = ask(server, url, headers={"Origin": "https://b.com"})
        assert answer.status == 200 and "access-control-allow-origin" not in answer.headers
        answer, body = ask(server, url, "OPTIONS", headers={"Origin": "https://a.com", "Access-Control-Request-Method": "POST"})
        assert answer.status == 200 and body == b"" and answer.headers["access-control-allow-methods"] == "GET,POST"
        assert answer.headers["access-control-allow-headers"] == "x-one" and answer.headers["access-control-max-age"] == "60"
        assert ask(server, closed)[0].status == 403
        assert ask(server, closed, headers=signed(closed, secret="wrong", key=key["AccessKeyId"]))[0].status == 403
        assert ask(server, closed, headers=signed(closed, service="execute-api", **mine))[0].status == 403
        assert ask(server, closed, headers=signed(closed, path="/other", **mine))[0].status == 403
        answer, body = ask(server, closed, headers=signed(closed, **mine))
        assert answer.status == 200
        assert json.loads(body)["requestContext"]["authorizer"]["iam"]["userArn"] == "arn:aws:iam::000000000000:user/ann"
    finally:
        server.stop()
