"""IAM's operations one by one, errors included."""

import json

import pytest
from conftest import TRUST
from support import refused

READ = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]})
WRITE = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:PutObject", "Resource": "*"}]})


def sentence(info):
    return info.value.response["Error"]["Message"]


@pytest.fixture
def iam(server):
    return server.client("iam")


@pytest.fixture
def role(iam, name):
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)
    return name


@pytest.fixture
def user(iam, name):
    iam.create_user(UserName=name)
    return name


@pytest.fixture
def policy(iam, name):
    return iam.create_policy(PolicyName=name, PolicyDocument=READ)["Policy"]["Arn"]


def test_roles_change(iam, name):
    made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST, Path="/team/", Description="one", MaxSessionDuration=7200)["Role"]
    assert made["Arn"].endswith(f":role/team/{name}") and made["RoleId"].startswith("AROA") and made["MaxSessionDuration"] == 7200
    iam.update_role(RoleName=name, Description="two", MaxSessionDuration=3600)
    trust = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sts:AssumeRole"}]})
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=trust)
    got = iam.get_role(RoleName=name)["Role"]
    assert (got["Description"], got["MaxSessionDuration"], got["AssumeRolePolicyDocument"]) == ("two", 3600, json.loads(trust))
    with refused("MalformedPolicyDocument", 400):
        iam.update_assume_role_policy(RoleName=name, PolicyDocument="{")
    with refused("ValidationError", 400):
        iam.update_role(RoleName=name, MaxSessionDuration=50_000)
    with refused("NoSuchEntity", 404) as info:
        iam.update_role(RoleName=name + "x", Description="three")
    assert sentence(info) == f"The role with name {name}x cannot be found."


def test_names_are_checked(iam):
    with refused("ValidationError", 400):
        iam.create_role(RoleName="no spaces here", AssumeRolePolicyDocument=TRUST)
    with refused("ValidationError", 400):
        iam.create_user(UserName="x" * 65)


def test_lists_page_and_follow_paths(iam, name):
    for number in range(3):
        iam.create_role(RoleName=f"{name}-{number}", AssumeRolePolicyDocument=TRUST, Path=f"/{name}/")
    first = iam.list_roles(PathPrefix=f"/{name}/", MaxItems=2)
    assert first["IsTruncated"] and len(first["Roles"]) == 2
    pages = iam.get_paginator("list_roles").paginate(PathPrefix=f"/{name}/", PaginationConfig={"PageSize": 1})
    assert [role["RoleName"] for page in pages for role in page["Roles"]] == [f"{name}-{number}" for number in range(3)]


def test_role_tags(iam, role):
    iam.tag_role(RoleName=role, Tags=[{"Key": "team", "Value": "a"}, {"Key": "stage", "Value": "b"}])
    iam.tag_role(RoleName=role, Tags=[{"Key": "team", "Value": "c"}])
    iam.untag_role(RoleName=role, TagKeys=["stage", "never"])
    assert iam.list_role_tags(RoleName=role)["Tags"] == [{"Key": "team", "Value": "c"}]
    with refused("NoSuchEntity", 404):
        iam.list_role_tags(RoleName=role + "x")


def test_inline_policies_of_roles(iam, role):
    iam.put_role_policy(RoleName=role, PolicyName="one", PolicyDocument=READ)
    iam.put_role_policy(RoleName=role, PolicyName="one", PolicyDocument=WRITE)
    assert iam.list_role_policies(RoleName=role)["PolicyNames"] == ["one"]
    assert iam.get_role_policy(RoleName=role, PolicyName="one")["PolicyDocument"] == json.loads(WRITE)
    with refused("DeleteConflict", 409) as info:
        iam.delete_role(RoleName=role)
    assert sentence(info) == "Cannot delete entity, must delete policies first."
    iam.delete_role_policy(RoleName=role, PolicyName="one")
    with refused("NoSuchEntity", 404) as info:
        iam.get_role_policy(RoleName=role, PolicyName="one")
    assert sentence(info) == "The role policy with name one cannot be found."
    with refused("MalformedPolicyDocument", 400):
        iam.put_role_policy(RoleName=role, PolicyName="two", PolicyDocument="[]")


