"""What an installation is made of, and under which licences: a page, or a CycloneDX bill of materials.

    python docker/licences.py > docs/licences.md                              # of this environment's pins
    docker run --rm -i --entrypoint python framefleet - --sbom < docker/licences.py > sbom.json

It needs nothing but Python: it reads what wheels tell of themselves, the libraries that they bundle, and
Debian's list of packages where there is one.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

FFMPEG = "LGPL-3.0-or-later in av, LGPL-2.1-or-later in OpenCV"  # as each build tells (avcodec_license)
# of libraries in wheels, which tell it nowhere: from the projects' own licence files
BUNDLED = {
    "SvtAv1Enc": ("SVT-AV1", "BSD-3-Clause-Clear AND AOMPL-1.0"),
    "Xau": ("libXau", "MIT-open-group"),
    "aom": ("libaom", "BSD-2-Clause AND AOMPL-1.0"),
    "asound": ("alsa-lib", "LGPL-2.1-or-later"),
    "avcodec": ("FFmpeg", FFMPEG),
    "avdevice": ("FFmpeg", FFMPEG),
    "avfilter": ("FFmpeg", FFMPEG),
    "avformat": ("FFmpeg", FFMPEG),
    "avif": ("libavif", "BSD-2-Clause"),
    "avutil": ("FFmpeg", FFMPEG),
    "crypto": ("OpenSSL 1.1.1", "OpenSSL"),
    "dav1d": ("dav1d", "BSD-2-Clause"),
    "drm": ("libdrm", "MIT"),
    "gfortran": ("GCC's run-time library", "GPL-3.0-or-later WITH GCC-exception-3.1"),
    "gmp": ("GMP", "LGPL-3.0-or-later OR GPL-2.0-or-later"),
    "gnutls": ("GnuTLS", "LGPL-2.1-or-later"),
    "hogweed": ("Nettle", "LGPL-3.0-or-later OR GPL-2.0-or-later"),
    "mp3lame": ("LAME", "LGPL-2.0-or-later"),
    "nettle": ("Nettle", "LGPL-3.0-or-later OR GPL-2.0-or-later"),
    "opencore-amrnb": ("opencore-amr", "Apache-2.0"),
    "opencore-amrwb": ("opencore-amr", "Apache-2.0"),
    "openblasp-r0": ("OpenBLAS", "BSD-3-Clause"),
    "opus": ("Opus", "BSD-3-Clause"),
    "png16": ("libpng", "libpng-2.0"),
    "quadmath": ("GCC's run-time library", "LGPL-2.1-or-later"),
    "scipy_openblas64_": ("OpenBLAS", "BSD-3-Clause"),
    "sharpyuv": ("libwebp", "BSD-3-Clause"),
    "sodium": ("libsodium", "ISC"),
    "ssl": ("OpenSSL 1.1.1", "OpenSSL"),
    "swresample": ("FFmpeg", FFMPEG),
    "swscale": ("FFmpeg", FFMPEG),
    "unistring": ("libunistring", "LGPL-3.0-or-later OR GPL-2.0-or-later"),
    "vpl": ("oneVPL", "MIT"),
    "vpx": ("libvpx", "BSD-3-Clause"),
    "webp": ("libwebp", "BSD-3-Clause"),
    "webpmux": ("libwebp", "BSD-3-Clause"),
    "x264": ("x264", "GPL-2.0-or-later"),
    "x265": ("x265", "GPL-2.0-or-later"),
    "xcb": ("libxcb", "MIT"),
    "xcb-shape": ("libxcb", "MIT"),
    "xcb-shm": ("libxcb", "MIT"),
    "xcb-xfixes": ("libxcb", "MIT"),
    "zmq": ("ZeroMQ", "MPL-2.0"),
}
LIBRARY = re.compile(r"lib(?P<name>.+?)-[0-9a-f]{8}(?P<more>[.0-9a-z-]*?)\.so(?:\.(?P<version>[0-9.]+))?")
UNKNOWN = "not told"
HEAD = """# Licences

Framefleet's own code is under Apache-2.0. What the wheels bundle that it needs is not. PyAV's hold FFmpeg,
whose build calls itself LGPL-3.0-or-later (`avcodec_license`), linked to x264 and x265, which are under
GPL-2.0-or-later: **pass on an image or an environment with them as a whole that is under the GPL, version
3 or later**. Who only runs it passes nothing on. This is no legal advice.

`docker/licences.py` makes this page from the pins of `requirements.txt`, and a bill of materials (CycloneDX)
of an image, Debian's packages included:

