"""Exchange: problems and solutions as files, for other compilers and for other people's solvers.

    problem.json  -> Problem           what is to be planned, on which chip
    solution.json -> Assignment        anybody's answer: residencies and transfers

A problem file is self-contained: no model, no library of ours is needed to write one.
"""
