"""GFLOP/s of PyTorch's f32 product of two square matrices, on two threads: the best of 30."""

import time

import torch

SIZE = 2048

torch.set_num_threads(2)
a, b = torch.randn(SIZE, SIZE), torch.randn(SIZE, SIZE)
seconds = []
for _ in range(30):
    start = time.perf_counter()
    a @ b
    seconds.append(time.perf_counter() - start)
print(f"{2 * SIZE**3 / min(seconds) / 1e9:.0f}")
