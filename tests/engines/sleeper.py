"""A process that says its id and then does nothing."""

import os
import time

print(os.getpid(), flush=True)
time.sleep(600)
