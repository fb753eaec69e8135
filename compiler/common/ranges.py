"""The ranges of figures in files: what can be computed with in 64-bit integers and floats.

Plan files, target files and the verifier share them; docs/targets.md explains the choice. The types
carry their range for pydantic, which checks it and writes it into the published JSON Schema.
"""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from ullage.compiler.common.dtypes import BITS

# Bytes, MACs and elements: sums of two still fit a signed 64-bit integer.
MAX_COUNT = 2**62
# Steps, buffers and operators of one program.
MAX_INDEX = 2**31 - 1
# Seeds: signed 64-bit integers from 0.
MAX_SEED = 2**63 - 1
# Rates of memories, links and compute units, per second.
MIN_RATE, MAX_RATE = 1e-3, 1e24
# Smallest share of a rate that is reached.
MIN_SHARE = 1e-6
# Bytes of encoded weights over those of plain ones.
MIN_RATIO, MAX_RATIO = 1 / 64, 4.0
# Smallest time and energy that is not 0.
MIN_AMOUNT = 1e-18
# Set-up times and overheads in seconds.
MAX_SECONDS = 1e9
# Energies of a byte or a multiply-accumulate in joules.
MAX_JOULES = 1e9
# Cycles of a kernel or a command.
MAX_CYCLES = 1e9
# Rows, columns and number of systolic arrays.
MAX_CELLS = 10**9 - 1
# Any other figure, such as a bound or a statistic.
MAX_FIGURE = 1e300

# JSON has no NaN, but Python's reader takes one, and NaN passes every `minimum` and `maximum`: no
# other number passes both of these.
_NO_NAN: dict[str, Any] = {"not": {"minimum": 1, "maximum": 0}}

Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
Positive = Annotated[int, Field(ge=1, le=MAX_COUNT)]
Index = Annotated[int, Field(ge=0, le=MAX_INDEX)]
# An operator, -1 where there is none.
OperatorIndex = Annotated[int, Field(ge=-1, le=MAX_INDEX)]
# An axis of a tensor, -1 for the reduction of an operator.
AxisIndex = Annotated[int, Field(ge=-1, le=MAX_INDEX)]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
Cells = Annotated[int, Field(ge=1, le=MAX_CELLS)]
Rate = Annotated[float, Field(ge=MIN_RATE, le=MAX_RATE, json_schema_extra=_NO_NAN)]
# A rate, or 0 where nothing is ever written.
WriteRate = Annotated[float, Field(ge=0, le=MAX_RATE, json_schema_extra=_NO_NAN)]
Seconds = Annotated[float, Field(ge=0, le=MAX_SECONDS, json_schema_extra=_NO_NAN)]
Joules = Annotated[float, Field(ge=0, le=MAX_JOULES, json_schema_extra=_NO_NAN)]
Cycles = Annotated[float, Field(ge=0, le=MAX_CYCLES, json_schema_extra=_NO_NAN)]
# A share of a rate, above 0.
Share = Annotated[float, Field(ge=MIN_SHARE, le=1, json_schema_extra=_NO_NAN)]
# Encoded bytes over plain ones.
Ratio = Annotated[float, Field(ge=MIN_RATIO, le=MAX_RATIO, json_schema_extra=_NO_NAN)]
# A part of a whole: none, all, or anything between.
Portion = Annotated[float, Field(ge=0, le=1, json_schema_extra=_NO_NAN)]
# A bound of an objective, in its unit.
BoundValue = Annotated[float, Field(ge=0, le=MAX_FIGURE, json_schema_extra=_NO_NAN)]
Figure = Annotated[float, Field(ge=-MAX_FIGURE, le=MAX_FIGURE, json_schema_extra=_NO_NAN)]

if TYPE_CHECKING:
    DtypeName = str
else:
    DtypeName = Literal[tuple(BITS)]
