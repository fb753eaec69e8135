"""Schedules made from tiles of an output: `cut.cut_output` derives the parts of its producers."""
