"""One thread a test process: the networks are small, and spinning threads cost more than they bring."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

torch.set_num_threads(1)
