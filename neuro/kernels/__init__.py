"""Kernels for spiking and low-bit networks that move the fewest bytes.

Each operator is a folder: `reference.py` is its meaning, `native.c` with `cpu.py` the compiled CPU kernel,
`triton.py` the GPU kernel, `__init__.py` the public function, its dispatcher and its registration with torch.library.
"""
