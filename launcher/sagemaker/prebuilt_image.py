"""SageMaker's own image that a job runs in where the user has none: its scikit-learn image with Python 3.12.

Of AWS's prebuilt CPU images it is the smallest whose Python is new enough: 3.11 at least. Nothing of what it
holds is used but Python and pip.
"""

from __future__ import annotations

from typing import Final

from framefleet.common.errors import UserError

NO_IMAGE: Final = "none"  # what --image says for it
PYTHON: Final = "3.12"
REPOSITORY, TAG = "sagemaker-scikit-learn", "1.4-2-py312-cpu-py3"

# The accounts that hold it, as of the SageMaker Python SDK 2.27 (image_uri_config/sklearn.json).
ACCOUNTS: Final = {
    "af-south-1": "510948584623", "ap-east-1": "651117190479", "ap-northeast-1": "354813040037",
    "ap-northeast-2": "366743142698", "ap-northeast-3": "867004704886", "ap-south-1": "720646828776",
    "ap-south-2": "628508329040", "ap-southeast-1": "121021644041", "ap-southeast-2": "783357654285",
    "ap-southeast-3": "951798379941", "ap-southeast-4": "106583098589", "ca-central-1": "341280168497",
    "ca-west-1": "190319476487", "cn-north-1": "450853457545", "cn-northwest-1": "451049120500",
    "eu-central-1": "492215442770", "eu-central-2": "680994064768", "eu-north-1": "662702820516",
    "eu-south-1": "978288397137", "eu-south-2": "104374241257", "eu-west-1": "141502667606",
    "eu-west-2": "764974769150", "eu-west-3": "659782779980", "il-central-1": "898809789911",
    "me-central-1": "272398656194", "me-south-1": "801668240914", "sa-east-1": "737474898029",
    "us-east-1": "683313688378", "us-east-2": "257758044811", "us-gov-east-1": "237065988967",
    "us-gov-west-1": "414596584902", "us-west-1": "746614075791", "us-west-2": "246618743249",
}  # fmt: skip


def image_uri(region: str | None) -> str:
    """The image in a region.

    Raises:
        UserError: the region is not known, or has none.
    """
    if region is None:
        raise UserError(f"--image {NO_IMAGE} needs --region: AWS's own images differ by region")
    account = ACCOUNTS.get(region)
    if account is None:
        raise UserError(
            f"--image {NO_IMAGE}: no image of AWS's own is known in {region}; "
            "push yours to Amazon ECR and name it with --image (docs/sagemaker.md)"
        )
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"{account}.dkr.ecr.{region}.{domain}/{REPOSITORY}:{TAG}"
