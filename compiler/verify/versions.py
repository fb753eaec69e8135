"""A number for every byte of a buffer, stored as runs of equal numbers.

byte       0         32             96        128
number     |--- 4 ---|----- 7 ------|--- 4 ---|
cuts       [0, 32, 96, 128]
numbers    [4, 7, 4]
"""

from bisect import bisect_left, bisect_right


class Runs:
    """Maps the bytes 0..size-1 to numbers; size is at least 1.

    Run i covers the bytes [cuts[i], cuts[i + 1]), and neighbouring runs differ. So the time that an
    operation takes depends on the number of runs that it touches, not on the number of bytes.
    """

    __slots__ = ("cuts", "numbers")

    def __init__(self, size_bytes: int, number: int) -> None:
        self.cuts = [0, size_bytes]
        self.numbers = [number]

    def over(self, start_byte: int, end_byte: int) -> list[tuple[int, int, int]]:
        """(start byte, end byte, number) of the runs in a range, which must not be empty."""
        cuts, numbers = self.cuts, self.numbers
        first = bisect_right(cuts, start_byte) - 1
        if cuts[first + 1] >= end_byte:
            return [(start_byte, end_byte, numbers[first])]
        last = bisect_left(cuts, end_byte)
        inner = [(cuts[i], cuts[i + 1], numbers[i]) for i in range(first + 1, last - 1)]
        head = (start_byte, cuts[first + 1], numbers[first])
        return [head, *inner, (cuts[last - 1], end_byte, numbers[last - 1])]

    def assign(self, start_byte: int, end_byte: int, number: int) -> None:
        """Give every byte of a range, which must not be empty, the same number."""
        cuts, numbers = self.cuts, self.numbers
        if start_byte == 0 and end_byte == cuts[-1]:
            cuts[:], numbers[:] = [0, end_byte], [number]
            return
        touched = bisect_right(cuts, start_byte) - 1
        if end_byte < cuts[touched + 1]:
            if numbers[touched] == number:
                return
            # A transfer appends to what has arrived: only the cut between both moves.
            if touched and cuts[touched] == start_byte and numbers[touched - 1] == number:
                cuts[touched] = end_byte
                return
        # One run more on either side, so that equal neighbours melt together.
        first = max(bisect_left(cuts, start_byte) - 1, 0)
        last = min(bisect_right(cuts, end_byte), len(numbers))
        new_cuts: list[int] = []
        new_numbers: list[int] = []
        low, high = cuts[first], cuts[last]
        runs = [(start_byte, end_byte, number)]
        if low < start_byte:
            runs = self.over(low, start_byte) + runs
        if end_byte < high:
            runs += self.over(end_byte, high)
        for piece_start, _, piece_number in runs:
            if not new_numbers or new_numbers[-1] != piece_number:
                new_cuts.append(piece_start)
                new_numbers.append(piece_number)
        cuts[first:last] = new_cuts
        numbers[first:last] = new_numbers


def first_difference(
    one: Runs, two: Runs, start_byte: int, end_byte: int
) -> tuple[int, int, int, int] | None:
    """(start byte, end byte, number in one, number in two) of the first run that differs."""
    for a, b, left in one.over(start_byte, end_byte):
        for c, d, right in two.over(a, b):
            if left != right:
                return c, d, left, right
    return None
