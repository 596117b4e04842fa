from __future__ import annotations

from pathlib import Path

import pytest

from framefleet.common.errors import UserError
from framefleet.launcher.aws.settings import NAMES, Settings, default_files, load_settings, parse_tags


def test_command_line_before_environment_before_files(tmp_path: Path) -> None:
    here, home = tmp_path / "here.toml", tmp_path / "home.toml"
    home.write_text('[sagemaker]\nrole = "home"\nimage = "home"\nregion = "home"\nprofile = "home"\n')
    here.write_text('[sagemaker]\nrole = "here"\nimage = "here"\nregion = "here"\n')
    found = load_settings(
        {"role": "given", "image": None, "tags": {}, "subnets": ()},
        environment={"FRAMEFLEET_ROLE": "variable", "FRAMEFLEET_IMAGE": "variable", "FRAMEFLEET_REGION": ""},
        files=[here, home],
    )
    settings = found.settings
    assert (settings.role, settings.image, settings.region, settings.profile) == (
        "given",
        "variable",
        "here",
        "home",
    )
    assert [found.origin(name) for name in ("role", "image", "region", "profile", "volume_size")] == [
        "--role",
        "FRAMEFLEET_IMAGE",
        f"region in {here}",
        f"profile in {home}",
        "--volume-size",
    ]
    assert settings.max_runtime == 86_400


def test_every_kind_of_value_comes_from_the_environment() -> None:
    texts = {
        "REGION": "eu-west-1",
        "PROFILE": "p",
        "ROLE": "r",
        "IMAGE": "i",
        "INSTANCE_TYPE": "ml.m5.large",
        "VOLUME_SIZE": "77",
        "MAX_RUNTIME": "3600",
        "SUBNETS": "subnet-1, subnet-2",
        "SECURITY_GROUPS": "sg-1",
        "KMS_KEY": "k",
        "VOLUME_KMS_KEY": "v",
        "ENCRYPT_TRAFFIC": "true",
        "TAGS": "team=video,stage=",
        "UPLOAD": "end",
        "PRICE_PER_HOUR": "0.408",
    }
    assert {name.lower() for name in texts} == set(NAMES)
    environment = {f"FRAMEFLEET_{name}": text for name, text in texts.items()}
    assert load_settings({}, environment=environment, files=[]).settings == Settings(
        region="eu-west-1",
        profile="p",
        role="r",
        image="i",
        instance_type="ml.m5.large",
        volume_size=77,
        max_runtime=3600,
        subnets=["subnet-1", "subnet-2"],
        security_groups=["sg-1"],
        kms_key="k",
        volume_kms_key="v",
        encrypt_traffic=True,
        tags={"team": "video", "stage": ""},
        upload="end",
        price_per_hour=0.408,
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("role = 3", "role in FILE 3 will not do"),
        ("upload = 'later'", "upload in FILE 'later' will not do"),
        ("price_per_hour = -1", "price_per_hour in FILE -1 will not do"),
        ("rolle = 'x'", "FILE holds rolle, which is no setting"),
        ("role = ", "FILE is not TOML"),
        ("[other]\nrole = 'x'", "FILE holds [other], which is no setting"),
    ],
)
def test_what_a_file_may_not_hold(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "framefleet.toml"
    path.write_text(f"[sagemaker]\n{text}\n")
    with pytest.raises(UserError) as caught:
        load_settings({}, environment={}, files=[path])
    assert words.replace("FILE", str(path)) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("VOLUME_SIZE", "big", "FRAMEFLEET_VOLUME_SIZE 'big' is not a whole number"),
        ("ENCRYPT_TRAFFIC", "maybe", "'maybe' is not true or false"),
        ("PRICE_PER_HOUR", "cheap", "'cheap' is not a number"),
        ("TAGS", "a=1,b", "FRAMEFLEET_TAGS 'b' is not KEY=VALUE"),
        ("UPLOAD", "never", "FRAMEFLEET_UPLOAD 'never' will not do"),
    ],
)
def test_what_a_variable_may_not_hold(name: str, text: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        load_settings({}, environment={f"FRAMEFLEET_{name}": text}, files=[])
    assert words in str(caught.value)


def test_files_are_looked_for_here_then_in_the_configuration_folder() -> None:
    assert default_files({"XDG_CONFIG_HOME": "/c"}) == [Path("framefleet.toml"), Path("/c/framefleet.toml")]
    assert default_files({})[1] == Path("~/.config/framefleet.toml").expanduser()


def test_a_tag_may_hold_signs_but_not_come_twice() -> None:
    assert parse_tags(["a=b=c"], "--tag") == {"a": "b=c"}
    with pytest.raises(UserError, match="--tag 'a=2' comes twice"):
        parse_tags(["a=1", "a=2"], "--tag")


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "framefleet.toml"
    path.write_bytes(b"\xef\xbb\xbf[sagemaker]\nregion = 'eu-west-1'\n")
    assert load_settings({}, environment={}, files=[path]).settings.region == "eu-west-1"


def test_a_home_that_is_not_there_holds_no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    assert load_settings({}, environment={"XDG_CONFIG_HOME": str(tmp_path / "file")}).settings == Settings()

    def nobody(self: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Path, "expanduser", nobody)
    assert load_settings({}, environment={}).settings == Settings()

    def refuse(self: Path) -> bytes:
        if self.is_absolute():
            raise PermissionError(13, "Permission denied")
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert load_settings({}, environment={"XDG_CONFIG_HOME": "/root/.config"}).settings == Settings()
