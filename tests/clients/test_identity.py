"""STS and IAM."""

import json

from conftest import TRUST
from support import refused


def test_the_caller_is_known(server):
    identity = server.client("sts").get_caller_identity()
    assert identity["Account"] == "000000000000" and identity["Arn"] == "arn:aws:iam::000000000000:root"
    assert server.client("sts", key="123456789012").get_caller_identity()["Account"] == "123456789012"


def test_a_role_lives_and_is_assumed(server, name):
    iam = server.client("iam")
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST, Tags=[{"Key": "team", "Value": "sales"}])["Role"]
    assert role["Arn"] == f"arn:aws:iam::000000000000:role/{name}"
    assert iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"] == json.loads(TRUST)
    with refused("EntityAlreadyExists", 409):
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)
    given = server.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="loader")
    assert given["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::000000000000:assumed-role/{name}/loader"
    iam.delete_role(RoleName=name)
    with refused("NoSuchEntity", 404):
        iam.get_role(RoleName=name)
    with refused("MalformedPolicyDocument", 400):
        iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}")


def test_policies_are_kept_and_guard_their_role(server, name):
    iam = server.client("iam")
    document = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]})
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)
    iam.put_role_policy(RoleName=name, PolicyName="inline", PolicyDocument=document)
    assert iam.get_role_policy(RoleName=name, PolicyName="inline")["PolicyDocument"] == json.loads(document)
    arn = iam.create_policy(PolicyName=name, PolicyDocument=document)["Policy"]["Arn"]
    iam.attach_role_policy(RoleName=name, PolicyArn=arn)
    assert [p["PolicyArn"] for p in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]] == [arn]
    with refused("DeleteConflict", 409):
        iam.delete_role(RoleName=name)
