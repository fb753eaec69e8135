"""Types of memrefs: layouts, by their text or by a name."""

import pytest

from tests.support.mlir import T, problem_of
from ullage.compiler.common.errors import ModelError
from ullage.compiler.integrations.mlir_text.memref_type import memref_type

BODY = """    %a = memref.alloc() : memref<8x16xf32{layout}>
    linalg.copy ins(%x : memref<8x16xf32>) outs(%a : memref<8x16xf32{layout}>)
    return %a : memref<8x16xf32{layout}>"""


@pytest.mark.parametrize(
    ("layout", "dense"),
    [
        ("", True),
        (", 1", True),
        (", #gpu.address_space<workgroup>", True),
        (", affine_map<(d0, d1)  (d0, d1)>", True),
        (", affine_map<(d0, d1)  (d1, d0)>", False),
        (", strided<[16, 1]>", True),
        (", strided<[16, 1], offset: 0>, 3", True),
        (", strided<[16, 1], offset: 4>", False),
        (", strided<[32, 1]>", False),
        (", strided<[?, ?], offset: ?>", False),
        (", strided<[16]>", False),
    ],
)
def test_a_layout_is_dense_where_it_says_the_order_of_the_axes(layout: str, dense: bool) -> None:
    assert memref_type(f"memref<8x16xf32{layout}>", "here").dense is dense


def test_strides_of_axes_of_one_element_do_not_matter() -> None:
    assert memref_type("memref<1x16xf32, strided<[99, 1]>>", "here").dense


def test_a_layout_by_its_name_is_what_the_module_says_of_it() -> None:
    same = "#map = affine_map<(d0, d1) -> (d0, d1)>\n"
    assert problem_of(BODY.format(layout=", #map"), aliases=same).program.buffers
    turned = "#map = affine_map<(d0, d1) -> (d1, d0)>\n"
    with pytest.raises(ModelError, match=r"line 5: .*a layout are not known; allocate what is"):
        problem_of(BODY.format(layout=", #map"), aliases=turned)
    with pytest.raises(
        ModelError, match=r"line 3, result 0: #map in the type .* defined nowhere: give"
    ):
        problem_of(BODY.format(layout=", #map"))
    spaces = problem_of(BODY.format(layout=", #gpu.address_space<workgroup>"))
    assert spaces.program.buffers


def test_more_elements_than_can_be_counted_are_refused_with_the_line() -> None:
    body = f"    %a = memref.alloc() : memref<{2**62 + 1}xi1>\n    return"
    with pytest.raises(ModelError, match=r"line 4: .*larger than any memory"):
        problem_of(body, f"%x: {T}")