def test_attachments_of_roles(iam, role, policy):
    iam.attach_role_policy(RoleName=role, PolicyArn=policy)
    iam.attach_role_policy(RoleName=role, PolicyArn=policy)
    assert iam.get_policy(PolicyArn=policy)["Policy"]["AttachmentCount"] == 1
    with refused("DeleteConflict", 409) as info:
        iam.delete_policy(PolicyArn=policy)
    assert sentence(info) == "Cannot delete a policy attached to entities."
    with refused("DeleteConflict", 409) as info:
        iam.delete_role(RoleName=role)
    assert sentence(info) == "Cannot delete entity, must detach all policies first."
    iam.detach_role_policy(RoleName=role, PolicyArn=policy)
    with refused("NoSuchEntity", 404):
        iam.detach_role_policy(RoleName=role, PolicyArn=policy)
    with refused("NoSuchEntity", 404):
        iam.attach_role_policy(RoleName=role, PolicyArn=policy + "x")
    assert iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"] == []


def test_managed_policies_of_aws_can_be_attached(iam, role):
    arn = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
    iam.attach_role_policy(RoleName=role, PolicyArn=arn)
    attached = iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]
    assert attached == [{"PolicyName": "AWSLambdaBasicExecutionRole", "PolicyArn": arn}]


def test_policies_have_versions(iam, policy, name):
    made = iam.create_policy_version(PolicyArn=policy, PolicyDocument=WRITE)["PolicyVersion"]
    assert (made["VersionId"], made["IsDefaultVersion"]) == ("v2", False)
    iam.set_default_policy_version(PolicyArn=policy, VersionId="v2")
    assert iam.get_policy(PolicyArn=policy)["Policy"]["DefaultVersionId"] == "v2"
    assert iam.get_policy_version(PolicyArn=policy, VersionId="v2")["PolicyVersion"]["Document"] == json.loads(WRITE)
    with refused("DeleteConflict", 409):
        iam.delete_policy_version(PolicyArn=policy, VersionId="v2")
    with refused("DeleteConflict", 409):
        iam.delete_policy(PolicyArn=policy)
    for _ in range(3):
        iam.create_policy_version(PolicyArn=policy, PolicyDocument=READ)
    with refused("LimitExceeded", 409):
        iam.create_policy_version(PolicyArn=policy, PolicyDocument=READ)
    versions = {version["VersionId"] for version in iam.list_policy_versions(PolicyArn=policy)["Versions"]}
    assert versions == {"v1", "v2", "v3", "v4", "v5"}
    for version in versions - {"v2"}:
        iam.delete_policy_version(PolicyArn=policy, VersionId=version)
    with refused("NoSuchEntity", 404):
        iam.get_policy_version(PolicyArn=policy, VersionId="v1")
    iam.delete_policy(PolicyArn=policy)
    with refused("NoSuchEntity", 404):
        iam.get_policy(PolicyArn=policy)


def test_policies_are_listed_once_each(iam, policy, name):
    with refused("EntityAlreadyExists", 409):
        iam.create_policy(PolicyName=name, PolicyDocument=READ)
    with refused("MalformedPolicyDocument", 400):
        iam.create_policy(PolicyName=name + "x", PolicyDocument="no json")
    pages = iam.get_paginator("list_policies").paginate(Scope="Local", PaginationConfig={"PageSize": 1})
    assert [one["Arn"] for page in pages for one in page["Policies"]].count(policy) == 1


def test_users(iam, user):
    got = iam.get_user(UserName=user)["User"]
    assert got["Arn"] == f"arn:aws:iam::000000000000:user/{user}" and got["UserId"].startswith("AIDA")
    with refused("EntityAlreadyExists", 409) as info:
        iam.create_user(UserName=user)
    assert sentence(info) == f"User with name {user} already exists."
    assert user in [one["UserName"] for page in iam.get_paginator("list_users").paginate(PaginationConfig={"PageSize": 1}) for one in page["Users"]]
    iam.delete_user(UserName=user)
    with refused("NoSuchEntity", 404) as info:
        iam.get_user(UserName=user)
    assert sentence(info) == f"The user with name {user} cannot be found."