```
docker run --rm -i --entrypoint python framefleet - --sbom < docker/licences.py > sbom.json
```
"""


class Part(NamedTuple):
    """One thing that is installed."""

    name: str
    version: str
    licence: str
    kind: str
    holder: str = ""  # the distribution that bundles it


def distributions(names: set[str] | None) -> Iterator[metadata.Distribution]:
    """Those that are installed, of ``names`` alone if they are given."""
    found = {normal(each.name): each for each in metadata.distributions()}
    for name in sorted(found if names is None else names & found.keys()):
        yield found[name]


def normal(name: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def licence_of(distribution: metadata.Distribution) -> str:
    """What a distribution says: an expression, else its classifiers, else a short text."""
    told = distribution.metadata
    if "License-Expression" in told:
        return str(told["License-Expression"])
    kinds = [
        text.rpartition(" :: ")[2]
        for text in told.get_all("Classifier") or []
        if text.startswith("License :: ")
    ]
    short = "".join(told.get_all("License") or []).strip()
    if short and "\n" not in short and len(short) < 60:
        return short
    return ", ".join(kind for kind in kinds if kind != "OSI Approved") or UNKNOWN


def bundled(distribution: metadata.Distribution) -> Iterator[Part]:
    """The shared libraries of other projects in a wheel."""
    for file in sorted(distribution.files or [], key=str):
        found = LIBRARY.fullmatch(file.name)
        if found is not None and ".libs/" in f"{file.parent}/":
            name, licence = BUNDLED.get(found["name"], (found["name"], UNKNOWN))
            version = found["version"] or found["more"].strip(".-") or UNKNOWN
            yield Part(name, version, licence, "library", distribution.name)


def debian() -> Iterator[Part]:
    """Debian's packages, where its list is; their licences are in /usr/share/doc/*/copyright."""
    status = Path("/var/lib/dpkg/status")
    if status.is_file():
        for block in status.read_text(errors="replace").split("\n\n"):
            fields = dict(re.findall(r"^([A-Z][A-Za-z-]*): (.*)$", block, re.MULTILINE))
            if "Package" in fields and "installed" in fields.get("Status", ""):
                yield Part(fields["Package"], fields.get("Version", ""), UNKNOWN, "deb")


def page(names: set[str]) -> str:
    """The page in docs/."""
    lines = [HEAD, "| package | version | licence |", "|---|---|---|"]
    libraries: dict[tuple[str, str, str], None] = {}
    for each in distributions(names):
        lines.append(f"| {each.name} | {each.version} | {licence_of(each)} |")
        libraries |= {(part.holder, part.name, part.licence): None for part in bundled(each)}
    lines += ["", "Bundled in these wheels for Linux:", "", "| in | library | licence |", "|---|---|---|"]
    lines += [f"| {holder} | {name} | {licence} |" for holder, name, licence in libraries]
    return "\n".join(lines) + "\n"


def bill() -> dict[str, object]:
    """All that is here, as CycloneDX 1.5 (cyclonedx.org/docs/1.5/json)."""
    parts: list[Part] = []
    for each in distributions(None):
        parts += [Part(each.name, each.version, licence_of(each), "pypi"), *bundled(each)]
    parts += debian()
    components = []
    for number, part in enumerate(parts):
        one: dict[str, object] = {
            "type": "library",
            "bom-ref": f"{number}-{part.name}",
            "name": part.name,
            "version": part.version,
        }
        if part.kind in ("pypi", "deb"):
            kind = "pypi" if part.kind == "pypi" else "deb/debian"
            one["purl"] = f"pkg:{kind}/{normal(part.name) if kind == 'pypi' else part.name}@{part.version}"
        if part.licence != UNKNOWN:
            one["licenses"] = [{"license": {"name": part.licence}}]
        if part.holder:
            one["properties"] = [{"name": "framefleet:bundled-in", "value": part.holder}]
        components.append(one)
    return {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "components": components}


def pinned(requirements: Path) -> set[str]:
    """The names in a file of pins."""
    return {
        normal(name) for name in re.findall(r"^([A-Za-z0-9._-]+)==", requirements.read_text(), re.MULTILINE)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sbom", action="store_true", help="a bill of materials of all that is installed")
    if parser.parse_args().sbom:
        json.dump(bill(), sys.stdout, indent=1)
    else:
        sys.stdout.write(page(pinned(Path(__file__).parents[1] / "requirements.txt")))


if __name__ == "__main__":
    main()
