"""Everything in a request that AWS would refuse, found before it is sent.

botocore checks names, types, what is required, and minima. The rest stands in its service model, of which
``violations`` is a walk, or only in the prose of the documentation: ``validation_rules.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from framefleet.common.errors import UserError
from framefleet.launcher.aws.settings import ResolvedSettings, option
from framefleet.launcher.sagemaker.request import Request
from framefleet.launcher.sagemaker.validation_rules import Violation, rule_violations

OPERATION = "CreateProcessingJob"
REGION = re.compile(r"[a-z]+(-[a-z]+)+-\d+")  # us-east-1, us-gov-west-1, eusc-de-east-1
MAX_SHOWN = 60  # characters of a value in a message
_PYTHON_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "structure": dict,
    "map": dict,
    "list": (list, tuple),
    "string": str,
    "integer": int,
    "long": int,
    "boolean": bool,
    "float": (float, int),
    "double": (float, int),
}
# Python's re knows no \p{..}; inside the model's one such class these mean the same
_PROPERTIES = {
    r"\p{L}": r"\w",
    r"\p{N}": r"\w",
    r"\p{Z}": " \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000",
}
# where a value of the request comes from: the longest prefix counts; settings by their names
_CLUSTER = "ProcessingResources.ClusterConfig"
_MORE_INPUTS = re.compile(r"ProcessingInputs\[(?!0\])")  # all but the videos lie below the output
ORIGINS = {
    "": "the request",
    "ProcessingJobName": "--job-name",
    "ProcessingInputs": "--input",
    "ProcessingInputs.S3Input.S3DataDistributionType": "--mode",
    "ProcessingOutputConfig": "--output",
    "ProcessingOutputConfig.Outputs.S3Output.S3UploadMode": "upload",
    "ProcessingOutputConfig.KmsKeyId": "kms_key",
    f"{_CLUSTER}.InstanceCount": "--instances",
    f"{_CLUSTER}.InstanceType": "instance_type",
    f"{_CLUSTER}.VolumeSizeInGB": "volume_size",
    f"{_CLUSTER}.VolumeKmsKeyId": "volume_kms_key",
    "StoppingCondition": "max_runtime",
    "AppSpecification": "image",
    "NetworkConfig": "encrypt_traffic",
    "NetworkConfig.VpcConfig.Subnets": "subnets",
    "NetworkConfig.VpcConfig.SecurityGroupIds": "security_groups",
    "RoleArn": "role",
    "Tags": "tags",
}


@cache
def request_shape() -> Any:
    """botocore's own model of the request, read from its data files: no session, network or region."""
    import botocore.session

    model = botocore.session.get_session().get_service_model("sagemaker")
    return model.operation_model(OPERATION).input_shape


def violations(value: Any, shape: Any, path: str = "") -> Iterator[Violation]:
    """What botocore's model forbids of ``value``, whose model is ``shape``."""
    kind = _PYTHON_TYPES.get(shape.type_name)
    if kind is not None and (
        not isinstance(value, kind) or (isinstance(value, bool) and shape.type_name != "boolean")
    ):
        yield Violation(path, f"{_shown(value)} is no {shape.type_name}")
    elif shape.type_name == "structure":
        for name in shape.required_members:
            if name not in value:
                yield Violation(_below(path, name), "is missing")
        for name, member in value.items():
            if name in shape.members:
                yield from violations(member, shape.members[name], _below(path, name))
            else:
                yield Violation(_below(path, name), "is not known to AWS")
    elif shape.type_name == "list":
        yield from _size(len(value), shape, path, "items")
        for index, member in enumerate(value):
            yield from violations(member, shape.member, f"{path}[{index}]")
    elif shape.type_name == "map":
        yield from _size(len(value), shape, path, "entries")
        for name, member in value.items():
            yield from violations(name, shape.key, f"{path}[{name}]")
            yield from violations(member, shape.value, f"{path}[{name}]")
    elif shape.type_name == "string":
        yield from _string(value, shape, path)
    elif isinstance(value, int | float):
        least, most = shape.metadata.get("min"), shape.metadata.get("max")
        if least is not None and value < least:
            yield Violation(path, f"{value} is below the least that AWS takes, {least}")
        if most is not None and value > most:
            yield Violation(path, f"{value} is above the most that AWS takes, {most}")


def _string(value: str, shape: Any, path: str) -> Iterator[Violation]:
    enum, pattern = getattr(shape, "enum", None), shape.metadata.get("pattern")
    wrong = list(_size(len(value), shape, path, f"characters ({_shown(value)})"))
    yield from wrong
    if enum and value not in enum:
        yield Violation(path, f"{_shown(value)} is none of the values that AWS knows: {_near(value, enum)}")
    if pattern and not wrong and not re.fullmatch(_translated(pattern), value):
        yield Violation(path, f"{_shown(value)} does not have the form that AWS wants, {pattern}")


def _size(size: int, shape: Any, path: str, what: str) -> Iterator[Violation]:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and size < least:
        yield Violation(path, f"has {size} {what}, AWS wants at least {least}")
    if most is not None and size > most:
        yield Violation(path, f"has {size} {what}, AWS takes at most {most}")


def _translated(pattern: str) -> str:
    for theirs, ours in _PROPERTIES.items():
        pattern = pattern.replace(theirs, ours)
    return pattern


def _near(value: str, enum: list[str]) -> str:
    import difflib

    near = difflib.get_close_matches(value, enum, n=5, cutoff=0.5) or list(enum[:5])
    more = f" and {len(enum) - len(near)} more" if len(near) < len(enum) else ""
    return ", ".join(near) + more


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 4]} ..."


def origin_of(path: str, found: ResolvedSettings) -> str:
    """The option, variable or line of a file that a place of the request comes from."""
    if _MORE_INPUTS.match(path):
        return "--output"
    plain = re.sub(r"\[[^]]*\]", "", path)
    while plain not in ORIGINS:
        plain = plain.rpartition(".")[0]
    name = ORIGINS[plain]
    return name if name.startswith("--") or not plain else found.origin(name)


def check_region(region: str | None, found: ResolvedSettings) -> None:
    """Refuse what is no region's name, before something else is blamed for it.

    Raises:
        UserError: it is none.
    """
    if region is not None and not REGION.fullmatch(region):
        origin = found.origin("region") if found.settings.region else "AWS_REGION, or the AWS configuration"
        raise UserError(f"{origin}: {_shown(region)} is no region of AWS: give one such as us-east-1")


def check_request(request: Request, found: ResolvedSettings, *, region: str | None = None) -> None:
    """Refuse what AWS would refuse.

    Raises:
        UserError: every violation, with the option to change and the place in the request.
    """
    for name, what in (
        ("role", "the IAM role that the job runs under"),
        ("image", "the image that hosts run"),
    ):
        if not getattr(found.settings, name):
            raise UserError(
                f"{option(name)} is missing: {what}; give it, or set FRAMEFLEET_{name.upper()}, "
                f"or write {name} into framefleet.toml under [sagemaker] (docs/sagemaker.md)"
            )
    wrong = list(violations(request, request_shape())) or list(rule_violations(request, region))
    if wrong:
        raise UserError(
            "; ".join(f"{origin_of(one.path, found)}: {one.text} ({one.path or OPERATION})" for one in wrong)
        )
