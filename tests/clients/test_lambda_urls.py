"""Function URLs: their API, and functions behind an HTTP address."""

import base64
import http.client
import json
import urllib.parse

import botocore.auth
import botocore.awsrequest
import botocore.credentials

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


def signed(url, method="GET", path="/", key="test", secret="test"):
    request = botocore.awsrequest.AWSRequest(method, url.rstrip("/") + path)
    botocore.auth.SigV4Auth(botocore.credentials.Credentials(key, secret), "lambda", "us-east-1").add_auth(request)
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
    with refused("ResourceNotFoundException", 404):
        functions.create_function_url_config(FunctionName=name, Qualifier="nobody", AuthType="NONE")
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
        assert answer.status == 403 and json.loads(body)["Message"].startswith("Forbidden.")
        functions.add_permission(FunctionName=name, StatementId="all", Action="lambda:InvokeFunctionUrl", Principal="*", FunctionUrlAuthType="NONE")
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
        answer, body = ask(server, closed, headers=signed(closed, **mine))
        assert answer.status == 200
        assert json.loads(body)["requestContext"]["authorizer"]["iam"]["userArn"] == "arn:aws:iam::000000000000:user/ann"
    finally:
        server.stop()
