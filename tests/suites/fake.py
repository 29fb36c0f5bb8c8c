"""Videos whose quality is known because they are made up."""

from suites.observers.truth import truth_of


def shown(watch, backbone, task, change=lambda pixels: pixels):
    """What an observer says of rollouts that show the truth, changed: {metric: {at_frame: [values of the rows]}}."""
    truth = truth_of(backbone.world, task, task.frames)
    latents = backbone.codec.encode(change(truth.pixels.clone()))
    for start in range(0, task.frames, 3):
        watch.see(latents[:, start : start + 3], start)
    found = {}
    for row, metric, at, value in watch.samples():
        found.setdefault(metric, {}).setdefault(at, [None] * len(task.rows))[row] = value
    return found
