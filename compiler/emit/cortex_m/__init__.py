"""Deployments: a plan as firmware for a Cortex-M55 (Arm MPS3 board, FPGA image AN547; QEMU).

`deployment` puts the files together; `quantised`, `floats` and `movement` choose kernels, `shapes`
gives their parameters, `context` their operands; `board` is the memory map. The C files that are
the same for every model are in `firmware/`.
"""
