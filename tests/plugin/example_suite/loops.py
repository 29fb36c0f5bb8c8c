"""Loops: does a video come back to its own beginning? By the latents alone, so that it runs on every backbone."""

from torch import cosine_similarity

from harness.suite import Chart, Column, Display, Metric, QualitySuite, Row, Sample, Table, Task, curve, rollout_seeds


class Loops(QualitySuite):
    """How much each chunk resembles the first one."""

    name, version, tiers = "loops", "1", ("gate", "quick", "full")
    metrics = property(lambda self: {"resemblance": Metric("1", "lower", "cosine to the first chunk", -1, 1)})

    def tasks(self, backbone, tier, seed=0):
        frames, count = {"gate": (30, 4), "quick": (60, 8), "full": (240, 16)}[tier]
        rows = [Row(each, ((0, backbone.prompts[number]),)) for number, each in enumerate(rollout_seeds(seed, count))]
        return [Task("still-prompt", frames, 0, tuple(rows))]

    def given(self, backbone, task):
        return None  # nothing: it begins from text

    def observer(self, backbone, task, place):
        return Resemblance()

    def scores(self, samples):
        return samples[samples["at_frame"] == samples["horizon_latent_frames"]]

    def display(self, there):
        column = Column("still-prompt", "resemblance", "like its beginning")
        charts = curve("still-prompt", "resemblance"), Chart("loops-spread", spread)
        return Display(tables=(Table("loops", (column,)),), charts=charts)


class Resemblance:
    """Keeps the first chunk, and compares each later one with it."""

    first, taken = None, ()

    def see(self, latents, start):
        now = latents.flatten(1).float()
        self.first = now if self.first is None else self.first
        found, stop = cosine_similarity(now, self.first).tolist(), start + latents.shape[1]
        self.taken += tuple(Sample(row, "resemblance", stop, value) for row, value in enumerate(found))

    def samples(self):
        return list(self.taken)

    def pictures(self):
        return {}

    def state_dict(self):
        return {"first": self.first, "taken": [list(each) for each in self.taken]}

    def load_state_dict(self, state):
        self.first, self.taken = state["first"], tuple(Sample(*each) for each in state["taken"])


def spread(samples, path):
    """Draw how the values of each strategy are spread over all chunks."""
    samples.boxplot("value", by="strategy").figure.savefig(path)
