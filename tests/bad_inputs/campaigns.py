"""Campaign files and policies."""

from __future__ import annotations

from tests.bad_inputs.checker import Bad, Setup
from tests.bad_inputs.made import campaign, file, pipe

DIGITS = "9" * 5000
DEEP = "[" * 100_000


def toml(name: str, text: str | bytes, words: str) -> Bad:
    """A campaign file."""
    return Bad(f"a campaign with {name}", ("run", "c.toml"), words, file("c.toml", text))


def policy(name: str, text: str | bytes, words: str) -> Bad:
    """A gate's policy, for a folder beside itself."""
    return Bad(f"a policy with {name}", ("gate", "x", "--baseline", "x", "--policy", "p.toml"), words, _both(text))


def _both(text: str | bytes) -> Setup:
    def setup(here):
        campaign(here / "x")
        file("p.toml", text)(here)

    return setup


ROWS = [
    Bad("a campaign that is not there", ("run", "c.toml"), "cannot read c.toml: No such file"),
    Bad("a campaign that is a folder", ("run", "."), "cannot read .*not a regular file"),
    Bad("a campaign that is a pipe", ("run", "c.toml"), "cannot read c.toml: not a regular file", pipe("c.toml")),
    *(toml(f"{key} of nothing", f'{key} = ""', f"c.toml: {key} is empty; give it a value, or leave it out")
      for key in ("weights", "prompts", "backbone")),
    toml("half a line", "seed = ", "c.toml is not TOML"),
    toml("letters of Latin-1", "tier = \"caf\xe9\"".encode("latin-1"), "c.toml is not TOML: .*utf-8"),
    toml("an integer of 5,000 digits", f"seed = {DIGITS}", "c.toml is not TOML: Exceeds the limit"),
    toml("deep nesting", f"suites = {DEEP}", "c.toml is not TOML: (nested too deep|.*depth)"),
    toml("the same key twice", "seed = 1\nseed = 2", "c.toml is not TOML: Cannot overwrite"),
    toml("an unknown key", "sede = 1", "unknown key 'sede' .did you mean 'seed'"),
    Bad("a gate of several seeds", ("gate", "--campaign", "c.toml"), "c.toml: a gate chooses the number of seeds",
        file("c.toml", "seeds = 3\n")),
    toml("no seeds", "seeds = 0", "seeds = 0: must be a number of seeds, 1 to 1,000, or a list"),
    toml("seeds in quotes", 'seeds = "3"', "seeds = '3': must be a number of seeds"),
    toml("a seed twice", "seeds = [1, 1]", "seeds = .1, 1.: must be a number of seeds"),
    toml("a seed beside a list of them", "seed = 3\nseeds = [1, 2]", "seeds is a list, .*leave seed .3. out"),
    toml("a seed in quotes", 'seed = "1"', "seed = '1': input should be a valid integer"),
    toml("a seed that is true", "seed = true", "seed = True: input should be a valid integer"),
    toml("half a seed", "seed = 1.5", "seed = 1.5: input should be a valid integer"),
    toml("a seed of 64 bits", f"seed = {2**64}", "18446744073709551616: input should be less than or equal to 42"),
    toml("a negative seed", "seed = -1", "seed = -1: input should be greater than or equal to 0"),
    toml("no suites", "suites = []", "suites = .*at least 1 item"),
    toml("a suite that is no list", 'suites = "drift"', "suites = 'drift': input should be a valid"),
    toml("a number as a suite", "suites = [1]", "suites.0 = 1: input should be a valid string"),
    toml("a number as a strategy", "strategies = [1]", "strategies.0 = 1: input should be a valid string"),
    toml("a list of knobs", "knobs = [1]", "knobs = .*valid dictionary"),
    toml("knobs of nobody", 'strategies = ["full"]\nknobs.memrope.window = 9', "that strategy is not in this"),
    toml("an empty list of a knob", 'strategies = ["memrope"]\nknobs.memrope.window = []', "window is an empty list"),
    toml("a knob of nan", 'strategies = ["memrope"]\nknobs.memrope.window = nan', "knob window = nan is not allowed"),
    toml("a grid of millions",
         'strategies = ["memrope"]\n'
         + "\n".join(f"knobs.memrope.{knob} = {list(range(1, 400))}" for knob in ("window", "sink", "alpha")),
         "the grid of knobs has 63,521,199 arms; at most 10,000"),
    toml("a budget in quotes", 'equal_budget = "21"', "equal_budget = '21': input should be a valid integer"),
    toml("a type of four bits", 'dtype = "fp4"', "unknown dtype 'fp4'; allowed: float32, bfloat16, .*fp8"),
    toml("a compilation", 'compile = "fast"', "compile = 'fast': input should be 'off', 'blocks' or 'graphs'"),
    toml("graphs on a CPU", 'compile = "graphs"', "'graphs' needs a CUDA device, not 'cpu'; allowed here: off, blocks"),
    toml("tiling in words", 'tiling = "yes"', "tiling = 'yes': input should be a valid boolean"),
    toml("lossless as a number", "lossless = 1", "lossless = 1: input should be a valid boolean"),
    toml("a tier that is a number", "tier = 1", "tier = 1: input should be a valid string"),
    toml("a size of nothing", 'size = "x"', "size 'x': write height x width"),
    toml("a device of shapes", 'device = "meta"', "device 'meta' holds shapes"),
    toml("a device with a NUL", 'device = "cpu\\u0000"', "device .* is not available|NUL"),
    toml("prompts with a NUL", 'prompts = "a\\u0000.txt"', "a NUL"),
    toml("a weights folder with a NUL", 'backbone = "self-forcing"\nweights = "a\\u0000"', "a NUL|no such folder"),
    policy("an unknown suite", "[drfit.psnr]\nabsolute = 1", "no suite 'drfit' in this run .did you mean 'drift'"),
    policy("an unknown metric", "[drift.pnsr]\nabsolute = 1", "has no metric 'pnsr' .did you mean 'psnr'"),
    policy("a number for a suite", "drift = 1", "p.toml.*no metric '1'"),
    policy("a margin of nan", "[drift.psnr]\nabsolute = nan", "drift.psnr.absolute = nan"),
    policy("a negative margin", "[drift.psnr]\nrelative = -1", "relative = -1.*greater than or equal to 0"),
    policy("half a line", "[drift", "p.toml is not TOML"),
    policy("an integer of 5,000 digits", f"a = {DIGITS}", "p.toml is not TOML: Exceeds"),
    policy("deep nesting", f"a = {DEEP}", "p.toml is not TOML"),
]  # fmt: skip
