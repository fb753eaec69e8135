"""The tables that all kernels work on, and the names of their rows.

Five arrays, two of them fixed; a row belongs to accesses, segments, slots or steps, as its name
says. Accesses are those of segments that can be decided about, numbered segment by segment, in the
order of steps. A *residency* is the uninterrupted presence of a segment in the fastest tier, over a
range of its accesses. It is kept in the *slot* that has the number of its first access. Behind the
E slots of accesses come those of residents (segments whose home is the fastest tier, which have an
address and nothing else), then slots for the use of a solver (trials, a log, the best so far).

    segment 7   access  40      41      42      43
                slot    40  .   41  .   .   .   43
                        ====    ============    (home)
                ACCESS_SLOT 40      41      41      -1

Rows by name, not one array per field: every array is nine LLVM values at every call of a kernel
(see `jit`).
"""

from typing import NamedTuple

from ullage.compiler.common.arrays import Floats, Ints

# Most steps over which one transfer is spread.
MAX_MOVES = 64
# Ways of a transfer: from home to the fastest tier, and back.
FILL, SPILL = 0, 1
# No slot, no address.
NOWHERE = -1

# Rows of `Tables.ints`, fixed. By access: its step, whether it reads and writes its segment,
# whether home must have current data when a residency ends with it, the last access up to it that
# writes (-1: none), its segment, its position in program order; then accesses in program order.
ACCESS_STEP, ACCESS_READS, ACCESS_WRITES, ACCESS_WANTED, ACCESS_LAST_WRITE = range(5)
ACCESS_SEGMENT, ACCESS_RANK, IN_ORDER = 5, 6, 7
# By segment: first and last access, bytes, bytes taken (aligned), home tier, whether home has it
# from the beginning, whether it must be there in the end, whether operators reach it in the fastest
# tier only, whether it may be kept from one inference to the next; then the row of `seconds` of its
# link up and of its link down (-1: none).
SEGMENT_FIRST, SEGMENT_LAST, SEGMENT_BYTES, SEGMENT_ALIGNED, SEGMENT_HOME = range(8, 13)
SEGMENT_GIVEN, SEGMENT_OUTPUT, SEGMENT_MUST, SEGMENT_LASTING, SEGMENT_LINK = range(13, 18)
# By slot: segment of its residency, bytes, bytes taken (aligned).
SLOT_SEGMENT, SLOT_BYTES, SLOT_ALIGNED = 19, 20, 21
# By step: bytes of scratch memory in the fastest tier.
STEP_WORKSPACE = 22
# Row of single numbers, and its columns: how many steps, accesses, slots, tiers and resources
# (tiers, links, and a unit that accesses operands itself) there are; bytes of the fastest tier, and
# bytes of addresses.
SIZES = 23
STEPS, ACCESSES, SLOTS, TIERS, RESOURCES, CAPACITY, ADDRESSES = range(7)
# Columns of SIZES: steps ahead of an access in which a fill may begin, and behind one in which a
# spill may end; the most steps from where a residency begins to its first access, or from its last
# one to its end.
WINDOW, REACH = 7, 8
# Column of SIZES: row of `seconds` of the compute unit, computing and operands' accesses that keep
# it from that (-1: it is fed beside computing).
UNIT = 9
# Rows of `Tables.ints`.
INT_ROWS = 24

# Rows of `Tables.floats`, fixed. By access: seconds of its port at home and in the fastest tier,
# linear cost of the fastest tier instead of home.
ACCESS_HOME_S, ACCESS_FAST_S, ACCESS_LINEAR = range(3)
# By segment, a row for each way: bytes/s of the home's port, the fastest tier's port and the link,
# seconds to set up, linear cost of a transfer.
SEGMENT_HOME_RATE, SEGMENT_FAST_RATE, SEGMENT_LINK_RATE, SEGMENT_SETUP_S = 3, 5, 7, 9
SEGMENT_LINEAR = 11
# By step: seconds of the compute unit.
STEP_COMPUTE_S = 13
# By column of TOTALS: its weight in the objective. Then the seconds that a slow byte is worth, and
# the portion of the time of operands' accesses in which the unit cannot compute.
WEIGHTS, BYTE_PRICE, EXPOSED = 14, 2, 3
# Rows of `Tables.floats`.
FLOAT_ROWS = 15

# Rows of `Tables.state`. By step: live bytes in the fastest tier, aligned, workspace included. By
# access: slot of the residency that covers it (-1: the operator goes home).
STEP_LOAD, ACCESS_SLOT = 0, 1
# By slot: last access (-1: no residency), first step, first step at which operators use it, end,
# address (-1: none), number of moves of the fill and of the spill.
SLOT_LAST, SLOT_START, SLOT_READY, SLOT_END, SLOT_OFFSET, SLOT_MOVES = range(2, 8)
# By slot: position in the list of slots with an address (-1: not on it). Then that list.
SLOT_PLACE, LISTED = 9, 10
# The first of four rows for lists that last as long as a call.
SCRATCH = 11
# Row of counters, and its columns: length of LISTED; the game's cursor, rewinds and decisions;
# units of work so far, of about one step of the program each.
COUNTS = 15
LIVE, CURSOR, REWINDS, DECISIONS, WORK = range(5)
# Rows of `Tables.state` of the engine; those of a solver come behind.
STATE_ROWS = 16

# Rows of `Tables.seconds`. By step: roofline of everything, then busy seconds of each resource.
TOTALS, STEP_BUSY, RESOURCE = 0, 1, 2
# Columns of TOTALS: sum of STEP_BUSY; bytes read and written in slow memory, or joules.
BUSY_S, LINEAR = 0, 1


class Tables(NamedTuple):
    """A problem on a target, and decisions with what they cost.

    Attributes:
        ints: (INT_ROWS, W) fixed whole numbers.
        floats: (FLOAT_ROWS, W) fixed seconds, rates and costs.
        state: (STATE_ROWS or more, W) the decisions.
        seconds: (RESOURCE + resources or more, W) busy seconds of ports and links, and of a unit
            that accesses operands itself.
        moves: (2 W, 2 MAX_MOVES) by slot and way (row 2 slot + way): steps, then bytes.
    """

    ints: Ints
    floats: Floats
    state: Ints
    seconds: Floats
    moves: Ints
