"""Lower bounds of dependencies: each has one, and `make lowest` installs just those."""

from pathlib import Path

import pytest

from tests.support.lowest import constraints


def test_every_dependency_has_a_lower_bound() -> None:
    found = list(constraints(["muzero", "tensorboard", "plot", "ray", "torch", "executorch"]))
    assert all(line.count("==") == 1 for line in found)
    assert any(line.startswith("ortools==9.") for line in found)
    assert any(line.startswith("jax==") for line in found)
    assert len({line.partition("==")[0] for line in found}) == len(found)


def test_a_dependency_without_one_is_named(tmp_path: Path) -> None:
    project = tmp_path / "pyproject.toml"
    project.write_text('[project]\ndependencies = ["numpy>=2.0,<3", "rich"]\n')
    with pytest.raises(ValueError, match="rich: it needs a lower bound"):
        list(constraints(project=project))
    project.write_text('[project]\ndependencies = ["numpy>=2.0,<3", "a[b]>=1.5; x"]\n')
    assert list(constraints(project=project)) == ["numpy==2.0", "a==1.5"]
