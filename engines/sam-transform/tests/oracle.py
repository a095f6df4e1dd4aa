"""Compares our transform with AWS's translator on the templates beside this file.

    pip install -r requirements.txt
    cargo build -p tidemill-sam-transform --example transform
    python oracle.py target/debug/examples/transform
"""

import json
import os
import pathlib
import subprocess
import sys

os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")

from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

MANAGED = {
    "AmazonS3ReadOnlyAccess": "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess",
    "AWSLambdaRole": "arn:aws:iam::aws:policy/service-role/AWSLambdaRole",
}


def main() -> int:
    ours = sys.argv[1]
    templates = sorted((pathlib.Path(__file__).parent / "templates").glob("*.yaml"))
    return sum(differs(ours, template) for template in templates)


def differs(ours: str, template: pathlib.Path) -> bool:
    source = yaml_parse(template.read_text())
    given = subprocess.run([ours], input=json.dumps(source), capture_output=True, text=True, timeout=60)
    if given.returncode:
        print(f"{template.name}: refused: {given.stderr}")
        return True
    expected = Translator(MANAGED, Parser()).translate(yaml_parse(template.read_text()), {})
    differences = list(compare(normal(json.loads(given.stdout)), normal(expected), template.name))
    print("\n".join(differences) or f"{template.name}: the same")
    return bool(differences)


def normal(value):
    """Lists whose order says nothing are sorted."""
    if isinstance(value, dict):
        return {key: unordered(normal(one)) if key in UNORDERED else normal(one) for key, one in value.items()}
    if isinstance(value, list):
        return [normal(one) for one in value]
    return value


UNORDERED = {"ManagedPolicyArns", "Policies", "Tags"}


def unordered(value):
    return sorted(value, key=lambda one: json.dumps(one, sort_keys=True)) if isinstance(value, list) else value


def compare(ours, theirs, at):
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted(ours.keys() | theirs.keys()):
            if key not in theirs:
                yield f"{at}.{key}: only ours: {ours[key]}"
            elif key not in ours:
                yield f"{at}.{key}: only theirs: {theirs[key]}"
            else:
                yield from compare(ours[key], theirs[key], f"{at}.{key}")
    elif ours != theirs:
        yield f"{at}: ours {ours}\n    theirs {theirs}"


if __name__ == "__main__":
    sys.exit(main())