def test_policies_of_users(iam, user, policy):
    iam.put_user_policy(UserName=user, PolicyName="one", PolicyDocument=READ)
    assert iam.get_user_policy(UserName=user, PolicyName="one")["PolicyDocument"] == json.loads(READ)
    assert iam.list_user_policies(UserName=user)["PolicyNames"] == ["one"]
    iam.attach_user_policy(UserName=user, PolicyArn=policy)
    assert [one["PolicyArn"] for one in iam.list_attached_user_policies(UserName=user)["AttachedPolicies"]] == [policy]
    with refused("DeleteConflict", 409):
        iam.delete_user(UserName=user)
    iam.detach_user_policy(UserName=user, PolicyArn=policy)
    iam.delete_user_policy(UserName=user, PolicyName="one")
    with refused("NoSuchEntity", 404) as info:
        iam.get_user_policy(UserName=user, PolicyName="one")
    assert sentence(info) == "The user policy with name one cannot be found."
    iam.delete_user(UserName=user)


def test_access_keys(server, iam, user):
    keys = [iam.create_access_key(UserName=user)["AccessKey"] for _ in range(2)]
    assert all(key["AccessKeyId"].startswith("AKIA") and len(key["SecretAccessKey"]) == 40 for key in keys)
    with refused("LimitExceeded", 409) as info:
        iam.create_access_key(UserName=user)
    assert sentence(info) == "Cannot exceed quota for AccessKeysPerUser: 2"
    first = keys[0]["AccessKeyId"]
    iam.update_access_key(UserName=user, AccessKeyId=first, Status="Inactive")
    listed = {key["AccessKeyId"]: key["Status"] for key in iam.list_access_keys(UserName=user)["AccessKeyMetadata"]}
    assert listed == {first: "Inactive", keys[1]["AccessKeyId"]: "Active"}
    assert server.client("sts").get_access_key_info(AccessKeyId=first)["Account"] == "000000000000"
    with refused("DeleteConflict", 409) as info:
        iam.delete_user(UserName=user)
    assert sentence(info) == "Cannot delete entity, must delete access keys first."
    for key in keys:
        iam.delete_access_key(UserName=user, AccessKeyId=key["AccessKeyId"])
    with refused("NoSuchEntity", 404) as info:
        iam.delete_access_key(UserName=user, AccessKeyId=first)
    assert sentence(info) == f"The Access Key with id {first} cannot be found."
    with refused("NoSuchEntity", 404):
        iam.list_access_keys(UserName=user + "x")


def test_sessions_of_roles(server, iam, role):
    sts = server.client("sts")
    arn = iam.get_role(RoleName=role)["Role"]["Arn"]
    given = sts.assume_role(RoleArn=arn, RoleSessionName="loader", DurationSeconds=900)["Credentials"]
    assert given["AccessKeyId"].startswith("ASIA") and given["SessionToken"]
    token = sts.get_session_token(DurationSeconds=900)["Credentials"]
    assert token["AccessKeyId"].startswith("ASIA") and token["Expiration"]
    with refused("ValidationError", 400):
        sts.assume_role(RoleArn=arn, RoleSessionName="loader", DurationSeconds=7200)
    with refused("ValidationError", 400):
        sts.assume_role(RoleArn=arn, RoleSessionName="a session")
    with refused("AccessDenied", 403):
        sts.assume_role(RoleArn=arn + "x", RoleSessionName="loader")


def test_the_cli(server, name):
    server.cli("iam", "create-user", "--user-name", name)
    assert name in server.cli("iam", "list-users", "--query", "Users[].UserName")
    server.cli("iam", "delete-user", "--user-name", name)
    assert json.loads(server.cli("sts", "get-caller-identity"))["Account"] == "000000000000"
