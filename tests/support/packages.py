"""Are the packages whole? Wheel and sdist, installed in empty environments on every Python.

`python tests/support/packages.py [--wheel-alone] [PYTHON ...]` builds both from the tree, compares
the wheel with the one that comes out of the sdist, and runs the smoke test of each in an
environment of its own, far from the repository; with `--wheel-alone` of the wheel only, since that
of the sdist has the same files. Without a Python: every supported one on the path and of pyenv.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SMOKE = ROOT / "tests" / "support" / "smoke.py"
_QUIET = ("--quiet", "--disable-pip-version-check")


def pythons() -> dict[tuple[int, int], str]:
    """Version -> interpreter, the first of each minor version that `pyproject.toml` supports."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    least = re.search(r">=\s*(\d+)\.(\d+)", project["requires-python"])
    assert least is not None
    lowest = (int(least[1]), int(least[2]))
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    folders = [*os.environ.get("PATH", "").split(os.pathsep), *map(str, pyenv.glob("*/bin"))]
    found: dict[tuple[int, int], str] = {}
    for folder in folders:
        for path in sorted(Path(folder).glob("python3.*")):
            version = _version(path) if re.fullmatch(r"python3\.\d+", path.name) else None
            if version is not None and version >= lowest:
                found.setdefault(version, str(path))
    return dict(sorted(found.items()))


def _version(path: Path) -> tuple[int, int] | None:
    """Of an interpreter that can make environments; None where it cannot be run."""
    code = "import sys, venv, ensurepip; print(*sys.version_info[:2])"
    done = subprocess.run([path, "-c", code], capture_output=True, text=True, check=False)
    major, _, minor = done.stdout.strip().partition(" ")
    return (int(major), int(minor)) if done.returncode == 0 and minor else None


def contents(wheel: Path) -> dict[str, str]:
    """Name -> SHA-256 of what a wheel installs, without what names the build."""
    with zipfile.ZipFile(wheel) as opened:
        return {
            name: hashlib.sha256(opened.read(name)).hexdigest()
            for name in opened.namelist()
            if not name.endswith((".dist-info/RECORD", ".dist-info/METADATA"))
        }


def build(python: str, folder: Path) -> tuple[Path, Path]:
    """The sdist and the wheel of the tree, in a folder.

    Raises:
        SystemExit: the wheel that comes out of the sdist is another one.
    """
    tool = folder / "tool"
    _run([python, "-m", "venv", str(tool)])
    _run([str(tool / "bin" / "python"), "-m", "pip", "install", *_QUIET, "build"])
    command = [str(tool / "bin" / "python"), "-m", "build", str(ROOT), "--outdir"]
    _run([*command, str(folder / "both")])  # the sdist, and a wheel from it
    _run([*command, str(folder / "tree"), "--wheel"])
    (sdist,) = (folder / "both").glob("*.tar.gz")
    (from_sdist,) = (folder / "both").glob("*.whl")
    (from_tree,) = (folder / "tree").glob("*.whl")
    one, other = contents(from_sdist), contents(from_tree)
    if one != other:
        named = sorted(name for name in {*one, *other} if one.get(name) != other.get(name))
        raise SystemExit(f"the sdist makes another wheel: {', '.join(named)}")
    print(f"{sdist.name} and {from_tree.name}: {len(other)} files, the same from both")
    return sdist, from_tree


def installed(python: str, package: Path, folder: Path) -> bool:
    """Whether a package installs into an empty environment and passes the smoke test there."""
    shutil.copy(SMOKE, folder)
    inside = folder / "venv" / "bin" / "python"
    _run([python, "-m", "venv", "--clear", str(folder / "venv")])
    _run([str(inside), "-m", "pip", "install", *_QUIET, str(package)])
    done = subprocess.run([inside, SMOKE.name], cwd=folder, check=False)
    return done.returncode == 0


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=_environment())


def _environment() -> dict[str, str]:
    """Variables without those of an environment that is active."""
    return {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH")}


def main() -> int:
    """Build, install, run; 0 where all passed."""
    alone = "--wheel-alone" in sys.argv
    chosen = [word for word in sys.argv[1:] if word != "--wheel-alone"] or list(pythons().values())
    failed = 0
    with tempfile.TemporaryDirectory(prefix="ullage-packages-") as name:
        packages = build(chosen[0], Path(name))
        for python in chosen:
            for package in packages[1:] if alone else packages:
                with tempfile.TemporaryDirectory(prefix="ullage-empty-") as folder:
                    passed = installed(python, package, Path(folder))
                kind = "wheel" if package.suffix == ".whl" else "sdist"
                print(f"{kind} on {python}: {'passed' if passed else 'FAILED'}", flush=True)
                failed += not passed
    return int(failed > 0)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as failure:
        sys.exit(f"`{' '.join(map(str, failure.cmd))}` ended with {failure.returncode}")
