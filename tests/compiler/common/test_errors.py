"""Errors as documents."""

from ullage.compiler.common.errors import UllageError


def test_every_kind_of_error_survives_its_document() -> None:
    kinds: list[type[UllageError]] = [UllageError, *UllageError.__subclasses__()]
    for kind in kinds:
        error = kind("why", {"step": 3})
        again = UllageError.revive(error.to_json())
        assert (again.exit_code, again.message) == (error.exit_code, "why")
        assert again.details == {"step": 3}
