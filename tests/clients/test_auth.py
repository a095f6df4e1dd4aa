"""Signatures under `--auth enforce`."""

from conftest import Server
from support import refused


def test_only_known_keys_and_right_secrets_pass(tmp_path):
    data = tmp_path / "store"
    open_server = Server(data).start()
    try:
        iam = open_server.client("iam")
        iam.create_user(UserName="ann")
        key = iam.create_access_key(UserName="ann")["AccessKey"]
    finally:
        open_server.stop()
    server = Server(data, "--auth", "enforce").start()
    try:
        mine = {"key": key["AccessKeyId"], "secret": key["SecretAccessKey"]}
        assert server.client("sts", **mine).get_caller_identity()["Arn"] == "arn:aws:iam::000000000000:user/ann"
        s3 = server.client("s3", **mine)
        s3.create_bucket(Bucket="signed")
        s3.put_object(Bucket="signed", Key="k", Body=b"x" * 200_000)
        with refused("SignatureDoesNotMatch", 403):
            server.client("s3", key=key["AccessKeyId"], secret="wrong").list_buckets()
        with refused("InvalidAccessKeyId", 403):
            server.client("s3").list_buckets()
        with refused("InvalidSignatureException"):
            server.client("dynamodb", key=key["AccessKeyId"], secret="wrong").list_tables()
    finally:
        server.stop()
