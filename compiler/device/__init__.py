"""Plans on an emulated processor: firmware is built, run in QEMU, compared with onnxruntime.

`runner` is the entry; `toolchain` builds and runs firmware, `output` reads what it says,
`reference` has the expected numbers of every operator.
"""
