"""One thread a test process: the models are tiny, and the tests run in parallel, with processes of their own."""

import os

# Read when torch is loaded, by this process and by those that tests start: threads that wait for a core that another
# has make a test of seconds one of minutes.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

torch.set_num_threads(1)
