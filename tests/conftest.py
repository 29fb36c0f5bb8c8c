"""One thread a test process: the models are tiny, and the tests run in parallel."""

import torch

torch.set_num_threads(1)
